"""Runs, experiments, search and assessments, under MLflow's names."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import evalpoint
from evalpoint.errors import ConfigurationError, NotFound, UsageError


@pytest.mark.parametrize("uri", ["store.db", "sqlite:///store.db", Path("store.db")], ids=["path", "uri", "Path"])
def test_where_results_go(uri: Any, tmp_path: Path) -> None:
    """A path and a sqlite URI are the same place."""
    evalpoint.set_tracking_uri(uri)
    assert evalpoint.get_tracking_uri() == f"sqlite:///{tmp_path / 'store.db'}"
    with evalpoint.start_run():
        pass
    assert (tmp_path / "store.db").exists()
    evalpoint.set_tracking_uri(None)
    assert evalpoint.get_tracking_uri() == f"sqlite:///{tmp_path / 'evalpoint.db'}"


@pytest.mark.parametrize("uri", ["http://localhost:5000", "databricks", "databricks://prod", "file:./mlruns", "mysql://x/y", ""], ids=str)
def test_places_that_results_cannot_go_to(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at once, by the argument as by the environment, with what to do."""
    with pytest.raises(ConfigurationError, match="sqlite:///"):
        evalpoint.set_tracking_uri(uri)
    if uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(ConfigurationError, match="MLFLOW_TRACKING_URI"):
            evalpoint.start_run()


def test_a_password_in_a_uri_is_not_shown() -> None:
    """What stands before the @ stays secret."""
    with pytest.raises(ConfigurationError) as caught:
        evalpoint.set_tracking_uri("https://ann:secret@host")
    assert "secret" not in str(caught.value)


def test_inside_databricks_results_go_to_local_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A workspace's folders cannot hold a database."""
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "16.4")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "local"))
    (tmp_path / "local").mkdir()
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    assert evalpoint.get_tracking_uri() == f"sqlite:///{tmp_path / 'local' / 'evalpoint' / 'evalpoint.db'}"


def test_experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, by id, by the environment, or "Default"."""
    assert evalpoint.tracking.current_experiment().name == "Default"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "from the environment")
    assert evalpoint.tracking.current_experiment().name == "from the environment"
    made = evalpoint.set_experiment("/Shared/bot")
    assert evalpoint.tracking.current_experiment() == made
    assert evalpoint.set_experiment(experiment_id=made.experiment_id) == made
    assert evalpoint.get_experiment(made.experiment_id) == evalpoint.get_experiment_by_name("/Shared/bot") == made
    assert evalpoint.get_experiment_by_name("no such") is None
    with pytest.raises(NotFound):
        evalpoint.set_experiment(experiment_id="99999")
    for wrong in ({}, {"experiment_name": "a", "experiment_id": "1"}, {"experiment_name": " "}, {"experiment_name": 3}):
        with pytest.raises(UsageError):
            evalpoint.set_experiment(**wrong)  # type: ignore[arg-type]


def test_a_run_ends_with_its_block() -> None:
    """FINISHED, or FAILED when the block raises."""
    with evalpoint.start_run(run_name="good", tags={"a": 1}, description="why") as good:
        assert evalpoint.active_run() is good
        evalpoint.log_params({"lr": 0.1, "deep": [1]})
        evalpoint.log_metric("loss", 2, step=1)
        evalpoint.log_metric("loss", 1, step=2)
        evalpoint.set_tags({"b": 2})
        assert good.data.params == {"lr": "0.1", "deep": "[1]"}
    assert evalpoint.active_run() is None
    run = evalpoint.get_run(good.info.run_id)
    assert (run.info.status.value, run.info.run_name, run.data.metrics) == ("FINISHED", "good", {"loss": 1.0})
    assert run.data.tags.items() >= {"a": "1", "b": "2", "mlflow.note.content": "why", "mlflow.runName": "good"}.items()
    with pytest.raises(ValueError, match="x"), evalpoint.start_run(run_name="bad"):
        raise ValueError("x")
    assert evalpoint.get_run("bad").info.status.value == "FAILED"


def test_start_and_end_without_a_block() -> None:
    """A plain start holds until end_run, for this thread; another thread has none."""
    run = evalpoint.start_run()
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(evalpoint.active_run()))
    thread.start()
    thread.join()
    assert seen == [None]
    assert evalpoint.active_run() is run
    with pytest.raises(UsageError, match="nested=True"):
        evalpoint.start_run()
    with evalpoint.start_run(nested=True) as child:
        assert evalpoint.active_run() is child
        assert child.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert evalpoint.active_run() is run
    evalpoint.end_run("FAILED")
    assert evalpoint.active_run() is None
    assert evalpoint.get_run(run.info.run_id).info.status.value == "FAILED"
    with pytest.raises(UsageError):
        evalpoint.end_run("DONE")


def test_a_run_can_be_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its id, or by MLFLOW_RUN_ID; it is running again, and ends again."""
    with evalpoint.start_run(run_name="first") as run:
        evalpoint.log_param("a", 1)
    with evalpoint.start_run(run_id=run.info.run_id) as again:
        assert again.info.run_id == run.info.run_id
        assert evalpoint.get_run(run.info.run_id).info.status.value == "RUNNING"
        assert evalpoint.get_run(run.info.run_id).info.end_time is None
        with pytest.raises(UsageError, match="a"):
            evalpoint.log_param("a", 2)
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    with evalpoint.start_run() as third:
        assert third.info.run_id == run.info.run_id
    with pytest.raises(NotFound):
        evalpoint.start_run(run_id="no such run")


