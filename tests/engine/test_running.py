"""The engine: every row that goes in comes out once, whatever the functions do."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from evalpoint.engine import Live, Sheet, run
from evalpoint.entities import (
    AssessmentSource,
    Failure,
    Feedback,
    Finished,
    Given,
    Predicted,
    Reply,
    Row,
    RowKey,
    RowState,
    Scored,
    Verdict,
)
from evalpoint.errors import Stalled
from evalpoint.protocols import Subject, Task
from evalpoint.settings import Settings
from evalpoint.tracing import Recorder, start_span

RECORDER = Recorder(experiment_id="1", run_id="r")


class Code:
    """A grader out of a function of the subject."""

    def __init__(self, name: str, function: Any, timeout: float | None = None) -> None:
        self.name = name
        self.function = function
        self.timeout = timeout
        self.source = AssessmentSource("CODE", name)

    def ask(self, subject: Subject) -> Any:
        return self.function(subject)

    def verdict(self, answer: Any) -> Verdict:
        return Verdict() if answer is None else Verdict(feedback=(Feedback(name=self.name, value=answer),))


def rows(count: int) -> Iterator[Task]:
    return (Task(row=Row(key=RowKey(i), inputs={"n": i})) for i in range(count))


def events_of(function: Any, graders: Any = (), count: int = 5, **settings: Any) -> list[Any]:
    happened = run(rows(count), target=Live(name="f", call=function), graders=graders, recorder=RECORDER, settings=Settings(**settings))
    return [event for batch in happened for event in batch]


def states(events: list[Any]) -> dict[int, str]:
    return {e.key.row: e.state.value for e in events if isinstance(e, Finished)}


def test_a_row_is_predicted_scored_and_finished_in_this_order() -> None:
    """One Predicted, one Scored per scorer, one Finished, for each row."""
    events = events_of(lambda n: n * 2, [Code("a", lambda s: s.outputs == s.inputs["n"] * 2), Code("b", lambda s: None)], count=3)
    for row in range(3):
        mine = [e for e in events if e.key.row == row]
        assert [type(e) for e in mine] == [Predicted, Scored, Scored, Finished]
        assert {e.scorer: e.verdict.skipped for e in mine if isinstance(e, Scored)} == {"a": False, "b": True}
    assert states(events) == {0: "ok", 1: "ok", 2: "ok"}


def test_a_failed_prediction_is_not_scored() -> None:
    """The scorers never see it; the failure has its cause and its trace."""

    def flaky(n: int) -> int:
        if n == 1:
            raise LookupError("no such customer")
        return n

    asked: list[int] = []
    events = events_of(flaky, [Code("a", lambda s: asked.append(s.inputs["n"]) or 1)], count=3)
    assert states(events) == {0: "ok", 1: "target_error", 2: "ok"}
    assert sorted(asked) == [0, 2]
    (failure,) = [e.prediction for e in events if isinstance(e, Predicted) and isinstance(e.prediction, Failure)]
    assert (failure.error.error_code, failure.error.error_message) == ("LookupError", "no such customer")
    assert failure.trace is not None
    assert failure.trace.info.state.value == "ERROR"


def test_a_failed_scorer_leaves_the_others_standing() -> None:
    """The row ends as judge_error, with the verdicts that there are."""
    events = events_of(lambda n: n, [Code("good", lambda s: 1), Code("bad", lambda s: 1 / 0)], count=1)
    verdicts = {e.scorer: e.verdict for e in events if isinstance(e, Scored)}
    assert verdicts["good"].feedback[0].value == 1
    assert verdicts["bad"].error is not None
    assert "division by zero" in (verdicts["bad"].error.error_message or "")
    assert states(events) == {0: "judge_error"}


@pytest.mark.parametrize(
    "error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()], ids=lambda e: type(e).__name__
)
def test_no_exception_of_the_users_function_loses_a_row(error: BaseException) -> None:
    """Even what is no Exception is that row's failure, and the worker lives on."""

    def leave(n: int) -> int:
        if n == 0:
            raise error
        return n

    assert states(events_of(leave, count=3, max_workers=1)) == {0: "target_error", 1: "ok", 2: "ok"}


