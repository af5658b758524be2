"""`evaluate` from the outside: what it costs, what it keeps, and what it refuses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from opentelemetry import trace as otel

import evalpoint
from evalpoint import AssessmentError, AssessmentSource, Feedback, scorer
from evalpoint.destination import current_store
from evalpoint.errors import ConfigurationError, DataError, GateFailed, Inconclusive, UsageError
from evalpoint.mocks import MockWorkspace, Rule, fault
from evalpoint.scorers import Correctness, Guidelines
from evalpoint.tracing.collection import COLLECTOR


@scorer
def right(outputs: Any, expectations: Any) -> bool:
    return outputs == expectations["answer"]


@scorer
def length(text: str) -> int:
    return len(text)


def rows(count: int) -> list[dict[str, Any]]:
    return [{"inputs": {"n": n}, "expectations": {"answer": n * 2}} for n in range(count)]


def evaluate(*args: Any, **kwargs: Any) -> evalpoint.EvaluationResult:
    return evalpoint.evaluate(*args, progress=False, **kwargs)


def test_n_rows_cost_n_predictions() -> None:
    """The signature is checked by binding: nothing is called to try it out."""
    called: list[int] = []
    result = evaluate(rows(7), [right], lambda n: called.append(n) or n * 2)
    assert sorted(called) == list(range(7))
    assert (len(result), result.metrics, result.states) == (7, {"right/mean": 1.0}, {"ok": 7})


def test_the_three_ways_agree() -> None:
    """Predicted, given as outputs, or given as traces: the same content has the same metrics."""
    predicted = evaluate(rows(5), [right], lambda n: n * 2 if n else -1)
    sheet = evaluate([{**row, "outputs": row["inputs"]["n"] * 2 if row["inputs"]["n"] else -1} for row in rows(5)], [right])
    traces = evaluate(evalpoint.search_traces(run_id=predicted.run_id, return_type="list"), [right])
    assert predicted.metrics == sheet.metrics == traces.metrics == {"right/mean": 0.8}


def test_failed_predictions_are_counted_and_not_scored() -> None:
    """An endpoint that fails on 18 of 30 rows and is right on the others is no success: all rows are shown, 12 are judged."""
    asked: list[int] = []

    @scorer(threshold=0.9)
    def perfect(inputs: Any) -> float:
        asked.append(inputs["n"])
        return 1.0

    def flaky(n: int) -> int:
        if n % 5 in (1, 2, 3):
            raise ConnectionError("503")
        return n

    result = evaluate(rows(30), [perfect], flaky)
    assert len(result) == len(result.result_df) == 30
    assert result.states == {"ok": 12, "target_error": 18}
    assert len(asked) == 12
    assert result.metrics == {"perfect/mean": 1.0}
    assert (result.verdict, result.passed) == ("inconclusive", None)
    with pytest.raises(Inconclusive, match=r"12 of 30 rows \(18 without an answer\)") as caught:
        result.check()
    assert "18 x prediction: ConnectionError: 503" in str(caught.value)


def test_gates() -> None:
    """check() returns the result or raises with the sentence for a notification on its first line."""
    good = scorer(name="good", threshold=0.5)(lambda outputs: True)
    bad = scorer(name="bad", threshold=0.5)(lambda outputs: False)
    assert evaluate(rows(3), [good], lambda n: n).check().passed is True
    result = evaluate(rows(3), [good, bad], lambda n: n, run_name="nightly")
    with pytest.raises(GateFailed) as caught:
        result.check()
    assert str(caught.value).splitlines()[0] == "Evaluation 'nightly' failed: bad/mean is 0.00, below 0.50, over 3 of 3 rows."
    assert evaluate(rows(3), [right], lambda n: n).passed is None


def test_all_bad_rows_are_reported_at_once_and_nothing_is_spent() -> None:
    """The predict function is never called, and neither a run nor a row is left behind; a run that was joined stays."""
    called: list[int] = []
    data = [
        {"inputs": {"n": 1}},
        {"inputs": {"m": 1}},
        {"inputs": 3},
        {"inputs": {"n": 2}, "expectations": ["x"]},
        {"inputs": {"n": float("nan")}},
    ]
    with pytest.raises(DataError) as caught:
        evaluate(data, [length], lambda n: called.append(n))
    assert [problem.row for problem in caught.value.problems] == [1, 2, 3, 4]
    assert called == []
    assert evalpoint.search_runs(output_format="list") == []
    with evalpoint.start_run(run_name="mine") as run, pytest.raises(DataError):
        evaluate(data, [length], lambda n: called.append(n))
    assert evalpoint.get_run("mine").info.status.value == "FINISHED"
    assert current_store().evaluations(run.info.run_id) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "None"),
        ({"inputs": {"n": 1}}, "list"),
        ([], "no rows|empty"),
        ("nowhere.jsonl", "nowhere.jsonl"),
        ([{"inputs": {"n": 1}, "expectation": {"a": 1}}], "expectations"),
        ([{"inputs": {"n": 1}, "outputs": 1}], "predict_fn"),
        ([{"question": "Why?"}], "inputs"),
    ],
    ids=["none", "dict", "empty", "no-file", "typo", "both", "no-inputs"],
)
def test_data_that_cannot_be_evaluated(data: Any, message: str) -> None:
    """Each mistake has its own sentence."""
    with pytest.raises(UsageError, match=message):
        evaluate(data, [length], lambda n: n)


@pytest.mark.parametrize(
    ("scorers", "message"),
    [
        (None, "list"),
        ([lambda outputs: 1], "@scorer"),
        ([Correctness], "Correctness"),
        (["correctness"], "correctness"),
        ([length, length], "length"),
        ([[length]], "list"),
    ],
    ids=["none", "function", "class", "text", "twice", "nested"],
)
def test_scorers_that_are_none(scorers: Any, message: str) -> None:
    """Refused before anything is spent, and before a run is begun."""
    with pytest.raises(UsageError, match=message):
        evaluate(rows(1), scorers, lambda n: n)
    assert evalpoint.search_runs(output_format="list") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"predict_fn": "endpoints:/chat"}, "to_predict_fn"),
        ({"predict_fn": 3}, "int"),
        ({"predict_fn": lambda m: m}, "'n'"),
        ({"predict_fn": lambda n: n, "repeats": 0}, "repeats"),
        ({"predict_fn": lambda n: n, "min_valid": 2}, "min_valid"),
        ({"predict_fn": lambda n: n, "max_workers": 0}, "max_workers"),
        ({"predict_fn": lambda n: n, "run_name": 5}, "run_name"),
        ({"predict_fn": lambda n: n, "tags": ["x"]}, "tags"),
        ({"predict_fn": lambda n: n, "cancel": 5}, "cancel"),
    ],
    ids=["uri", "number", "other-parameter", "repeats", "min-valid", "workers", "run-name", "tags", "cancel"],
)
def test_arguments_that_do_not_fit(arguments: Any, message: str) -> None:
    """Each says what it should be."""
    with pytest.raises(UsageError, match=message):
        evaluate(rows(1), [length], **arguments)


def test_an_unknown_argument() -> None:
    """A misspelt keyword is an error, not ignored."""
    with pytest.raises(TypeError, match="max_worker"):
        evaluate(rows(1), [length], lambda n: n, max_worker=3)


def test_the_environment_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's variables count at the next evaluation, arguments win, and a bad value is named."""
    seen = threading.BoundedSemaphore(2)

    def predict(n: int) -> int:
        assert seen.acquire(blocking=False)
        seen.release()
        return n

    monkeypatch.setenv("MLFLOW_GENAI_EVAL_MAX_WORKERS", "2")
    monkeypatch.setenv("MLFLOW_GENAI_EVAL_SKIP_TRACE_VALIDATION", "true")
    assert evaluate(rows(20), [length], predict).states == {"ok": 20}
    monkeypatch.setenv("MLFLOW_GENAI_EVAL_MAX_WORKERS", "many")
    with pytest.raises(ConfigurationError, match="MLFLOW_GENAI_EVAL_MAX_WORKERS='many'"):
        evaluate(rows(1), [length], predict)
    assert len(evaluate(rows(1), [length], predict, max_workers=1)) == 1


