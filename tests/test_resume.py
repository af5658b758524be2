"""Going on with a run: what is asked again, what is not, and that the outcome is that of a run that nothing disturbed."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import evalpoint
from evalpoint import Feedback, scorer
from evalpoint.destination import current_store
from evalpoint.entities import Resumed, Run, RunInfo, RunStatus
from evalpoint.errors import DataError, NotFound, UsageError
from evalpoint.resumption import Hold
from evalpoint.stores import open_store
from evalpoint.stores.leases import Process

Rows = list[dict[str, Any]]


def rows(count: int) -> Rows:
    return [{"inputs": {"n": n}, "expectations": {"least": n - 1}, "tags": {"kind": "a"}} for n in range(count)]


def evaluate(*args: Any, **kwargs: Any) -> evalpoint.EvaluationResult:
    return evalpoint.evaluate(*args, progress=False, **kwargs)


class Bench:
    """A target and scorers that count what they are asked, and fail where they are told to."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()
        self.failing: set[tuple[str, int]] = set()
        self.lock = threading.Lock()

    def ask(self, who: str, n: int) -> None:
        with self.lock:
            self.asked[who, n] += 1
        if (who, n) in self.failing:
            raise ValueError(f"{who} fails on {n}")

    def predict(self, n: int) -> dict[str, int]:
        self.ask("predict", n)
        return {"n": n}

    def grader(self, name: str) -> Any:
        def grade(outputs: Any, expectations: Any) -> Any:
            self.ask(name, outputs["n"])
            return None if outputs["n"] % 5 == 4 else Feedback(value=outputs["n"] > expectations.get("least", 0), rationale=name)

        return scorer(name=name)(grade)

    def since(self) -> dict[str, list[int]]:
        """What has been asked since the last time, per who."""
        with self.lock:
            asked, self.asked = self.asked, Counter()
        return {who: sorted(n for (by, n), times in asked.items() if by == who for _ in range(times)) for who in {who for who, _ in asked}}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def table(result: evalpoint.EvaluationResult) -> list[Any]:
    """All that a reader sees of the rows, but for what differs from call to call."""
    frame = result.result_df.drop(columns=["trace_id", "latency_ms", "error"])
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def test_only_what_is_missing_is_asked(bench: Bench) -> None:
    """Failed predictions and failed verdicts are redone, skipped and given ones are not; run, evaluation and number stay."""
    bench.failing = {("predict", 1), ("a", 3), ("b", 3), ("b", 5)}
    first = evaluate(rows(6), [bench.grader("a"), bench.grader("b")], bench.predict, run_name="nightly")
    assert first.states == {"ok": 3, "target_error": 1, "judge_error": 2}
    assert first.resumed is None
    bench.since()
    bench.failing = set()
    second = evaluate(rows(6), [bench.grader("a"), bench.grader("b")], bench.predict, resume="nightly")
    assert bench.since() == {"predict": [1], "a": [1, 3], "b": [1, 3, 5]}
    assert (second.run_id, second.evaluation_id) == (first.run_id, first.evaluation_id)
    assert second.states == {"ok": 6}
    assert second.resumed == Resumed(kept=3, redone=1, rescored=2, target_before="predict", target="predict")
    fresh = evaluate(rows(6), [bench.grader("a"), bench.grader("b")], bench.predict)
    assert table(second) == table(fresh)
    assert second.metrics == fresh.metrics
    run = evalpoint.get_run(first.run_id)
    assert (run.info.status.value, run.interrupted, run.data.metrics["errors/rate"]) == ("FINISHED", False, 0.0)
    assert len(evalpoint.search_traces(run_id=first.run_id, return_type="list")) == 6


def test_what_was_cancelled_is_done(bench: Bench) -> None:
    """Rows that a cancelled run never reached are asked for; the others are not."""
    cancel = threading.Event()

    def predict(n: int) -> dict[str, int]:
        if n == 5:
            cancel.set()
        return bench.predict(n)

    evaluate(rows(40), [bench.grader("a")], predict, cancel=cancel, max_workers=2)
    before = bench.since()["predict"]
    assert len(before) < 40
    result = evaluate(rows(40), [bench.grader("a")], predict, resume="auto")
    assert sorted(before + bench.since()["predict"]) == list(range(40))
    assert result.states == {"ok": 40}


def changed(rows: Rows, at: int, **more: Any) -> Rows:
    return [{**row, **more} if number == at else row for number, row in enumerate(rows)]


WITH_IDS = [{**row, "request_id": f"r{number}"} for number, row in enumerate(rows(6))]
SHEET = [{**row, "outputs": row["inputs"]} for row in rows(6)]


