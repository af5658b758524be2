"""Traces and spans as values: they read like MLflow's, give copies, and survive every dialect."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from evalpoint.entities import (
    AssessmentSource,
    AssessmentSourceType,
    Expectation,
    Feedback,
    Span,
    SpanStatusCode,
    SpanType,
    Trace,
    TraceState,
)
from evalpoint.errors import FormatError

SAMPLES = sorted((Path(__file__).parent.parent / "fixtures" / "traces").glob("*.json"))
BY_NAME = {path.stem: path for path in SAMPLES}


def sample(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(BY_NAME[name].read_text())
    return loaded


@pytest.fixture
def trace() -> Trace:
    return Trace.from_dict(sample("trace-to_dict-mlflow-3.17.2"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_round_trip(path):
    """A trace of every dialect is equal to itself after `to_dict`, `to_json`, `to_fields`, copying and pickling."""
    trace = Trace.from_dict(json.loads(path.read_text()))
    assert Trace.from_dict(trace.to_dict()) == trace
    assert Trace.from_json(trace.to_json()) == trace
    assert Trace.from_json(trace.to_json(pretty=True)) == trace
    assert Trace.from_json(path.read_text()) == trace
    assert Trace.from_fields(trace.to_fields()) == trace
    assert copy.deepcopy(trace) == pickle.loads(pickle.dumps(trace)) == trace  # noqa: S301 - our own bytes


def test_reads_like_mlflow(trace):
    """The names that MLflow's users know lead to the same things."""
    assert trace.info.trace_id == "tr-f5be331ece86ac6e5d8115b9f4654825"
    assert trace.info.experiment_id == "19"
    assert trace.info.state is trace.info.status is TraceState.OK
    assert trace.info.request_time == trace.info.timestamp_ms == 1795455994224
    assert trace.info.execution_duration == 1938
    assert trace.info.tags["mlflow.traceName"] == "predict"
    assert trace.info.token_usage == {"input_tokens": 21, "output_tokens": 9, "total_tokens": 30}
    assert (trace.info.request_preview, trace.info.response_preview) == ("What is MLflow?", "MLflow is a platform.")
    assert json.loads(trace.data.request or "") == {"messages": [{"role": "user", "content": "What is MLflow?"}]}
    assert json.loads(trace.data.response or "")["usage"]["total_tokens"] == 30
    root = trace.root
    assert root is not None
    assert (root.name, root.parent_id, root.span_type) == ("predict", None, SpanType.AGENT)
    assert root.outputs["choices"][0]["message"]["content"] == "MLflow is a platform."
    assert repr(trace) == "Trace(tr-f5be331ece86ac6e5d8115b9f4654825, 4 spans, OK, 2026-11-23 17:46:34Z)"


def test_span(trace):
    """A span knows its status, its events and its attributes, decoded."""
    [tool] = trace.search_spans(name="flaky_tool")
    assert tool.status.status_code is SpanStatusCode.ERROR
    assert tool.status.description == "ValueError: tool failed"
    assert tool.inputs == {"x": 1}
    assert tool.outputs is None
    assert tool.end_time_ns - tool.start_time_ns == 1795455994283403666 - 1795455994281628179
    [event] = tool.events
    assert (event.name, event.timestamp) == ("exception", 1795455994283173376)
    assert event.attributes["exception.type"] == "ValueError"
    assert tool.links == []
    assert tool.get_attribute("mlflow.spanLogLevel") == 40
    assert tool.get_attribute("nothing") is None
    assert tool.attributes["mlflow.traceRequestId"] == tool.get_attribute("mlflow.traceRequestId") == trace.info.trace_id


def test_attributes_are_those_of_the_json(trace):
    """Nothing of the attributes is lost or added on the way in."""
    for span, data in zip(trace.data.spans, sample("trace-to_dict-mlflow-3.17.2")["data"]["spans"], strict=True):
        assert span.attributes == {key: json.loads(text) for key, text in data["attributes"].items()}


@pytest.mark.parametrize(
    "read",
    [
        lambda trace: trace.root.inputs,
        lambda trace: trace.root.outputs,
        lambda trace: trace.root.attributes,
        lambda trace: trace.root.get_attribute("mlflow.spanInputs"),
        lambda trace: trace.data.spans[2].events[0].attributes,
        lambda trace: trace.info.tags,
        lambda trace: trace.info.trace_metadata,
        lambda trace: trace.info.trace_location,
        lambda trace: trace.info.token_usage,
        lambda trace: trace.to_fields()["info"]["tags"],
        lambda trace: trace.to_fields()["spans"][0]["attributes"],
        lambda trace: trace.to_dict()["info"]["tags"],
    ],
)
def test_reading_gives_copies(trace, read):
    """Whoever changes what was read changes nothing for the next one."""
    before = copy.deepcopy(read(trace))
    read(trace).clear()
    assert before
    assert read(trace) == before


