"""Asking with a stream: events as they come, assembled into the answer that the same call would have given at once.

An answer that is complete by its own signs is kept, whatever happens to the connection after it. One that is cut is no answer:
it is an error that tells what had come. Nothing is tried again once the first bytes are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evalpoint.calls import ByteStream, HttpReply, Server, redact, status_class
from evalpoint.endpoints.assembling import ASIDE, Assembly, error_in
from evalpoint.endpoints.description import Kind
from evalpoint.endpoints.events import Event, EventReader
from evalpoint.errors import AccessDenied, Broken, CallError, CallTimeout, Rejected, Throttled, UnusableReply
from evalpoint.formats import error_text, is_dict

__all__ = ["Streamed", "ask"]

AFTER_THE_END = 1.0
"""Seconds that a server may go on after `[DONE]`: a trace may still come, and a connection that is read to its end is used again."""
_BOM = b"\xef\xbb\xbf"
_JSON_STARTS = b'{["-0123456789tfn'
_SHOWN = 200
_CLASSES: Mapping[str, type[CallError]] = {
    "BAD_REQUEST": Rejected,
    "INVALID_PARAMETER_VALUE": Rejected,
    "INVALID_REQUEST_ERROR": Rejected,
    "MALFORMED_REQUEST": Rejected,
    "CONTEXT_LENGTH_EXCEEDED": Rejected,
    "CONTENT_FILTER": Rejected,
    "RESOURCE_DOES_NOT_EXIST": Rejected,
    "NOT_FOUND": Rejected,
    "PERMISSION_DENIED": AccessDenied,
    "PERMISSION_ERROR": AccessDenied,
    "UNAUTHENTICATED": AccessDenied,
    "UNAUTHORIZED": AccessDenied,
    "AUTHENTICATION_ERROR": AccessDenied,
    "REQUEST_LIMIT_EXCEEDED": Throttled,
    "RESOURCE_EXHAUSTED": Throttled,
    "RATE_LIMIT_EXCEEDED": Throttled,
    "RATE_LIMIT_ERROR": Throttled,
    "TOO_MANY_REQUESTS": Throttled,
    "TEMPORARILY_UNAVAILABLE": Throttled,
    "SERVICE_UNAVAILABLE": Throttled,
    "OVERLOADED_ERROR": Throttled,
    "DEADLINE_EXCEEDED": CallTimeout,
    "TIMEOUT": CallTimeout,
}
"""Errors inside a stream have a code and no status. One that is not here counts as the server's fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """A complete answer that came in pieces."""

    body: Any
    """The answer in the shape that it has without streaming, without `databricks_output`."""
    status: int
    latency_ms: float
    """From the first byte sent to the end of the answer."""
    first_token_ms: float | None = None
    """Until the first event with visible text, or else the first event; None when the answer did not come as a stream."""
    events: int = 0
    output: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """`databricks_output` of all events, merged; `trace_id` where a server of agents sent one."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Their names are in lower case."""


def ask(server: Server, path: str, body: Mapping[str, Any], *, what: str, kind: Kind) -> Streamed:
    """One question with `"stream": true`, one answer.

    Args:
        server: Who is asked.
        path: `/path` below its address, or an address on the same host.
        body: The request's JSON; `stream` is set here.
        what: Who is asked, for messages and permits, such as `Endpoint 'chat'`.
        kind: What it serves; only a hint, because the events tell their own dialect.

    Raises:
        CallError: No usable answer came: a refusal, an error inside the stream, or a stream that was cut off.
        UsageError: The body is no JSON.
    """
    with server.stream("POST", path, body={**body, "stream": True}, what=what) as stream:
        return _Listening(stream, what, kind).answer()