@pytest.mark.parametrize(
    ("before", "after", "asked", "counts"),
    [
        (rows(6), rows(8), {"predict": [6, 7], "a": [6, 7]}, {"kept": 6, "added": 2}),
        (rows(6), rows(4), {}, {"kept": 4, "removed": 2}),
        (rows(6), rows(6)[2:], {}, {"kept": 4, "removed": 2}),
        (rows(6), rows(6)[::-1], {}, {"kept": 6, "reordered": 6}),
        (rows(6), [*rows(6)[1:], rows(6)[0]], {}, {"kept": 6, "reordered": 6}),
        (rows(6), [*rows(8)[6:], *rows(6)], {"predict": [6, 7], "a": [6, 7]}, {"kept": 6, "added": 2}),
        (rows(6), rows(6) + rows(1), {"predict": [0], "a": [0]}, {"kept": 6, "added": 1}),
        (rows(6), changed(rows(6), 2, inputs={"n": 9}), {"predict": [9], "a": [9]}, {"kept": 5, "added": 1, "removed": 1}),
        (WITH_IDS, changed(WITH_IDS, 2, inputs={"n": 9}), {"predict": [9], "a": [9]}, {"kept": 5, "redone": 1, "edited": 1}),
        (WITH_IDS, changed(WITH_IDS, 2, expectations={"least": 7}), {"a": [2]}, {"kept": 5, "rescored": 1}),
        (rows(6), changed(rows(6), 2, expectations={"least": 7}), {"a": [2]}, {"kept": 5, "rescored": 1}),
        (rows(6), changed(rows(6), 2, tags={"kind": "b"}), {"a": [2]}, {"kept": 5, "rescored": 1}),
        (SHEET, changed(SHEET, 2, outputs={"n": 9}), {"a": [9]}, {"kept": 5, "redone": 1, "edited": 1}),
        (SHEET, SHEET, {}, {"kept": 6}),
    ],
    ids=[
        "added", "removed", "removed in front", "reversed", "rotated", "added in front", "added again", "other inputs", "edited",
        "expectations by id", "expectations", "tags", "given answer", "sheet",
    ],
)  # fmt: skip
def test_changed_data(bench: Bench, before: Rows, after: Rows, asked: Any, counts: dict[str, int]) -> None:
    """What has changed is recognised and told, only what it touches is asked, and the outcome is that of the new data."""
    target = None if "outputs" in before[0] else bench.predict
    name = None if target is None else "predict"
    evaluate(before, [bench.grader("a")], target)
    bench.since()
    result = evaluate(after, [bench.grader("a")], target, resume="last")
    assert bench.since() == asked
    assert result.resumed == Resumed(**counts, target_before=name, target=name)
    fresh = evaluate(after, [bench.grader("a")], target)
    assert table(result) == table(fresh)
    assert result.metrics == fresh.metrics
    assert len(evalpoint.search_traces(run_id=result.run_id, return_type="list")) == len(result)


def test_changed_expectations_are_on_the_trace(bench: Bench) -> None:
    """The new ones take the place of the old ones, as the new tags do; what people said stays."""
    first = evaluate(rows(2), [bench.grader("a")], bench.predict)
    trace_id = first.result_df["trace_id"][1]
    evalpoint.log_expectation(trace_id=trace_id, name="tone", value="warm")
    evaluate(changed(rows(2), 1, expectations={"most": 5}, tags={"sort": "b"}), [bench.grader("a")], bench.predict, resume="last")
    trace = evalpoint.get_trace(trace_id)
    assert trace is not None
    assert {a.name: a.value for a in trace.info.assessments} == {"tone": "warm", "most": 5, "a": True}
    assert trace.info.tags["sort"] == "b"
    assert "kind" not in trace.info.tags


def test_scorers_see_the_trace_as_the_target_left_it() -> None:
    """What the run has said about it meanwhile would be another scorer's verdict, or the expectations, which have a place of their own."""
    seen: list[int] = []

    @scorer
    def first(outputs: Any) -> bool:
        return True

    @scorer
    def second(trace: Any) -> bool:
        seen.append(len(trace.info.assessments))
        if len(seen) == 1:
            raise ValueError("later")
        return True

    evaluate(rows(1), [first, second], lambda n: n)
    evaluate(rows(1), [first, second], lambda n: n, resume="last")
    assert seen == [0, 0]


