"""One serving endpoint of a workspace, or one model service: asked many times, from any thread."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evalpoint.calls import Server, current_account, names_address
from evalpoint.endpoints.answers import Answer, answer_from, ask_once
from evalpoint.endpoints.description import LARGE, MEGABYTE, Description, Kind, guessed_kind
from evalpoint.endpoints.payloads import payload_of
from evalpoint.endpoints.waking import FirstCall
from evalpoint.errors import AccessDenied, CallError, Rejected, UsageError
from evalpoint.formats import dump_json
from evalpoint.workspace import Workspace

__all__ = ["Answer", "Endpoint", "Target", "chat_payload"]

OPTIONS = "databricks_options"
REQUEST_ID = "client_request_id"
USAGE_CONTEXT = "usage_context"
_ADDITIONS = (OPTIONS, REQUEST_ID, USAGE_CONTEXT)
_COMPLAINT = re.compile(
    r"unknown field|unrecognized|unexpected keyword|extra (fields|inputs) (are )?not permitted|additional propert", re.I
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the requests of an endpoint go, and what they may carry."""

    name: str
    server: Server
    path: str
    title: str
    """`Endpoint 'chat'`, as sentences begin."""
    permission: str = "CAN QUERY"
    takes_options: bool = True
    max_request: int = LARGE
    fixed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What every request says, such as the model's name."""
    served_model: str | None = None
    """The entity that answers, where only one can."""
    missing: Callable[[], str] = str
    """Finds a sentence that helps when the target turns out not to exist; `str` finds none."""

    @property
    def inside(self) -> str:
        """The title inside a sentence."""
        return self.title[:1].lower() + self.title[1:]


