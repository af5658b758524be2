"""`evalpoint mock`: a mock workspace that serves until it is told to stop, and the shell lines that make clients find it."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType

from evalpoint.errors import ConfigurationError
from evalpoint.mocks.configured import Configured, configured_workspace
from evalpoint.mocks.demo import demo_workspace
from evalpoint.mocks.workspace import MockWorkspace

__all__ = ["mock_of", "serve", "shell_lines"]

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


def mock_of(config: Path | None, *, port: int | None = None) -> Configured:
    """The workspace that a file describes; without one, the demonstration's.

    Raises:
        UsageError: The file describes no workspace.
    """
    if config is not None:
        return configured_workspace(config, port=port)
    return Configured(
        workspace=demo_workspace(port=port or 0), uris=("endpoints:/support-agent", "endpoints:/judge"), judge="endpoints:/judge"
    )


def shell_lines(mock: Configured, environ: Mapping[str, str]) -> list[str]:
    """What a POSIX shell reads to make every client find the running workspace; a comment says what it has."""
    workspace = mock.workspace
    variables = dict(workspace.oauth_environ if mock.needs_oauth else workspace.environ)
    if mock.judge is not None:
        variables["MLFLOW_GENAI_JUDGE_DEFAULT_MODEL"] = mock.judge
    if any(environ.get(name) for name in _PROXIES):
        variables["NO_PROXY"] = ",".join(filter(None, (environ.get("NO_PROXY"), "127.0.0.1")))
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return [f"# A mock workspace with {', '.join(mock.uris)}. Ctrl-C ends it.", *exports]


def serve(mock: Configured, say: Callable[[str], None], *, environ: Mapping[str, str] | None = None) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        mock: What is served.
        say: Gets the shell's lines, as soon as the workspace listens.
        environ: Whose proxies must be bypassed; the process's own environment by default.

    Raises:
        ConfigurationError: Its port is taken.
    """
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    before = signal.signal(signal.SIGTERM, end)
    try:
        with _started(mock.workspace), suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
            for line in shell_lines(mock, os.environ if environ is None else environ):
                say(line)
            ended.wait()
    finally:
        signal.signal(signal.SIGTERM, before)


def _started(workspace: MockWorkspace) -> MockWorkspace:
    try:
        return workspace.start()
    except OSError as error:
        raise ConfigurationError(
            f"The mock workspace cannot listen: {error.strerror}. Choose another port with --port, or none."
        ) from error
