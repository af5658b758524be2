"""Answers as streams of server-sent events: how fast, where the trace stands, and streams given word by word."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evalpoint.mocks.exchange import EVENTS, Part, RecordedRequest, Response
from evalpoint.mocks.latencies import Latency, seconds

__all__ = ["DONE", "Stream", "Streaming", "event", "given_stream", "stream_response", "with_output"]

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """How an endpoint streams.

    Args:
        token_delay: Seconds between two events: a number, or a distribution that is drawn from for each.
        trace: Where the trace comes: in an event of its own after the others, merged into the last, or in the middle.
        done: Whether the stream ends with `[DONE]`; without it, it just ends.
        words: Words in one event.
    """

    token_delay: Latency = 0.0
    trace: Literal["own", "merged", "middle"] = "own"
    done: bool = True
    words: int = 1


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose stream is given as it is.

    Args:
        events: The stream's text, or its events as JSON values in order.
        whole: The body of the same answer for a call that does not stream.
        done: Whether `[DONE]` follows events that are given as values.
    """

    events: str | Sequence[Any]
    whole: Any = None
    done: bool = True


def event(value: Any) -> bytes:
    """One event: a line of data and an empty line."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n\n"


def with_output(events: list[Any], output: Mapping[str, Any] | None, where: Literal["own", "merged", "middle"]) -> list[Any]:
    """The events with `databricks_output` among them; merged only into one that is an object."""
    if output is None:
        return events
    if where == "merged" and events and isinstance(events[-1], dict):
        return [*events[:-1], {**events[-1], "databricks_output": output}]
    at = len(events) // 2 if where == "middle" else len(events)
    return [*events[:at], {"databricks_output": output}, *events[at:]]


def stream_response(
    events: Sequence[Any], streaming: Streaming, request: RecordedRequest, *, headers: Mapping[str, str], done: bool = True
) -> Response:
    """The events as a response; the first comes at once, the others after their delay."""
    parts = [Part(event(value), seconds(streaming.token_delay, request) if number else 0.0) for number, value in enumerate(events)]
    if done and streaming.done:
        parts.append(Part(DONE))
    return Response(headers={"content-type": EVENTS, **headers}, parts=tuple(parts))


def given_stream(stream: Stream, streaming: Streaming, request: RecordedRequest, *, headers: Mapping[str, str]) -> Response:
    """A stream that was given: values as events, a text byte for byte, cut after its empty lines."""
    if not isinstance(stream.events, str):
        return stream_response(stream.events, streaming, request, headers=headers, done=stream.done)
    blocks = [block for block in re.split(r"(?<=\n\n)|(?<=\r\n\r\n)", stream.events) if block]
    parts = [Part(block.encode(), seconds(streaming.token_delay, request) if number else 0.0) for number, block in enumerate(blocks)]
    return Response(headers={"content-type": EVENTS, **headers}, parts=tuple(parts))
