"""The one plain shape that every trace dialect is read into and written from.

`entities` are built from these; nothing here knows them. Ids are lower-case hex, times are integers, attribute
values are decoded (no JSON inside strings), and a key whose value is unknown is there with `None`.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

__all__ = ["AssessmentFields", "ErrorFields", "EventFields", "InfoFields", "LinkFields", "SpanFields", "TraceFields"]


class EventFields(TypedDict):
    name: str
    timestamp_ns: int
    attributes: dict[str, Any]


class LinkFields(TypedDict):
    trace_id: str
    """A trace's id as in `InfoFields`."""
    span_id: str
    attributes: dict[str, Any]


class SpanFields(TypedDict):
    name: str
    span_id: str
    """16 hex digits."""
    parent_id: str | None
    start_time_ns: int
    end_time_ns: int | None
    status_code: Literal["OK", "ERROR", "UNSET"]
    status_message: str
    attributes: dict[str, Any]
    """Without `mlflow.traceRequestId`: the writer adds the trace's own id, so that no copy of it goes stale."""
    events: list[EventFields]
    links: list[LinkFields]


class ErrorFields(TypedDict):
    error_code: str
    error_message: str | None
    stack_trace: str | None


class AssessmentFields(TypedDict):
    assessment_id: str | None
    kind: Literal["feedback", "expectation", "issue"]
    name: str
    value: Any
    error: ErrorFields | None
    source_type: str
    source_id: str
    trace_id: str | None
    span_id: str | None
    rationale: str | None
    metadata: dict[str, str]
    create_time_ms: int | None
    last_update_time_ms: int | None
    overrides: str | None
    valid: bool


class InfoFields(TypedDict):
    trace_id: str
    """`tr-` and 32 hex digits when made by evalpoint; otherwise whatever the writer used."""
    client_request_id: str | None
    trace_location: dict[str, Any]
    """As on the wire: `{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "5"}}` and its kin."""
    request_time_ms: int
    execution_duration_ms: int | None
    state: Literal["OK", "ERROR", "IN_PROGRESS", "STATE_UNSPECIFIED"]
    trace_metadata: dict[str, str]
    tags: dict[str, str]
    request_preview: str | None
    response_preview: str | None
    assessments: list[AssessmentFields]


class TraceFields(TypedDict):
    info: InfoFields
    spans: list[SpanFields]
    """Sorted by start time, the root first; parents come before their children where the times allow."""
    problems: list[str]
    """What could not be read, in sentences; empty for an undamaged trace."""
