"""Where results go: a path or `sqlite:///file` -> the store there, opened once per process and place."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from evalpoint.errors import ConfigurationError
from evalpoint.protocols import Store
from evalpoint.stores import open_store

__all__ = ["current_store", "default_uri", "get_tracking_uri", "set_tracking_uri", "stored_in"]

DEFAULT_FILE = "evalpoint.db"

_lock = threading.Lock()
_stores: dict[str, Store] = {}
_chosen_uri: str | None = None


def set_tracking_uri(uri: str | os.PathLike[str] | None) -> None:
    """Chooses where results go for this process; None goes back to `MLFLOW_TRACKING_URI` or the default.

    Args:
        uri: A path, or `sqlite:///file`. The default is `evalpoint.db` in the working directory.

    Raises:
        ConfigurationError: It is no place that results can go to.
    """
    global _chosen_uri
    _chosen_uri = None if uri is None else _checked_uri(os.fspath(uri), "set_tracking_uri")


def get_tracking_uri() -> str:
    """Where results go: what was set, else `MLFLOW_TRACKING_URI`, else `sqlite:///…/evalpoint.db`."""
    if _chosen_uri is not None:
        return _chosen_uri
    from_environment = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if from_environment:
        return _checked_uri(from_environment, "MLFLOW_TRACKING_URI")
    return default_uri()


def default_uri() -> str:
    """Where results go when nothing was chosen."""
    return f"sqlite:///{_default_folder() / DEFAULT_FILE}"


def _default_folder() -> Path:
    """The working directory; inside Databricks local disk, because a workspace's folders cannot hold a database."""
    if os.environ.get("DATABRICKS_RUNTIME_VERSION") or os.environ.get("DATABRICKS_ENV_VERSION"):
        folder = Path(tempfile.gettempdir()) / "evalpoint"
        folder.mkdir(exist_ok=True)
        return folder
    return Path.cwd()


def _checked_uri(uri: str, said_by: str) -> str:
    if uri.startswith(("http://", "https://", "databricks", "uc://")):
        shown = uri.split("@")[-1] if "@" in uri else uri
        raise ConfigurationError(
            f"{said_by} names {shown!r}: this version of evalpoint writes to its embedded store, not to a tracking server. "
            'Call evalpoint.set_tracking_uri("sqlite:///evalpoint.db") to choose the file.'
        )
    if uri.startswith("file:"):
        raise ConfigurationError(f"{said_by} names {uri!r}, a folder of MLflow's; give a file, such as sqlite:///evalpoint.db.")
    path = uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else uri
    if "://" in path or not path:
        raise ConfigurationError(f"{said_by} names {uri!r}, which is neither a path nor sqlite:///file.")
    return f"sqlite:///{Path(path).expanduser().absolute()}"


def current_store() -> Store:
    """The store that results go to now; opened once per process and place."""
    uri = get_tracking_uri()
    with _lock:
        store = _stores.get(uri)
        if store is None:
            store = _stores[uri] = open_store(uri)
        return store


@contextmanager
def stored_in(uri: str | os.PathLike[str]) -> Generator[None]:
    """Results go there inside the block; afterwards they go where they went before, and the store there is closed."""
    global _chosen_uri
    before = _chosen_uri
    set_tracking_uri(uri)
    chosen = get_tracking_uri()
    try:
        yield
    finally:
        _chosen_uri = before
        with _lock:
            store = _stores.pop(chosen, None)
        if store is not None:
            store.close()
