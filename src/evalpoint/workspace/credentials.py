"""The credentials of a workspace: asked for at every request, renewed once for all who were refused."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from evalpoint.workspace.sdk import authenticate

if TYPE_CHECKING:
    from databricks.sdk.core import Config

__all__ = ["SdkCredentials"]

_SALT = secrets.token_bytes(16)
_SETTLED = 10.0
"""Seconds for which a renewal counts for everybody who was refused with the same headers."""


class SdkCredentials:
    """Headers of a databricks-sdk `Config`.

    Args:
        config: Where they come from.
        renew: Gives a `Config` of the same workspace with a fresh login.
        clock: Monotonic seconds.
    """

    def __init__(self, config: Config, renew: Callable[[Config], Config], clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._renew = renew
        self._clock = clock
        self._lock = threading.Lock()
        self._settled: tuple[str | None, float] | None = None
        self.key = _identity(config)

    def headers(self) -> Mapping[str, str]:
        """The headers of one request, fresh when the token has expired.

        Raises:
            CallError: There is no token to be had.
        """
        return authenticate(self._config)

    def refresh(self, rejected: Mapping[str, str]) -> None:
        """A fresh login, once for everybody who was refused with these headers.

        Raises:
            CallError: It does not succeed.
        """
        refused = rejected.get("Authorization")
        with self._lock:
            if self._settled is not None and self._settled[0] == refused and self._clock() - self._settled[1] < _SETTLED:
                return
            if self.headers().get("Authorization") == refused:
                self._config = self._renew(self._config)
            self._settled = refused, self._clock()

    def __repr__(self) -> str:
        return f"SdkCredentials({self.key!r})"


def _identity(config: Config) -> str:
    """Who is calling, without a secret: a token is named by a digest that means nothing outside this process."""
    who = config.client_id or config.username or config.azure_client_id
    if not who and config.token:
        who = hashlib.blake2b(config.token.encode("utf-8", "surrogatepass"), key=_SALT, digest_size=6).hexdigest()
    return f"{config.auth_type or 'custom'}:{who or config.profile or 'default'}"
