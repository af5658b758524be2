"""Writing traces: what MLflow reads, strictly, and back again unchanged."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.formats import read_trace, write_trace
from evalpoint.formats.shapes import TraceFields
from evalpoint.formats.times import MAX_MS

SAMPLES = Path(__file__).parent.parent / "fixtures" / "traces"


def sample(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return loaded


def test_v3_is_what_mlflow_writes():
    """A trace of MLflow 3.17 is written as MLflow wrote it, but for spaces inside attribute texts."""
    data = sample("trace-to_dict-mlflow-3.17.2")
    written = write_trace(read_trace(data))
    for span in [*data["data"]["spans"], *written["data"]["spans"]]:
        span["attributes"] = {key: json.loads(text) for key, text in span["attributes"].items()}
    assert written == data


def test_rest_is_what_the_server_answers():
    """The REST form is what the server sends, but that it sends `valid` with expectations and leaves out empty things."""
    data = sample("rest-traces-get-3.17.2")
    written = json.loads(json.dumps(write_trace(read_trace(data), "rest")))
    for span in written["trace"]["spans"]:
        if span["status"]["message"] == "":
            del span["status"]["message"]
    for trace in (data, written):
        for assessment in trace["trace"]["trace_info"]["assessments"]:
            assessment.pop("valid", None)
        for span in trace["trace"]["spans"]:
            span["attributes"].sort(key=lambda pair: pair["key"])
            for event in span.get("events", ()):
                event["attributes"].sort(key=lambda pair: pair["key"])
    assert written == data


TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
NAME = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)
NS = st.integers(10**9, 2 * 10**18)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ATTRIBUTES = st.dictionaries(NAME.filter(lambda key: key != "mlflow.traceRequestId"), JSON, max_size=4)
TEXTS = st.dictionaries(NAME, TEXT, max_size=3)
SPAN_ID = st.integers(1, 2**64 - 1).map(lambda number: f"{number:016x}")
TRACE_ID = st.integers(1, 2**128 - 1).map(lambda number: f"tr-{number:032x}")
MS = st.integers(0, MAX_MS)


LINK = st.fixed_dictionaries({"trace_id": TRACE_ID, "span_id": SPAN_ID, "attributes": ATTRIBUTES})


@st.composite
def spans(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A tree in the order in which the reader leaves it."""
    made: list[dict[str, Any]] = []
    ids = draw(st.lists(SPAN_ID, max_size=4, unique=True))
    start = draw(NS)
    for index, span_id in enumerate(ids):
        start += draw(st.integers(0, 1000))
        made.append(
            {
                "name": draw(TEXT),
                "span_id": span_id,
                "parent_id": draw(st.sampled_from(ids[:index])) if index else None,
                "start_time_ns": start,
                "end_time_ns": draw(st.none() | st.integers(start, start + 10**9)),
                "status_code": draw(st.sampled_from(["OK", "ERROR", "UNSET"])),
                "status_message": draw(TEXT),
                "attributes": draw(ATTRIBUTES),
                "events": draw(st.lists(st.fixed_dictionaries({"name": TEXT, "timestamp_ns": NS, "attributes": ATTRIBUTES}), max_size=2)),
                "links": draw(
                    st.lists(st.fixed_dictionaries({"trace_id": TRACE_ID, "span_id": SPAN_ID, "attributes": ATTRIBUTES}), max_size=1)
                ),
            }
        )
    return made