class _Listening:
    """One stream, read to its end."""

    def __init__(self, stream: ByteStream, what: str, kind: Kind) -> None:
        self._stream = stream
        self._what = what
        self._assembly = Assembly(kind)
        self._events = 0
        self._first_ms: float | None = None
        self._visible_ms: float | None = None
        self._done_ms: float | None = None
        self._problems: list[str] = []

    def answer(self) -> Streamed:
        pieces = iter(self._stream)
        head = b""
        reader: EventReader | None = None
        while True:
            try:
                piece = next(pieces, b"")
            except CallError as error:
                return self._ended(error, lost=bool(self._problems))
            if not piece:
                break
            if reader is None:
                head += piece
                json_comes = _is_json(head)
                if json_comes is None:
                    continue
                if json_comes:
                    return self._whole(head + b"".join(pieces))
                reader, piece = EventReader(), head
            self._hear(reader.feed(piece))
        if reader is None:
            return self._whole(head)
        lost = bool(self._problems)
        self._hear(reader.close())
        return self._ended(None, lost=lost)

    def _hear(self, events: list[Event]) -> None:
        now = self._stream.elapsed_ms
        for event in events:
            if event.done:
                self._done_ms = self._done_ms or now
                self._stream.hurry(AFTER_THE_END)
            elif event.problem is not None:
                if event.name == "error":
                    raise self._refused(event.problem, None)
                self._problems.append(event.problem)
            else:
                self._take(event, now)

    def _take(self, event: Event, now: float) -> None:
        value = event.value
        if is_dict(value) and event.name and "type" not in value and event.name.startswith(("response.", "error")):
            value = {**value, "type": event.name}
        error = error_in(value)
        if error is not None:
            code, message = error_text(error)
            raise self._refused(message, code)
        self._events += 1
        self._first_ms = now if self._first_ms is None else self._first_ms
        if self._assembly.take(value) and self._visible_ms is None:
            self._visible_ms = now

    def _ended(self, cut: CallError | None, *, lost: bool) -> Streamed:
        """The answer, where it is whole.

        Args:
            cut: What broke the connection.
            lost: An event in the midst of the stream could not be read.
        """
        assembly = self._assembly
        whole = self._done_ms is not None or assembly.complete
        if cut is not None and not whole:
            cut.args = (f"{cut} {self._what_came()}",)
            cut.status = self._stream.status
            raise cut
        if (lost and not assembly.survives_losses) or (self._problems and not whole):
            raise UnusableReply(f"{self._what} sent {redact(self._problems[0])}. {self._what_came()}", status=self._stream.status)
        if assembly.empty:
            raise UnusableReply(f"{self._what} ended its stream without an answer. {self._what_came()}", status=self._stream.status)
        if not whole and assembly.has_signs:
            raise UnusableReply(
                f"{self._what} ended its stream before the answer was complete: neither [DONE] nor the dialect's own sign of the end came. "
                f"{self._what_came()}",
                status=self._stream.status,
            )
        return Streamed(
            body=assembly.body(),
            status=self._stream.status,
            latency_ms=self._done_ms or self._stream.elapsed_ms,
            first_token_ms=self._first_ms if self._visible_ms is None else self._visible_ms,
            events=self._events,
            output=assembly.output,
            headers=self._stream.headers,
        )

    def _whole(self, body: bytes) -> Streamed:
        """The answer of a server that does not stream, although it was asked to."""
        stream = self._stream
        latency = stream.elapsed_ms
        reply = HttpReply(status=stream.status, headers=stream.headers, body=body, latency_ms=latency, what=self._what)
        answer: Any = reply.json()
        output: dict[str, Any] = {}
        if is_dict(answer) and ASIDE in answer:
            aside = answer.pop(ASIDE)
            output = aside if is_dict(aside) else {}
            if output.get("error"):
                code, message = error_text(output["error"])
                raise self._refused(message, code)
        return Streamed(body=answer, status=stream.status, latency_ms=latency, output=output, headers=stream.headers)

    def _refused(self, message: str, code: str | None) -> CallError:
        """An error that came inside the stream, under a status that promised an answer."""
        name = (code or "").upper()
        kind = status_class(int(name)) if name.isdecimal() and 400 <= int(name) < 600 else _CLASSES.get(name, Broken)
        code = redact(code)[:100] if code else None
        named = f" ({code})" if code else ""
        said = redact(message).strip().rstrip(".")
        return kind(
            f"{self._what} answered {self._stream.status} and then told of an error in its stream{named}: {said}. {self._what_came()}",
            status=self._stream.status,
            error_code=code,
        )

    def _what_came(self) -> str:
        if not self._events:
            return "No event had come before."
        said = " ".join(redact(self._assembly.text()[: 4 * _SHOWN]).split())
        shown = f": {said if len(said) <= _SHOWN else said[:_SHOWN] + '…'!r}" if said else ", none with text"
        noun = "event" if self._events == 1 else "events"
        return f"{self._events} {noun} had come before{shown}. A stream that has begun is not asked for again."


def _is_json(head: bytes) -> bool | None:
    """Whether JSON comes and no events; None while that cannot be known."""
    if len(head) < len(_BOM) and _BOM.startswith(head):
        return None
    text = head.removeprefix(_BOM).lstrip(b" \t\r\n")
    return text[0] in _JSON_STARTS if text else None
