"""Evaluations and their rows, from pending to the end."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from evalpoint.entities import (
    AssessmentError,
    Evaluation,
    Failure,
    Finished,
    Given,
    Predicted,
    Reply,
    Row,
    RowKey,
    RowState,
    Trace,
)
from evalpoint.errors import DataError, NotFound, StoreError, UsageError
from evalpoint.stores import SqliteStore

MakeEvaluation = Callable[..., Evaluation]
MakeTrace = Callable[..., Trace]
MakeRow = Callable[..., Row]


def test_an_evaluation_has_the_next_number_of_its_run(store: SqliteStore, make_evaluation: MakeEvaluation) -> None:
    """Numbers count from one within each run, and a discarded evaluation gives its number back."""
    first, second = make_evaluation(), make_evaluation(evaluation_id="ev-2")
    other = make_evaluation(evaluation_id="ev-3", run_id="run-2")
    assert (first.number, second.number, other.number) == (1, 2, 1)
    store.discard_evaluation("ev-2")
    assert make_evaluation(evaluation_id="ev-4").number == 2
    assert [e.evaluation_id for e in store.evaluations("run-1")] == ["ev-1", "ev-4"]


def test_an_evaluation_comes_back_as_it_went_in(store: SqliteStore, make_evaluation: MakeEvaluation) -> None:
    """Scorers, target and data set survive; the digest and the summary come at the end."""
    made = make_evaluation()
    assert store.evaluations("run-1") == [made]
    store.finish_evaluation("ev-1", unfinished=RowState.CANCELLED, dataset_digest="d", summary={"metrics": {"a/mean": 1.0}})
    (ended,) = store.evaluations("run-1")
    assert (ended.dataset_digest, ended.summary) == ("d", {"metrics": {"a/mean": 1.0}})


def test_ids_are_used_once(store: SqliteStore, make_evaluation: MakeEvaluation) -> None:
    """A second evaluation of one id is refused."""
    make_evaluation()
    with pytest.raises(UsageError, match="exists already"):
        make_evaluation()


def test_a_row_comes_back_as_it_went_in(
    store: SqliteStore, make_evaluation: MakeEvaluation, make_row: MakeRow, make_trace: MakeTrace
) -> None:
    """With repeat, request id, tags, expectations and an answer that came with the data, None among them."""
    make_evaluation(rows=0)
    rows = [
        make_row(
            0, 0, inputs={"messages": [{"role": "user", "content": "¿Qué?\ud800"}], "n": 2**70, "x": 1.5}, request_id="r", occurrence=3
        ),
        make_row(0, 1, expectations={"expected_facts": ["a", None]}, tags={"slice": "short"}),
        make_row(1, 0, given=Given(outputs=None)),
        make_row(2, 0, given=Given(outputs={"text": "A"}, trace=make_trace("tr-given"))),
    ]
    assert store.add_rows("ev-1", iter(rows)) == 4
    assert [task.row for task in store.pending("ev-1")] == rows
    assert [record.row for record in store.rows("ev-1")] == rows


def test_a_row_without_a_canonical_form_is_refused(store: SqliteStore, make_evaluation: MakeEvaluation, make_row: MakeRow) -> None:
    """NaN in what is digested is a mistake in the data, and the row's number is told."""
    make_evaluation(rows=0)
    with pytest.raises(DataError, match="row 7"):
        store.add_rows("ev-1", [make_row(7, given=Given(outputs=float("nan")))])


def test_rows_are_drained_without_being_held(store: SqliteStore, make_evaluation: MakeEvaluation, make_row: MakeRow) -> None:
    """Adding and walking 2,500 rows of 2 KB takes the memory of a batch, not of the data."""
    make_evaluation(rows=0)

    def many() -> Iterator[Row]:
        for number in range(2500):
            yield make_row(number, inputs={"question": f"{number} " + "x" * 2000})

    tracemalloc.start()
    try:
        store.add_rows("ev-1", many())
        assert sum(1 for _ in store.pending("ev-1")) == 2500
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


