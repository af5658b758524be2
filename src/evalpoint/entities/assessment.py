"""What is said about a trace: feedback, by a scorer, a judge or a person; and expectations, what a good answer has."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from evalpoint.formats import AssessmentFields, as_text, plain

__all__ = [
    "Assessment",
    "AssessmentError",
    "AssessmentSource",
    "AssessmentSourceType",
    "CategoricalRating",
    "Expectation",
    "Feedback",
    "assessment_from_fields",
]

STACK_TRACE_LIMIT = 10_000
DEFAULT_NAME = "feedback"


class AssessmentSourceType:
    """Who assessed. Plain strings, as on the wire."""

    HUMAN = "HUMAN"
    LLM_JUDGE = "LLM_JUDGE"
    CODE = "CODE"
    SOURCE_TYPE_UNSPECIFIED = "SOURCE_TYPE_UNSPECIFIED"


class CategoricalRating(str, Enum):
    """The labels of the built-in judges."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class AssessmentSource:
    """Who assessed: a type, and an id such as `openai:/gpt-4.1-mini`, a scorer's name or a person's address."""

    source_type: str
    source_id: str = "default"

    def __post_init__(self) -> None:
        known = ("HUMAN", "LLM_JUDGE", "CODE", "SOURCE_TYPE_UNSPECIFIED")
        _must_be(str, self.source_id, "source_id", "a text, such as a model's URI or a person's address")
        given = "LLM_JUDGE" if self.source_type == "AI_JUDGE" else self.source_type
        if given not in known:
            raise ValueError(f"source_type {self.source_type!r} is none of {', '.join(known)}")
        object.__setattr__(self, "source_type", given)


