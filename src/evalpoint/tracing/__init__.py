"""A call -> a trace. Owns OpenTelemetry's SDK; its spans come from a private provider."""

from evalpoint.tracing.collection import Gathered
from evalpoint.tracing.provider import activate
from evalpoint.tracing.recording import (
    NOTE,
    ORIGINAL_ID,
    Recorder,
    adopt,
    deliver_to,
    emit,
    experiment_location,
    new_gathered,
    request_id,
    root_span,
    to_trace,
)
from evalpoint.tracing.spans import LiveSpan, get_current_active_span, start_span, trace, update_current_trace

__all__ = [
    "NOTE",
    "ORIGINAL_ID",
    "Gathered",
    "LiveSpan",
    "Recorder",
    "activate",
    "adopt",
    "deliver_to",
    "emit",
    "experiment_location",
    "get_current_active_span",
    "new_gathered",
    "request_id",
    "root_span",
    "start_span",
    "to_trace",
    "trace",
    "update_current_trace",
]