def test_two_evaluations_in_one_run_do_not_mix() -> None:
    """Each has its own rows and its own number; metrics of both are on the run."""
    with evalpoint.start_run(run_name="both") as run:
        first = evaluate(rows(3), [right], lambda n: n * 2)
        second = evaluate(rows(2), [length], lambda n: str(n))
    assert first.run_id == second.run_id == run.info.run_id
    assert (len(first), len(second)) == (3, 2)
    assert list(first.result_df["right/value"]) == [True] * 3
    assert "right/value" not in second.result_df
    assert set(evalpoint.get_run("both").data.metrics) >= {"right/mean", "length/mean", "latency/p50", "errors/rate"}


def test_a_run_shows_the_worst_of_its_evaluations() -> None:
    """A later evaluation without a gate does not hide one that failed."""
    bad = scorer(name="bad", threshold=0.5)(lambda outputs: False)
    with evalpoint.start_run(run_name="both"):
        evaluate(rows(2), [bad], lambda n: n)
        evaluate(rows(2), [length], lambda n: str(n))
    tags = evalpoint.get_run("both").data.tags
    assert (tags["evalpoint.verdict"], tags["evalpoint.reason"]) == ("failed", "bad/mean is 0.00, below 0.50, over 2 of 2 rows.")


@pytest.mark.parametrize(
    ("expectations", "message"),
    [
        ({"expected_fact": ["blue"]}, "did you mean 'expected_facts'"),
        ({"expected_facts": "blue"}, "should be a list of texts"),
        ({"expected_facts": ["blue", 3]}, "should be a list of texts"),
        ({"expected_response": 3}, "should be a text"),
    ],
    ids=["misspelt", "text", "number-inside", "number"],
)
def test_references_that_a_judge_cannot_use(expectations: dict[str, Any], message: str) -> None:
    """They are mistakes of the data, told before anything is spent, even where other rows are fine."""
    data = [{"inputs": {"n": 1}, "expectations": {"expected_facts": ["blue"]}}, {"inputs": {"n": 2}, "expectations": expectations}]
    with pytest.raises(DataError, match=message) as caught:
        evaluate(data, [Correctness(model=lambda messages, **_: "never asked")], lambda n: pytest.fail("never called"))
    assert [problem.row for problem in caught.value.problems] == [1]


