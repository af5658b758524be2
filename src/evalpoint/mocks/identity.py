"""Who may enter a mock workspace: one personal access token, and one service principal that asks for OAuth tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from evalpoint.mocks.clock import Ids
from evalpoint.mocks.exchange import Arrival, Response, error_response, is_list, json_response

__all__ = ["Identity", "Token", "fingerprint", "unauthenticated"]

USER = "ann@example.com"
EXCHANGE = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(slots=True)
class Token:
    """An OAuth token: until when it is good, for how many requests, and for which objects alone."""

    expires: float
    uses: int | None
    details: str | None
    """The `authorization_details` that it was asked for with; None for the whole workspace."""


class Identity:
    """The credentials of one workspace. May be used from any thread.

    Args:
        token: The personal access token.
        token_lifetime: Seconds that an OAuth token is valid.
        clock: Decides when a token has expired.
        ids: Makes tokens and secrets.
        token_uses: Requests that an OAuth token is good for, whatever its lifetime says; None for any number.
    """

    def __init__(
        self, *, token: str | None, token_lifetime: float, clock: Callable[[], float], ids: Ids, token_uses: int | None = None
    ) -> None:
        self._ids = ids
        self._clock = clock
        self._lock = threading.Lock()
        self._issued: dict[str, Token] = {}
        self._disabled = False
        self.token = token or f"mock-token-{ids.hex(24)}"
        self.token_lifetime = token_lifetime
        self.token_uses = token_uses
        self.client_id = ids.uuid()
        self.client_secret = f"mock-secret-{ids.hex(24)}"
        self.tokens_issued = 0
        self.fingerprints = {fingerprint(self.token), fingerprint(self.client_secret)}
        """Of every secret that this workspace has ever given out."""

    def rotate_token(self) -> str:
        """Replaces the personal access token; the old one is refused from now on."""
        with self._lock:
            self.token = f"mock-token-{self._ids.hex(24)}"
            self.fingerprints.add(fingerprint(self.token))
            return self.token

    def expire_tokens(self) -> None:
        """Every OAuth token issued so far is refused from now on, whatever its lifetime said."""
        with self._lock:
            self._issued.clear()

    def disable_principal(self) -> None:
        """The service principal is switched off: its tokens are refused, and it gets no new ones."""
        with self._lock:
            self._disabled = True
            self._issued.clear()

    def issue_token(self) -> str:
        """An OAuth token of the service principal, as the token address would give it."""
        with self._lock:
            return self._new_token(None)

    def principal(self, authorization: str) -> str | None:
        """Who an `Authorization` header belongs to: a user's name, a client id, or nobody. A data-plane token opens no workspace."""
        given = _bearer(authorization)
        if given is None:
            return None
        with self._lock:
            if hmac.compare_digest(given.encode(), self.token.encode()):
                return USER
            token = self._spent(given)
            return self.client_id if token is not None and token.details is None else None

    def is_personal(self, authorization: str) -> bool:
        """Whether an `Authorization` header has the personal access token."""
        return hmac.compare_digest((_bearer(authorization) or "").encode(), self.token.encode())

    def oauth(self, authorization: str) -> Token | None:
        """The OAuth token of an `Authorization` header, if it is good."""
        given = _bearer(authorization)
        if given is None:
            return None
        with self._lock:
            return self._spent(given)

    def _spent(self, given: str) -> Token | None:
        """A token that is good for this request, which is then counted. With the lock held."""
        token = self._issued.get(given)
        if token is None or token.expires <= self._clock() or token.uses == 0:
            return None
        if token.uses is not None:
            token.uses -= 1
        return token

    def _new_token(self, details: str | None) -> str:
        token = f"mock-oauth-{self._ids.hex(32)}"
        self._issued[token] = Token(self._clock() + self.token_lifetime, self.token_uses, details)
        self.fingerprints.add(fingerprint(token))
        self.tokens_issued += 1
        return token

    async def issue(self, arrival: Arrival) -> Response:
        """`POST /oidc/v1/token`: with client credentials, or in exchange for a token, for one object alone."""
        request = arrival.request
        form = {name: values[0] for name, values in parse_qs(request.content.decode("utf-8", "replace")).items()}
        details = form.get("authorization_details")
        if details is not None and not _is_details(details):
            return _no_token("invalid_request", "authorization_details is no JSON list", 400)
        if form.get("grant_type") == EXCHANGE:
            return self._exchanged(form.get("assertion", ""), details)
        client_id, secret = _basic(request.headers.get("authorization", "")) or (form.get("client_id", ""), form.get("client_secret", ""))
        known = hmac.compare_digest(client_id.encode(), self.client_id.encode())
        if not known or not hmac.compare_digest(secret.encode(), self.client_secret.encode()) or self._disabled:
            return _no_token("invalid_client", "Client authentication failed", 401)
        if form.get("grant_type") != "client_credentials":
            return _no_token("unsupported_grant_type", "Only client_credentials and jwt-bearer are supported", 400)
        return self._given(details)

    def _exchanged(self, assertion: str, details: str | None) -> Response:
        if details is None:
            return _no_token("invalid_request", "authorization_details is missing", 400)
        with self._lock:
            token = self._spent(assertion)
        if token is None or token.details is not None:
            return _no_token("invalid_grant", "The assertion is no valid OAuth token of this workspace", 400)
        return self._given(details)

    def _given(self, details: str | None) -> Response:
        with self._lock:
            token = self._new_token(details)
        body: dict[str, Any] = {"access_token": token, "token_type": "Bearer", "scope": "all-apis", "expires_in": int(self.token_lifetime)}
        return json_response(body if details is None else {**body, "authorization_details": json.loads(details)})


def fingerprint(secret: str) -> str:
    """What is kept of a secret to recognise it by."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _no_token(error: str, description: str, status: int) -> Response:
    return json_response({"error": error, "error_description": description}, status)


def _is_details(details: str) -> bool:
    try:
        return is_list(json.loads(details))
    except ValueError:
        return False


def _bearer(authorization: str) -> str | None:
    scheme, _, given = authorization.partition(" ")
    return given if scheme.lower() == "bearer" and given else None


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return (name, secret) if name else None


def unauthenticated() -> Response:
    """What the workspace answers to a missing, unknown or expired token."""
    return error_response(401, 401, "Credential was not sent or was of an unsupported type for this API.")