def test_search_runs() -> None:
    """MLflow's columns, filters and orders; a bad filter says where."""
    evalpoint.set_experiment("a")
    for n in range(3):
        with evalpoint.start_run(run_name=f"r{n}"):
            evalpoint.log_metric("correctness/mean", n / 2)
            evalpoint.log_param("p", n)
    frame = evalpoint.search_runs(filter_string="metrics.`correctness/mean` >= 0.5", order_by=["metrics.`correctness/mean` DESC"])
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["metrics.correctness/mean"]) == [1.0, 0.5]
    assert {"run_id", "experiment_id", "status", "start_time", "end_time", "params.p", "tags.mlflow.runName"} <= set(frame.columns)
    assert len(evalpoint.search_runs(experiment_names=["a"], output_format="list", max_results=2)) == 2
    assert evalpoint.search_runs(filter_string="params.p = '9'").empty
    evalpoint.set_experiment("b")
    assert evalpoint.search_runs(output_format="list") == []
    assert len(evalpoint.search_runs(search_all_experiments=True, output_format="list")) == 3
    with pytest.raises(UsageError):
        evalpoint.search_runs(filter_string="metrics.x ~ 3")
    with pytest.raises(UsageError):
        evalpoint.search_runs(output_format="json")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="list of ids"):
        evalpoint.search_runs("1")  # type: ignore[call-overload]
    with pytest.raises(NotFound, match="'c'"):
        evalpoint.search_runs(experiment_names=["c"])


def test_traces_outside_of_evaluations() -> None:
    """A traced function's trace is in the experiment, with the run that was active, and can be found and assessed."""

    @evalpoint.trace
    def ask(question: str) -> str:
        evalpoint.update_current_trace(tags={"topic": "returns"})
        return question.upper()

    ask("one")
    with evalpoint.start_run() as run:
        ask("two")
    in_run, outside = evalpoint.search_traces(return_type="list")
    assert (outside.data.request, in_run.info.trace_metadata["mlflow.sourceRun"]) == ('{"question": "one"}', run.info.run_id)
    frame = evalpoint.search_traces(run_id=run.info.run_id)
    assert frame["request"].tolist() == [{"question": "two"}]
    assert frame["response"].tolist() == ["TWO"]
    assert len(evalpoint.search_traces(filter_string="tags.topic = 'returns'")) == 2
    assert evalpoint.search_traces(filter_string="tags.topic = 'other'").empty
    evalpoint.log_expectation(trace_id=outside.info.trace_id, name="expected_facts", value=["a"])
    evalpoint.log_feedback(trace_id=outside.info.trace_id, name="tone", value="yes", rationale="kind")
    found = evalpoint.get_trace(outside.info.trace_id)
    assert found is not None
    assert [(a.name, a.value) for a in found.info.assessments] == [("expected_facts", ["a"]), ("tone", "yes")]
    assert evalpoint.get_trace("tr-nothing") is None
    with pytest.raises(NotFound):
        evalpoint.log_feedback(trace_id="tr-nothing", value=1)
    with pytest.raises(UsageError):
        evalpoint.log_assessment(found.info.trace_id, "good")  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        evalpoint.search_traces(return_type="json")


def test_a_store_that_cannot_be_opened_does_not_break_a_traced_function(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The function returns as ever; a warning says that its trace is not kept."""

    @evalpoint.trace
    def ask() -> int:
        return 1

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    assert ask() == 1
    assert "could not be kept" in caplog.text