def test_async_functions_share_one_loop() -> None:
    """A lock made on the loop by one row works for every other, and the concurrency is the workers'."""
    lock: list[asyncio.Lock] = []
    loops: set[int] = set()

    async def predict(n: int) -> int:
        loops.add(id(asyncio.get_running_loop()))
        if not lock:
            lock.append(asyncio.Lock())
        async with lock[0]:
            await asyncio.sleep(0)
        return n

    async def grade(subject: Subject) -> int:
        loops.add(id(asyncio.get_running_loop()))
        return 1

    events = events_of(predict, [Code("a", grade)], count=40)
    assert set(states(events).values()) == {"ok"}
    assert len(loops) == 1


def test_an_async_function_without_end_is_cancelled() -> None:
    """After the limit the row is a timeout, and the others are not kept waiting by it."""

    ended = threading.Event()

    async def hang(n: int) -> int:
        if n == 0:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.set()
                raise
        await asyncio.sleep(0.01)
        return ended.is_set()

    events = events_of(hang, count=3, async_timeout=0.1, max_workers=1)
    assert states(events) == {0: "timeout", 1: "ok", 2: "ok"}
    replies = {e.key.row: e.prediction for e in events if isinstance(e, Predicted)}
    assert replies[1].outputs is True


def test_a_function_inside_a_running_loop() -> None:
    """A notebook's own loop is no obstacle."""

    async def notebook() -> dict[int, str]:
        async def predict(n: int) -> int:
            return n

        return states(events_of(predict, count=2))

    assert asyncio.run(notebook()) == {0: "ok", 1: "ok"}


def test_scorers_are_asked_after_the_answer_is_acknowledged() -> None:
    """Until the caller asks for the next batch, no scorer of the row has begun."""
    asked = threading.Event()
    happened = run(
        rows(1),
        target=Live(name="f", call=lambda n: n),
        graders=[Code("a", lambda s: asked.set() or 1)],
        recorder=RECORDER,
        settings=Settings(),
    )
    batch = next(b for b in happened if b)
    assert isinstance(batch[0], Predicted)
    time.sleep(0.05)
    assert not asked.is_set()
    rest = [e for b in happened for e in b]
    assert asked.is_set()
    assert isinstance(rest[-1], Finished)


@pytest.mark.parametrize(
    ("workers", "lanes", "graders", "expected"), [(4, 10, 3, 12), (3, 2, 4, 6), (2, 1, 4, 2)], ids=["all", "some", "one"]
)
def test_concurrent_scorer_calls(workers: int, lanes: int, graders: int, expected: int) -> None:
    """As many as rows at a time, times the smaller of scorers at a time and scorers."""
    lock = threading.Lock()
    now: Counter[Any] = Counter()
    most: Counter[Any] = Counter()

    def grade(subject: Subject) -> int:
        mine = ("all", subject.inputs["n"])
        with lock:
            for key in mine:
                now[key] += 1
                most[key] = max(most[key], now[key])
        time.sleep(0.03)
        with lock:
            now.subtract(mine)
        return 1

    events_of(lambda n: n, [Code(f"g{i}", grade) for i in range(graders)], count=12, max_workers=workers, max_scorer_workers=lanes)
    assert most.pop("all") == expected
    assert max(most.values()) == min(lanes, graders)


