"""databricks-sdk behind one door: a `Config` within bounded time, quietly, and its errors as sentences without secrets.

The SDK is imported when the first workspace is opened: it takes a second, and nobody waits for it who needs none.
"""

from __future__ import annotations

import contextvars
import copy
import logging
import queue
import re
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from evalpoint.calls import redact
from evalpoint.errors import AccessDenied, CallError, ConfigurationError, Unreachable
from evalpoint.workspace.profiles import Configured

if TYPE_CHECKING:
    from databricks.sdk.core import Config

__all__ = ["authenticate", "config_of", "first_login", "fresh_login", "new_config", "with_scopes"]

T = TypeVar("T")
_PATIENCE = 8.0
"""Seconds for the SDK to find its way in; its own limit is five minutes."""
_BUDGET = {"retry_timeout_seconds": 5, "http_timeout_seconds": 5}
_DEBUG_TAIL = re.compile(r"\.? (?:Config|Env): .*", re.DOTALL)
_TWO_METHODS = re.compile(r"more than one authorization method configured: ([\w -]+)")


def new_config(known: Configured, scopes: Sequence[str] | None) -> Config:
    """A `Config` that has authenticated once.

    Raises:
        ConfigurationError: It cannot be made, and what to set.
    """
    from databricks.sdk.core import Config

    arguments: dict[str, Any] = {**_BUDGET, **known.arguments, **({"scopes": list(scopes)} if scopes else {})}

    def build() -> Config:
        config: Config = Config(**arguments)
        if config.host:
            config.authenticate()
        return config

    try:
        config = _within(_PATIENCE, build)
    except Exception as error:  # noqa: BLE001 - the SDK raises whatever its many ways to authenticate raise
        raise ConfigurationError(_explained(error, known)) from None
    if not config.host:
        raise ConfigurationError(_nothing(known))
    return config


def config_of(where: object) -> Config | None:
    """The `Config` that a caller passed, on its own or inside a client; None for anything else."""
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    config: Any = where.config if isinstance(where, WorkspaceClient) else where
    return config if isinstance(config, Config) else None


def with_scopes(config: Config, scopes: Sequence[str]) -> Config:
    """The same `Config` with other OAuth scopes; the caller's own is left as it is.

    Raises:
        CallError: It does not authenticate.
    """
    changed: Any = config
    changed = changed.deep_copy()
    changed.scopes = list(scopes)
    if changed.auth_type == "runtime":  # found out at the first login, not chosen: with scopes a notebook has a better way
        changed.auth_type = None
    return fresh_login(changed)


def fresh_login(config: Config) -> Config:
    """The same `Config` with an authentication of its own, so that no cached token is left.

    Raises:
        CallError: It does not authenticate.
    """
    fresh: Any = copy.copy(config)

    def login() -> Config:
        (getattr(fresh, "init_auth", None) or fresh._init_auth)()  # as databricks-sdk before 0.21 calls it
        fresh.authenticate()
        renewed: Config = fresh
        return renewed

    return _translating(lambda: _within(_PATIENCE, login), config)


def first_login(config: Config) -> None:
    """Authenticates once, in bounded time.

    Raises:
        CallError: It does not authenticate.
    """
    _translating(lambda: _within(_PATIENCE, config.authenticate), config)


def authenticate(config: Config) -> dict[str, str]:
    """The headers of one request.

    Raises:
        CallError: There is no token to be had.
    """
    return _translating(config.authenticate, config)


def _translating(login: Callable[[], T], config: Config) -> T:
    try:
        return login()
    except Exception as error:  # noqa: BLE001 - the SDK raises whatever its many ways to authenticate raise
        raise _call_error(error, config) from None


def _call_error(error: Exception, config: Config) -> CallError:
    from databricks.sdk.errors.base import DatabricksError

    secrets = tuple(
        str(value)
        for name in ("token", "password", "client_secret", "azure_client_secret", "google_credentials")
        if (value := getattr(config, name, None))
    )
    why = _words(error, secrets)
    # OSError is what requests, sockets and the SDK's exhausted retries have in common; the SDK's refusals are OSErrors as well.
    passing = isinstance(error, (OSError, _Late)) and not isinstance(error, DatabricksError)
    message = f"No token could be had for workspace {config.host} by {config.auth_type or 'any'} authentication: {why}."
    return Unreachable(message) if passing else AccessDenied(f"{message} Check the credentials.")


def _explained(error: Exception, known: Configured) -> str:
    """Why there is no `Config`, and what to set."""
    text = str(error)
    place = f"workspace {known.host}" if known.host else "a Databricks workspace"
    two = _TWO_METHODS.search(text)
    if two:
        variables = f" These variables are set: {', '.join(known.variables)}." if known.variables else ""
        return (
            f"Two ways to authenticate to {place} are configured at once: {two.group(1).strip()}.{variables} "
            "Remove one, or say which with DATABRICKS_AUTH_TYPE (such as pat or oauth-m2m)."
        )
    if isinstance(error, _Late):
        return (
            f"Authenticating to {place} took longer than {_PATIENCE:.0f} s and was given up. "
            "Check the address, the network and the proxy settings, and the way to authenticate (DATABRICKS_AUTH_TYPE)."
        )
    if "cannot configure default credentials" in text:
        return _nothing(known)
    return f"Authenticating to {place} failed: {_words(error, known.secrets)}. Check the host and the credentials."


def _nothing(known: Configured) -> str:
    ways = (
        "DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET of a service principal"
        if known.host
        else "DATABRICKS_HOST and DATABRICKS_TOKEN, or DATABRICKS_HOST with DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET"
    )
    profiles = f" ({', '.join(map(repr, known.profiles[:20]))})" if known.profiles else ""
    what = f"Nothing is configured to authenticate to workspace {known.host}" if known.host else "No Databricks workspace is configured"
    return f"{what}. Set {ways}, or name a profile of {known.file}{profiles} with workspace=… or DATABRICKS_CONFIG_PROFILE."


def _words(error: Exception, secrets: tuple[str, ...]) -> str:
    """What the SDK says, without its list of settings, without secrets, bounded."""
    text = _DEBUG_TAIL.sub("", str(error)) or type(error).__name__
    return redact(" ".join(text.split()), secrets)[:500].rstrip(".")


class _Late(Exception):
    """The SDK took too long."""


def _within(seconds: float, work: Callable[[], T]) -> T:
    """The work's result, or its exception; `_Late` when it takes longer. The work itself cannot be ended, and is left behind."""
    done: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            with _quiet():
                done.put((work(), None))
        except Exception as error:  # noqa: BLE001 - handed over to the thread that waits, whatever it is
            done.put((None, error))

    # A context of its own: the SDK's calls belong to no row's account, limits or trace.
    threading.Thread(target=contextvars.Context().run, args=(run,), name="evalpoint-login", daemon=True).start()
    try:
        result, error = done.get(timeout=seconds)
    except queue.Empty:
        raise _Late(f"no answer within {seconds:.0f} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # pyright: ignore[reportReturnType] - a result, where there is no error


@contextmanager
def _quiet() -> Generator[None]:
    """The SDK's log lines of this thread are dropped: what they warn of comes back as an error, or does not matter."""
    logger = logging.getLogger("databricks.sdk")
    thread = threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger.addFilter(of_others)
    try:
        yield
    finally:
        logger.removeFilter(of_others)
