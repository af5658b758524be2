"""The trace that a served model returns, as MLflow 3.6 and later write it. Written here, not with `formats`, so that
a mistake in reading shows.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from evalpoint.mocks.answers import MockSpan, Usage
from evalpoint.mocks.clock import Ids

__all__ = ["trace_json"]

PREVIEW = 1000
METADATA = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    span: MockSpan
    parent: bytes | None
    span_id: bytes
    start: int
    end: int


def trace_json(
    root: MockSpan, *, start_ns: int, end_ns: int, ids: Ids, experiment_id: str | None, client_request_id: str
) -> dict[str, Any]:
    """The trace of one call.

    Args:
        root: The outermost step, with the others inside it.
        start_ns: When the call came, in nanoseconds since the epoch.
        end_ns: When it was answered.
        ids: Makes trace and span ids.
        experiment_id: The experiment that the endpoint logs to.
        client_request_id: The serving layer's id of the request.
    """
    hex_id = ids.hex(32)
    trace_id = f"tr-{hex_id}"
    spans = list(_timed(root, None, start_ns, max(end_ns, start_ns + 1000), ids))
    inputs, outputs = _text(root.inputs), _text(root.outputs)
    usage = _total_usage(root)
    metadata = {"mlflow.trace_schema.version": "3", "mlflow.traceInputs": inputs[:METADATA], "mlflow.traceOutputs": outputs[:METADATA]}
    if usage is not None:
        metadata["mlflow.trace.tokenUsage"] = _text(usage.as_dict())
    info: dict[str, Any] = {
        "trace_id": trace_id,
        "client_request_id": client_request_id,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}},
        "request_time": _rfc3339(start_ns),
        "execution_duration_ms": max(end_ns - start_ns, 0) // 1_000_000,
        "state": "ERROR" if root.error else "OK",
        "trace_metadata": metadata,
        "tags": {"mlflow.traceName": root.name},
        "request_preview": inputs[:PREVIEW],
        "response_preview": outputs[:PREVIEW],
        "assessments": [],
    }
    encoded = _base64(bytes.fromhex(hex_id))
    return {"info": info, "data": {"spans": [_span_json(timed, encoded, trace_id) for timed in spans]}}


def _timed(span: MockSpan, parent: bytes | None, start: int, end: int, ids: Ids) -> Iterator[_Timed]:
    """The span and all below it: children one after the other, inside their parent's time."""
    span_id = bytes.fromhex(ids.hex(16))
    yield _Timed(span=span, parent=parent, span_id=span_id, start=start, end=end)
    step = (end - start) // (len(span.children) + 1)
    for number, child in enumerate(span.children):
        yield from _timed(child, span_id, start + step // 2 + number * step, start + step // 2 + (number + 1) * step, ids)


def _span_json(timed: _Timed, trace: str, trace_id: str) -> dict[str, Any]:
    span = timed.span
    attributes: dict[str, Any] = {"mlflow.traceRequestId": trace_id, "mlflow.spanType": span.span_type}
    if span.inputs is not None:
        attributes["mlflow.spanInputs"] = span.inputs
    if span.outputs is not None:
        attributes["mlflow.spanOutputs"] = span.outputs
    if span.usage is not None:
        attributes["mlflow.chat.tokenUsage"] = span.usage.as_dict()
    if span.model is not None:
        attributes["mlflow.llm.model"] = span.model
    attributes.update(span.attributes)
    events: list[Mapping[str, Any]] = []
    if span.error is not None:
        details = {
            "exception.type": "RuntimeError",
            "exception.message": span.error,
            "exception.stacktrace": f"RuntimeError: {span.error}\n",
        }
        events.append({"name": "exception", "time_unix_nano": timed.end, "attributes": details})
    return {
        "trace_id": trace,
        "span_id": _base64(timed.span_id),
        "parent_span_id": None if timed.parent is None else _base64(timed.parent),
        "name": span.name,
        "start_time_unix_nano": timed.start,
        "end_time_unix_nano": timed.end,
        "events": events,
        "status": {"code": "STATUS_CODE_ERROR" if span.error else "STATUS_CODE_OK", "message": span.error or ""},
        "attributes": {key: _text(value) for key, value in attributes.items()},
        "links": [],
    }


def _total_usage(span: MockSpan) -> Usage | None:
    """What the whole used: a step's own number where it has one, else the sum of the steps inside it."""
    if span.usage is not None:
        return span.usage
    inside = [usage for usage in map(_total_usage, span.children) if usage is not None]
    return Usage(sum(u.input_tokens for u in inside), sum(u.output_tokens for u in inside)) if inside else None


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _rfc3339(time_ns: int) -> str:
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns // 1_000_000 % 1000:03d}Z"
