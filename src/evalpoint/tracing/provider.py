"""Our own OpenTelemetry provider, and how it meets the global one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace as otel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Tracer

from evalpoint.errors import ConfigurationError
from evalpoint.settings import flag
from evalpoint.tracing.collection import COLLECTOR, SCOPE

__all__ = ["activate", "tracer"]

logger = logging.getLogger("evalpoint")

_lock = threading.Lock()
_private: TracerProvider | None = None
_joined: Any = None
"""The global provider that has our processor."""


def tracer() -> Tracer:
    """The tracer of our own spans: always sampling, without limits, exporting nowhere but to the collector."""
    global _private
    with _lock:
        if _private is None:
            _private = TracerProvider(
                sampler=ALWAYS_ON,
                resource=Resource({"service.name": SCOPE}),
                span_limits=_unlimited(),
                shutdown_on_exit=False,
            )
            _private.add_span_processor(COLLECTOR)
        return _private.get_tracer(SCOPE)


def activate(environ: Mapping[str, str]) -> None:
    """Lets spans of OpenTelemetry-instrumented libraries reach our traces. Called at the first evaluation or span, never at import.

    An existing global SDK provider gets our processor, once; with no global provider ours becomes it, unless
    `EVALPOINT_OTEL_GLOBAL=false`.
    """
    global _joined
    provider = otel.get_tracer_provider()
    if provider is _joined:
        return
    tracer()  # makes ours
    with _lock:
        if provider is _joined:
            return
        if isinstance(provider, TracerProvider):
            if provider is not _private:
                provider.add_span_processor(COLLECTOR)
        elif _wanted(environ) and _private is not None:
            otel.set_tracer_provider(_private)
            provider = otel.get_tracer_provider()
            logger.info("evalpoint installed its OpenTelemetry provider as the global one; EVALPOINT_OTEL_GLOBAL=false leaves it alone.")
        _joined = provider


def _wanted(environ: Mapping[str, str]) -> bool:
    text = environ.get("EVALPOINT_OTEL_GLOBAL", "true")
    try:
        return flag(text)
    except ValueError:
        raise ConfigurationError(f"EVALPOINT_OTEL_GLOBAL={text!r} should be true or false") from None


def _unlimited() -> SpanLimits:
    unset = SpanLimits.UNSET
    return SpanLimits(
        max_attributes=unset,
        max_events=unset,
        max_links=unset,
        max_span_attributes=unset,
        max_event_attributes=unset,
        max_link_attributes=unset,
        max_attribute_length=unset,
        max_span_attribute_length=unset,
    )
