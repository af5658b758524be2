"""What a door gives back: the body, and whatever came beside it, streamed or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalpoint.calls import Server
from evalpoint.endpoints import streaming
from evalpoint.endpoints.description import Kind
from evalpoint.endpoints.streaming import Streamed
from evalpoint.errors import UnusableReply
from evalpoint.formats import error_text, finish_reason, is_dict, text_of, tool_calls, usage_of

__all__ = ["Answer", "answer_from", "ask_once"]

_SERVED = ("served-model-name", "x-databricks-served-model-name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an endpoint answered: its JSON without `databricks_output`, and what was beside it."""

    body: Any
    latency_ms: float
    trace: Any = None
    """The endpoint's own trace as it came: any dialect, None, `{}` or rubbish."""
    trace_asked: bool = False
    trace_note: str | None = None
    """Why there is no trace, where the door knows."""
    databricks_request_id: str | None = None
    served_model: str | None = None
    """Which served entity answered; where nothing says so, the model that the answer names."""
    first_token_ms: float | None = None
    """Only of a streamed answer."""
    events: int = 0
    warm_up_ms: float | None = None
    """How long the endpoint took to wake up before this answer; no part of the latency."""

    @property
    def text(self) -> str:
        return text_of(self.body)

    @property
    def usage(self) -> dict[str, int] | None:
        return usage_of(self.body)

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        return tool_calls(self.body)

    @property
    def finish_reason(self) -> str | None:
        return finish_reason(self.body)

    @property
    def model(self) -> str | None:
        return _model(self.body)


_OF_ERRORS = frozenset(("error", "error_code", "message", "detail", "details", "status", "status_code", "type", "code", "request_id"))
"""Members of error bodies."""


def ask_once(server: Server, path: str, body: Mapping[str, Any], *, what: str, kind: Kind, stream: bool) -> Streamed:
    """One question, one answer, the same value whether it was streamed or not.

    Raises:
        CallError: No usable answer.
        UsageError: The body is no JSON.
    """
    if stream:
        answered = streaming.ask(server, path, body, what=what, kind=kind)
    else:
        reply = server.request("POST", path, body=body, what=what)
        read: Any = reply.json()
        aside: Any = read.pop("databricks_output", None) if is_dict(read) else None
        answered = Streamed(
            body=read, status=reply.status, latency_ms=reply.latency_ms, headers=reply.headers, output=aside if is_dict(aside) else {}
        )
    wrong = answered.output.get("error") or (answered.body if _is_only_an_error(answered.body) else None)
    if wrong:
        code, message = error_text(wrong)
        raise UnusableReply(f"{what} answered with an error inside a {answered.status}: {message}", status=answered.status, error_code=code)
    return answered


def _is_only_an_error(body: Any) -> bool:
    """A body of 200 that says what went wrong and nothing else is no answer."""
    return is_dict(body) and bool(body.get("error") or body.get("error_code")) and body.keys() <= _OF_ERRORS


def answer_from(answered: Streamed, *, trace_asked: bool = False, served_model: str | None = None) -> Answer:
    """The answer as a door gives it.

    Args:
        answered: What came.
        trace_asked: Whether the request asked for the trace.
        served_model: The entity that must have answered, where there is only one and the headers do not say.
    """
    headers, output = answered.headers, answered.output
    request_id = output.get("databricks_request_id") or headers.get("x-request-id")
    named = next((headers[name] for name in _SERVED if headers.get(name)), None)
    return Answer(
        body=answered.body,
        latency_ms=answered.latency_ms,
        trace=output.get("trace"),
        trace_asked=trace_asked,
        databricks_request_id=str(request_id) if request_id else None,
        served_model=named or served_model or _model(answered.body),
        first_token_ms=answered.first_token_ms,
        events=answered.events,
    )


def _model(body: object) -> str | None:
    model = body.get("model") if is_dict(body) else None
    return model if isinstance(model, str) else None