def test_no_more_rows_are_read_than_fit_between_the_pools() -> None:
    """With scorers that wait, predicting stops after a bounded number of rows."""
    read: list[int] = []
    go = threading.Event()

    def counted() -> Iterator[Task]:
        for task in rows(500):
            read.append(task.row.key.row)
            yield task

    happened = run(
        counted(), target=Live(name="f", call=lambda n: n), graders=[Code("a", lambda s: go.wait(5) and 1)], recorder=RECORDER,
        settings=Settings(max_workers=4),
    )  # fmt: skip
    deadline = time.monotonic() + 1.0
    for _ in happened:
        if time.monotonic() > deadline:
            break
    assert len(read) <= 4 * 4
    go.set()
    assert len({e.key for b in happened for e in b if isinstance(e, Finished)}) == 500


def test_scorers_get_copies_and_rows_are_not_shared() -> None:
    """What a predict function changes in its arguments is not seen by the scorers."""

    def greedy(n: int, items: list[int]) -> int:
        items.clear()
        return n

    row = Row(key=RowKey(0), inputs={"n": 1, "items": [1, 2]})
    happened = run(
        [Task(row=row)],
        target=Live(name="f", call=greedy),
        graders=[Code("a", lambda s: len(s.inputs["items"]))],
        recorder=RECORDER,
        settings=Settings(),
    )
    scored = [e for b in happened for e in b if isinstance(e, Scored)]
    assert scored[0].verdict.feedback[0].value == 2


def test_each_row_has_its_own_spans() -> None:
    """200 rows at 64 workers: every trace is complete and none is mixed."""

    def traced(n: int) -> int:
        with start_span("outer") as outer:
            outer.set_inputs(n)
            with start_span("inner") as inner:
                inner.set_inputs(n)
                time.sleep(0.001)
        return n

    events = events_of(traced, count=200, max_workers=64)
    replies = {e.key.row: e.prediction for e in events if isinstance(e, Predicted)}
    assert len(replies) == 200
    for row, reply in replies.items():
        assert isinstance(reply, Reply)
        assert [(s.name, s.inputs) for s in reply.trace.data.spans] == [("outer", row), ("inner", row)]


def test_context_variables_reach_the_functions() -> None:
    """Each call runs in a copy of the caller's context: it sees the caller's values and leaves none behind."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    def predict(n: int) -> int:
        seen.append(variable.get())
        variable.set(f"row {n}")
        return n

    variable.set("caller")
    events_of(predict, count=4, max_workers=1)
    assert seen == ["caller"] * 4
    assert variable.get() == "caller"


def test_closing_early_ends_the_workers() -> None:
    """After close no further row is begun."""
    begun: list[int] = []

    def slow(n: int) -> int:
        begun.append(n)
        time.sleep(0.02)
        return n

    happened = run(rows(1000), target=Live(name="f", call=slow), graders=[], recorder=RECORDER, settings=Settings(max_workers=2))
    next(b for b in happened if b)
    happened.close()
    time.sleep(0.05)
    after = len(begun)
    time.sleep(0.1)
    assert len(begun) == after < 20


def test_closing_early_asks_no_further_scorer() -> None:
    """Scorers that wait for a worker when the generator is closed are never asked."""
    asked: list[int] = []
    go = threading.Event()

    def grade(subject: Subject) -> int:
        asked.append(subject.inputs["n"])
        go.wait(5)
        return 1

    happened = run(
        rows(6), target=Live(name="f", call=lambda n: n), graders=[Code("a", grade)], recorder=RECORDER, settings=Settings(max_workers=1)
    )
    predicted = 0
    for batch in happened:
        predicted += sum(isinstance(e, Predicted) for e in batch)
        if predicted >= 2 and not batch:
            break
    happened.close()
    go.set()
    time.sleep(0.1)
    assert predicted >= 2
    assert len(asked) == 1


def test_cancel_finishes_what_is_in_work() -> None:
    """Once the event is set no further row is begun, and those begun are finished."""
    cancel = threading.Event()
    happened = run(
        rows(1000),
        target=Live(name="f", call=lambda n: time.sleep(0.005) or n),
        graders=[],
        recorder=RECORDER,
        settings=Settings(max_workers=4),
        cancel=cancel,
    )
    predicted = finished = 0
    for batch in happened:
        predicted += sum(isinstance(e, Predicted) for e in batch)
        finished += sum(isinstance(e, Finished) for e in batch)
        if predicted >= 20:
            cancel.set()
    assert predicted == finished < 60


def test_given_answers_are_not_predicted() -> None:
    """A sheet's rows go straight to the scorers."""
    given = [Task(row=Row(key=RowKey(i), inputs={"n": i}, given=Given(outputs=i))) for i in range(3)]
    happened = run(
        given, target=Sheet(reply=RECORDER.given), graders=[Code("a", lambda s: s.outputs)], recorder=RECORDER, settings=Settings()
    )
    events = [e for b in happened for e in b]
    assert states(events) == {0: "ok", 1: "ok", 2: "ok"}