LOCATION = st.sampled_from(
    [
        {},
        {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "5"}},
        {"type": "UC_SCHEMA", "uc_schema": {"catalog_name": "main", "schema_name": "agents"}},
    ]
)
ASSESSMENT = st.fixed_dictionaries(
    {
        "assessment_id": st.none() | NAME,
        "kind": st.sampled_from(["feedback", "expectation"]),
        "name": NAME,
        "value": JSON,
        "error": st.none(),
        "source_type": st.sampled_from(["HUMAN", "LLM_JUDGE", "CODE", "SOURCE_TYPE_UNSPECIFIED"]),
        "source_id": NAME,
        "trace_id": st.none() | TRACE_ID,
        "span_id": st.none() | SPAN_ID,
        "rationale": st.none() | TEXT,
        "metadata": TEXTS,
        "create_time_ms": st.none() | MS,
        "last_update_time_ms": st.none() | MS,
        "overrides": st.none() | NAME,
        "valid": st.booleans(),
    }
)
TRACES = st.fixed_dictionaries(
    {
        "info": st.fixed_dictionaries(
            {
                "trace_id": TRACE_ID | NAME,
                "client_request_id": st.none() | TEXT,
                "trace_location": LOCATION,
                "request_time_ms": MS,
                "execution_duration_ms": st.none() | st.integers(0, 10**9),
                "state": st.sampled_from(["OK", "ERROR", "IN_PROGRESS", "STATE_UNSPECIFIED"]),
                "trace_metadata": TEXTS,
                "tags": TEXTS,
                "request_preview": st.none() | TEXT,
                "response_preview": st.none() | TEXT,
                "assessments": st.lists(ASSESSMENT, max_size=2),
            }
        ),
        "spans": spans(),
        "problems": st.just([]),
    }
)


@settings(max_examples=70, deadline=None)
@given(fields=TRACES, dialect=st.sampled_from(["v3", "rest"]))
def test_round_trip(fields, dialect):
    """What is written in either dialect is read back as it was, from objects and from JSON text alike."""
    written = write_trace(fields, dialect)
    assert read_trace(written) == fields
    assert read_trace(json.dumps(written)) == fields


@settings(max_examples=30, deadline=None)
@given(fields=TRACES)
def test_rest_is_strict(fields):
    """Every map value is a string, every time and duration has its one form: what a server would cut off silently is never written."""
    info = write_trace(fields, "rest")["trace"]["trace_info"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", info["request_time"])
    assert "execution_duration" not in info or re.fullmatch(r"\d+\.\d{3}s", info["execution_duration"])
    assert "execution_duration_ms" not in info
    maps = [info["tags"], info["trace_metadata"], *(one.get("metadata", {}) for one in info.get("assessments", ()))]
    maps += [part for part in info["trace_location"].values() if isinstance(part, dict)]
    assert all(isinstance(key, str) and isinstance(text, str) for texts in maps for key, text in texts.items())
    assert list(info)[-1] == "assessments" or "assessments" not in info


def bare(**changes: Any) -> TraceFields:
    fields = read_trace({"trace_id": "my trace", "state": "OK", "request_time": 1, "spans": [{"name": "s", "span_id": "a" * 16}]})
    fields["info"].update(changes)  # type: ignore[typeddict-item]
    return fields


def test_writer_makes_strict_what_is_not():
    """Values that a careless room left in the shape are written as text, not passed on."""
    fields = bare(tags={"n": 1, "none": None}, trace_location={"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": 5}})
    fields["spans"][0]["attributes"] = {"nan": math.nan, "set": {1}, "big": 2**70, "inf": [math.inf]}
    for dialect in ("v3", "rest"):
        written = write_trace(fields, dialect)  # type: ignore[arg-type]
        json.dumps(written, allow_nan=False)
        read = read_trace(written)
        assert read["info"]["tags"] == {"n": "1"}
        assert read["info"]["trace_location"]["mlflow_experiment"] == {"experiment_id": "5"}
        assert read["spans"][0]["attributes"] == {"nan": "NaN", "set": "{1}", "big": str(2**70), "inf": ["Infinity"]}


def test_trace_id_on_every_span():
    """Every span carries the trace's own id, whatever it came with, and an id without hex digits has some made for it."""
    fields = bare()
    fields["spans"][0]["attributes"]["mlflow.traceRequestId"] = "stale"
    [v3] = write_trace(fields)["data"]["spans"]
    [rest] = write_trace(fields, "rest")["trace"]["spans"]
    assert v3["attributes"]["mlflow.traceRequestId"] == '"my trace"'
    assert [pair["value"] for pair in rest["attributes"] if pair["key"] == "mlflow.traceRequestId"] == [{"string_value": "my trace"}]
    assert v3["trace_id"] == rest["trace_id"]
    assert len(v3["trace_id"]) == 24


@pytest.mark.parametrize("name", [path.stem for path in sorted(SAMPLES.glob("*.json"))])
def test_samples_round_trip(name):
    """Every sample survives both dialects."""
    fields = read_trace(sample(name))
    assert read_trace(write_trace(fields)) == fields
    assert read_trace(write_trace(fields, "rest")) == fields
