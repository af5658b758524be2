"""`@trace` and `start_span`: the user's own functions and blocks as spans."""

from __future__ import annotations

import functools
import inspect
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar, overload

from opentelemetry import trace as otel
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from evalpoint.entities.trace import SPAN_INPUTS, SPAN_OUTPUTS, SPAN_TYPE, SpanEvent, SpanStatus, SpanType
from evalpoint.formats.plain import plain
from evalpoint.tracing.collection import COLLECTOR
from evalpoint.tracing.provider import activate, tracer

__all__ = ["LiveSpan", "encode", "get_current_active_span", "start_span", "trace", "update_current_trace"]

F = TypeVar("F", bound=Callable[..., Any])
_END: Any = object()
MAX_TEXT = 10_000_000
"""Characters of one attribute; more is cut."""


def encode(value: Any) -> str:
    """Any value as the JSON text of an attribute; what JSON cannot hold is written as its `repr`."""
    try:
        return json.dumps(plain(value), ensure_ascii=False)[:MAX_TEXT]
    except (ValueError, TypeError, RecursionError):
        return json.dumps(repr(value)[:MAX_TEXT], ensure_ascii=False)


class LiveSpan:
    """A span that has begun and not ended. Everything set on it is a snapshot: later changes of the object do not show."""

    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        context = span.get_span_context()
        self.span_id = format_span_id(context.span_id)
        self.trace_id = "tr-" + format_trace_id(context.trace_id)

    def set_inputs(self, inputs: Any) -> None:
        self.set_attribute(SPAN_INPUTS, inputs)

    def set_outputs(self, outputs: Any) -> None:
        self.set_attribute(SPAN_OUTPUTS, outputs)

    def set_span_type(self, span_type: str) -> None:
        self.set_attribute(SPAN_TYPE, span_type)

    def set_attribute(self, key: str, value: Any) -> None:
        self._span.set_attribute(key, encode(value))

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def set_status(self, status: SpanStatus | str) -> None:
        """`"OK"`, `"ERROR"`, or a `SpanStatus` with its description."""
        code = status.status_code.value if isinstance(status, SpanStatus) else str(status)
        description = status.description if isinstance(status, SpanStatus) else None
        if code not in ("OK", "ERROR", "UNSET"):
            raise ValueError(f'status {status!r} is none of "OK", "ERROR" and "UNSET"')
        self._span.set_status(StatusCode[code], description if code == "ERROR" else None)

    def add_event(self, event: SpanEvent | str, attributes: Mapping[str, Any] | None = None) -> None:
        if isinstance(event, str):
            event = SpanEvent(name=event, timestamp=time.time_ns(), attributes=attributes or {})
        values = {key: value if isinstance(value, (str, bool, int, float)) else encode(value) for key, value in event.attributes.items()}
        self._span.add_event(event.name, values, event.timestamp)

    def record_exception(self, exception: BaseException) -> None:
        """The exception as an event, and the span's status as ERROR."""
        self._span.record_exception(exception)
        self._span.set_status(StatusCode.ERROR, f"{type(exception).__name__}: {exception}")


@contextmanager
def start_span(name: str = "span", span_type: str = SpanType.UNKNOWN, attributes: Mapping[str, Any] | None = None) -> Generator[LiveSpan]:
    """A block as a span: inside another it is its child, otherwise it begins a trace.

    Args:
        name: The span's name.
        span_type: One of `SpanType`, or a text of your own.
        attributes: Set at the start.
    """
    with _opened(name, span_type, attributes) as (live, span), _current(span):
        yield live


@contextmanager
def _opened(name: str, span_type: str, attributes: Mapping[str, Any] | None) -> Generator[tuple[LiveSpan, OtelSpan]]:
    """A span from its start to its end, not yet the current one: a generator's is current only while its body runs."""
    activate(os.environ)
    span = tracer().start_span(name, record_exception=False, set_status_on_exception=False)
    live = LiveSpan(span)
    live.set_span_type(span_type)
    live.set_attributes(attributes or {})
    try:
        yield live, span
    except GeneratorExit:
        raise
    except BaseException as error:
        live.record_exception(error)
        raise
    finally:
        if getattr(getattr(span, "status", None), "status_code", None) is StatusCode.UNSET:
            span.set_status(StatusCode.OK)
        span.end()


def _current(span: OtelSpan) -> AbstractContextManager[OtelSpan]:
    return otel.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)


