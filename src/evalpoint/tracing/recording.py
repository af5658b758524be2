"""A call -> its trace: what the call emitted, or a root span made for it.

`adopt` brings a trace from elsewhere into the active experiment; `emit` hands a finished trace to whoever records here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.trace import INVALID_SPAN, format_span_id

from evalpoint.calls import redact
from evalpoint.entities.row import Reply, Row, RowKey
from evalpoint.entities.trace import (
    FIRST_TOKEN_MS,
    SPAN_INPUTS,
    SPAN_OUTPUTS,
    SPAN_TYPE,
    TOKENS_PER_SECOND,
    TRACE_TOKEN_USAGE,
    SpanType,
    Trace,
)
from evalpoint.errors import FormatError
from evalpoint.formats import as_text
from evalpoint.formats.answers import question_of, text_of
from evalpoint.formats.ids import new_span_id, new_trace_id
from evalpoint.formats.plain import plain
from evalpoint.formats.shapes import InfoFields, SpanFields, TraceFields
from evalpoint.formats.vocabularies import token_usage
from evalpoint.tracing.collection import COLLECTOR, RECORDING, Gathered

__all__ = [
    "NOTE",
    "ORIGINAL_ID",
    "Recorder",
    "adopt",
    "deliver_to",
    "emit",
    "experiment_location",
    "lives_here",
    "new_gathered",
    "request_id",
    "root_span",
    "to_trace",
]

PREVIEW = 1_000
"""Characters of a request's and a response's preview."""
METADATA_PREVIEW = 250
ORIGINAL_ID = "evalpoint.original_trace_id"
NOTE = "evalpoint.trace_note"
"""Why a trace is not all that it could be."""

_REQUEST_ID: ContextVar[str | None] = ContextVar("evalpoint.request_id", default=None)
_LIVES_HERE: ContextVar[Callable[[str], bool] | None] = ContextVar("evalpoint.lives_here", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Opens recordings for one evaluation. `metadata` and `tags` go on every trace; `lives_here` knows the experiment's own."""

    experiment_id: str
    run_id: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    lives_here: Callable[[str], bool] = lambda trace_id: False
    clock_ns: Callable[[], int] = time.time_ns

    @contextmanager
    def record(self, name: str, inputs: Mapping[str, Any], key: RowKey) -> Generator[_Recording]:
        """Whatever starts on this context inside the block is part of the recording; a span around it is not its parent."""
        recording = _Recording(self, name, inputs, self.clock_ns())
        named = _REQUEST_ID.set(f"evalpoint:{self.run_id}:{key.row}:{key.repeat}")
        gatherer = RECORDING.set(recording.take)
        resolver = _LIVES_HERE.set(self.lives_here)
        detached = otel_context.attach(otel.set_span_in_context(INVALID_SPAN))
        try:
            yield recording
        finally:
            otel_context.detach(detached)
            _LIVES_HERE.reset(resolver)
            RECORDING.reset(gatherer)
            _REQUEST_ID.reset(named)

    def given(self, row: Row) -> Reply:
        """The reply of a row whose answer came with the data; its trace is adopted, or made of inputs and outputs.

        Raises:
            ValueError: The row has no such answer.
        """
        if row.given is None:
            raise ValueError(f"row {row.key.row} has no answer of its own")
        resolver = _LIVES_HERE.set(self.lives_here)
        try:
            if row.given.trace is not None and row.given.trace.data.spans:
                gathered = adopt(row.given.trace.to_fields())
            else:
                now = self.clock_ns()
                gathered = new_gathered(root_span("answer", row.inputs, start_ns=now, end_ns=now, outputs=row.given.outputs))
        finally:
            _LIVES_HERE.reset(resolver)
        trace = to_trace(gathered, experiment_id=self.experiment_id, metadata=self.metadata, tags=self.tags)
        return Reply(outputs=row.given.outputs, trace=trace, adopted=gathered.linked)