def test_evaluations_on_several_threads_do_not_mix() -> None:
    """Four at once in one process, sharing the store: each has its own rows and its own run."""
    found: dict[int, evalpoint.EvaluationResult] = {}

    def work(k: int) -> None:
        found[k] = evaluate([{"inputs": {"n": k * 1000 + i}} for i in range(25)], [length], lambda n: str(n), run_name=f"run {k}")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {k: sorted(int(o) for o in r.result_df["outputs"]) for k, r in found.items()} == {
        k: [k * 1000 + i for i in range(25)] for k in range(4)
    }
    assert len({r.run_id for r in found.values()}) == 4


def test_result_df() -> None:
    """One line per row and repeat, in input order, with the documented columns; objects stay objects."""

    @scorer
    def several(outputs: Any) -> list[Feedback]:
        return [Feedback(name="x", value=outputs, rationale="because"), Feedback(name="y", value={"a": [1]})]

    @scorer
    def broken(outputs: Any) -> int:
        return 1 // (outputs - 1)

    data = [{"inputs": {"n": n, "deep": {"l": [n]}}, "request_id": f"id-{n}", "expectations": {"e": n}} for n in (3, 1, 2)]
    frame = evaluate(data, [several, broken], lambda n, deep: n, repeats=2).result_df
    assert list(frame.columns) == [
        "row", "repeat", "request_id", "state", "error", "inputs", "outputs", "expectations", "trace_id",
        "x/value", "x/rationale", "x/error_message", "y/value", "y/rationale", "y/error_message",
        "broken/value", "broken/rationale", "broken/error_message", "latency_ms", "tokens", "cost",
    ]  # fmt: skip
    assert list(zip(frame["row"], frame["repeat"], frame["outputs"], strict=True)) == [
        (0, 0, 3),
        (0, 1, 3),
        (1, 0, 1),
        (1, 1, 1),
        (2, 0, 2),
        (2, 1, 2),
    ]
    assert frame["inputs"][0] == {"n": 3, "deep": {"l": [3]}}
    assert frame["y/value"][0] == {"a": [1]}
    assert list(frame["state"]) == ["ok", "ok", "judge_error", "judge_error", "ok", "ok"]
    assert "division" in frame["broken/error_message"][2]
    assert frame["request_id"].tolist() == ["id-3", "id-3", "id-1", "id-1", "id-2", "id-2"]