@dataclass(frozen=True, slots=True)
class AssessmentError:
    """Why there is no value. `stack_trace` keeps its last 10,000 characters."""

    error_code: str
    error_message: str | None = None
    stack_trace: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "error_code", as_text(self.error_code))
        if self.error_message is not None:
            object.__setattr__(self, "error_message", as_text(self.error_message))
        if self.stack_trace is not None:
            object.__setattr__(self, "stack_trace", as_text(self.stack_trace))
        if self.stack_trace and len(self.stack_trace) > STACK_TRACE_LIMIT:
            object.__setattr__(self, "stack_trace", self.stack_trace[-STACK_TRACE_LIMIT:])

    @classmethod
    def of(cls, error: BaseException, error_code: str | None = None) -> AssessmentError:
        """The error as a value: its class name for a code, its text, and where it came from."""
        stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        return cls(error_code or type(error).__name__, as_text(error) or type(error).__name__, stack)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What feedback and expectations have in common. Times are milliseconds since the epoch."""

    name: str
    value: Any = None
    source: AssessmentSource
    trace_id: str | None = None
    span_id: str | None = None
    metadata: Mapping[str, str] | None = None
    create_time_ms: int | None = None
    last_update_time_ms: int | None = None
    assessment_id: str | None = None

    def to_fields(self) -> AssessmentFields:
        """The plain shape that `formats` writes."""
        feedback = self if isinstance(self, Feedback) else None
        error = feedback.error if feedback else None
        return {
            "assessment_id": self.assessment_id,
            "kind": "feedback" if feedback else "expectation",
            "name": self.name,
            "value": self.value,
            "error": {"error_code": error.error_code, "error_message": error.error_message, "stack_trace": error.stack_trace}
            if error
            else None,
            "source_type": self.source.source_type,
            "source_id": self.source.source_id,
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "rationale": feedback.rationale if feedback else None,
            "metadata": dict(self.metadata or {}),
            "create_time_ms": self.create_time_ms,
            "last_update_time_ms": self.last_update_time_ms,
            "overrides": feedback.overrides if feedback else None,
            "valid": feedback.valid if feedback else True,
        }


@dataclass(frozen=True, slots=True, init=False)
class Feedback(Assessment):
    """A judgement of one answer.

    Args:
        name: What is judged; a scorer's feedback with the default name takes the scorer's.
        value: A number, a bool, a string, or a plain list or dict; numpy scalars are made plain. NaN is refused.
        error: Why there is no value: an exception, a text, or an `AssessmentError`.
        rationale: Why this value; rendered as Markdown where people read it.
        metadata: String to string; other values are written as strings.
        overrides: The id of the assessment that this one replaces.

    Raises:
        ValueError: Neither value nor error is given, or the value is NaN or infinite.
    """

    error: AssessmentError | None
    rationale: str | None
    overrides: str | None
    valid: bool

    def __init__(
        self,
        name: str = DEFAULT_NAME,
        value: Any = None,
        error: BaseException | AssessmentError | str | None = None,
        source: AssessmentSource | None = None,
        trace_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        span_id: str | None = None,
        create_time_ms: int | None = None,
        last_update_time_ms: int | None = None,
        rationale: str | None = None,
        overrides: str | None = None,
        valid: bool = True,
        assessment_id: str | None = None,
    ) -> None:
        if value is None and error is None:
            raise ValueError(f"feedback {name!r} has neither a value nor an error; give one")
        if source is not None:
            _must_be(AssessmentSource, source, f"source of feedback {name!r}", 'such as AssessmentSource("HUMAN", "ann@example.com")')
        for what, text in (("name", name), ("rationale", rationale), ("span_id", span_id), ("overrides", overrides)):
            if text is not None:
                _must_be(str, text, f"{what} of feedback {name!r}", "a text")
        value = plain(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"feedback {name!r} has the value {value}; a score is a finite number, a bool, a string or plain JSON")
        assign = object.__setattr__
        assign(self, "name", name)
        assign(self, "value", value)
        assign(self, "error", _as_error(error))
        assign(self, "source", source or AssessmentSource(AssessmentSourceType.CODE))
        assign(self, "trace_id", trace_id)
        assign(self, "metadata", {str(k): v if isinstance(v, str) else str(v) for k, v in metadata.items()} if metadata else None)
        assign(self, "span_id", span_id)
        assign(self, "create_time_ms", create_time_ms)
        assign(self, "last_update_time_ms", last_update_time_ms)
        assign(self, "rationale", rationale)
        assign(self, "overrides", overrides)
        assign(self, "valid", valid)
        assign(self, "assessment_id", assessment_id)


@dataclass(frozen=True, slots=True, init=False)
class Expectation(Assessment):
    """What a good answer has: `expected_facts`, `expected_response`, or any name of your own. The value is plain JSON, not None."""

    def __init__(
        self,
        name: str,
        value: Any,
        source: AssessmentSource | None = None,
        trace_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        span_id: str | None = None,
        create_time_ms: int | None = None,
        last_update_time_ms: int | None = None,
        assessment_id: str | None = None,
    ) -> None:
        if value is None:
            raise ValueError(f"expectation {name!r} has no value; leave it out instead")
        assign = object.__setattr__
        assign(self, "name", name)
        assign(self, "value", plain(value))
        assign(self, "source", source or AssessmentSource(AssessmentSourceType.HUMAN))
        assign(self, "trace_id", trace_id)
        assign(self, "metadata", {str(k): v if isinstance(v, str) else str(v) for k, v in metadata.items()} if metadata else None)
        assign(self, "span_id", span_id)
        assign(self, "create_time_ms", create_time_ms)
        assign(self, "last_update_time_ms", last_update_time_ms)
        assign(self, "assessment_id", assessment_id)


def _must_be(kind: type, value: object, what: str, wanted: str) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{what} should be {wanted}; it is {value!r:.100}")


def _as_error(error: BaseException | AssessmentError | str | None) -> AssessmentError | None:
    if error is None or isinstance(error, AssessmentError):
        return error
    if isinstance(error, BaseException):
        return AssessmentError.of(error)
    return AssessmentError("ERROR", str(error))


def assessment_from_fields(fields: AssessmentFields) -> Assessment | None:
    """The assessment of a plain shape; None for kinds that evalpoint does not keep, such as references to issues."""
    source = AssessmentSource(fields["source_type"], fields["source_id"])
    if fields["kind"] == "feedback":
        error = AssessmentError(**fields["error"]) if fields["error"] else None
        if fields["value"] is None and error is None:
            return None
        return Feedback(
            name=fields["name"],
            value=fields["value"],
            error=error,
            source=source,
            trace_id=fields["trace_id"],
            metadata=fields["metadata"],
            span_id=fields["span_id"],
            create_time_ms=fields["create_time_ms"],
            last_update_time_ms=fields["last_update_time_ms"],
            rationale=fields["rationale"],
            overrides=fields["overrides"],
            valid=fields["valid"],
            assessment_id=fields["assessment_id"],
        )
    if fields["kind"] == "expectation" and fields["value"] is not None:
        return Expectation(
            name=fields["name"],
            value=fields["value"],
            source=source,
            trace_id=fields["trace_id"],
            metadata=fields["metadata"],
            span_id=fields["span_id"],
            create_time_ms=fields["create_time_ms"],
            last_update_time_ms=fields["last_update_time_ms"],
            assessment_id=fields["assessment_id"],
        )
    return None