def get_current_active_span() -> LiveSpan | None:
    """The innermost span of ours on this context, or None."""
    span = otel.get_current_span()
    return LiveSpan(span) if COLLECTOR.gathering(span.get_span_context().trace_id) else None


def update_current_trace(
    tags: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None, client_request_id: str | None = None
) -> None:
    """Tags and metadata for the trace that is being made on this context; without one, nothing happens.

    Args:
        tags: Can be changed later; values are written as strings.
        metadata: Cannot; `mlflow.trace.session` and `mlflow.trace.user` name the session and the user.
        client_request_id: The caller's own id of the request.
    """
    gathered = COLLECTOR.gathering(otel.get_current_span().get_span_context().trace_id)
    if gathered is None:
        return
    gathered.tags.update({key: str(value) for key, value in (tags or {}).items()})
    gathered.metadata.update({key: str(value) for key, value in (metadata or {}).items()})
    gathered.client_request_id = client_request_id or gathered.client_request_id


@overload
def trace(func: F) -> F: ...
@overload
def trace(
    func: None = None, *, name: str | None = None, span_type: str = SpanType.UNKNOWN, attributes: Mapping[str, Any] | None = None
) -> Callable[[F], F]: ...
def trace(
    func: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    span_type: str = SpanType.UNKNOWN,
    attributes: Mapping[str, Any] | None = None,
) -> Any:
    """Decorator: every call becomes a span with its arguments as inputs and its result as outputs.

    Works for functions, coroutine functions, generators and async generators; a generator's outputs are the list of what it yielded.

    Args:
        func: The function, when used without parentheses.
        name: The span's name; the function's by default.
        span_type: One of `SpanType`, or a text of your own.
        attributes: Set on every span.
    """
    if func is None:
        return functools.partial(trace, name=name, span_type=span_type, attributes=attributes)
    if not callable(func):
        raise TypeError(f"@trace decorates a function, not {type(func).__name__}; write @trace(name={func!r}) to name a span")
    title = name or str(getattr(func, "__name__", type(func).__name__))
    opened = functools.partial(_opened, title, span_type, attributes)
    read_inputs = functools.partial(_arguments, _signature(func))

    if inspect.isasyncgenfunction(func):

        @functools.wraps(func)
        async def traced_stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            with opened() as (live, span):
                live.set_inputs(read_inputs(args, kwargs))
                yielded: list[Any] = []
                items = func(*args, **kwargs)
                try:
                    while True:
                        with _current(span):
                            item = await anext(items, _END)
                        if item is _END:
                            break
                        yielded.append(item)
                        yield item
                finally:
                    live.set_outputs(yielded)
                    await items.aclose()

        return traced_stream
    if inspect.iscoroutinefunction(func):

        @functools.wraps(func)
        async def traced_coroutine(*args: Any, **kwargs: Any) -> Any:
            with start_span(title, span_type, attributes) as live:
                live.set_inputs(read_inputs(args, kwargs))
                result = await func(*args, **kwargs)
                live.set_outputs(result)
                return result

        return traced_coroutine
    if inspect.isgeneratorfunction(func):

        @functools.wraps(func)
        def traced_generator(*args: Any, **kwargs: Any) -> Generator[Any]:
            with opened() as (live, span):
                live.set_inputs(read_inputs(args, kwargs))
                yielded: list[Any] = []
                items = func(*args, **kwargs)
                try:
                    while True:
                        with _current(span):
                            item = next(items, _END)
                        if item is _END:
                            break
                        yielded.append(item)
                        yield item
                finally:
                    live.set_outputs(yielded)
                    items.close()

        return traced_generator

    @functools.wraps(func)
    def traced(*args: Any, **kwargs: Any) -> Any:
        with start_span(title, span_type, attributes) as live:
            live.set_inputs(read_inputs(args, kwargs))
            result = func(*args, **kwargs)
            live.set_outputs(result)
            return result

    return traced


def _signature(func: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(func)
    except (TypeError, ValueError):
        return None


def _arguments(signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The call's arguments by name, without `self` and `cls`; a call that does not fit is left to the function to refuse."""
    if signature is None:
        return {"args": list(args), **kwargs} if args else kwargs
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return {"args": list(args), **kwargs} if args else kwargs
    values = dict(bound.arguments)
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            values.update(values.pop(parameter.name, {}))
    first = next(iter(signature.parameters), None)
    if first in ("self", "cls"):
        values.pop(first, None)
    return values
