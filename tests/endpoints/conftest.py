"""Small servers on loopback whose every answer a test decides, for doors of which no mock is wanted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest


@dataclass
class Asked:
    """One request that a stub received."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.content.decode()).items()}

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class Stub:
    """A server that answers what `on` says, and 404 to everything else. A text is a web page; anything else is JSON."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    missing: tuple[int, Any] = (404, {"detail": "Not Found"})

    def on(self, method: str, path: str, answer: Any, status: int = 200) -> None:
        """The answer: a value, or a function of the request that gives a value, or a status, a value and headers."""
        self.answers[(method, path)] = answer if callable(answer) else (lambda _: (status, answer))

    def sent(self, path: str, method: str = "POST") -> list[Asked]:
        return [each for each in self.asked if (each.method, each.path) == (method, path)]

    def answer(self, asked: Asked) -> tuple[int, Any, dict[str, str]]:
        self.asked.append(asked)
        handler = self.answers.get((asked.method, asked.path)) or self.answers.get((asked.method, asked.path.partition("?")[0]))
        given = self.missing if handler is None else handler(asked)
        if not isinstance(given, tuple):
            given = (200, given)
        return given[0], given[1], given[2] if len(given) > 2 else {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: Stub

    def _answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, value, more = self.stub.answer(Asked(self.command, self.path, headers, content))
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "text/html" if isinstance(value, str) else "application/json", **more}.items():
            self.send_header(name, text)
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
def make_stub() -> Iterator[Callable[[], Stub]]:
    """Starts one more stub with each call."""
    servers: list[_Quiet] = []

    def start() -> Stub:
        stub = Stub()
        server = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"stub": stub}))
        servers.append(server)
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return stub

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def stub(make_stub: Callable[[], Stub]) -> Stub:
    """One stub."""
    return make_stub()


@pytest.fixture
def host(make_stub: Callable[[], Stub], monkeypatch: pytest.MonkeyPatch) -> Stub:
    """A workspace that introduces itself and gives OAuth tokens `oauth-1`, `oauth-2`, …; the environment has its service principal."""
    stub = make_stub()
    oidc = f"{stub.url}/oidc"
    stub.on("GET", "/.well-known/databricks-config", {"oidc_endpoint": oidc})
    stub.on(
        "GET",
        "/oidc/.well-known/oauth-authorization-server",
        {"authorization_endpoint": f"{oidc}/v1/authorize", "token_endpoint": f"{oidc}/v1/token"},
    )
    issued: list[str] = []

    def token(asked: Asked) -> Any:
        issued.append(asked.form["grant_type"])
        kind = "oauth" if asked.form["grant_type"] == "client_credentials" else "exchanged"
        return {"access_token": f"{kind}-{issued.count(asked.form['grant_type'])}", "token_type": "Bearer", "expires_in": 3600}

    stub.on("POST", "/oidc/v1/token", token)
    stub.on("GET", "/api/2.0/serving-endpoints", {"endpoints": []})
    stub.on("GET", "/api/2.0/preview/scim/v2/Me", {"userName": "ada@example.com"})
    monkeypatch.setenv("DATABRICKS_HOST", stub.url)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "my-client")
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "my-secret")
    return stub


@pytest.fixture
def pat(host: Stub, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """The same workspace, with a personal access token in the environment instead."""
    monkeypatch.delenv("DATABRICKS_CLIENT_ID")
    monkeypatch.delenv("DATABRICKS_CLIENT_SECRET")
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-good")
    return host


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between polls are short."""
    from evalpoint.endpoints import apps, fetching, waking

    for module in (apps, fetching, waking):
        monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
        monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.02)
