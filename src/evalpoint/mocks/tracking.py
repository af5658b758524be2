"""The traces that a mock workspace keeps, served as its tracking server serves them."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, cast

from evalpoint.mocks.exchange import Arrival, Response, error_response, is_list, json_response, members

__all__ = ["TraceShelf"]

KEPT = 10_000


class TraceShelf:
    """Traces by id. A trace may be there at once, or only after some seconds. May be used from any thread.

    Args:
        url: Gives the workspace's address, for signed links.
        now: Seconds, to tell when a trace has appeared; the machine's, because whoever waits for a trace really waits.
    """

    def __init__(self, url: Callable[[], str], *, now: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._now = now
        self._lock = threading.Lock()
        self._traces: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    def put(self, trace_id: str, trace: Any, *, delay: float = 0.0) -> None:
        """Keeps a trace under its id. It can be fetched after `delay` seconds; None never can."""
        with self._lock:
            self._traces[trace_id] = (self._now() + delay, trace)
            while len(self._traces) > KEPT:
                self._traces.popitem(last=False)

    def _found(self, trace_id: str) -> Any:
        with self._lock:
            appears, trace = self._traces.get(trace_id, (0.0, None))
        return trace if trace is not None and appears <= self._now() else None

    # What the workspace serves.

    async def info(self, arrival: Arrival, trace_id: str) -> Response:
        """`GET /api/3.0/mlflow/traces/{id}`: the info without spans."""
        trace = self._found(trace_id)
        return _missing(trace_id) if trace is None else json_response({"trace": {"trace_info": _info(trace)}})

    async def get(self, arrival: Arrival) -> Response:
        """`GET /api/3.0/mlflow/traces/get?trace_id=`: the info and the spans, with typed attributes."""
        trace_id = arrival.recorded.query.get("trace_id", "")
        trace = self._found(trace_id)
        if trace is None:
            return _missing(trace_id)
        return json_response({"trace": {"trace_info": _info(trace), "spans": _spans(trace, _span)}})

    async def credentials(self, arrival: Arrival, trace_id: str) -> Response:
        """`GET /api/…/mlflow/traces/{id}/credentials-for-data-download`: where the spans can be fetched without a token."""
        if self._found(trace_id) is None:
            return _missing(trace_id)
        signed = f"{self._url()}/mock-storage/traces/{trace_id}.json?signature=mock"
        return json_response({"credential_info": {"type": "AWS_PRESIGNED_URL", "signed_uri": signed, "headers": []}})

    async def download(self, arrival: Arrival, name: str) -> Response:
        """A signed link: the spans, for whoever sends no token along."""
        if "authorization" in arrival.request.headers:
            message = "Only one auth mechanism allowed; this link is signed, send no Authorization header."
            return error_response(400, "InvalidArgument", message)
        trace = self._found(name.removesuffix(".json"))
        return _missing(name) if trace is None else json_response({"spans": _spans(trace, lambda span: span)})


def _missing(trace_id: str) -> Response:
    return error_response(404, "RESOURCE_DOES_NOT_EXIST", f"Trace with ID '{trace_id}' not found.")


def _info(trace: Any) -> Any:
    """The info as REST writes it: a duration is a text. A damaged trace may have none."""
    given = members(trace).get("info")
    if not isinstance(given, dict):
        return given
    info = dict(members(given))  # pyright: ignore[reportUnknownArgumentType] - JSON
    milliseconds = info.pop("execution_duration_ms", None)
    return info if milliseconds is None else {**info, "execution_duration": f"{milliseconds / 1000:.3f}s"}


def _spans(trace: Any, shown: Callable[[dict[str, Any]], Any]) -> list[Any]:
    spans = members(members(trace).get("data")).get("spans")
    return [shown(members(span)) if isinstance(span, dict) else span for span in (spans if is_list(spans) else [])]


def _span(span: dict[str, Any]) -> dict[str, Any]:
    """A span as REST writes it: attributes as a list of typed values, and no parent for the root."""
    shown = {**span, "attributes": _keyed({key: _read(value) for key, value in span["attributes"].items()})}
    if span["parent_span_id"] is None:
        del shown["parent_span_id"]
    return {**shown, "events": [{**event, "attributes": _keyed(event["attributes"])} for event in span["events"]]}


def _keyed(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _typed(value)} for key, value in values.items()]


def _read(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, int):
        return {"int_value": value}
    if isinstance(value, float):
        return {"double_value": value}
    if is_list(value):
        return {"array_value": {"values": [_typed(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlist_value": {"values": _keyed(cast("dict[str, Any]", value))}}
    return {"string_value": value} if isinstance(value, str) else {}