def test_scorers_come_and_go(bench: Bench) -> None:
    """A new one is asked about every answer; one left out counts no longer, not in a metric nor in a state; back again it is not asked."""
    a, b, c = (bench.grader(name) for name in "abc")
    bench.failing = {("b", 2)}
    evaluate(rows(4), [a, b], bench.predict)
    bench.since()
    result = evaluate(rows(4), [c, a], bench.predict, resume="last")
    assert bench.since() == {"c": [0, 1, 2, 3]}
    assert result.resumed == Resumed(rescored=4, scorers_added=("c",), scorers_removed=("b",), target_before="predict", target="predict")
    assert (set(result.metrics), result.states, result.failures) == ({"a/mean", "c/mean"}, {"ok": 4}, [])
    assert "b/mean" not in evalpoint.get_run(result.run_id).data.metrics
    bench.failing = set()
    again = evaluate(rows(4), [a, b, c], bench.predict, resume="last")
    assert bench.since() == {"b": [2]}
    assert table(again) == table(evaluate(rows(4), [a, b, c], bench.predict))


@pytest.mark.parametrize(
    ("first", "second", "asked", "counts"),
    [(1, 3, {"predict": [0, 0, 1, 1], "a": [0, 0, 1, 1]}, {"kept": 2, "added": 4}), (3, 1, {}, {"kept": 2, "removed": 4})],
    ids=["more", "fewer"],
)
def test_changed_repeats(bench: Bench, first: int, second: int, asked: Any, counts: dict[str, int]) -> None:
    """More are added, fewer are removed."""
    evaluate(rows(2), [bench.grader("a")], bench.predict, repeats=first)
    bench.since()
    result = evaluate(rows(2), [bench.grader("a")], bench.predict, repeats=second, resume="last")
    assert bench.since() == asked
    assert result.resumed == Resumed(**counts, target_before="predict", target="predict")
    assert table(result) == table(evaluate(rows(2), [bench.grader("a")], bench.predict, repeats=second))


def test_a_changed_target_is_told(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """On one line, with everything else that was found, before anything is asked; answers that are there stay."""
    evaluate(rows(3), [], bench.predict, run_name="nightly")

    def other(n: int) -> dict[str, int]:
        assert "the target was predict and is now other" in capsys.readouterr().err
        return {"n": n}

    result = evaluate(rows(4), [], other, resume="nightly")
    assert result.states == {"ok": 4}
    assert result.resumed is not None
    assert result.resumed.target_changed
    assert str(result.resumed) == "3 rows kept, 0 redone, 1 added; the target was predict and is now other"


def test_bad_data_changes_nothing(bench: Bench) -> None:
    """Neither rows nor figures nor the run's state, and nobody is kept from it afterwards."""
    first = evaluate(rows(4), [bench.grader("a")], bench.predict)
    before = (evalpoint.get_run(first.run_id), table(first))
    bench.since()
    for data in ([*rows(5), {"inputs": {"m": 1}}], [], [{"inputs": 3}]):
        with pytest.raises(DataError):
            evaluate(data, [bench.grader("a"), bench.grader("b")], bench.predict, resume="last", tags={"x": "y"})
    assert bench.since() == {}
    assert (evalpoint.get_run(first.run_id), table(first)) == before
    assert evaluate(rows(4), [bench.grader("a")], bench.predict, resume="last").metrics == first.metrics


def test_costs_of_verdicts_that_are_taken_back_stay_spent() -> None:
    """What was paid is paid, whether its row is edited or gone."""
    from evalpoint.mocks import MockWorkspace

    with MockWorkspace() as workspace, workspace.exported():
        workspace.chat("bot")
        judge = workspace.judge("judge")
        data = [{"inputs": {"question": f"q{n}"}, "expectations": {"expected_facts": ["x"]}} for n in range(3)]
        arguments: Any = ([evalpoint.scorers.Correctness(model="endpoints:/judge")], evalpoint.to_predict_fn("endpoints:/bot"))
        evaluate(data, *arguments)
        result = evaluate(changed(data, 0, expectations={"expected_facts": ["y"]})[:2], *arguments, resume="last")
        assert judge.calls == 4
        assert result.judge_usage["correctness"].calls == 4


# ---- which run -------------------------------------------------------------------------------------------------------------


def test_last_is_the_newest_that_has_an_evaluation(bench: Bench) -> None:
    """Of the active experiment, finished or not."""
    evalpoint.set_experiment("other")
    evaluate(rows(1), [], bench.predict)
    evalpoint.set_experiment("mine")
    with pytest.raises(UsageError, match="'mine' has an evaluation"):
        evaluate(rows(1), [], bench.predict, resume="last")
    evaluate(rows(1), [], bench.predict)
    newest = evaluate(rows(1), [], bench.predict)
    with evalpoint.start_run():
        pass
    assert evaluate(rows(1), [], bench.predict, resume="last").run_id == newest.run_id


@pytest.mark.parametrize(
    ("more", "resumed"),
    [
        ({}, True),
        ({"dataset_name": "other"}, False),
        ({"repeats": 2}, False),
        ({"scorers": ["a"]}, False),
        ({"scorers": ["b", "a"]}, True),
        ({"run_name": "first"}, True),
        ({"run_name": "second"}, False),
    ],
    ids=["same", "data", "repeats", "scorers", "order of scorers", "name", "other name"],
)
def test_auto(bench: Bench, more: dict[str, Any], resumed: bool) -> None:
    """The newest unfinished run of the same target, scorers, repeats and name of the data; else a new one."""
    cancelled = threading.Event()
    cancelled.set()

    def graders(names: list[str]) -> list[Any]:
        return [bench.grader(name) for name in names]

    unfinished = evaluate(rows(3), graders(["a", "b"]), bench.predict, cancel=cancelled, run_name="first")
    evaluate(rows(3), graders(["a", "b"]), bench.predict, run_name="finished")
    asked = {"scorers": ["a", "b"], **more}
    result = evaluate(rows(3), graders(asked.pop("scorers")), bench.predict, resume="auto", **asked)
    assert (result.run_id == unfinished.run_id) is resumed
    assert (result.resumed is not None) is resumed
    again = evaluate(rows(3), graders(["a", "b"]), bench.predict, resume="auto")
    assert (again.run_id == unfinished.run_id) is not resumed


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"resume": "nobody"}, NotFound, "'nobody' does not exist"),
        ({"resume": 3}, UsageError, '"last" or "auto"'),
        ({"resume": ""}, UsageError, '"last" or "auto"'),
        ({"resume": "nightly", "run_name": "daily"}, UsageError, "called 'nightly'"),
        ({"resume": "last", "run_name": "daily"}, UsageError, "called 'nightly'"),
    ],
    ids=["unknown", "number", "empty", "renamed", "last renamed"],
)
def test_what_cannot_be_resumed(bench: Bench, arguments: Any, error: type[Exception], message: str) -> None:
    """Each mistake has its sentence, and costs nothing."""
    evaluate(rows(1), [], bench.predict, run_name="nightly")
    with pytest.raises(error, match=message):
        evaluate(rows(2), [], bench.predict, **arguments)
    assert bench.asked == {("predict", 0): 1}
    assert evaluate(rows(1), [], bench.predict, resume="nightly", run_name="nightly").run_name == "nightly"


