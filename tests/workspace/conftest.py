"""A workspace on loopback that the real databricks-sdk accepts, and an environment without anybody's own settings."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest


@dataclass
class FakeWorkspace:
    """Answers with what is set here, and remembers what was asked."""

    url: str = ""
    tokens: set[str] = field(default_factory=lambda: {"dapi-good"})
    client: tuple[str, str] = ("my-client", "my-secret")
    issued: int = 0
    introduces_itself: bool = True
    workspace_id: str | None = None
    api_page: bool = False
    me: Any = field(default_factory=lambda: {"userName": "ada@example.com"})
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    forms: list[dict[str, list[str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, path: str) -> int:
        return sum(asked == path for _, asked, _ in self.asked)

    def sent(self, path: str) -> list[dict[str, str]]:
        return [headers for _, asked, headers in self.asked if asked == path]

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        if path == "/.well-known/databricks-config":
            introduction = {"oidc_endpoint": f"{self.url}/oidc", "workspace_id": self.workspace_id}
            return (200, introduction) if self.introduces_itself else (404, "<html>not found</html>")
        if path == "/oidc/.well-known/oauth-authorization-server":
            return 200, {"authorization_endpoint": f"{self.url}/oidc/v1/authorize", "token_endpoint": f"{self.url}/oidc/v1/token"}
        if path == "/oidc/v1/token":
            return self._token(headers, body)
        if self.api_page:
            return 200, "<html>Welcome</html>"
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return 401, {"error_code": "UNAUTHENTICATED", "message": "who are you?"}
        if path == "/api/2.0/serving-endpoints":
            return 200, {"endpoints": []}
        if path == "/api/2.0/preview/scim/v2/Me":
            return 200, self.me
        return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": f"no API at {path}"}

    def _token(self, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.forms.append(parse_qs(body.decode()))
        if base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode() != ":".join(self.client):
            return 401, {"error": "invalid_client", "error_description": f"unknown client, you sent {headers['authorization']}"}
        with self.lock:
            self.issued += 1
            token = f"oauth-{self.issued}"
            self.tokens.add(token)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeWorkspace

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.fake.lock:
            self.fake.asked.append((self.command, self.path, headers))
        status, value = self.fake.answer(self.path, headers, body)
        page = isinstance(value, str)
        data = value.encode() if page else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if page else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        return


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        return


@pytest.fixture
def make_workspace() -> Iterator[Callable[[], FakeWorkspace]]:
    """Starts one more workspace with each call."""
    servers: list[_Quiet] = []

    def start() -> FakeWorkspace:
        fake = FakeWorkspace()
        server = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))
        servers.append(server)
        fake.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return fake

    start.servers = servers  # type: ignore[attr-defined]
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def fake(make_workspace: Callable[[], FakeWorkspace]) -> FakeWorkspace:
    """One workspace."""
    return make_workspace()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, and no setting of anybody's in the environment."""
    for name in list(os.environ):
        if name.startswith(("DATABRICKS_", "ARM_", "AZURE_", "GOOGLE_", "ACTIONS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # no databricks, az or gcloud command line
    return tmp_path


@pytest.fixture
def pat(fake: FakeWorkspace, monkeypatch: pytest.MonkeyPatch) -> FakeWorkspace:
    """The workspace, with a personal access token in the environment."""
    monkeypatch.setenv("DATABRICKS_HOST", fake.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-good")
    return fake


@pytest.fixture
def m2m(fake: FakeWorkspace, monkeypatch: pytest.MonkeyPatch) -> FakeWorkspace:
    """The workspace, with a service principal in the environment."""
    monkeypatch.setenv("DATABRICKS_HOST", fake.url)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "my-client")
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "my-secret")
    return fake


@pytest.fixture
def closed_port() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def hanging() -> Iterator[str]:
    """An address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def make_talker() -> Iterator[Callable[[bytes], str]]:
    """`make_talker(words)` listens at an address where everybody is told these words, whatever they ask."""
    listeners: list[socket.socket] = []

    def start(words: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def talk() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(words)

        threading.Thread(target=talk, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
