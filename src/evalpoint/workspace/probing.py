"""Whether a workspace answers at an address, found out in seconds and said in a sentence."""

from __future__ import annotations

import contextvars

from evalpoint.calls import HttpReply, Server, bind
from evalpoint.errors import CallError, ConfigurationError, UnusableReply
from evalpoint.settings import Settings

__all__ = ["is_workspace", "reachable"]

_SWIFT = Settings(max_retries=1, connect_timeout=4.0, attempt_timeout=5.0, call_timeout=6.0)
_ANY_STATUS = range(100, 600)
_MAX_BODY = 16 * 2**20


def reachable(host: str) -> bool:
    """Whether the host introduces itself as Databricks does; False when it answers otherwise, as older workspaces may.

    Raises:
        ConfigurationError: Nothing answers there.
    """
    try:
        reply = _get(Server(host, name="the workspace"), "/.well-known/databricks-config")
    except CallError as error:
        known = any(variable in str(error) for variable in ("REQUESTS_CA_BUNDLE", "HTTPS_PROXY"))
        question = "" if known else " Is DATABRICKS_HOST, or the profile's host, the workspace's address?"
        raise ConfigurationError(f"Workspace {host} does not answer: {error}{question}") from None
    return reply is not None and reply.status == 200 and _is_json(reply)


def is_workspace(server: Server) -> None:
    """Checks that the host's API answers as one, when it has not introduced itself.

    Raises:
        ConfigurationError: Web pages or nonsense come back.
    """
    path = "/api/2.0/serving-endpoints"
    reply = _get(server, path)
    if reply is None or reply.status in (401, 403) or reply.status >= 500 or _is_json(reply):
        return
    raise ConfigurationError(
        f"{server.base_url} answers, but not as a Databricks workspace: GET {path} gave status {reply.status} and "
        f"{'a web page' if b'<' in reply.body[:100] else 'no JSON'}. Is DATABRICKS_HOST, or the profile's host, the workspace's address?"
    )


def _get(server: Server, path: str) -> HttpReply | None:
    """The answer, whatever it is; None when it is larger than anybody would say hello with."""

    def ask() -> HttpReply | None:
        with bind(_SWIFT):
            try:
                return server.request("GET", path, accept=_ANY_STATUS, max_body=_MAX_BODY)
            except UnusableReply:
                return None

    # A context of its own: this call belongs to no row's account or limits.
    return contextvars.Context().run(ask)


def _is_json(reply: HttpReply) -> bool:
    try:
        reply.json()
    except UnusableReply:
        return False
    return True