def test_frozen(trace):
    """Traces, infos and spans cannot be changed."""
    for thing in (trace, trace.info, trace.data, trace.root):
        with pytest.raises((AttributeError, TypeError)):
            thing.name = "x"


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        ({}, ["predict", "retrieve", "flaky_tool", "llm"]),
        ({"span_type": "RETRIEVER"}, ["retrieve"]),
        ({"span_type": SpanType.TOOL, "name": "flaky_tool"}, ["flaky_tool"]),
        ({"span_type": "TOOL", "name": "llm"}, []),
        ({"span_id": "8eae9238fe8b16e9"}, ["predict"]),
        ({"predicate": lambda span: span.parent_id is not None and span.status.status_code is SpanStatusCode.OK}, ["retrieve", "llm"]),
    ],
    ids=["all", "type", "type-and-name", "contradiction", "id", "predicate"],
)
def test_search_spans(trace, conditions, names):
    """Spans that meet every condition, in order of start."""
    assert [span.name for span in trace.search_spans(**conditions)] == names


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        ({}, ["latency_ok", "scores", "safety", "expected_response", "expected_facts", "correctness"]),
        ({"all": True}, ["correctness", "latency_ok", "scores", "safety", "expected_response", "expected_facts", "correctness"]),
        ({"name": "correctness"}, ["correctness"]),
        ({"type": "expectation"}, ["expected_response", "expected_facts"]),
        ({"type": "feedback", "span_id": "8eae9238fe8b16e9", "all": True}, ["correctness", "correctness"]),
        ({"name": "nothing"}, []),
    ],
    ids=["valid", "all", "name", "type", "span", "none"],
)
def test_search_assessments(trace, conditions, names):
    """Assessments that meet every condition; an overridden one only when all are asked for."""
    assert [assessment.name for assessment in trace.search_assessments(**conditions)] == names


def test_search_assessments_of_no_type(trace):
    """A misspelt type is an error that says which there are."""
    with pytest.raises(ValueError, match="feedback"):
        trace.search_assessments(type="fedback")


def test_assessments(trace):
    """Feedback and expectations of a trace have source, value, error, metadata and times."""
    judged, latency, scores, safety, response, facts, human = trace.info.assessments
    assert isinstance(judged, Feedback)
    assert judged.source == AssessmentSource(AssessmentSourceType.LLM_JUDGE, "databricks:/databricks-claude-sonnet-4")
    assert (judged.value, judged.valid, judged.metadata["mlflow.assessment.judgeCost"]) == ("yes", False, "0.00123")
    assert judged.create_time_ms == 1795455997922
    assert (latency.value, scores.value) == (True, {"relevance": 0.9, "tone": "good"})
    assert (safety.value, safety.error.error_code, safety.error.error_message) == (None, "SCORER_ERROR", "judge timed out")
    assert isinstance(response, Expectation)
    assert facts.value == ["open source", "platform"]
    assert human.overrides == judged.assessment_id


def test_with_assessments(trace):
    """Other assessments make another trace; the first stays as it was."""
    other = trace.with_assessments([Feedback(name="mine", value=1)])
    assert [assessment.name for assessment in other.info.assessments] == ["mine"]
    assert other.data is trace.data
    assert len(trace.info.assessments) == 7
    assert [one["assessment_name"] for one in other.to_dict()["info"]["assessments"]] == ["mine"]


@pytest.mark.parametrize(
    "usage", ["", "no json", "[1]", "[" * 5000, '{"input_tokens": "many"}'], ids=["empty", "words", "list", "deep", "texts"]
)
def test_unreadable_token_usage(usage):
    """Token usage that cannot be read is none."""
    trace = Trace.from_dict({"trace_id": "x", "state": "OK", "request_time": 1, "trace_metadata": {"mlflow.trace.tokenUsage": usage}})
    assert not trace.info.token_usage


def test_no_trace():
    """What is no trace is a FormatError, which is a ValueError too."""
    for nothing in (None, {}, {"info": None}):
        with pytest.raises(FormatError):
            Trace.from_dict(nothing)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="trace"):
        Trace.from_json("no json")


def test_without_spans():
    """A trace of an info alone has no root, no request and no response."""
    trace = Trace.from_dict(sample("traceinfo-v4-uc_schema"))
    assert trace.root is None
    assert trace.data.request is None
    assert trace.data.response is None
    assert trace.info.experiment_id is None
    assert trace.info.token_usage is None


def test_span_type_of_a_bare_span():
    """A span without a type is UNKNOWN."""
    fields = Trace.from_dict({"spans": [{"name": "s", "span_id": "a" * 16, "start_time_unix_nano": 5}]}).to_fields()
    assert Span("tr-1", fields["spans"][0]).span_type == SpanType.UNKNOWN
