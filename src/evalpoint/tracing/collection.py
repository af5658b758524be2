"""Finished OpenTelemetry spans -> traces, gathered by trace id, whatever thread they end on.

One collector serves the process. A span belongs to us when its trace does: a trace becomes ours when one of our own
spans, or a span inside a recording, starts it. Every other span passes by untouched.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from evalpoint.formats.ids import new_trace_id
from evalpoint.formats.plain import plain
from evalpoint.formats.shapes import EventFields, LinkFields, SpanFields
from evalpoint.formats.vocabularies import translate

__all__ = ["COLLECTOR", "RECORDING", "SCOPE", "Collector", "Gathered", "Gatherer"]

SCOPE = "evalpoint"
"""The instrumentation scope of our own spans: their attributes are JSON text."""


CLOSED_KEPT = 1_000
"""Ended traces that are remembered, so that what begins under them later does not take their place."""


@dataclass(slots=True)
class Gathered:
    """One trace while its spans come in, and after: `root_id` names the span that started it."""

    trace_id: str
    root_id: str
    deliver: Callable[[Gathered], None]
    finished: dict[str, SpanFields] = field(default_factory=dict[str, SpanFields])
    unfinished: dict[str, ReadableSpan] = field(default_factory=dict[str, ReadableSpan])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    client_request_id: str | None = None
    linked: bool = False
    """The trace lives in the store already: it is named here, and not written again."""

    def spans(self) -> list[SpanFields]:
        """The root first, then by start; a parent outside of the trace is none."""
        spans = list(self.finished.values())
        spans.sort(key=lambda span: (span["span_id"] != self.root_id, span["start_time_ns"]))
        for span in spans:
            if span["span_id"] == self.root_id:
                span["parent_id"] = None
            elif span["parent_id"] not in self.finished:
                span["parent_id"] = self.root_id
        return spans


Gatherer = Callable[[Gathered], None]

RECORDING: ContextVar[Gatherer | None] = ContextVar("evalpoint.recording", default=None)
"""Who gets the traces that start on this context; with none, the collector's `deliver`."""


class Collector(SpanProcessor):
    """The processor on our private provider, and on the global one where there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, Gathered] = {}
        self._closed: OrderedDict[int, frozenset[str]] = OrderedDict()
        """The spans of the last traces that ended: one that begins under them has come too late."""
        self.deliver: Gatherer = _drop
        """Where traces go that no recording claims. `tracking` sets it."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        context = span.get_span_context()
        span_id = format_span_id(context.span_id)
        with self._lock:
            gathered = self._open.get(context.trace_id)
            if gathered is None:
                recording = RECORDING.get()
                if recording is None and not _is_ours(span):
                    return
                ended = self._closed.get(context.trace_id)
                if ended is not None and span.parent is not None and format_span_id(span.parent.span_id) in ended:
                    return
                gathered = Gathered(
                    # A second trace under one foreign parent has its OpenTelemetry id taken, and gets one of its own.
                    trace_id="tr-" + format_trace_id(context.trace_id) if ended is None else new_trace_id(),
                    root_id=span_id,
                    deliver=recording or self.deliver,
                )
                self._open[context.trace_id] = gathered
            gathered.unfinished[span_id] = span

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is None:
            return
        span_id = format_span_id(context.span_id)
        with self._lock:
            gathered = self._open.get(context.trace_id)
            if gathered is None or gathered.unfinished.pop(span_id, None) is None:
                return
            gathered.finished[span_id] = _fields(span, span_id)
            if span_id != gathered.root_id:
                return
            self._close(context.trace_id, gathered)
        gathered.deliver(gathered)

    def close_all_of(self, deliver: Gatherer) -> None:
        """Ends the traces that began for this receiver and have no end yet, as far as they have come, and hands them over."""
        with self._lock:
            left = [(trace_id, gathered) for trace_id, gathered in self._open.items() if gathered.deliver == deliver]
            for trace_id, gathered in left:
                self._close(trace_id, gathered)
        for _, gathered in left:
            deliver(gathered)

    def _close(self, trace_id: int, gathered: Gathered) -> None:
        del self._open[trace_id]
        for open_id, open_span in gathered.unfinished.items():
            gathered.finished[open_id] = _fields(open_span, open_id)
        gathered.unfinished.clear()
        self._closed[trace_id] = frozenset(gathered.finished)
        while len(self._closed) > CLOSED_KEPT:
            self._closed.popitem(last=False)

    def shutdown(self) -> None:
        """Nothing is held back: traces are delivered as their roots end."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True

    def gathering(self, trace_id: int) -> Gathered | None:
        """The open trace of this OpenTelemetry id, if it is one of ours."""
        with self._lock:
            return self._open.get(trace_id)

    def graft(self, trace_id: int, parent_id: str, spans: Iterable[SpanFields], new_span_id: Callable[[], str]) -> bool:
        """Hangs finished spans of another trace under a span of an open one; ids are kept unless taken.

        Returns:
            Whether there was such an open trace.
        """
        with self._lock:
            gathered = self._open.get(trace_id)
            if gathered is None:
                return False
            taken = gathered.finished.keys() | gathered.unfinished.keys()
            grafted = list(spans)
            renamed = {span["span_id"]: new_span_id() for span in grafted if span["span_id"] in taken}
            for span in grafted:
                copy: SpanFields = {**span}
                copy["span_id"] = renamed.get(span["span_id"], span["span_id"])
                copy["parent_id"] = parent_id if span["parent_id"] is None else renamed.get(span["parent_id"], span["parent_id"])
                gathered.finished[copy["span_id"]] = copy
            return True


def _drop(gathered: Gathered) -> None:
    """Where traces go before `tracking` has said where they should."""


def _is_ours(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == SCOPE


def _fields(span: ReadableSpan, span_id: str) -> SpanFields:
    ours = _is_ours(span)
    attributes = {
        key: _decoded(value) if isinstance(value, str) and (ours or key.startswith("mlflow.")) else plain(value)
        for key, value in (span.attributes or {}).items()
    }
    events: list[EventFields] = [
        {"name": event.name, "timestamp_ns": event.timestamp, "attributes": plain(dict(event.attributes or {}))} for event in span.events
    ]
    links: list[LinkFields] = [
        {
            "trace_id": format_trace_id(link.context.trace_id),
            "span_id": format_span_id(link.context.span_id),
            "attributes": plain(dict(link.attributes or {})),
        }
        for link in span.links
    ]
    return {
        "name": span.name,
        "span_id": span_id,
        "parent_id": format_span_id(span.parent.span_id) if span.parent else None,
        "start_time_ns": span.start_time or 0,
        "end_time_ns": span.end_time,
        "status_code": _STATUS[span.status.status_code],
        "status_message": span.status.description or "",
        "attributes": attributes if ours else translate(attributes),
        "events": events,
        "links": links,
    }


_STATUS: dict[StatusCode, Literal["OK", "ERROR", "UNSET"]] = {StatusCode.OK: "OK", StatusCode.ERROR: "ERROR", StatusCode.UNSET: "UNSET"}


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


COLLECTOR = Collector()