@dataclass(slots=True)
class _Recording:
    recorder: Recorder
    name: str
    inputs: Mapping[str, Any]
    start_ns: int
    pieces: list[Gathered] = field(default_factory=list[Gathered])

    @property
    def linked(self) -> bool:
        """The call's trace lives in the experiment already."""
        return len(self.pieces) == 1 and self.pieces[0].linked

    def take(self, piece: Gathered) -> None:
        """Gets a trace that ended inside the recording."""
        self.pieces.append(piece)

    def answered(self, outputs: Any) -> Trace:
        return self._trace(outputs=outputs, error=None)

    def failed(self, error: BaseException) -> Trace:
        return self._trace(outputs=None, error=error)

    def _trace(self, *, outputs: Any, error: BaseException | None) -> Trace:
        """The call's one trace, whatever it emitted; what it began and did not end is in it as far as it came."""
        COLLECTOR.close_all_of(self.take)
        if len(self.pieces) == 1:
            piece = self.pieces[0]
            attributes = piece.finished[piece.root_id]["attributes"]
            if SPAN_INPUTS not in attributes:
                attributes[SPAN_INPUTS] = plain(self.inputs)
            if SPAN_OUTPUTS not in attributes and error is None:
                attributes[SPAN_OUTPUTS] = plain(outputs)
        else:
            end_ns = self.recorder.clock_ns()
            root = root_span(self.name, self.inputs, start_ns=self.start_ns, end_ns=end_ns, outputs=outputs, error=error)
            piece = _under(root, self.pieces)
        return to_trace(
            piece, experiment_id=self.recorder.experiment_id, metadata=self.recorder.metadata, tags=self.recorder.tags, error=error
        )


def root_span(
    name: str,
    inputs: Mapping[str, Any],
    *,
    start_ns: int,
    end_ns: int,
    outputs: Any = None,
    error: BaseException | None = None,
    span_type: str = SpanType.CHAIN,
) -> SpanFields:
    """One span around a call that emitted none itself."""
    attributes: dict[str, Any] = {SPAN_TYPE: span_type, SPAN_INPUTS: plain(inputs)}
    if error is None:
        attributes[SPAN_OUTPUTS] = plain(outputs)
    return {
        "name": name,
        "span_id": new_span_id(),
        "parent_id": None,
        "start_time_ns": start_ns,
        "end_time_ns": end_ns,
        "status_code": "ERROR" if error else "OK",
        "status_message": f"{type(error).__name__}: {redact(as_text(error))}" if error else "",
        "attributes": attributes,
        "events": []
        if error is None
        else [
            {
                "name": "exception",
                "timestamp_ns": end_ns,
                "attributes": {"exception.type": type(error).__name__, "exception.message": redact(as_text(error))},
            }
        ],
        "links": [],
    }


def _under(root: SpanFields, pieces: list[Gathered]) -> Gathered:
    """One trace out of none or several: the pieces hang under a root that was made for them."""
    whole = Gathered(trace_id=new_trace_id(), root_id=root["span_id"], deliver=COLLECTOR.deliver, finished={root["span_id"]: root})
    for piece in pieces:
        whole.tags.update(piece.tags)
        whole.metadata.update(piece.metadata)
        whole.client_request_id = whole.client_request_id or piece.client_request_id
        whole.finished.update({key: value for key, value in piece.finished.items() if key not in whole.finished})
    return whole


