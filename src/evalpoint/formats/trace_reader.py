"""JSON of any trace dialect -> the plain shape. Whatever comes in, only `FormatError` comes out."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, Literal

from evalpoint.errors import FormatError
from evalpoint.formats.assessments import location_texts, read_assessment, text_map, text_or_none
from evalpoint.formats.ids import RandomBytes, new_trace_id, read_trace_hex
from evalpoint.formats.jsontext import as_text, decode, safe
from evalpoint.formats.narrowing import is_dict, is_list
from evalpoint.formats.shapes import AssessmentFields, InfoFields, SpanFields, TraceFields
from evalpoint.formats.span_reader import TRACE_REQUEST_ID, read_span, unique_ids
from evalpoint.formats.times import read_duration_ms, read_ms
from evalpoint.formats.trees import grow

__all__ = ["read_trace"]

State = Literal["OK", "ERROR", "IN_PROGRESS", "STATE_UNSPECIFIED"]

UNSPECIFIED_LOCATION = {"type": "TRACE_LOCATION_TYPE_UNSPECIFIED"}
_STATES: dict[str, State] = {
    "OK": "OK",
    "ERROR": "ERROR",
    "IN_PROGRESS": "IN_PROGRESS",
    "STATE_UNSPECIFIED": "STATE_UNSPECIFIED",
    "TRACE_STATUS_UNSPECIFIED": "STATE_UNSPECIFIED",
}
_INFO_KEYS = frozenset(
    ("trace_location", "request_time", "state", "trace_metadata", "experiment_id", "timestamp_ms", "status", "request_metadata", "tags")
)
_ID_KEYS = frozenset(("trace_id", "request_id"))
_WRAPPERS = 3
"""How many `{"trace": …}` may be around a trace."""


def read_trace(data: object, random: RandomBytes = os.urandom) -> TraceFields:
    """The trace of a dict or a JSON text in any dialect of MLflow since 2.14: `to_dict`, REST, artifact, or an info alone.

    Damage is repaired where it can be and left out where it cannot; `problems` says what was done, in sentences.

    Raises:
        FormatError: There is no trace in it: nothing at all, another kind of JSON, or a trace from before MLflow 2.14.
    """
    try:
        return _read(data, random)
    except FormatError:
        raise
    except (
        Exception
    ) as error:  # a trace is a stranger's: what nobody foresaw must not cost a row, and the tests ask that it never comes to this
        raise FormatError(f"The trace cannot be read: {type(error).__name__}: {as_text(error)[:200]}") from error


def _read(data: object, random: RandomBytes) -> TraceFields:
    problems: Counter[str] = Counter()
    info, raw_spans = _parts(data)
    raw_time = None if info is None else info.get("request_time", info.get("timestamp_ms"))
    request_time_ms = read_ms(raw_time)
    spans = _spans(raw_spans, request_time_ms, random, problems)
    root = spans[0] if spans else None
    trace_id = _trace_id(info, raw_spans)
    if root is None and (info is None or trace_id is None):
        raise FormatError("There is no trace in this JSON: neither an info with an id nor a span that can be read.")
    if trace_id is None:
        trace_id = new_trace_id(random)
        problems["The trace has no readable id; it was given a new one."] += 1
    fields: TraceFields = {
        "info": _bare_info(trace_id, root) if info is None else _info(trace_id, info, request_time_ms, root, problems),
        "spans": spans,
        "problems": [],
    }
    if problems:
        fields["problems"] = [f"{text} ({count} times)" if count > 1 else text for text, count in problems.items()]
    return fields


def _parts(data: object) -> tuple[dict[str, Any] | None, list[Any]]:
    """Info and spans, wherever the dialect has them. The info is None where nothing in it is known."""
    outer = _object(data)
    if outer is None:
        raise FormatError(f"A trace is a JSON object; this is {_describe(data)}.")
    for _ in range(_WRAPPERS):
        inner = _object(outer.get("trace"))
        if inner is None:
            break
        outer = inner
    page = outer.get("traces")
    if is_list(page) and "info" not in outer and "trace_info" not in outer:
        entries = page
        if len(entries) != 1 or not is_dict(entries[0]):
            raise FormatError(f"This is a page of {len(entries)} traces; read its entries one at a time.")
        outer = entries[0]
    body = _object(outer.get("data")) or outer
    spans = body.get("spans", outer.get("spans"))
    if type(spans) is str:
        spans = _decoded(spans)
    info = _object(outer.get("info")) or _object(outer.get("trace_info"))
    if info is None or (_INFO_KEYS.isdisjoint(info) and _ID_KEYS.isdisjoint(info)):
        info = None if _INFO_KEYS.isdisjoint(outer) else outer
    if info is None and "steps" in outer:
        raise FormatError("This trace has the form from before MLflow 2.14 (steps), which cannot be read.")
    return info, spans if is_list(spans) else []


def _object(value: object) -> dict[str, Any] | None:
    if isinstance(value, (str, bytes, bytearray)):
        value = _decoded(value)
    return value if is_dict(value) else None


def _decoded(text: str | bytes | bytearray) -> object:
    try:
        return decode(text if isinstance(text, str) else text.decode("utf-8", "replace"), whole=True)
    except ValueError:  # no JSON is no trace: whoever asked says so
        return None


def _describe(data: object) -> str:
    if data is None:
        return "nothing"
    return f"{type(data).__name__} without JSON of an object" if isinstance(data, (str, bytes, bytearray)) else f"{type(data).__name__}"


def _spans(raw_spans: list[Any], request_time_ms: int | None, random: RandomBytes, problems: Counter[str]) -> list[SpanFields]:
    dicts = [raw for raw in raw_spans if is_dict(raw)]
    if dicts and all(type(raw.get("attributes")) is str for raw in dicts):
        raise FormatError("This trace has the form from before MLflow 2.14 (attributes as one text), which cannot be read.")
    spans: list[SpanFields] = []
    for raw in dicts:
        span = read_span(raw, problems)
        if span is not None:
            spans.append(span)
    if len(spans) < len(raw_spans):
        problems["A span that cannot be read was left out."] += len(raw_spans) - len(spans)
    unique_ids(spans, random, problems)
    _set_missing_starts(spans, request_time_ms, problems)
    return grow(spans, problems)


def _set_missing_starts(spans: list[SpanFields], request_time_ms: int | None, problems: Counter[str]) -> None:
    missing = [span for span in spans if not span["start_time_ns"]]
    if not missing:
        return
    earliest = min((span["start_time_ns"] for span in spans if span["start_time_ns"]), default=(request_time_ms or 0) * 1_000_000)
    problems["A span has no start; it was given the trace's."] += len(missing)
    for span in missing:
        end = span["end_time_ns"]
        span["start_time_ns"] = earliest if end is None else min(earliest, end)


def _trace_id(info: dict[str, Any] | None, raw_spans: list[Any]) -> str | None:
    """The info's id, as it is; else the one that a span has."""
    if info is not None:
        for key in ("trace_id", "request_id"):
            if found := text_or_none(info.get(key)):
                return found
    for raw in raw_spans:
        if not is_dict(raw):
            continue
        span = raw
        attributes, context = span.get("attributes"), span.get("context")
        if is_dict(attributes):
            noted = attributes.get(TRACE_REQUEST_ID)
            noted = _decoded(noted) if type(noted) is str else None
            if type(noted) is str and noted:
                return noted
        holder = context if is_dict(context) else span
        if hexadecimal := read_trace_hex(holder.get("trace_id")):
            return "tr-" + hexadecimal
    return None