def test_only_what_is_missing_is_asked() -> None:
    """A row that comes with its answer is not predicted, scorers whose verdicts stand are not asked, and the end counts all of them."""
    trace = RECORDER.given(Row(key=RowKey(0), inputs={"n": 0}, given=Given(outputs=0))).trace
    asked: list[tuple[str, int]] = []

    def grader(name: str) -> Code:
        return Code(name, lambda s: asked.append((name, s.outputs)) or (1 / 0 if s.outputs == 20 else 1))

    def task(row: int, *answered: str) -> Task:
        reply = Reply(outputs=row * 10, trace=trace, adopted=True)
        return Task(row=Row(key=RowKey(row), inputs={"n": row}), reply=reply, answered=frozenset(answered))

    tasks = [task(0, "a", "b"), task(1, "a"), task(2, "b"), task(3), Task(row=Row(key=RowKey(4), inputs={"n": 4}))]
    happened = run(
        tasks, target=Live(name="f", call=lambda n: n * 10), graders=[grader("a"), grader("b")], recorder=RECORDER, settings=Settings()
    )
    events = [e for b in happened for e in b]
    assert [e.key.row for e in events if isinstance(e, Predicted)] == [4]
    assert sorted(asked) == [("a", 20), ("a", 30), ("a", 40), ("b", 10), ("b", 30), ("b", 40)]
    assert states(events) == {0: "ok", 1: "ok", 2: "judge_error", 3: "ok", 4: "ok"}


def test_nothing_to_do() -> None:
    """No rows, no events, and no waiting."""
    assert events_of(lambda n: n, count=0) == []


def test_a_defect_of_our_own_stops_the_run() -> None:
    """What is not the user's failure is raised on the caller's thread, and does not hang."""

    def no_reply(row: Row) -> Reply:
        raise AssertionError("defect")

    happened = run(rows(1), target=Sheet(reply=no_reply), graders=[], recorder=RECORDER, settings=Settings())
    with pytest.raises(AssertionError, match="defect"):
        list(happened)


def test_scorer_tracing_keeps_a_trace_of_the_asking() -> None:
    """The event has the trace, and the feedback names it."""
    events = events_of(lambda n: n, [Code("a", lambda s: 1)], count=1, scorer_tracing=True)
    (scored,) = [e for e in events if isinstance(e, Scored)]
    assert scored.trace is not None
    assert (scored.verdict.feedback[0].metadata or {})["mlflow.assessment.scorerTraceId"] == scored.trace.info.trace_id
    (plain,) = [e for e in events_of(lambda n: n, [Code("a", lambda s: 1)], count=1) if isinstance(e, Scored)]
    assert plain.trace is None


def test_outputs_are_plain_and_finite() -> None:
    """What a function returns is kept as JSON; what JSON cannot hold fails that row alone."""

    def odd(n: int) -> Any:
        loop: list[Any] = []
        loop.append(loop)
        return [{1, 2}, float("nan"), loop][n]

    events = events_of(odd, count=3)
    replies = {e.key.row: e.prediction for e in events if isinstance(e, Predicted)}
    assert replies[0].outputs == [1, 2]
    assert replies[1].outputs == "NaN"
    assert states(events)[2] == "target_error"