def to_trace(
    gathered: Gathered,
    *,
    experiment_id: str,
    metadata: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    error: BaseException | None = None,
) -> Trace:
    """The gathered spans as a trace of the experiment, with previews, token usage and state."""
    spans = gathered.spans()
    root = spans[0]
    inputs, outputs = root["attributes"].get(SPAN_INPUTS), root["attributes"].get(SPAN_OUTPUTS)
    start_ns, end_ns = root["start_time_ns"], root["end_time_ns"]
    known: dict[str, str] = {
        "mlflow.trace_schema.version": "3",
        "mlflow.traceInputs": _json_preview(inputs),
        "mlflow.traceOutputs": _json_preview(outputs),
    }
    told = dict(gathered.metadata)
    usage = token_usage(spans)
    if usage:
        told[TRACE_TOKEN_USAGE] = json.dumps(usage)  # counted, whatever a piece of it said of itself
    info: InfoFields = {
        "trace_id": gathered.trace_id,
        "client_request_id": gathered.client_request_id,
        "trace_location": experiment_location(experiment_id),
        "request_time_ms": start_ns // 1_000_000,
        "execution_duration_ms": None if end_ns is None else max(0, (end_ns - start_ns) // 1_000_000),
        "state": "ERROR" if error is not None or root["status_code"] == "ERROR" else "OK",
        "trace_metadata": {**known, **told, **(metadata or {})},
        "tags": {"mlflow.traceName": root["name"], **gathered.tags, **(tags or {})},
        "request_preview": question_of(inputs)[:PREVIEW] if inputs is not None else None,
        "response_preview": text_of(outputs)[:PREVIEW] if outputs is not None else None,
        "assessments": [],
    }
    return Trace.from_fields({"info": info, "spans": spans, "problems": []})


def experiment_location(experiment_id: str) -> dict[str, Any]:
    return {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}


def _json_preview(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)[:METADATA_PREVIEW]


def deliver_to(deliver: Callable[[Gathered], None]) -> None:
    """Says where traces go that are made outside of any recording."""
    COLLECTOR.deliver = deliver


def request_id() -> str | None:
    """The name of the row that is being worked on here, `evalpoint:<run>:<row>:<repeat>`; None outside of an evaluation."""
    return _REQUEST_ID.get()


def lives_here(trace_id: str) -> bool:
    """Whether the active experiment has this trace already."""
    resolver = _LIVES_HERE.get()
    return resolver is not None and resolver(trace_id)


def adopt(fields: TraceFields, *, tags: Mapping[str, str] | None = None, metadata: Mapping[str, str] | None = None) -> Gathered:
    """A trace from elsewhere as one of ours: a new id, everything else kept, the original id remembered.

    Tags whose names begin with `mlflow.` belong to the place the trace came from, except its name; they stay behind.
    A trace that lives in the active experiment is linked: it keeps its id.

    Raises:
        FormatError: It has no spans.
    """
    info = fields["info"]
    if not fields["spans"]:
        raise FormatError("it has no spans")
    original = info["trace_id"]
    linked = lives_here(original)
    gathered = Gathered(
        trace_id=original if linked else new_trace_id(),
        root_id=fields["spans"][0]["span_id"],
        deliver=RECORDING.get() or COLLECTOR.deliver,
        finished={span["span_id"]: span for span in fields["spans"]},
        client_request_id=info["client_request_id"],
        linked=linked,
    )
    gathered.tags.update({k: v for k, v in info["tags"].items() if not k.startswith("mlflow.") or k == "mlflow.traceName"})
    gathered.tags.update(tags or {})
    gathered.metadata.update({k: v for k, v in info["trace_metadata"].items() if k not in _OWN_METADATA})
    gathered.metadata.update(metadata or {})
    if not linked and original:
        gathered.metadata[ORIGINAL_ID] = original
    if fields["problems"]:
        gathered.metadata[NOTE] = "The endpoint's trace was damaged: " + "; ".join(fields["problems"])[:METADATA_PREVIEW]
    return gathered


def new_gathered(root: SpanFields, *, metadata: Mapping[str, str] | None = None) -> Gathered:
    """A trace of this one span, for `emit`."""
    return Gathered(
        trace_id=new_trace_id(),
        root_id=root["span_id"],
        deliver=RECORDING.get() or COLLECTOR.deliver,
        finished={root["span_id"]: root},
        metadata=dict(metadata or {}),
    )


_OWN_METADATA = (
    "mlflow.trace_schema.version",
    "mlflow.traceInputs",
    "mlflow.traceOutputs",
    "mlflow.sourceRun",
    "mlflow.trace.infoFinalized",
    "mlflow.trace.sizeStats",
    "mlflow.trace.sizeBytes",
    FIRST_TOKEN_MS,
    TOKENS_PER_SECOND,
)
"""Metadata that describes the stored copy, or the call that brought it, not the trace."""


def emit(gathered: Gathered) -> None:
    """Hands over a finished trace: under the calling span when there is one of ours, else to the recording here, else to the store."""
    context = otel.get_current_span().get_span_context()
    if COLLECTOR.graft(context.trace_id, format_span_id(context.span_id), gathered.spans(), new_span_id):
        parent = COLLECTOR.gathering(context.trace_id)
        if parent is not None:
            parent.metadata.update({key: value for key, value in gathered.metadata.items() if not key.startswith("mlflow.")})
            parent.tags.update({key: value for key, value in gathered.tags.items() if not key.startswith("mlflow.")})
        return
    gathered.deliver(gathered)