def test_to_arrow() -> None:
    """One line per row, repeat and scorer, with the same schema whatever the values are."""
    result = evaluate(rows(2), [right, length], lambda n: str(n))
    table = result.to_arrow()
    assert table.num_rows == 4
    assert table.schema == evaluate([{"inputs": {"q": "?"}, "outputs": None}][:0] or rows(1), [], lambda n: n).to_arrow().schema
    assert table.column("number").to_pylist() == [0.0, 1.0, 0.0, 1.0]


def test_every_container_gives_the_same() -> None:
    """A list, a DataFrame, an iterator and a file are the same data."""
    frame = pd.DataFrame(rows(4))
    frame.to_json("data.jsonl", orient="records", lines=True)
    results = [evaluate(data, [right], lambda n: n * 2).metrics for data in (rows(4), frame, iter(rows(4)), "data.jsonl")]
    assert results == [{"right/mean": 1.0}] * 4


def test_async_in_a_notebook() -> None:
    """Inside a running loop, with async functions on both sides."""

    async def predict(n: int) -> int:
        await asyncio.sleep(0)
        return n * 2

    @scorer
    async def later(outputs: Any) -> bool:
        await asyncio.sleep(0)
        return True

    async def cell() -> evalpoint.EvaluationResult:
        return evaluate(rows(5), [later], predict)

    assert asyncio.run(cell()).metrics == {"later/mean": 1.0}


def test_numpy_everywhere() -> None:
    """numpy values in the data, the outputs and the scores are plain numbers in the result."""
    numpy_score = scorer(name="np")(lambda outputs: np.float32(outputs["a"][0]))
    result = evaluate([{"inputs": {"x": np.int64(2), "v": np.array([1.0, 2.0])}}], [numpy_score], lambda x, v: {"a": v})
    assert result.metrics == {"np/mean": 1.0}
    assert result.result_df["inputs"][0] == {"x": 2, "v": [1.0, 2.0]}


def test_unicode_everywhere() -> None:
    """Names, rows, answers and rationales of every script come back as they went in."""
    grade = scorer(name="Güte 质量")(lambda text: Feedback(value=True, rationale=f"« {text} »"))
    result = evaluate([{"inputs": {"q": "Grüße 🎉\u2028你好"}}], [grade], lambda q: q, run_name="nächtlich 🌙")
    assert result.metrics == {"Güte 质量/mean": 1.0}
    assert result.result_df["Güte 质量/rationale"][0] == "« Grüße 🎉\u2028你好 »"
    assert "Güte 质量/mean" in str(result)
    assert result.run_name == "nächtlich 🌙"


