"""The plain shape -> JSON that MLflow's clients and servers read. Strict: what they would drop in silence is never written."""

from __future__ import annotations

from typing import Any, Literal

from evalpoint.formats.assessments import location_texts, text_map, write_assessment
from evalpoint.formats.ids import base64_id, trace_hex
from evalpoint.formats.jsontext import encode, safe
from evalpoint.formats.shapes import EventFields, InfoFields, LinkFields, SpanFields, TraceFields
from evalpoint.formats.span_reader import TRACE_REQUEST_ID
from evalpoint.formats.times import write_duration, write_time
from evalpoint.formats.trace_reader import UNSPECIFIED_LOCATION
from evalpoint.formats.typed_values import write_pairs

__all__ = ["write_trace"]


def write_trace(fields: TraceFields, dialect: Literal["v3", "rest"] = "v3") -> dict[str, Any]:
    """The trace as JSON.

    Args:
        fields: The trace.
        dialect: `"v3"` is what `Trace.to_dict()` of MLflow 3.6 and later gives; `"rest"` is what the server's
            `/traces/get` answers: `{"trace": {"trace_info", "spans"}}` with typed attributes and durations as text.
    """
    info = _info(fields["info"], dialect)
    trace_id = fields["info"]["trace_id"]
    trace_bytes = base64_id(trace_hex(trace_id))
    if dialect == "rest":
        return {"trace": {"trace_info": info, "spans": [_rest_span(span, trace_id, trace_bytes) for span in fields["spans"]]}}
    return {"info": info, "data": {"spans": [_v3_span(span, trace_id, trace_bytes) for span in fields["spans"]]}}


def _info(info: InfoFields, dialect: str) -> dict[str, Any]:
    written: dict[str, Any] = {
        "trace_id": info["trace_id"],
        "client_request_id": info["client_request_id"],
        "trace_location": location_texts(info["trace_location"]) if info["trace_location"] else dict(UNSPECIFIED_LOCATION),
        "request_time": write_time(info["request_time_ms"]),
    }
    duration = info["execution_duration_ms"]
    if duration is not None:
        written |= {"execution_duration": write_duration(duration)} if dialect == "rest" else {"execution_duration_ms": duration}
    written["state"] = info["state"]
    written["request_preview"] = info["request_preview"]
    written["response_preview"] = info["response_preview"]
    written["trace_metadata"] = text_map(info["trace_metadata"])
    written["tags"] = text_map(info["tags"])
    written["assessments"] = [write_assessment(assessment) for assessment in info["assessments"]] or None
    return {key: value for key, value in written.items() if value is not None}


def _v3_span(span: SpanFields, trace_id: str, trace_bytes: str) -> dict[str, Any]:
    attributes = {key: encode(value) for key, value in span["attributes"].items()}
    attributes[TRACE_REQUEST_ID] = encode(trace_id)
    return {
        "trace_id": trace_bytes,
        "span_id": base64_id(span["span_id"]),
        "parent_span_id": base64_id(span["parent_id"]) if span["parent_id"] else None,
        "name": span["name"],
        "start_time_unix_nano": span["start_time_ns"],
        "end_time_unix_nano": span["end_time_ns"],
        "events": [_v3_event(event) for event in span["events"]],
        "status": {"code": f"STATUS_CODE_{span['status_code']}", "message": span["status_message"]},
        "attributes": attributes,
        "links": [_v3_link(link) for link in span["links"]],
    }


def _v3_event(event: EventFields) -> dict[str, Any]:
    return {"name": event["name"], "time_unix_nano": event["timestamp_ns"], "attributes": safe(event["attributes"])}


def _v3_link(link: LinkFields) -> dict[str, Any]:
    return {"trace_id": link["trace_id"], "span_id": link["span_id"], "attributes": safe(link["attributes"])}


def _rest_span(span: SpanFields, trace_id: str, trace_bytes: str) -> dict[str, Any]:
    written: dict[str, Any] = {"trace_id": trace_bytes, "span_id": base64_id(span["span_id"])}
    if span["parent_id"]:
        written["parent_span_id"] = base64_id(span["parent_id"])
    written["name"] = span["name"]
    written["start_time_unix_nano"] = span["start_time_ns"]
    if span["end_time_ns"] is not None:
        written["end_time_unix_nano"] = span["end_time_ns"]
    written["attributes"] = write_pairs({**span["attributes"], TRACE_REQUEST_ID: trace_id})
    if span["events"]:
        written["events"] = [
            {"name": event["name"], "time_unix_nano": event["timestamp_ns"], "attributes": write_pairs(event["attributes"])}
            for event in span["events"]
        ]
    if span["links"]:
        written["links"] = [
            {
                "trace_id": base64_id(trace_hex(link["trace_id"])),
                "span_id": base64_id(link["span_id"]),
                "attributes": write_pairs(link["attributes"]),
            }
            for link in span["links"]
        ]
    written["status"] = {"code": f"STATUS_CODE_{span['status_code']}", "message": span["status_message"]}
    return written
