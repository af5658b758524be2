"""Credentials of a data plane: a workspace's OAuth token exchanged for one that a route-optimised endpoint takes."""

from __future__ import annotations

import contextvars
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlencode

from evalpoint.calls import HttpReply, Server, bind
from evalpoint.errors import AccessDenied, CallError, Rejected, UnusableReply
from evalpoint.protocols import Credentials
from evalpoint.settings import Settings

__all__ = ["DataPlaneCredentials"]

_PATH = "/oidc/v1/token"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SWIFT = Settings(max_retries=2, connect_timeout=4.0, attempt_timeout=6.0, call_timeout=12.0)
_EARLY = 60.0
"""Seconds before its expiry that a token is replaced; a fifth of its lifetime where that is less."""
_ASSUMED_LIFETIME = 600.0
_LONGEST_ANSWER = 2**20


class DataPlaneCredentials:
    """Headers for the data plane of one workspace and one set of authorisation details.

    Args:
        host: The workspace that exchanges tokens.
        details: The `authorization_details` of the endpoint's description.
        source: The workspace's own credentials; their OAuth token is what is exchanged.
        clock: Monotonic seconds.
    """

    def __init__(self, host: str, details: str, source: Credentials, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._details = details
        self._source = source
        self._server = Server(host, name="the workspace's token endpoint")
        self._clock = clock
        self._lock = threading.Lock()
        self._token: str | None = None
        self._renew_at = self._expires_at = 0.0
        self.key = f"{source.key}:{hashlib.sha256(details.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"

    def headers(self) -> Mapping[str, str]:
        """The header of one request; a token that is about to expire is replaced before, once for all who ask.

        Raises:
            CallError: There is no token to be had.
        """
        with self._lock:
            if self._token is None or self._clock() >= self._renew_at:
                self._renew()
            return self._header()

    def refresh(self, rejected: Mapping[str, str]) -> None:
        """Another token, once for everybody who was refused with this one.

        Raises:
            CallError: There is none to be had.
        """
        with self._lock:
            if self._token is None or rejected.get("Authorization") == self._header()["Authorization"]:
                self._expires_at = 0.0
                self._renew()

    def __repr__(self) -> str:
        return f"DataPlaneCredentials({self.key!r})"

    def _header(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _renew(self) -> None:
        try:
            token, lifetime = self._exchanged()
        except CallError:
            if self._token is not None and self._clock() < self._expires_at:
                return  # the one at hand still holds; the next caller tries again
            raise
        now = self._clock()
        self._token = token
        self._expires_at = now + lifetime
        self._renew_at = now + lifetime - min(_EARLY, lifetime / 5)

    def _exchanged(self) -> tuple[str, float]:
        """A token of the data plane and its lifetime; when the workspace's own token is refused, once more with a fresh one."""
        own = self._source.headers()
        try:
            reply = self._ask(own)
        except (AccessDenied, Rejected):
            try:
                self._source.refresh(own)
                reply = self._ask(self._source.headers())
            except (AccessDenied, Rejected) as error:
                raise AccessDenied(
                    f"No token for the data plane of {self._server.base_url} could be had: {error} "
                    "The token exchange takes OAuth tokens of somebody who has CAN QUERY on the endpoint.",
                    status=error.status,
                    error_code=error.error_code,
                ) from None
        body: Any = reply.json()
        said = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
        token, lifetime = said.get("access_token"), said.get("expires_in")
        if not isinstance(token, str) or not token:
            raise UnusableReply(f"{self._server.base_url} answered the exchange of a token without an access_token.", status=reply.status)
        try:
            seconds = float(lifetime) if lifetime is not None else _ASSUMED_LIFETIME
        except (TypeError, ValueError):
            seconds = _ASSUMED_LIFETIME
        return token, max(seconds, 1.0)

    def _ask(self, own: Mapping[str, str]) -> HttpReply:
        assertion = own.get("Authorization", "").partition(" ")[2]
        form = urlencode({"grant_type": _GRANT, "authorization_details": self._details, "assertion": assertion}).encode()

        def ask() -> HttpReply:
            with bind(_SWIFT):
                return self._server.request(
                    "POST", _PATH, body=form, headers={"Content-Type": "application/x-www-form-urlencoded"}, max_body=_LONGEST_ANSWER
                )

        # A context of its own: this call belongs to no row's account or limits.
        return contextvars.Context().run(ask)