def test_cancel() -> None:
    """Once the event is set the rest of the rows ends as cancelled; what was finished stays."""
    cancel = threading.Event()

    def predict(n: int) -> int:
        if n == 5:
            cancel.set()
        return n

    result = evaluate(rows(200), [length], predict, cancel=cancel, max_workers=1)
    assert len(result) == 200
    assert result.states["cancelled"] > 100
    assert result.states["ok"] >= 6


def test_an_interrupt_keeps_what_was_finished() -> None:
    """Ctrl-C ends the run as KILLED, names the state of every row, and is raised again."""

    class Interrupting(list[Any]):
        """Raises on the caller's thread, as a signal would, once the fourth row is shown."""

    calls = 0

    def interrupt(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt

    import evalpoint.evaluation as module

    original = module.Counts.count
    try:
        module.Counts.count = lambda self, events: (original(self, events), interrupt())  # type: ignore[method-assign, assignment, return-value]
        with pytest.raises(KeyboardInterrupt):
            evaluate(rows(100), [length], lambda n: n, max_workers=1)
    finally:
        module.Counts.count = original  # type: ignore[method-assign]
    (run,) = evalpoint.search_runs(output_format="list")
    assert run.info.status.value == "KILLED"
    from evalpoint.evaluation import results_of

    (result,) = results_of(run.info.run_id)
    assert len(result) == 100
    assert set(result.states) == {"ok", "cancelled"}


def test_expectations_and_feedback_are_on_the_trace() -> None:
    """The trace of a row has its expectations and every verdict, with the run that made them; a person can override."""
    result = evaluate(rows(1), [right], lambda n: 0, tags={"team": "a"})
    trace = evalpoint.get_trace(result.result_df["trace_id"][0])
    assert trace is not None
    by_name = {a.name: a for a in trace.info.assessments}
    assert (by_name["answer"].value, by_name["answer"].source.source_type) == (0, "HUMAN")
    assert (by_name["right"].value, by_name["right"].source.source_id) == (True, "right")
    assert (by_name["right"].metadata or {})["mlflow.assessment.sourceRunId"] == result.run_id
    replaced = evalpoint.override_feedback(
        trace_id=trace.info.trace_id, assessment_id=by_name["right"].assessment_id or "", value=False, rationale="look again"
    )
    again = evalpoint.get_trace(trace.info.trace_id)
    assert again is not None
    assert [a.value for a in again.search_assessments("right")] == [False]
    assert [a.value for a in again.search_assessments("right", all=True)] == [True, False]
    assert replaced.overrides == by_name["right"].assessment_id
    assert evalpoint.get_run(result.run_id).data.tags["team"] == "a"
    assert trace.info.tags["evalpoint.run"] == result.run_id


def test_traces_of_the_experiment_are_linked_and_others_copied() -> None:
    """Evaluating traces that live here makes no copies; from another experiment they are copied, and the original stays."""
    first = evaluate(rows(2), [right], lambda n: n * 2)
    ids = set(first.result_df["trace_id"])
    here = evaluate(evalpoint.search_traces(run_id=first.run_id, return_type="list"), [length])
    assert set(here.result_df["trace_id"]) == ids
    assert len(evalpoint.search_traces(return_type="list")) == 2
    traces = evalpoint.search_traces(run_id=first.run_id, return_type="list")
    evalpoint.set_experiment("elsewhere")
    there = evaluate(traces, [length])
    assert not set(there.result_df["trace_id"]) & ids
    assert len(evalpoint.search_traces(return_type="list")) == 2


def test_spans_inside_scorers_leave_no_stray_traces() -> None:
    """A traced function called by a scorer adds nothing to the experiment, unless scorer tracing is on."""

    @evalpoint.trace
    def lookup() -> int:
        return 1

    grade = scorer(name="grade")(lambda outputs: lookup())
    evaluate(rows(2), [grade], lambda n: n)
    assert len(evalpoint.search_traces(return_type="list")) == 2
    result = evaluate(rows(1), [grade], lambda n: n, scorer_tracing=True)
    traces = evalpoint.search_traces(return_type="list")
    assert len(traces) == 4
    row = evalpoint.get_trace(result.result_df["trace_id"][0])
    assert row is not None
    named = (row.search_assessments("grade")[0].metadata or {})["mlflow.assessment.scorerTraceId"]
    asked = evalpoint.get_trace(named)
    assert asked is not None
    assert asked.info.tags["mlflow.trace.sourceScorer"] == "grade"
    assert [t.info.trace_id for t in evalpoint.search_traces(run_id=result.run_id, return_type="list")] == [row.info.trace_id]


# ---- with endpoints and judges --------------------------------------------------------------------------------------------


@pytest.fixture
def workspace() -> Iterator[MockWorkspace]:
    with MockWorkspace() as mock, mock.exported():
        yield mock


FACTS = [{"inputs": {"question": f"Question {n}?"}, "expectations": {"expected_facts": ["blue"]}} for n in range(6)]


def test_judges_over_real_http(workspace: MockWorkspace) -> None:
    """Endpoint and judge on one workspace: verdicts with rationale, model, tokens; usage per scorer."""
    bot = workspace.agent("bot", answers=lambda q: "It is blue." if "1" not in q else "It is red, dude.")
    judge = workspace.judge("judge", [Rule({"judge": "tone", "answer": "dude"}, "no", "slang")])
    result = evaluate(
        FACTS,
        [Correctness(model="endpoints:/judge"), Guidelines(name="tone", guidelines="Be polite.", model="endpoints:/judge")],
        evalpoint.to_predict_fn("endpoints:/bot"),
    )
    assert (bot.calls, judge.calls) == (6, 12)
    assert result.metrics == {"correctness/mean": pytest.approx(5 / 6), "tone/mean": pytest.approx(5 / 6)}
    frame = result.result_df
    assert frame["tone/value"].tolist() == ["yes", "no", "yes", "yes", "yes", "yes"]
    assert frame["tone/rationale"][1] == "slang"
    trace = evalpoint.get_trace(frame["trace_id"][0])
    assert trace is not None
    (verdict,) = trace.search_assessments("correctness")
    assert (verdict.source.source_type, verdict.source.source_id) == ("LLM_JUDGE", "endpoints:/judge")
    assert int((verdict.metadata or {})["mlflow.assessment.judgeInputTokens"]) > 0
    assert result.judge_usage["tone"].calls == 6


def test_an_unusable_judge_is_asked_again_once(workspace: MockWorkspace) -> None:
    """One second chance; then the row is a judge_error that keeps what the judge said, and the calls are counted."""
    workspace.chat("bot", answers="It is blue.")
    judge = workspace.judge("judge", raw=["I cannot decide", "Still no JSON", "Hmm", '{"rationale": "fine", "verdict": "yes"}'])
    result = evaluate(FACTS[:2], [Correctness(model="endpoints:/judge")], evalpoint.to_predict_fn("endpoints:/bot"), max_workers=1)
    assert judge.calls == 4
    assert result.states == {"judge_error": 1, "ok": 1}
    assert "Still no JSON" in result.result_df["correctness/error_message"][0]
    assert result.judge_usage["correctness"].calls == 4


def test_a_judge_that_does_not_exist_is_found_before_anything_is_spent(workspace: MockWorkspace) -> None:
    """The error names the nearest endpoint, and the target is never called."""
    bot = workspace.chat("bot")
    workspace.judge("judge")
    with pytest.raises(UsageError, match="'judge'"):
        evaluate(FACTS, [Correctness(model="endpoints:/jugde")], evalpoint.to_predict_fn("endpoints:/bot"))
    assert bot.calls == 0


def test_no_judge_configured(workspace: MockWorkspace) -> None:
    """The error names chat endpoints of the workspace that could serve."""
    workspace.chat("bot")
    workspace.foundation("databricks-claude")
    with pytest.raises(ConfigurationError, match="databricks-claude"):
        evaluate(FACTS, [Correctness()], evalpoint.to_predict_fn("endpoints:/bot"))


def test_rows_that_a_judge_cannot_grade(workspace: MockWorkspace) -> None:
    """Single rows without facts are skipped and counted as such; a dataset without any is refused."""
    bot = workspace.chat("bot", answers="It is blue.")
    workspace.judge("judge")
    function = evalpoint.to_predict_fn("endpoints:/bot")
    result = evaluate([*FACTS[:3], {"inputs": {"question": "Why?"}}], [Correctness(model="endpoints:/judge")], function)
    (tally,) = result.summary.tallies
    assert (tally.scored, tally.skipped, result.states) == (3, 1, {"ok": 4})
    calls = bot.calls
    with pytest.raises(DataError, match="correctness.*none of the rows"):
        evaluate([{"inputs": {"question": "Why?"}}] * 3, [Correctness(model="endpoints:/judge")], function)
    assert bot.calls == calls


def test_payload_problems_are_found_before_anything_is_spent(workspace: MockWorkspace) -> None:
    """Rows of which no payload can be made are all listed, and nothing is called."""
    bot = workspace.chat("bot")
    data = [{"inputs": {"question": "fine"}}, {"inputs": {"a": "x", "b": "y"}}, {"inputs": {"c": 3}}]
    with pytest.raises(DataError, match="row 1") as caught:
        evaluate(data, [length], evalpoint.to_predict_fn("endpoints:/bot"))
    assert [p.row for p in caught.value.problems] == [1, 2]
    assert bot.calls == 0


def test_64_workers(workspace: MockWorkspace) -> None:
    """200 rows at 64 workers with faults in between: every row present, every trace its own, nothing mixed."""
    bot = workspace.agent("bot", answers=lambda q: f"re: {q}", faults=[fault.status(503, retry_after=0.01)] * 5)
    data = [{"inputs": {"question": f"q{n}"}} for n in range(200)]
    echo = scorer(name="echo")(
        lambda inputs, text, trace: (
            text == f"re: {inputs['question']}" and f'"{inputs["question"]}"' in str(trace.to_json()).replace("\\", "")
        )
    )
    result = evaluate(data, [echo], evalpoint.to_predict_fn("endpoints:/bot"), max_workers=64)
    assert result.states == {"ok": 200}
    assert result.metrics == {"echo/mean": 1.0}
    assert bot.calls == 205
    assert len(set(result.result_df["trace_id"])) == 200


# ---- what users' own code may do -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        lambda: Feedback(value=1, rationale=123),  # type: ignore[arg-type]
        lambda: Feedback(value=1, span_id=5),  # type: ignore[arg-type]
        lambda: Feedback(value=1, source=AssessmentSource("CODE", 7)),  # type: ignore[arg-type]
        lambda: Feedback(value=1, source=AssessmentSource("CODE", None)),  # type: ignore[arg-type]
        lambda: Feedback(value=1, source="me"),  # type: ignore[arg-type]
        lambda: 10**5000,
    ],
    ids=["rationale", "span", "source-id", "no-source-id", "source", "number"],
)
def test_odd_feedback_is_that_rows_matter(odd: Any) -> None:
    """Whatever a scorer returns, the run goes on and every row has its state."""
    result = evaluate(rows(2), [scorer(name="odd")(lambda outputs: odd() if outputs else 1)], lambda n: n)
    assert sum(result.states.values()) == 2
    assert str(result)


