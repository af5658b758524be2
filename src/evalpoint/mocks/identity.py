"""Who may enter a mock workspace: one personal access token, and one service principal that asks for OAuth tokens."""

from __future__ import annotations

import base64
import hmac
import threading
from collections.abc import Callable
from urllib.parse import parse_qs

from evalpoint.mocks.clock import Ids
from evalpoint.mocks.exchange import Arrival, Response, error_response, json_response

__all__ = ["Identity"]

USER = "ann@example.com"


class Identity:
    """The credentials of one workspace. May be used from any thread.

    Args:
        token: The personal access token.
        token_lifetime: Seconds that an OAuth token is valid.
        clock: Decides when a token has expired.
        ids: Makes tokens and secrets.
    """

    def __init__(self, *, token: str | None, token_lifetime: float, clock: Callable[[], float], ids: Ids) -> None:
        self._ids = ids
        self._clock = clock
        self._lock = threading.Lock()
        self._issued: dict[str, float] = {}
        self.token = token or f"mock-token-{ids.hex(24)}"
        self.token_lifetime = token_lifetime
        self.client_id = ids.uuid()
        self.client_secret = f"mock-secret-{ids.hex(24)}"
        self.tokens_issued = 0

    def rotate_token(self) -> str:
        """Replaces the personal access token; the old one is refused from now on."""
        with self._lock:
            self.token = f"mock-token-{self._ids.hex(24)}"
            return self.token

    def expire_tokens(self) -> None:
        """Every OAuth token issued so far is refused from now on, whatever its lifetime said."""
        with self._lock:
            self._issued.clear()

    def principal(self, authorization: str) -> str | None:
        """Who an `Authorization` header belongs to: a user's name, a client id, or nobody."""
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        with self._lock:
            if hmac.compare_digest(given.encode(), self.token.encode()):
                return USER
            return self.client_id if self._issued.get(given, 0.0) > self._clock() else None

    async def issue(self, arrival: Arrival) -> Response:
        """`POST /oidc/v1/token` with client credentials."""
        request = arrival.request
        form = {name: values[0] for name, values in parse_qs(request.content.decode("utf-8", "replace")).items()}
        client_id, secret = _basic(request.headers.get("authorization", "")) or (form.get("client_id", ""), form.get("client_secret", ""))
        known = hmac.compare_digest(client_id.encode(), self.client_id.encode())
        if not known or not hmac.compare_digest(secret.encode(), self.client_secret.encode()):
            return json_response({"error": "invalid_client", "error_description": "Client authentication failed"}, 401)
        if form.get("grant_type") != "client_credentials":
            return json_response({"error": "unsupported_grant_type", "error_description": "Only client_credentials is supported"}, 400)
        with self._lock:
            token = f"mock-oauth-{self._ids.hex(32)}"
            self._issued[token] = self._clock() + self.token_lifetime
            self.tokens_issued += 1
        return json_response({"access_token": token, "token_type": "Bearer", "scope": "all-apis", "expires_in": int(self.token_lifetime)})


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return name, secret


def unauthenticated() -> Response:
    """What the workspace answers to a missing, unknown or expired token."""
    return error_response(401, 401, "Credential was not sent or was of an unsupported type for this API.")