def test_pending_leaves_out_what_is_finished_meanwhile(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """The walk goes on, in order, while this thread and another record."""
    make_evaluation(rows=450)
    seen: list[int] = []

    def finish(row: int) -> None:
        reply = Reply(outputs="A", trace=make_trace(f"tr-{row}"))
        store.record("ev-1", [Predicted(key=RowKey(row), prediction=reply), Finished(key=RowKey(row), state=RowState.OK)])

    for row in (task.row for task in store.pending("ev-1")):
        seen.append(row.key.row)
        if row.key.row == 0:
            other = threading.Thread(target=lambda: [finish(number) for number in range(300, 350)])
            other.start()
            other.join()
        if row.key.row < 5:
            finish(row.key.row)
    assert seen == [number for number in range(450) if not 300 <= number < 350]
    assert store.state_counts("ev-1") == {RowState.OK: 55, RowState.PENDING: 395}
    assert next(store.pending("ev-1")).row.key.row == 5


def test_a_row_in_scoring_is_pending_still(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """An answer alone is no final state: the row's scorers are yet to be asked."""
    make_evaluation(rows=1)
    store.record("ev-1", [Predicted(key=RowKey(0), prediction=Reply(outputs=1, trace=make_trace()))])
    assert [task.row.key.row for task in store.pending("ev-1")] == [0]
    (record,) = store.rows("ev-1")
    assert (record.state, record.predicted, record.outputs) == (RowState.PENDING, True, 1)


def test_a_failure_is_data(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """Its error, its state and the trace so far are kept; an answer on a later try takes its place."""
    make_evaluation(rows=2)
    failure = Failure(
        state=RowState.TARGET_ERROR, error=AssessmentError("503", "full", "stack"), trace=make_trace("tr-f", state="ERROR"), latency_ms=9.5
    )
    store.record("ev-1", [Predicted(key=RowKey(1), prediction=failure), Finished(key=RowKey(1), state=failure.state)])
    record = list(store.rows("ev-1", with_traces=True))[1]
    assert (record.state, record.predicted, record.error, record.latency_ms) == (RowState.TARGET_ERROR, False, failure.error, 9.5)
    assert record.trace is not None
    assert record.trace.info.trace_id == record.trace_id == "tr-f"
    store.record("ev-1", [Predicted(key=RowKey(1), prediction=Reply(outputs=None, trace=make_trace("tr-2")))])
    record = list(store.rows("ev-1"))[1]
    assert (record.predicted, record.outputs, record.error, record.trace_id) == (True, None, None, "tr-2")
    assert record.trace is None


def test_a_record_has_tokens_of_its_trace(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """Counts from outside that are no counts are left out, never an error."""
    make_evaluation(rows=2)
    odd = make_trace(
        "tr-odd", trace_metadata={"mlflow.trace.tokenUsage": '{"input_tokens": 1e400, "output_tokens": "x", "total_tokens": 5}'}
    )
    store.record("ev-1", [Predicted(key=RowKey(0), prediction=Reply(outputs="A", trace=make_trace("tr-a")))])
    store.record("ev-1", [Predicted(key=RowKey(1), prediction=Reply(outputs="A", trace=odd))])
    first, second = store.rows("ev-1")
    assert first.token_usage == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    assert second.token_usage == {"total_tokens": 5}


def test_the_end_marks_what_is_left(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """Only rows without a final state get the given one, and they are counted."""
    make_evaluation(rows=5)
    done = [Predicted(key=RowKey(2), prediction=Reply(outputs=1, trace=make_trace())), Finished(key=RowKey(2), state=RowState.OK)]
    store.record("ev-1", done)
    assert store.finish_evaluation("ev-1", unfinished=RowState.PENDING) == 0
    assert store.finish_evaluation("ev-1", unfinished=RowState.SKIPPED_BUDGET) == 4
    assert store.state_counts("ev-1") == {RowState.OK: 1, RowState.SKIPPED_BUDGET: 4}
    assert list(store.pending("ev-1")) == []


@pytest.mark.parametrize("state", [RowState.OK, RowState.JUDGE_ERROR], ids=lambda state: state.value)
def test_no_row_is_ok_without_an_answer(store: SqliteStore, make_evaluation: MakeEvaluation, state: RowState) -> None:
    """The schema itself refuses it, and the whole sequence of events with it."""
    make_evaluation(rows=2)
    with pytest.raises(StoreError):
        store.record("ev-1", [Finished(key=RowKey(0), state=RowState.TIMEOUT), Finished(key=RowKey(1), state=state)])
    assert store.state_counts("ev-1") == {RowState.PENDING: 2}


def test_events_of_unknown_rows_are_refused(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """A row or an evaluation that is not there stops the run with an error, and nothing is written."""
    make_evaluation(rows=1)
    stray = Predicted(key=RowKey(0, 1), prediction=Reply(outputs=1, trace=make_trace("tr-stray")))
    with pytest.raises(StoreError, match=r"Row 0 \(repeat 1\)"):
        store.record("ev-1", [stray])
    with pytest.raises(StoreError, match="Row 9"):
        store.record("ev-1", [Finished(key=RowKey(9), state=RowState.TIMEOUT)])
    with pytest.raises(StoreError, match="'gone'"):
        store.record("gone", [stray])
    assert store.trace("tr-stray") is None


def test_unknown_evaluations_are_not_found(store: SqliteStore) -> None:
    """Before anything is read or written."""
    for ask in (
        lambda: store.pending("x"),
        lambda: store.rows("x"),
        lambda: store.verdicts("x"),
        lambda: store.add_rows("x", []),
        lambda: store.finish_evaluation("x", unfinished=RowState.CANCELLED),
    ):
        with pytest.raises(NotFound):
            ask()


def test_discarding_takes_the_rows_and_leaves_the_traces(
    store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace
) -> None:
    """What a target did stays known; rows of other evaluations stay too."""
    make_evaluation(rows=2)
    make_evaluation(rows=2, evaluation_id="ev-2")
    store.record("ev-1", [Predicted(key=RowKey(0), prediction=Reply(outputs=1, trace=make_trace("tr-1")))])
    store.discard_evaluation("ev-1")
    assert store.state_counts("ev-1") == {}
    assert store.state_counts("ev-2") == {RowState.PENDING: 2}
    assert store.trace("tr-1") is not None


def test_values_that_no_json_has_are_kept(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """NaN comes back as NaN; a value without end becomes a note, and no row is lost."""
    make_evaluation(rows=2)
    endless: list[object] = []
    endless.append(endless)
    store.record("ev-1", [Predicted(key=RowKey(0), prediction=Reply(outputs=[float("inf"), {1, 2}], trace=make_trace("tr-1")))])
    store.record("ev-1", [Predicted(key=RowKey(1), prediction=Reply(outputs=endless, trace=make_trace("tr-2")))])
    first, second = store.rows("ev-1")
    assert first.outputs == [float("inf"), [1, 2]]
    assert "not kept" in second.outputs


@pytest.mark.parametrize(
    ("finish", "found"),
    [
        (lambda store: None, True),
        (lambda store: store.finish_evaluation("ev-1", unfinished=RowState.OK, summary={}), False),
        (lambda store: store.finish_evaluation("ev-1", unfinished=RowState.TARGET_ERROR, summary={}), False),
        (lambda store: store.finish_evaluation("ev-1", unfinished=RowState.TARGET_ERROR), True),
        (lambda store: store.finish_evaluation("ev-1", unfinished=RowState.CANCELLED, summary={}), True),
        (lambda store: store.finish_evaluation("ev-1", unfinished=RowState.PENDING, summary={}), True),
    ],
    ids=["begun", "complete", "failed", "not summed up", "cancelled", "pending"],
)
def test_the_last_unfinished_evaluation(
    store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace, finish: Callable[[SqliteStore], object], found: bool
) -> None:
    """Unfinished is what has no figures, or rows that were not reached; failed rows have been."""
    evaluation = make_evaluation(rows=1)
    store.record("ev-1", [Predicted(key=RowKey(0), prediction=Reply(outputs=1, trace=make_trace()))])
    finish(store)
    experiment_id = store.experiments()[0].experiment_id
    like = store.last_evaluation(experiment_id, like=evaluation)
    assert (like is not None) is found
    last = store.last_evaluation(experiment_id)
    assert last is not None
    assert last.evaluation_id == "ev-1"
    assert store.last_evaluation(experiment_id, run_name="another") is None
