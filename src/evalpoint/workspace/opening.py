"""Opening a workspace: one databricks-sdk `Config` for each workspace and scopes, for the whole process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from evalpoint.calls import Server
from evalpoint.errors import CallError, ConfigurationError
from evalpoint.protocols import Credentials
from evalpoint.workspace.credentials import SdkCredentials
from evalpoint.workspace.data_plane import DataPlaneCredentials
from evalpoint.workspace.probing import is_workspace, reachable
from evalpoint.workspace.profiles import configured
from evalpoint.workspace.sdk import config_of, first_login, fresh_login, new_config, with_scopes

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

__all__ = ["Workspace", "own_workspace", "workspace"]


class Workspace:
    """A workspace that answers, and the identity that calls it. Everything may be used from any thread."""

    def __init__(self, config: Config, credentials: Credentials) -> None:
        self._config = config
        self.credentials = credentials
        headers = {"User-Agent": f"{config.user_agent} evalpoint/{_version()}"}
        workspace_id = getattr(config, "workspace_id", None)  # a host that serves several workspaces needs it; older SDKs lack it
        if workspace_id:
            headers["X-Databricks-Workspace-Id"] = str(workspace_id)
        self.server = Server(self.host, credentials=credentials, headers=headers, name="the workspace")
        self._data_planes: dict[str, DataPlaneCredentials] = {}
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """`https://…`, without a slash at the end."""
        return _address(self._config)

    @property
    def auth_type(self) -> str:
        """The SDK's name of the way to authenticate, such as `pat` or `oauth-m2m`."""
        return self._config.auth_type or "custom"

    def get(self, path: str, *, what: str | None = None) -> Any:
        """The JSON at a path of the workspace's API.

        Raises:
            CallError: No usable answer.
        """
        return self.server.request("GET", path, what=what).json()

    def server_at(self, address: str, *, name: str, headers: Mapping[str, str] | None = None) -> Server:
        """Another host that belongs to this workspace, such as an app, asked with the workspace's credentials.

        Raises:
            ConfigurationError: The address is none, or would carry the token in the clear where the workspace itself does not.
        """
        self._must_be_safe(address)
        return Server(address, credentials=self.credentials, headers=headers, name=name)

    def data_plane(self, address: str, details: str, *, name: str) -> Server:
        """The data plane of a route-optimised endpoint; tokens are exchanged once for each set of authorisation details.

        Args:
            address: Scheme and host of the endpoint's own URL.
            details: The `authorization_details` of its description.
            name: What messages call it.

        Raises:
            ConfigurationError: As for `server_at`.
        """
        self._must_be_safe(address)
        with self._lock:
            credentials = self._data_planes.get(details)
            if credentials is None:
                credentials = self._data_planes[details] = DataPlaneCredentials(self.host, details, self.credentials)
        return Server(address, credentials=credentials, name=name)

    def _must_be_safe(self, address: str) -> None:
        if self.host.lower().startswith("https:") and not address.lower().startswith("https:"):
            raise ConfigurationError(f"{address!r} is not https, so no token of workspace {self.host} is sent there.")

    def principal(self) -> str | None:
        """Who is calling, for messages; None when the workspace does not say."""
        try:
            me: Any = self.get("/api/2.0/preview/scim/v2/Me")
        except CallError:  # a name for a message is not worth a second error
            return None
        said = cast("dict[str, Any]", me) if isinstance(me, dict) else {}
        name = said.get("userName") or said.get("displayName")
        return str(name) if name else None

    def __repr__(self) -> str:
        return f"Workspace({self.host!r}, auth_type={self.auth_type!r})"


_opened: dict[object, Workspace] = {}
_opening: dict[object, threading.Lock] = {}
_lock = threading.Lock()


def workspace(where: str | Config | WorkspaceClient | None = None, *, scopes: Sequence[str] | None = None) -> Workspace:
    """The workspace, opened once per process and checked when it is.

    Args:
        where: A profile's name, whose fields win over the environment's; a databricks-sdk `Config` or `WorkspaceClient`; None for the
            SDK's own resolution from the environment, the configuration file, or the notebook.
        scopes: OAuth scopes, where the default ones do not do.

    Raises:
        ConfigurationError: Nothing is configured, or too much, or nothing answers; it says what to set.
    """
    if where is None or isinstance(where, str):
        return _once((where, _scopes(scopes), configured(where, os.environ).fingerprint), lambda: _by_name(where, scopes))
    config = config_of(where)
    if config is None:
        raise ConfigurationError(
            f"workspace= takes a profile's name, a databricks.sdk Config or a WorkspaceClient, not {type(where).__name__}."
        )
    return _once((config, _scopes(scopes)), lambda: _by_config(config, scopes))


def own_workspace(url: str, where: str | Config | WorkspaceClient | None = None) -> Workspace | None:
    """The workspace whose own host the URL is on; None when it is on another host, where no token of the workspace may go.

    Args:
        url: An address.
        where: As `workspace` takes it; with None the environment's host is compared before anything is opened.

    Raises:
        ConfigurationError: The workspace that was named cannot be opened.
    """
    if where is None:
        host = configured(None, os.environ).host
        return workspace() if host is not None and _origin(host) == _origin(url) else None
    opened = workspace(where)
    return opened if _origin(opened.host) == _origin(url) else None


def _origin(url: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port; None of what is no address, which is told when it is opened."""
    try:
        parts = urlsplit(url)
        scheme, port = parts.scheme.lower(), parts.port
    except ValueError:
        return None
    return scheme, (parts.hostname or "").lower(), port or {"https": 443, "http": 80}.get(scheme)


def _by_name(profile: str | None, scopes: Sequence[str] | None) -> Workspace:
    known = configured(profile, os.environ)
    sure = known.host is not None and reachable(known.host)
    config = new_config(known, scopes)

    def renew(old: Config) -> Config:
        """Reads the environment and the file again, where a token may have been replaced; but never another workspace's."""
        try:
            fresh = new_config(configured(profile, os.environ), scopes)
        except ConfigurationError:  # the environment has changed since: what is known is logged in with again
            return fresh_login(old)
        return fresh if fresh.host == old.host else fresh_login(old)

    opened = Workspace(config, SdkCredentials(config, renew))
    if not sure:
        is_workspace(opened.server)
    return opened


def _by_config(config: Config, scopes: Sequence[str] | None) -> Workspace:
    if not config.host:
        raise ConfigurationError("The Config that was passed has no host.")
    sure = reachable(_address(config))
    try:
        used = with_scopes(config, scopes) if scopes and _scopes(scopes) != _scopes(getattr(config, "scopes", None)) else config
        first_login(used)
    except CallError as error:
        raise ConfigurationError(str(error)) from None
    opened = Workspace(used, SdkCredentials(used, fresh_login))
    if not sure:
        is_workspace(opened.server)
    return opened


def _once(key: object, opening: Callable[[], Workspace]) -> Workspace:
    """One opening per key, however many threads ask; one that fails is tried again by the next who asks."""
    with _lock:
        lock = _opening.setdefault(key, threading.Lock())
    with lock:
        found = _opened.get(key)
        if found is None:
            found = _opened[key] = opening()
        return found


def _address(config: Config) -> str:
    """The host without what a browser's address bar puts behind it."""
    return str(config.host).partition("?")[0].partition("#")[0].rstrip("/")


def _scopes(scopes: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(sorted(set(scopes or ())))


def _version() -> str:
    try:
        return version("evalpoint")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"
