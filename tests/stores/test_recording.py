"""What `record` leaves behind: traces, expectations, verdicts and what they cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evalpoint.entities import (
    AssessmentError,
    AssessmentSource,
    Evaluation,
    Expectation,
    Feedback,
    Finished,
    Predicted,
    Reply,
    Row,
    RowKey,
    RowState,
    Scored,
    Spent,
    Trace,
    Verdict,
)
from evalpoint.errors import StoreError
from evalpoint.stores import SqliteStore

MakeEvaluation = Callable[..., Evaluation]
MakeTrace = Callable[..., Trace]
MakeRow = Callable[..., Row]
NOW_MS = 1_800_000_000_000
ROOT = f"{1:016x}"
KEY = RowKey(0)


def predicted(trace: Trace, row: int = 0, adopted: bool = False) -> Predicted:
    return Predicted(key=RowKey(row), prediction=Reply(outputs="A", trace=trace, adopted=adopted))


def test_a_trace_comes_home(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """With spans, in the run's experiment, and found by the run."""
    make_evaluation()
    store.record("ev-1", [predicted(make_trace("tr-1", spans=3))])
    trace = store.trace("tr-1")
    assert trace is not None
    assert [span.name for span in trace.data.spans] == ["step 0", "step 1", "step 2"]
    assert trace.data.spans == make_trace("tr-1", spans=3).data.spans
    assert trace.info.experiment_id == "1"
    assert trace.info.trace_metadata["mlflow.sourceRun"] == "run-1"
    assert [t.info.trace_id for t in store.search_traces(run_id="run-1")] == ["tr-1"]


def test_expectations_are_said_about_the_trace(
    store: SqliteStore, make_evaluation: MakeEvaluation, make_row: MakeRow, make_trace: MakeTrace
) -> None:
    """As HUMAN, with the run's id; what the trace says already is not repeated, another value is noted beside it, None is none."""
    make_evaluation(rows=0)
    store.add_rows("ev-1", [make_row(0, expectations={"expected_facts": ["a"], "known": 1, "nothing": None})])
    known = Expectation("known", 2, assessment_id="a-known")
    trace = make_trace().with_assessments([known])
    store.record("ev-1", [predicted(trace)])
    store.record("ev-1", [predicted(trace, adopted=True)])
    found = store.trace("tr-1")
    assert found is not None
    assert [(a.name, a.value) for a in found.info.assessments] == [("known", 2), ("expected_facts", ["a"]), ("known", 1)]
    fresh = found.info.assessments[1]
    assert (fresh.source.source_type, fresh.metadata) == ("HUMAN", {"mlflow.assessment.sourceRunId": "run-1"})
    assert (fresh.create_time_ms, fresh.trace_id) == (NOW_MS, "tr-1")
    assert (fresh.assessment_id or "").startswith("a-")


def test_tags_of_the_row_are_tags_of_the_trace(
    store: SqliteStore, make_evaluation: MakeEvaluation, make_row: MakeRow, make_trace: MakeTrace
) -> None:
    """Beside the trace's own, for linked traces too."""
    experiment = make_evaluation(rows=0)
    store.add_rows("ev-1", [make_row(0, tags={"slice": "short"}), make_row(1, tags={"slice": "long"})])
    store.save_trace(make_trace("tr-2", tags={"own": "2"}), experiment_id="1")
    store.record(
        experiment.evaluation_id, [predicted(make_trace("tr-1", tags={"own": "1"})), predicted(make_trace("tr-2"), 1, adopted=True)]
    )
    tags = {trace.info.trace_id: trace.info.tags for trace in store.search_traces()}
    assert tags == {"tr-1": {"own": "1", "slice": "short"}, "tr-2": {"own": "2", "slice": "long"}}


