"""One serving endpoint of a workspace: described once, asked many times, from any thread."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from evalpoint.calls import HttpReply, current_account
from evalpoint.endpoints.description import Description, Kind, must_answer, read_description
from evalpoint.endpoints.payloads import payload_of
from evalpoint.errors import AccessDenied, CallError, ConfigurationError, NotFound, Rejected, UnusableReply
from evalpoint.formats.answers import error_text, finish_reason, text_of, tool_calls, usage_of
from evalpoint.workspace import Workspace, workspace

__all__ = ["Answer", "Endpoint", "chat_endpoints", "connect"]

OPTIONS = "databricks_options"
REQUEST_ID = "client_request_id"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,254}")
_COMPLAINT = re.compile(r"unknown field|unrecognized|unexpected keyword|extra (fields|inputs) .*not permitted|additional propert", re.I)
_SCHEMES = ("endpoints:/", "databricks:/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an endpoint answered: its JSON without `databricks_output`, and what was beside it."""

    body: Any
    latency_ms: float
    trace: Any = None
    """The endpoint's own trace as it came: any dialect, None, `{}` or rubbish."""
    trace_asked: bool = False
    databricks_request_id: str | None = None
    served_model: str | None = None

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
        model: Any = self.body.get("model") if isinstance(self.body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
        return model if isinstance(model, str) else None


class Endpoint:
    """Asks one endpoint. What it refuses of our additions is remembered and not sent again."""

    def __init__(self, description: Description, where: Workspace) -> None:
        self.description = description
        self._where = where
        self._path = f"/serving-endpoints/{quote(description.name, safe='')}/invocations"
        self._title = f"Endpoint {description.name!r}"
        self._refused: frozenset[str] = frozenset()
        """Of our additions, those that this endpoint answers with a 400. Replaced, never changed: threads read it."""

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def kind(self) -> Kind:
        return self.description.kind

    @property
    def uri(self) -> str:
        return f"endpoints:/{self.name}"

    @property
    def host(self) -> str:
        return self._where.host

    def chat_payload(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """The messages as this endpoint takes them."""
        if self.kind is Kind.RESPONSES:
            return {"input": messages}
        if self.kind.takes_messages:
            return {"messages": messages}
        return payload_of({"question": "\n\n".join(m["content"] for m in messages)}, self.kind, endpoint=self.name)

    def invoke(self, payload: Mapping[str, Any], *, trace: bool = False, request_id: str | None = None) -> Answer:
        """One question, one answer.

        Args:
            payload: The request's JSON.
            trace: Ask for the endpoint's own trace, where its kind takes the option.
            request_id: The caller's name for the request, sent as `client_request_id`.

        Raises:
            CallError: No usable answer came, after all that may be tried.
            UsageError: The payload is no JSON.
        """
        while True:
            refused = self._refused
            body = self._dressed(payload, refused, trace=trace, request_id=request_id)
            try:
                reply = self._where.server.request("POST", self._path, body=body, what=self._title)
            except Rejected as error:
                unwanted = _unwanted(error, body, payload)
                if not unwanted or unwanted <= refused:
                    raise self._explained(error) from error
                self._refused = self._refused | unwanted
                used = current_account()
                if used is not None:
                    used.correct()
            else:
                return self._answer(reply, trace_asked=OPTIONS in body and trace)

    def _dressed(self, payload: Mapping[str, Any], refused: frozenset[str], *, trace: bool, request_id: str | None) -> dict[str, Any]:
        """The payload with our additions; what the caller has set stays."""
        body = dict(payload)
        if trace and self.description.takes_options and OPTIONS not in refused:
            given = body.get(OPTIONS)
            body[OPTIONS] = {"return_trace": True, **(given if isinstance(given, dict) else {})}  # pyright: ignore[reportUnknownArgumentType] - JSON
        if request_id is not None and REQUEST_ID not in refused:
            body.setdefault(REQUEST_ID, request_id)
        return body

    def _answer(self, reply: HttpReply, *, trace_asked: bool) -> Answer:
        body: Any = reply.json()
        output: Any = {}
        if isinstance(body, dict) and "databricks_output" in body:
            aside: Any = body.pop("databricks_output")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
            output = aside if isinstance(aside, dict) else {}  # pyright: ignore[reportUnknownVariableType] - JSON
            if output.get("error"):
                code, message = error_text(output["error"])
                raise UnusableReply(f"{self._title} answered with an error inside a 200: {message}", status=reply.status, error_code=code)
        request_id = output.get("databricks_request_id") or reply.headers.get("x-request-id")
        return Answer(
            body=body,
            latency_ms=reply.latency_ms,
            trace=output.get("trace"),
            trace_asked=trace_asked,
            databricks_request_id=str(request_id) if request_id else None,
            served_model=reply.headers.get("served-model-name") or reply.headers.get("x-databricks-served-model-name"),
        )

    def _explained(self, error: Rejected) -> CallError:
        if error.status != 404:
            return error
        return Rejected(
            f"{self._title} in workspace {self.host} is gone, or you may no longer see it: {error}", status=404, error_code=error.error_code
        )


def _unwanted(error: Rejected, body: Mapping[str, Any], payload: Mapping[str, Any]) -> frozenset[str]:
    """Which of our additions a 400 complains about: those it names, or all of them when it names none of the fields we sent."""
    if error.status not in (400, 422):
        return frozenset()
    added = frozenset(key for key in (OPTIONS, REQUEST_ID) if key in body and body.get(key) != payload.get(key))
    text = str(error)
    named = frozenset(key for key in added if key in text)
    if named:
        return named
    complains = re.search(
        r"unknown field|unrecognized|unexpected keyword|extra (fields|inputs) not permitted|additional propert", text, re.I
    )
    return added if complains and not any(key in text for key in payload) else frozenset()


def connect(uri: str, *, workspace: Any = None) -> Endpoint:
    """The endpoint of this URI, described and able to answer.

    Args:
        uri: `endpoints:/name`; for judges also `databricks:/name`.
        workspace: A profile name, a databricks-sdk `Config` or `WorkspaceClient`; None for the SDK's own resolution.

    Raises:
        ConfigurationError: The URI is none, no workspace is configured, or the endpoint cannot answer.
        NotFound: There is no such endpoint.
        AccessDenied: The endpoint may not be seen with these credentials.
    """
    name = _name_of(uri)
    where = _workspace(workspace)
    try:
        body = where.get(f"/api/2.0/serving-endpoints/{quote(name, safe='')}")
    except Rejected as error:
        if error.status == 404:
            raise NotFound(_not_there(name, where)) from error
        raise
    except AccessDenied as error:
        if error.status != 403:
            raise
        raise AccessDenied(
            f"You may not see endpoint {name!r} in workspace {where.host} ({error}). Ask its owner for the permission CAN QUERY; "
            f"the credentials in use are of type {where.auth_type!r}.",
            status=403,
            error_code=error.error_code,
        ) from error
    description = read_description(name, body)
    must_answer(description, where.host)
    return Endpoint(description, where)


def chat_endpoints(workspace: Any = None) -> list[str]:
    """The names of the workspace's chat endpoints; empty when there is no workspace to ask."""
    try:
        return [name for name, task in _listed(_workspace(workspace)) if task == Kind.CHAT.value]
    except (ConfigurationError, CallError):
        return []  # the question is only ever asked to make another error more helpful


def _workspace(where: Any) -> Workspace:
    return workspace(where)


def _name_of(uri: object) -> str:
    if not isinstance(uri, str):
        raise ConfigurationError(f'An endpoint is named by a text such as "endpoints:/chat", not by {type(uri).__name__}.')
    scheme = next((scheme for scheme in _SCHEMES if uri.startswith(scheme)), None)
    if scheme is None:
        hint = f' Did you mean "endpoints:/{uri}"?' if _NAME.fullmatch(uri) else ""
        raise ConfigurationError(f'{uri!r} is no endpoint URI that evalpoint knows; it should read "endpoints:/NAME".{hint}')
    name = uri.removeprefix(scheme).lstrip("/")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f'{uri!r} names no endpoint: a name has letters, digits, "_", "-" and ".", such as "endpoints:/chat".')
    return name


def _not_there(name: str, where: Workspace) -> str:
    sentence = f"Endpoint {name!r} does not exist in workspace {where.host}, or you may not see it."
    try:
        names = [listed for listed, _ in _listed(where)]
    except CallError:
        return sentence  # the list would only have made the message more helpful
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"{sentence} Did you mean {' or '.join(map(repr, near))}?"
    return f"{sentence} The workspace has {', '.join(map(repr, names[:10]))}." if names else f"{sentence} The workspace has no endpoints."


def _listed(where: Workspace) -> list[tuple[str, str | None]]:
    body: Any = where.get("/api/2.0/serving-endpoints")
    listed: Any = body.get("endpoints") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
    if not isinstance(listed, list):
        return []
    entries: list[Any] = listed  # pyright: ignore[reportUnknownVariableType] - JSON
    return [(str(e["name"]), e.get("task")) for e in entries if isinstance(e, dict) and "name" in e]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportUnknownVariableType] - JSON