class Endpoint:
    """Asks one endpoint. What it refuses of our additions is remembered and not sent again.

    Args:
        target: Where requests go.
        where: The workspace.
        kind: What it serves; None when nobody knows: then every request is judged by its keys.
        description: As the workspace gave it; None where it was not asked, or may not be.
        first_call: Wakes an endpoint up that scales to zero.
    """

    def __init__(
        self,
        target: Target,
        where: Workspace,
        *,
        kind: Kind | None = None,
        description: Description | None = None,
        first_call: FirstCall | None = None,
    ) -> None:
        self.description = description
        self._target = target
        self._where = where
        self._kind = kind
        self._first_call = first_call
        self._refused: frozenset[str] = frozenset()
        """Of our additions, those that this endpoint answers with a 400. Replaced, never changed: threads read it."""
        self._lock = threading.Lock()
        self._hints: dict[str, str] = {}

    @property
    def name(self) -> str:
        return self._target.name

    @property
    def kind(self) -> Kind:
        """What it serves; where nobody knows, a chat model."""
        return self._kind or Kind.CHAT

    @property
    def uri(self) -> str:
        return f"endpoints:/{self.name}"

    @property
    def host(self) -> str:
        return self._where.host

    def __repr__(self) -> str:
        return f"<{self._target.title} ({self.kind.value}) in {self.host}>"

    def chat_payload(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """The messages as this endpoint takes them."""
        return chat_payload(messages, self.kind, endpoint=self.name)

    def check(self, payload: Mapping[str, Any]) -> None:
        """Refuses a payload that the endpoint cannot take.

        Raises:
            UsageError: It is too large.
        """
        limit = self._target.max_request
        try:
            text = dump_json(dict(payload))
        except (TypeError, ValueError, RecursionError):
            return  # no JSON at all: that is told when it is sent
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if size > limit:
            raise UsageError(
                f"The request to {self._target.inside} has {size:,} bytes ({size / MEGABYTE:.1f} MB), and it takes at most {limit:,} "
                f"({limit // MEGABYTE} MB). Send less at once: shorter texts, smaller images, or fewer records."
            )

    def invoke(
        self,
        payload: Mapping[str, Any],
        *,
        trace: bool = False,
        request_id: str | None = None,
        stream: bool = False,
        usage_context: Mapping[str, str] | None = None,
    ) -> Answer:
        """One question, one answer.

        Args:
            payload: The request's JSON.
            trace: Ask for the endpoint's own trace, where its kind takes the option.
            request_id: The caller's name for the request, sent as `client_request_id` where that is accepted.
            stream: Let the answer come as a stream; it is assembled into the same answer.
            usage_context: Labels for the usage tables, sent where they are accepted.

        Raises:
            CallError: No usable answer came, after all that may be tried.
            UsageError: The payload is no JSON, or too large.
        """
        additions: dict[str, Any] = {OPTIONS: {"return_trace": True} if trace and self._target.takes_options else None}
        additions |= {REQUEST_ID: request_id, USAGE_CONTEXT: dict(usage_context) if usage_context else None}
        if self._first_call is not None:
            return self._first_call.ask(lambda: self._ask(payload, additions, stream))
        return self._ask(payload, additions, stream)

    def _ask(self, payload: Mapping[str, Any], additions: Mapping[str, Any], stream: bool) -> Answer:
        target = self._target
        self.check(payload)
        while True:
            refused = self._refused
            body = self._dressed(payload, {key: value for key, value in additions.items() if value is not None and key not in refused})
            try:
                answered = ask_once(
                    target.server, target.path, body, what=target.title, kind=self._kind or guessed_kind(payload), stream=stream
                )
            except Rejected as error:
                unwanted = _unwanted(error, body, payload)
                if not unwanted or unwanted <= refused:
                    raise self._explained(error) from error
                self._refused = self._refused | unwanted
                used = current_account()
                if used is not None:
                    used.correct()
            except AccessDenied as error:
                raise self._explained(error) from error
            else:
                return answer_from(
                    answered, trace_asked=OPTIONS in body and additions[OPTIONS] is not None, served_model=target.served_model
                )

    def _dressed(self, payload: Mapping[str, Any], additions: Mapping[str, Any]) -> dict[str, Any]:
        """The payload with our additions; what the caller has set stays."""
        body = {**payload, **self._target.fixed}
        for key, value in additions.items():
            given = body.get(key)
            if isinstance(value, dict) and isinstance(given, dict):
                body[key] = {**value, **given}
            elif given is None or key == OPTIONS:
                body[key] = value
        return body

    def _explained(self, error: CallError) -> CallError:
        """The same error with what helps: who is calling, and with what permission; or which names there are."""
        if isinstance(error, AccessDenied) and error.status == 403 and not names_address(error):
            who = self._hint("who", lambda: self._where.principal() or f"unknown (auth type {self._where.auth_type!r})")
            return AccessDenied(
                f"{error} To call {self._target.inside} in workspace {self.host} takes the permission {self._target.permission}; "
                f"the caller is {who}. Ask the owner of it for the permission, or use other credentials.",
                status=403,
                error_code=error.error_code,
            )
        if isinstance(error, Rejected) and error.status == 404:
            hint = self._hint("missing", self._target.missing)
            gone = "is gone, or you may no longer see it" if self.description else "does not exist, or you may not call it"
            return Rejected(
                f"{self._target.title} in workspace {self.host} {gone}: {error} {hint}".rstrip(), status=404, error_code=error.error_code
            )
        return error

    def _hint(self, name: str, find: Callable[[], str]) -> str:
        """Found out once, however many rows fail."""
        with self._lock:
            if name not in self._hints:
                self._hints[name] = find()
            return self._hints[name]


def chat_payload(messages: list[dict[str, str]], kind: Kind, *, endpoint: str) -> dict[str, Any]:
    """The messages as an endpoint of this kind takes them."""
    if kind is Kind.RESPONSES:
        return {"input": messages}
    if kind.takes_messages or kind is Kind.JSON:
        return {"messages": messages}
    return payload_of({"question": "\n\n".join(m["content"] for m in messages)}, kind, endpoint=endpoint)


def _unwanted(error: Rejected, body: Mapping[str, Any], payload: Mapping[str, Any]) -> frozenset[str]:
    """Which of our additions a 400 complains about: those it names, or all of them when it names none of the fields we sent."""
    if error.status not in (400, 422):
        return frozenset()
    added = frozenset(key for key in _ADDITIONS if key in body and body.get(key) != payload.get(key))
    text = str(error)
    named = frozenset(key for key in added if key in text)
    if named:
        return named
    return added if _COMPLAINT.search(text) and not any(_names(text, key) for key in payload) else frozenset()


def _names(text: str, key: str) -> bool:
    """Whether a complaint is about this field: it stands in quotes, or behind the word "field"; "n" is in many a word."""
    name = re.escape(key)
    return re.search(rf"""["'`]{name}\\?["'`]|\bfields?:? {name}\b""", text, re.I) is not None
