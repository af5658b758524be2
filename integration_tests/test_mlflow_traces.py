"""Traces in both directions between evalpoint and a real MLflow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evalpoint
from evalpoint import scorer

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
mlflow = pytest.importorskip("mlflow", reason='MLflow is not installed: pip install "evalpoint[integration]"')

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own warnings are not ours to judge


@pytest.fixture(autouse=True)
def _stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A store of each kind, for this test alone."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("DATABRICKS_", "MLFLOW_TRACKING", "MLFLOW_EXPERIMENT"))]:
        monkeypatch.delenv(name)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.set_experiment("traces")  # another test's experiment is not in this store
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)  # MLflow sets it for its children; it names nothing in ours
    evalpoint.set_tracking_uri(tmp_path / "evalpoint.db")
    yield
    evalpoint.set_tracking_uri(None)


def mlflow_trace() -> Any:
    @mlflow.trace(span_type="RETRIEVER")
    def retrieve(query: str) -> list[dict[str, Any]]:
        return [{"page_content": "MLflow is open source.", "metadata": {"doc_uri": "a.md"}}]

    @mlflow.trace(span_type="AGENT")
    def agent(question: str) -> str:
        retrieve(question)
        mlflow.update_current_trace(tags={"topic": "intro"})
        return "A platform."

    agent("What is MLflow?")
    return mlflow.get_trace(mlflow.get_last_active_trace_id(), flush=True)


def test_mlflow_reads_our_traces() -> None:
    """Spans, tree, inputs, outputs, state, feedback and expectations arrive as they are, and come back unchanged."""

    @evalpoint.trace(span_type="AGENT")
    def agent(question: str) -> dict[str, Any]:
        with evalpoint.start_span("lookup", span_type="TOOL") as span:
            span.set_inputs({"a": [1, None, 2.5]})
            span.set_outputs("Grüße 🎉")
        return {"answer": question}

    agent("Why?")
    (ours,) = evalpoint.search_traces(return_type="list")
    evalpoint.log_feedback(trace_id=ours.info.trace_id, name="tone", value="yes", rationale="kind")
    evalpoint.log_expectation(trace_id=ours.info.trace_id, name="expected_facts", value=["a", "b"])
    found = evalpoint.get_trace(ours.info.trace_id)
    assert found is not None
    theirs = mlflow.entities.Trace.from_dict(found.to_dict())
    assert (theirs.info.trace_id, theirs.info.state.value) == (found.info.trace_id, "OK")
    root, child = theirs.data.spans
    assert (root.name, root.span_type, root.inputs, root.outputs) == ("agent", "AGENT", {"question": "Why?"}, {"answer": "Why?"})
    assert (child.parent_id, child.inputs, child.outputs) == (root.span_id, {"a": [1, None, 2.5]}, "Grüße 🎉")
    assert {a.name: a.value for a in theirs.info.assessments} == {"tone": "yes", "expected_facts": ["a", "b"]}
    assert evalpoint.Trace.from_dict(theirs.to_dict()).to_dict() == found.to_dict()


def test_we_read_mlflows_traces() -> None:
    """A trace made by this MLflow, as an object, as a dict and as text."""
    theirs = mlflow_trace()
    for ours in (evalpoint.Trace.from_dict(theirs.to_dict()), evalpoint.Trace.from_json(theirs.to_json())):
        assert [(s.name, s.span_type, s.inputs) for s in ours.data.spans] == [
            ("agent", "AGENT", {"question": "What is MLflow?"}),
            ("retrieve", "RETRIEVER", {"query": "What is MLflow?"}),
        ]
        assert ours.info.tags["topic"] == "intro"


def test_mlflows_traces_are_data() -> None:
    """A list of MLflow's trace objects can be evaluated; they are copied with what they say."""

    @scorer
    def retrieved(trace: Any) -> int:
        return len(trace.search_spans(span_type="RETRIEVER")[0].outputs)

    result = evalpoint.evaluate([mlflow_trace(), mlflow_trace()], [retrieved], progress=False)
    assert result.metrics == {"retrieved/mean": 1.0}
    assert result.result_df["outputs"].tolist() == ["A platform."] * 2


def test_both_in_one_process() -> None:
    """A function traced by MLflow inside an evaluation of ours leaves MLflow's trace with MLflow and a trace of ours with us."""
    result = evalpoint.evaluate(
        [{"inputs": {"question": "Why?"}}], [], mlflow.trace(lambda question: question.upper(), name="theirs"), progress=False
    )
    assert result.states == {"ok": 1}
    assert len(evalpoint.search_traces(return_type="list")) == 1