def test_an_error_message_of_another_kind_is_told_as_text() -> None:
    """An AssessmentError made with a dict is kept, grouped and shown."""
    strange = scorer(name="strange")(lambda outputs: Feedback(error=AssessmentError("ODD", {"a": 1})))  # type: ignore[arg-type]
    assert "ODD" in str(evaluate(rows(1), [strange], lambda n: n))


def test_an_exception_that_cannot_be_told() -> None:
    """One whose text raises is that row's failure as any other."""

    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text for you")

    def predict(n: int) -> int:
        if n == 1:
            raise Hostile
        return n

    assert evaluate(rows(3), [], predict).states == {"ok": 2, "target_error": 1}


def test_tokens_in_users_exceptions_are_not_kept() -> None:
    """Neither in the result nor anywhere in the store's file."""

    def predict(n: int) -> int:
        raise PermissionError("401 for Authorization: Bearer dapi0123456789abcdef0123456789abcdef")

    result = evaluate(rows(1), [], predict)
    assert "[hidden]" in result.result_df["error"][0]
    assert b"dapi0123456789" not in b"".join(path.read_bytes() for path in Path().glob("evalpoint.db*"))


def test_columns_of_scorers_that_give_other_names() -> None:
    """A scorer's failure has its column, and two scorers' feedback of one name have a column each, called as their metrics are."""

    @scorer
    def one(outputs: Any) -> Any:
        if outputs == 0:
            raise ValueError("not zero")
        return Feedback(name="x", value=1)

    @scorer
    def two(outputs: Any) -> Any:
        return Feedback(name="x", value=2)

    result = evaluate(rows(2), [one, two], lambda n: n)
    frame = result.result_df
    assert result.metrics == {"x/mean": 1.0, "two/x/mean": 2.0}
    assert frame["one/error_message"][0] == "not zero"
    assert frame["x/value"].tolist()[1] == 1
    assert frame["two/x/value"].tolist() == [2, 2]


