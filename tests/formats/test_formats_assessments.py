"""Assessments: MLflow's JSON, both ways."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.formats import read_assessment, write_assessment

SAMPLE = Path(__file__).parent.parent / "fixtures" / "traces" / "trace-to_dict-mlflow-3.17.2.json"
RECORDED = json.loads(SAMPLE.read_text())["info"]["assessments"]


@pytest.mark.parametrize("data", RECORDED, ids=[data["assessment_id"][:8] + data["assessment_name"] for data in RECORDED])
def test_recorded(data):
    """What MLflow wrote is written again as it was."""
    fields = read_assessment(data)
    assert fields is not None
    assert write_assessment(fields) == data


def feedback(**changes: Any) -> dict[str, Any]:
    return {"assessment_name": "x", "feedback": {"value": 1}, **changes}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (feedback(), {"kind": "feedback", "value": 1, "source_type": "SOURCE_TYPE_UNSPECIFIED", "source_id": "default", "valid": True}),
        (feedback(source={"source_type": "AI_JUDGE", "source_id": "m"}), {"source_type": "LLM_JUDGE", "source_id": "m"}),
        (feedback(source={"source_type": "ROBOT"}), {"source_type": "SOURCE_TYPE_UNSPECIFIED"}),
        (feedback(source="me"), {"source_type": "SOURCE_TYPE_UNSPECIFIED"}),
        (
            feedback(feedback={"error": "boom"}),
            {"value": None, "error": {"error_code": "ERROR", "error_message": "boom", "stack_trace": None}},
        ),
        (
            feedback(feedback={"error": {"error_message": 5}}),
            {"error": {"error_code": "ERROR", "error_message": None, "stack_trace": None}},
        ),
        (feedback(feedback={"value": math.nan}), {"value": "NaN"}),
        (feedback(metadata={"a": 1, "b": None, "c": {"d": 2}}), {"metadata": {"a": "1", "c": '{"d": 2}'}}),
        (feedback(metadata=7, rationale=8, valid="yes", trace_id=9), {"metadata": {}, "rationale": None, "valid": True, "trace_id": None}),
        (feedback(create_time="soon", last_update_time=1795455997922), {"create_time_ms": None, "last_update_time_ms": 1795455997922}),
        ({"name": "x", "expectation": {"value": "a"}}, {"kind": "expectation", "name": "x", "value": "a"}),
        (
            {"name": "x", "expectation": {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": '["a"]'}}},
            {"kind": "expectation", "value": ["a"]},
        ),
        ({"name": "x", "expectation": {"serialized_value": {"value": "not json"}}}, {"value": "not json"}),
        ({"name": "x", "issue": {"issue_name": "I-1"}}, {"kind": "issue", "value": "I-1"}),
    ],
)
def test_tolerant(data, expected):
    """Missing, old and wrong parts are read as far as they can be."""
    fields = read_assessment(data)
    assert fields is not None
    assert {key: fields[key] for key in expected} == expected  # type: ignore[literal-required]


@pytest.mark.parametrize(
    "data",
    [None, [], "x", {}, {"assessment_name": "x"}, {"feedback": {"value": 1}}, feedback(assessment_name=""), feedback(feedback=5)],
    ids=["none", "list", "text", "empty", "nothing-said", "no-name", "empty-name", "wrong-feedback"],
)
def test_none(data):
    """Without a name, or without anything said, there is no assessment."""
    assert read_assessment(data) is None


def test_too_deep():
    """A value that nests without end is not kept, and no crash."""
    value: Any = []
    for _ in range(5000):
        value = [value]
    assert read_assessment(feedback(feedback={"value": value})) is None


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["feedback", "expectation", "source", "metadata", "create_time", "valid", "rationale", "error", "value"]),
        st.recursive(
            st.none() | st.floats() | st.text(st.characters(codec=None), max_size=4) | st.booleans(),
            lambda inner: st.dictionaries(
                st.sampled_from(["value", "error", "source_type", "serialized_value", "error_code"]), inner, max_size=3
            ),
            max_leaves=6,
        ),
        max_size=6,
    )
)
def test_anything(data):
    """Whatever is read can be written as strict JSON and is read back the same."""
    fields = read_assessment({"assessment_name": "x", **data})
    if fields is not None:
        text = json.dumps(write_assessment(fields), allow_nan=False, ensure_ascii=False)
        text.encode()
        assert read_assessment(json.loads(text)) == fields