def test_an_adopted_trace_is_linked_not_written(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """It keeps its spans and serves both runs; one that is not there after all is written."""
    make_evaluation(rows=2)
    make_evaluation(rows=0, evaluation_id="ev-0", run_id="run-0")
    store.save_trace(make_trace("tr-1", spans=3), experiment_id="1", run_id="run-0")
    store.record("ev-1", [predicted(make_trace("tr-1", spans=0), adopted=True), predicted(make_trace("tr-2"), 1, adopted=True)])
    linked = store.trace("tr-1")
    assert linked is not None
    assert len(linked.data.spans) == 3
    assert {t.info.trace_id for t in store.search_traces(run_id="run-1")} == {"tr-1", "tr-2"}
    assert [t.info.trace_id for t in store.search_traces(run_id="run-0")] == ["tr-1"]


def test_a_verdict_comes_back_whole(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """Feedback with value, rationale, metadata, error and what pass_if said; the root span where the scorer named none."""
    make_evaluation()
    source = AssessmentSource("LLM_JUDGE", "openai:/gpt-4.1-mini")
    feedback = (
        Feedback("tone", value="yes", rationale="**polite**", source=source, metadata={"mlflow.assessment.judgeCost": "0.1"}),
        Feedback("tone/parts", value={"a": [1, 2.5, None]}, span_id="00000000000000aa"),
        Feedback("tone/broken", error=AssessmentError("X", "no", "stack")),
    )
    verdict = Verdict(feedback=feedback, passed=(True, None, False), spent=Spent(calls=1, input_tokens=10, output_tokens=2, cost=0.1))
    store.record("ev-1", [predicted(make_trace()), Scored(key=KEY, scorer="tone", verdict=verdict)])
    (record,) = store.verdicts("ev-1")
    assert (record.key, record.scorer) == (KEY, "tone")
    assert (record.verdict.passed, record.verdict.spent, record.verdict.error) == (verdict.passed, verdict.spent, None)
    first, second, third = record.verdict.feedback
    assert (first.value, first.rationale, first.source, first.span_id) == ("yes", "**polite**", source, ROOT)
    assert first.metadata == {"mlflow.assessment.judgeCost": "0.1", "mlflow.assessment.sourceRunId": "run-1"}
    assert (second.value, second.span_id) == ({"a": [1, 2.5, None]}, "00000000000000aa")
    assert (third.value, third.error) == (None, AssessmentError("X", "no", "stack"))
    assert (first.trace_id, first.create_time_ms, first.valid) == ("tr-1", NOW_MS, True)
    trace = store.trace("tr-1")
    assert trace is not None
    assert trace.search_assessments(type="feedback") == list(record.verdict.feedback)


def test_skipped_and_failed_are_verdicts_too(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """A failed scorer's error is shown on the trace, and is no feedback of its verdict."""
    make_evaluation()
    error = AssessmentError("SCORER_ERROR", "boom", "stack")
    store.record(
        "ev-1",
        [
            predicted(make_trace()),
            Scored(key=KEY, scorer="facts", verdict=Verdict(error=error)),
            Scored(key=KEY, scorer="tone", verdict=Verdict()),
            Finished(key=KEY, state=RowState.JUDGE_ERROR),
        ],
    )
    skipped, failed = store.verdicts("ev-1")
    assert skipped.verdict == Verdict()
    assert failed.verdict == Verdict(error=error)
    trace = store.trace("tr-1")
    assert trace is not None
    (shown,) = trace.info.assessments
    assert isinstance(shown, Feedback)
    assert (shown.name, shown.error, shown.source) == ("facts", error, AssessmentSource("CODE", "facts"))


def test_verdicts_come_in_order(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """By row and repeat, then as the evaluation lists its scorers, whatever order they answered in; those of others do not count."""
    make_evaluation(rows=230, scorers=("z", "a"))
    for row in (229, 3, 0):
        store.record(
            "ev-1",
            [predicted(make_trace(f"tr-{row}"), row)]
            + [
                Scored(key=RowKey(row), scorer=name, verdict=Verdict(feedback=(Feedback(name, value=row),)))
                for name in ("unlisted", "a", "z")
            ],
        )
    found = [(r.key.row, r.scorer, r.verdict.feedback[0].value) for r in store.verdicts("ev-1")]
    assert found == [(row, name, row) for row in (0, 3, 229) for name in ("z", "a")]


def test_asked_again_the_last_verdict_stands(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """Its feedback replaces the earlier one's, and what was spent before stays spent."""
    make_evaluation()
    spent = Spent(calls=1, input_tokens=5, output_tokens=1, cost=0.25)
    store.record(
        "ev-1", [predicted(make_trace()), Scored(key=KEY, scorer="tone", verdict=Verdict(error=AssessmentError("X"), spent=spent))]
    )
    again = Verdict(feedback=(Feedback("tone", value=True),), spent=Spent(calls=2))
    store.record("ev-1", [Scored(key=KEY, scorer="tone", verdict=again)])
    (record,) = store.verdicts("ev-1")
    assert (record.verdict.error, record.verdict.feedback[0].value) == (None, True)
    trace = store.trace("tr-1")
    assert trace is not None
    assert len(trace.info.assessments) == 1
    assert store.spent("ev-1") == {"tone": Spent(calls=3, input_tokens=5, output_tokens=1, cost=0.25)}


def test_spending_is_summed_per_scorer(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """A scorer whose calls have no price has no cost, which is not 0; absurd counts do not overflow."""
    make_evaluation(rows=3)
    for row, cost in enumerate((0.5, None, 0.25)):
        store.record(
            "ev-1",
            [
                predicted(make_trace(f"tr-{row}"), row),
                Scored(key=RowKey(row), scorer="tone", verdict=Verdict(spent=Spent(calls=1, input_tokens=10, cost=cost))),
                Scored(key=RowKey(row), scorer="facts", verdict=Verdict(spent=Spent(calls=1, output_tokens=10**30))),
            ],
        )
    spent = store.spent("ev-1")
    assert spent["tone"] == Spent(calls=3, input_tokens=30, cost=0.75)
    assert spent["facts"].cost is None
    assert spent["facts"].calls == 3


def test_a_scorers_own_trace_is_kept_apart(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """It is tagged with the scorer, pointed at by its feedback, and is no trace of the run."""
    make_evaluation()
    scored = Scored(key=KEY, scorer="tone", verdict=Verdict(feedback=(Feedback("tone", value=1),)), trace=make_trace("tr-judge"))
    store.record("ev-1", [predicted(make_trace()), scored])
    judge = store.trace("tr-judge")
    assert judge is not None
    assert judge.info.tags["mlflow.trace.sourceScorer"] == "tone"
    assert [t.info.trace_id for t in store.search_traces(run_id="run-1")] == ["tr-1"]
    (record,) = store.verdicts("ev-1")
    assert (record.verdict.feedback[0].metadata or {})["mlflow.assessment.scorerTraceId"] == "tr-judge"


def test_feedback_taken_from_the_trace_is_said_anew(store: SqliteStore, make_evaluation: MakeEvaluation, make_trace: MakeTrace) -> None:
    """A scorer may return feedback that has an id already; it gets its own, and none is lost."""
    make_evaluation()
    old = Feedback("thumb", value=True, assessment_id="a-1", valid=False, overrides="a-0")
    store.record(
        "ev-1", [predicted(make_trace().with_assessments([old])), Scored(key=KEY, scorer="tone", verdict=Verdict(feedback=(old,)))]
    )
    trace = store.trace("tr-1")
    assert trace is not None
    assert len(trace.info.assessments) == 2
    assert trace.info.assessments[0] == Feedback("thumb", value=True, assessment_id="a-1", valid=False, overrides="a-0", trace_id="tr-1",
                                                 create_time_ms=NOW_MS, last_update_time_ms=NOW_MS)  # fmt: skip


def test_a_verdict_needs_a_committed_answer(store: SqliteStore, make_evaluation: MakeEvaluation) -> None:
    """A verdict on a row without an answer is refused."""
    make_evaluation()
    with pytest.raises(StoreError, match="whose answer is not in the store"):
        store.record("ev-1", [Scored(key=KEY, scorer="tone", verdict=Verdict())])