def test_spans_that_are_never_ended_are_kept_and_not_held() -> None:
    """A span that the function began and left open is in its row's trace, and memory does not grow with them."""

    def predict(n: int) -> int:
        otel.get_tracer("lib").start_span("left open")
        return n

    result = evaluate(rows(5), [], predict)
    assert COLLECTOR._open == {}
    trace = evalpoint.get_trace(result.result_df["trace_id"][0])
    assert trace is not None
    assert [span.name for span in trace.data.spans] == ["left open"]


def test_changed_expectations_of_a_linked_trace() -> None:
    """Evaluating a trace again with another expectation says so on the trace, beside the old one."""
    first = evaluate([{"inputs": {"n": 1}, "expectations": {"answer": 1}}], [right], lambda n: 1)
    trace = evalpoint.get_trace(first.result_df["trace_id"][0])
    evaluate([{"trace": trace, "expectations": {"answer": 2}}], [right])
    again = evalpoint.get_trace(first.result_df["trace_id"][0])
    assert again is not None
    assert [a.value for a in again.search_assessments("answer")] == [1, 2]
    assert [a.value for a in again.search_assessments("right")] == [True, False]


def test_async_scorers_have_the_async_timeout() -> None:
    """MLFLOW_GENAI_EVAL_ASYNC_TIMEOUT holds for them too, and the error says what sets it."""

    @scorer
    async def slow(outputs: Any) -> int:
        await asyncio.sleep(5)
        return 1

    result = evaluate(rows(1), [slow], lambda n: n, async_timeout=0.1)
    assert result.states == {"judge_error": 1}
    assert "async_timeout" in result.result_df["slow/error_message"][0]


def test_a_judge_that_failed_is_named_with_what_it_cost(workspace: MockWorkspace) -> None:
    """The error on the trace has the model for its source, the tokens, and the text that could not be used."""
    workspace.chat("bot", answers="It is blue.")
    workspace.judge("judge", raw=["nonsense " * 200, "more nonsense"])
    result = evaluate(FACTS[:1], [Correctness(model="endpoints:/judge")], evalpoint.to_predict_fn("endpoints:/bot"))
    trace = evalpoint.get_trace(result.result_df["trace_id"][0])
    assert trace is not None
    (failed,) = trace.search_assessments("correctness")
    assert (failed.source.source_type, failed.source.source_id) == ("LLM_JUDGE", "endpoints:/judge")
    metadata = failed.metadata or {}
    assert int(metadata["mlflow.assessment.judgeInputTokens"]) > 0
    assert metadata["evalpoint.raw_text"] == "more nonsense"