def test_inside_an_active_run(bench: Bench) -> None:
    """Only that run is resumed: its last evaluation, by whatever name."""
    other = evaluate(rows(1), [], bench.predict)
    with evalpoint.start_run(run_name="mine") as run:
        with pytest.raises(UsageError, match="'mine' has no evaluation"):
            evaluate(rows(1), [], bench.predict, resume="last")
        with pytest.raises(UsageError, match="'mine' is active"):
            evaluate(rows(1), [], bench.predict, resume=other.run_id)
        new = evaluate(rows(2), [], bench.predict, resume="auto")
        assert (new.run_id, new.resumed) == (run.info.run_id, None)
        for name in ("last", "mine", run.info.run_id):
            assert evaluate(rows(2), [], bench.predict, resume=name).evaluation_id == new.evaluation_id
        assert evaluate(rows(2), [], bench.predict, resume="auto").evaluation_id != new.evaluation_id
        assert evalpoint.get_run("mine").info.status.value == "RUNNING"
    assert evalpoint.get_run("mine").info.status.value == "FINISHED"


def test_a_run_that_is_being_worked_on(bench: Bench) -> None:
    """It is not resumed, not even by another thread; "auto" leaves it alone and begins a new one."""
    go, begun = threading.Event(), threading.Event()

    def predict(n: int) -> int:
        begun.set()
        go.wait(10)
        return n

    work = threading.Thread(target=evaluate, args=(rows(1), [], predict), kwargs={"run_name": "busy"})
    work.start()
    try:
        assert begun.wait(10)
        with pytest.raises(UsageError, match="one writer"):
            evaluate(rows(1), [], predict, resume="busy")
        go.set()
    finally:
        go.set()
        work.join()
    assert not evalpoint.get_run("busy").interrupted
    assert evaluate(rows(1), [], predict, resume="busy").states == {"ok": 1}


