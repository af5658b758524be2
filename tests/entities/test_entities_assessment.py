"""Feedback and expectations as values."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

from evalpoint.entities import Assessment, AssessmentError, AssessmentSource, AssessmentSourceType, CategoricalRating, Expectation, Feedback
from evalpoint.entities.assessment import STACK_TRACE_LIMIT, assessment_from_fields
from evalpoint.formats import read_assessment, write_assessment


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (True, True),
        (3, 3),
        (0.5, 0.5),
        ("yes", "yes"),
        (CategoricalRating.NO, "no"),
        (np.float64(0.5), 0.5),
        (np.bool_(False), False),
        ({"a": np.int64(1)}, {"a": 1}),
        ((1, 2), [1, 2]),
    ],
    ids=str,
)
def test_feedback_value(value, plain):
    """Values are made plain, and keep their kind."""
    feedback = Feedback(value=value)
    assert feedback.value == plain
    assert type(feedback.value) is type(plain)
    assert feedback.name == "feedback"


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("nan")], ids=str)
def test_no_nan(value):
    """A score that is not finite is refused at once."""
    with pytest.raises(ValueError, match="finite number"):
        Feedback(name="x", value=value)


def test_neither_value_nor_error():
    """Feedback says something, and an expectation has a value."""
    with pytest.raises(ValueError, match="neither a value nor an error"):
        Feedback(name="x")
    with pytest.raises(ValueError, match="no value"):
        Expectation("x", None)


def test_errors():
    """An exception, a text or an error value: each becomes code, message and where it came from."""
    with pytest.raises(KeyError) as caught:
        {}["missing"]
    feedback = Feedback(name="x", error=caught.value)
    assert feedback.error is not None
    assert (feedback.error.error_code, feedback.error.error_message) == ("KeyError", "'missing'")
    assert "test_errors" in (feedback.error.stack_trace or "")
    assert Feedback(error="why").error == AssessmentError("ERROR", "why")
    assert AssessmentError.of(ValueError()).error_message == "ValueError"
    assert AssessmentError.of(ValueError("m"), "CODE").error_code == "CODE"


def test_error_without_words():
    """An exception whose text cannot be had still becomes an error."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert AssessmentError.of(Mute()).error_message == "<Mute>"


def test_long_stack_trace():
    """Of a long stack trace the end is kept: there it says what happened."""
    error = AssessmentError("E", "m", "a" + "b" * STACK_TRACE_LIMIT)
    assert error.stack_trace == "b" * STACK_TRACE_LIMIT


def test_source():
    """The old name of a judge's source is understood; an unknown type is an error that lists the known ones."""
    assert AssessmentSource("AI_JUDGE").source_type == AssessmentSourceType.LLM_JUDGE
    assert AssessmentSource("CODE").source_id == "default"
    assert Feedback(value=1).source.source_type == "CODE"
    assert Expectation("x", 1).source.source_type == "HUMAN"
    with pytest.raises(ValueError, match="HUMAN, LLM_JUDGE"):
        AssessmentSource("ROBOT")


def test_metadata_is_text():
    """A server would drop what follows a number in metadata, so everything is text."""
    assert Feedback(value=1, metadata={"cost": 0.5, 3: None}).metadata == {"cost": "0.5", "3": "None"}  # type: ignore[dict-item]
    assert Feedback(value=1, metadata={}).metadata is None


FULL: list[Assessment] = [
    Feedback(
        name="judged",
        value={"a": [1, None]},
        source=AssessmentSource("LLM_JUDGE", "openai:/gpt-4.1-mini"),
        trace_id="tr-" + "a" * 32,
        span_id="b" * 16,
        metadata={"k": "v"},
        create_time_ms=1795455997922,
        last_update_time_ms=1795455997923,
        rationale="because",
        overrides="a-1",
        valid=False,
        assessment_id="a-2",
    ),
    Feedback(name="failed", error=AssessmentError("E", "m", "s")),
    Feedback(name="both", value=0, error=AssessmentError("E")),
    Expectation("facts", ["a", {"b": 1}], assessment_id="a-3"),
    Expectation("response", "text", metadata={"k": "v"}),
    Expectation("number", 0.5),
]


@pytest.mark.parametrize("assessment", FULL, ids=lambda assessment: assessment.name)
def test_round_trip(assessment):
    """Every kind survives its plain shape, its JSON, copying and pickling."""
    fields = assessment.to_fields()
    assert assessment_from_fields(fields) == assessment
    assert read_assessment(write_assessment(fields)) == fields
    assert copy.deepcopy(assessment) == pickle.loads(pickle.dumps(assessment)) == assessment  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    "changes", [{"kind": "issue"}, {"value": None}, {"kind": "expectation", "value": None}], ids=["issue", "empty", "none"]
)
def test_nothing_to_keep(changes: dict[str, Any]):
    """References to issues and assessments that say nothing are not kept."""
    fields = Feedback(name="a", value=1).to_fields() | changes
    assert assessment_from_fields(fields) is None  # type: ignore[arg-type]