def _bare_info(trace_id: str, root: SpanFields | None) -> InfoFields:
    """What the root span says of a trace that came without an info."""
    return {
        "trace_id": trace_id,
        "client_request_id": None,
        "trace_location": {},
        "request_time_ms": _start_ms(root),
        "execution_duration_ms": _duration_ms(root),
        "state": _state_of(root),
        "trace_metadata": {},
        "tags": {},
        "request_preview": None,
        "response_preview": None,
        "assessments": [],
    }


def _info(trace_id: str, info: dict[str, Any], request_time_ms: int | None, root: SpanFields | None, problems: Counter[str]) -> InfoFields:
    if request_time_ms is None:
        problems["The trace's time is missing or is no time; it was taken from its root span."] += 1
        request_time_ms = _start_ms(root)
    raw_duration = info.get("execution_duration_ms", info.get("execution_duration", info.get("execution_time_ms")))
    duration_ms = read_duration_ms(raw_duration)
    if duration_ms is None and raw_duration is not None:
        problems["The trace's duration is no duration; it was taken from its root span."] += 1
        duration_ms = _duration_ms(root)
    raw_state = info.get("state", info.get("status"))
    state = _STATES.get(raw_state.upper()) if isinstance(raw_state, str) else None
    if state is None:
        problems["The trace's state is missing or unknown; it was taken from its root span."] += 1
        state = _state_of(root)
    return {
        "trace_id": trace_id,
        "client_request_id": text_or_none(info.get("client_request_id")),
        "trace_location": _location(info, problems),
        "request_time_ms": request_time_ms,
        "execution_duration_ms": duration_ms,
        "state": state,
        "trace_metadata": text_map(info.get("trace_metadata", info.get("request_metadata"))),
        "tags": text_map(info.get("tags")),
        "request_preview": text_or_none(info.get("request_preview")),
        "response_preview": text_or_none(info.get("response_preview")),
        "assessments": _assessments(info.get("assessments"), problems),
    }


def _location(info: dict[str, Any], problems: Counter[str]) -> dict[str, Any]:
    location = info.get("trace_location")
    if is_dict(location) and location:
        return {} if set(location) == {"type"} and location["type"] == UNSPECIFIED_LOCATION["type"] else location_texts(location)
    experiment_id = info.get("experiment_id")
    if experiment_id is not None and type(experiment_id) in (str, int):
        return {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": str(safe(experiment_id))}}
    if location or experiment_id:
        problems["The trace's location cannot be read; it was left out."] += 1
    return {}


def _assessments(data: object, problems: Counter[str]) -> list[AssessmentFields]:
    entries = data if is_list(data) else [] if data is None else [data]
    found = [read for read in map(read_assessment, entries) if read is not None]
    if len(found) < len(entries):
        problems["An assessment that cannot be read was left out."] += len(entries) - len(found)
    return found


def _start_ms(root: SpanFields | None) -> int:
    return root["start_time_ns"] // 1_000_000 if root else 0


def _duration_ms(root: SpanFields | None) -> int | None:
    if root is None or root["end_time_ns"] is None:
        return None
    return (root["end_time_ns"] - root["start_time_ns"]) // 1_000_000


def _state_of(root: SpanFields | None) -> State:
    if root is None:
        return "STATE_UNSPECIFIED"
    if root["status_code"] == "ERROR":
        return "ERROR"
    return "IN_PROGRESS" if root["end_time_ns"] is None else "OK"