@pytest.mark.parametrize("works", [True, False], ids=["works", "hangs"])
def test_the_lease_is_renewed_as_work_goes_on(tmp_path: Path, works: bool) -> None:
    """Once in a few seconds, however much or little happens; who falls silent is interrupted in the eyes of others."""
    now = [1_800_000_000.0]
    other = Process(owner="other", pid=1, host="elsewhere", pid_space="")
    with (
        open_store(tmp_path / "e.db", clock=lambda: now[0]) as mine,
        open_store(mine.path, clock=lambda: now[0], process=lambda: other) as theirs,
    ):
        info = RunInfo(
            run_id="r", experiment_id=mine.ensure_experiment("e").experiment_id, run_name="r", status=RunStatus.RUNNING, start_time=1
        )
        mine.create_run(Run(info=info))
        with Hold(clock=lambda: now[0]) as hold:
            hold.take(mine, "r", alone=True)
            first = hold.lease
            for _ in hold.beating(range(100)) if works else range(100):
                now[0] += 1
            assert hold.lease == first
            assert theirs.run("r").interrupted is not works
        assert not theirs.run("r").interrupted
        theirs.take_lease("r", alone=True)


def test_auto_leaves_a_busy_run_alone(bench: Bench) -> None:
    """Two jobs that overlap each have a run."""
    store, ids = current_store(), []

    def predict(n: int) -> int:
        if not ids:
            ids.append(evalpoint.search_runs(output_format="list")[0].info.run_id)
            ids.append(evaluate_elsewhere().run_id)
        return n

    def evaluate_elsewhere() -> evalpoint.EvaluationResult:
        found: list[evalpoint.EvaluationResult] = []
        thread = threading.Thread(target=lambda: found.append(evaluate(rows(1), [], predict, resume="auto")))
        thread.start()
        thread.join()
        return found[0]

    evaluate(rows(1), [], predict, resume="auto")
    assert len(set(ids)) == 2
    assert [store.run(run_id).info.status.value for run_id in ids] == ["FINISHED", "FINISHED"]


# ---- whatever happens ------------------------------------------------------------------------------------------------------

NUMBERS = st.lists(st.integers(0, 6), min_size=1, max_size=6)
FAILING = st.sets(st.tuples(st.sampled_from(["predict", "a", "b"]), st.integers(0, 6)), max_size=6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(NUMBERS, FAILING, st.sampled_from([("a",), ("a", "b"), ("b",)]), st.integers(1, 2), st.integers(0, 1)),
        min_size=1,
        max_size=3,
    ),
    last=st.tuples(NUMBERS, st.sampled_from([("a",), ("b", "a")]), st.integers(1, 2), st.integers(0, 1)),
)
def test_the_outcome_is_that_of_the_last_data(tmp_path_factory: pytest.TempPathFactory, steps: Any, last: Any) -> None:
    """However often a run was resumed, with whatever data, scorers, repeats and failures: in the end it is as if done at once."""
    bench = Bench()

    def data(numbers: list[int], least: int) -> Rows:
        return [{"inputs": {"n": n}, "expectations": {"least": least + n % 2}} for n in numbers]

    def graders(names: Any) -> list[Any]:
        return [bench.grader(name) for name in names]

    def done(resume: str | None, numbers: list[int], names: Any, repeats: int, least: int) -> evalpoint.EvaluationResult:
        return evaluate(data(numbers, least), graders(names), bench.predict, resume=resume, repeats=repeats)

    with evalpoint.tracking.results_in(tmp_path_factory.mktemp("resume") / "e.db"):
        resume = None
        for numbers, failing, names, repeats, least in steps:
            bench.failing = failing
            done(resume, numbers, names, repeats, least)
            resume = "last"
        bench.failing = set()
        numbers, names, repeats, least = last
        resumed = done("last", numbers, names, repeats, least)
        bench.since()
        assert done("last", numbers, names, repeats, least).metrics == resumed.metrics
        assert bench.since() == {}
        fresh = done(None, numbers, names, repeats, least)
        assert table(resumed) == table(fresh)
        assert (resumed.metrics, resumed.states) == (fresh.metrics, fresh.states)


def test_a_hundred_thousand_rows_would_fit(bench: Bench) -> None:
    """Resuming 3,000 finished rows of 2 KB takes the memory of a batch, not of the data."""
    import tracemalloc

    def many() -> Any:
        return ({"inputs": {"n": n, "text": "x" * 2000}} for n in range(3000))

    evaluate(many(), [], lambda n, text: n)
    tracemalloc.start()
    try:
        result = evaluate(many(), [], lambda n, text: n, resume="last")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.resumed is not None
    assert result.resumed.kept == 3000
    assert peak < 5_000_000