def test_states_are_the_ones_of_the_design() -> None:
    """The names are an interface: they are in files and tables."""
    assert [state.value for state in RowState] == ["ok", "judge_error", "target_error", "timeout", "skipped_budget", "cancelled", "pending"]


# ---- deadlines -----------------------------------------------------------------------------------------------------------


def test_a_prediction_without_end_is_abandoned() -> None:
    """Its row is a timeout with a trace, another worker takes over, and what it still returns is dropped."""
    go = threading.Event()

    def hang(n: int) -> int:
        if n == 0:
            go.wait(10)
        return n

    happened = run(
        rows(4), target=Live(name="f", call=hang), graders=[], recorder=RECORDER, settings=Settings(max_workers=1, row_timeout=0.2)
    )
    events = [event for batch in happened for event in batch]
    go.set()
    assert states(events) == {0: "timeout", 1: "ok", 2: "ok", 3: "ok"}
    (failure,) = [e.prediction for e in events if isinstance(e, Predicted) and isinstance(e.prediction, Failure)]
    assert "row_timeout" in (failure.error.error_message or "")
    assert failure.trace is not None
    assert len([e for e in events if e.key.row == 0]) == 2


def test_a_scorer_without_end_is_abandoned() -> None:
    """The row is a judge_error, the other verdicts stand, and the scorers that waited are asked."""
    go = threading.Event()
    hanging = Code("hanging", lambda s: go.wait(10), timeout=0.2)
    events = events_of(lambda n: n, [hanging, Code("good", lambda s: 1), Code("better", lambda s: 2)], count=2, max_scorer_workers=1)
    go.set()
    assert states(events) == {0: "judge_error", 1: "judge_error"}
    verdicts = {(e.key.row, e.scorer): e.verdict for e in events if isinstance(e, Scored)}
    assert verdicts[0, "hanging"].error is not None
    assert verdicts[0, "hanging"].error.error_code == "SCORER_TIMEOUT"
    assert [verdicts[1, name].feedback[0].value for name in ("good", "better")] == [1, 2]


def test_a_run_whose_calls_do_not_return_is_stopped() -> None:
    """At twice the workers abandoned it ends with a reason, after telling of all of them."""
    go = threading.Event()
    told: list[Any] = []
    target = Live(name="f", call=lambda n: go.wait(10))
    happened = run(rows(50), target=target, graders=[], recorder=RECORDER, settings=Settings(max_workers=2, row_timeout=0.1))
    with pytest.raises(Stalled, match="4 calls did not return"):
        told.extend(event for batch in happened for event in batch)
    go.set()
    assert states(told) == dict.fromkeys(range(4), "timeout")


def test_timeouts_spread_over_a_run_do_not_stop_it() -> None:
    """Calls that come back late, one after the other, are timeouts of their rows and no more."""

    def slow(n: int) -> int:
        time.sleep(0.5 if n % 4 == 0 else 0)
        return n

    happened = run(
        rows(32), target=Live(name="f", call=slow), graders=[], recorder=RECORDER, settings=Settings(max_workers=2, row_timeout=0.1)
    )
    events = [event for batch in happened for event in batch]
    assert states(events) == {n: "timeout" if n % 4 == 0 else "ok" for n in range(32)}


def test_a_blocking_async_function_does_not_take_the_others_along(caplog: pytest.LogCaptureFixture) -> None:
    """The loop that it silences is replaced, with one warning that names the line."""
    go = threading.Event()

    async def block(n: int) -> int:
        if n == 0:
            go.wait(10)  # blocks the event loop here
        await asyncio.sleep(0)
        return n

    events = events_of(block, count=4, async_timeout=0.2, max_workers=1)
    go.set()
    assert states(events) == {0: "timeout", 1: "ok", 2: "ok", 3: "ok"}
    assert len(caplog.records) == 1
    assert "threading.py" in caplog.text or "test_running.py" in caplog.text
