"""URI -> a door: something that is asked and answers, whatever stands behind it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from evalpoint.endpoints.answers import Answer
from evalpoint.endpoints.apps import app
from evalpoint.endpoints.description import Description, Kind, read_kind
from evalpoint.endpoints.listing import endpoints_of
from evalpoint.endpoints.services import is_service, model_service
from evalpoint.endpoints.serving import serving_endpoint
from evalpoint.endpoints.waking import Patience
from evalpoint.endpoints.web import Auth, own_endpoint, web_server
from evalpoint.errors import CallError, ConfigurationError
from evalpoint.workspace import workspace as open_workspace

__all__ = ["Door", "chat_endpoints", "connect"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,254}")
_ENDPOINTS = ("endpoints:/", "databricks:/")
_APPS = "apps:/"
_WEB = ("http://", "https://")


class Door(Protocol):
    """What everybody who asks needs: an endpoint, an app, a model service and a server on the web all have it."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def uri(self) -> str:
        """How it was named, fit for tags and messages."""
        ...

    @property
    def host(self) -> str:
        """The workspace's address, or the server's."""
        ...

    @property
    def description(self) -> Description | None:
        """Only of serving endpoints, and only where the caller may see it."""
        ...

    def chat_payload(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """The conversation in the shape that stands behind this door."""
        ...

    def check(self, payload: Mapping[str, Any]) -> None:
        """Refuses a payload that cannot be sent.

        Raises:
            UsageError: It is too large.
        """
        ...

    def invoke(
        self,
        payload: Mapping[str, Any],
        *,
        trace: bool = False,
        request_id: str | None = None,
        stream: bool = False,
        usage_context: Mapping[str, str] | None = None,
    ) -> Answer:
        """One question, one answer. What a door has no use for is not sent.

        Raises:
            CallError: No usable answer came.
            UsageError: The payload cannot be sent.
        """
        ...


def connect(
    uri: str,
    *,
    workspace: Any = None,
    kind: Any = None,
    served_model: str | None = None,
    headers: Mapping[str, str] | None = None,
    auth: Auth | None = None,
    wait: float = 600.0,
    tell: Callable[[str], None] | None = None,
) -> Door:
    """What answers at this URI, and able to, as far as one can know before it is asked.

    Args:
        uri: `endpoints:/name` or `databricks:/name` (a serving endpoint), `apps:/name` (an app), `http(s)://…` (any server),
            `endpoints:/system.ai.model` or `system.ai.model` (a model service of Unity Catalog).
        workspace: A profile name, a databricks-sdk `Config` or `WorkspaceClient`; None for the SDK's own resolution.
        kind: What it serves, when it cannot be described, or need not: a `Kind`, a task such as `agent/v1/responses`, or `chat`, `custom`.
        served_model: One served entity of an endpoint, whatever the traffic split; of an OpenAI-compatible server, the model.
        headers: Sent with every request to an `http(s)` server.
        auth: Who calls an `http(s)` server: a bearer token, a (user, password) tuple, or a function that returns headers.
        wait: Seconds to wait for what is not ready, being updated or asleep; 0 does not wait.
        tell: Who is told about waiting, in single lines; by default the log, which is standard error.

    Raises:
        ConfigurationError: The URI is none, no workspace is configured, or what it names cannot answer, or not with these credentials.
        NotFound: There is no such endpoint, app or served model.
        AccessDenied: The credentials are refused.
    """
    if not isinstance(uri, str):  # pyright: ignore[reportUnnecessaryIsInstance] - it comes from users
        raise ConfigurationError(f'An endpoint is named by a text such as "endpoints:/chat", not by {type(uri).__name__}.')
    wanted = read_kind(kind)
    patience = Patience(wait=_seconds(wait))
    if tell is not None:
        patience = replace(patience, tell=tell)
    if uri.lower().startswith(_WEB):
        own = own_endpoint(uri, workspace) if headers is None and auth is None else None
        if own is None:
            return web_server(uri, where=workspace, kind=wanted, model=served_model, headers=headers, auth=auth, patience=patience)
        name, of_url = own
        return serving_endpoint(name, where=workspace, kind=wanted, served_model=served_model or of_url, patience=patience)
    if headers is not None or auth is not None:
        raise ConfigurationError(
            f"headers= and auth= are for http:// and https:// addresses; {uri!r} is called with a workspace's credentials (workspace=)."
        )
    if uri.startswith(_APPS):
        if served_model is not None:
            raise ConfigurationError(f"served_model= is for serving endpoints; {uri!r} is an app.")
        return app(_name_of(uri, (_APPS,)), where=workspace, kind=wanted, patience=patience)
    if is_service(uri) and uri.startswith("system.ai."):
        uri = f"endpoints:/{uri}"
    name = _name_of(uri, _ENDPOINTS)
    if not is_service(name):
        return serving_endpoint(name, where=workspace, kind=wanted, served_model=served_model, patience=patience)
    if served_model is not None:
        raise ConfigurationError(f"served_model= is for serving endpoints; {uri!r} is a model service.")
    return model_service(name, where=workspace, kind=wanted)


def chat_endpoints(workspace: Any = None) -> list[str]:
    """The names of the workspace's chat endpoints; empty when there is no workspace to ask."""
    try:
        return [name for name, task in endpoints_of(open_workspace(workspace)) if task == Kind.CHAT.value]
    except (ConfigurationError, CallError):
        return []  # the question is only ever asked to make another error more helpful


def _seconds(wait: Any) -> float:
    if isinstance(wait, bool) or not isinstance(wait, (int, float)) or not 0 <= wait < float("inf"):
        raise ConfigurationError(f"wait={wait!r} should be a number of seconds, 0 or more.")
    return float(wait)


def _name_of(uri: str, schemes: tuple[str, ...]) -> str:
    scheme = next((scheme for scheme in schemes if uri.startswith(scheme)), None)
    if scheme is None:
        hint = f' Did you mean "endpoints:/{uri}"?' if _NAME.fullmatch(uri) else ""
        raise ConfigurationError(
            f'{uri!r} is no endpoint URI that evalpoint knows; it should read "endpoints:/NAME", "apps:/NAME" or "https://…".{hint}'
        )
    name = uri.removeprefix(scheme).lstrip("/")
    if not _NAME.fullmatch(name):
        what = "app" if scheme == _APPS else "endpoint"
        raise ConfigurationError(f'{uri!r} names no {what}: a name has letters, digits, "_", "-" and ".", such as "{scheme}chat".')
    return name
