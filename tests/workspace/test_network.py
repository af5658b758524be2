"""Between us and the workspace: proxies, certificates, login pages, access lists, silence. Each is a sentence of its own, in time."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from evalpoint.errors import AccessDenied, ConfigurationError
from evalpoint.workspace import own_workspace, workspace

CERTIFICATE = Path(__file__).parent.parent / "fixtures" / "tls" / "server.pem"
ENDPOINTS = "/api/2.0/serving-endpoints"


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """Whatever is wrong is told within fifteen seconds."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 15


class _Proxy(BaseHTTPRequestHandler):
    """Passes requests on, and remembers what it has seen."""

    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        parts = urlsplit(self.path)
        onward = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        onward.request("GET", parts.path, headers={name: value for name, value in self.headers.items() if name.lower() != "host"})
        reply = onward.getresponse()
        body = reply.read()
        onward.close()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.getheader("Content-Type") or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        return


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy's address, and what went through it."""
    seen: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Proxy", (_Proxy,), {"seen": seen}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()


def refused() -> str:
    with pytest.raises(ConfigurationError) as caught:
        workspace()
    return str(caught.value)


def test_calls_go_through_the_proxy(pat: Any, proxy: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own calls and ours, when the environment names one; NO_PROXY keeps a host out of it."""
    address, seen = proxy
    monkeypatch.setenv("HTTP_PROXY", address)
    assert workspace().get(ENDPOINTS) == {"endpoints": []}
    assert {urlsplit(each).path for each in seen} == {"/.well-known/databricks-config", ENDPOINTS}
    seen.clear()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert workspace().get(ENDPOINTS) == {"endpoints": []}
    assert seen == []


def test_a_proxy_that_is_not_there(pat: Any, closed_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence is about the proxy and its variables, not about the workspace's address."""
    monkeypatch.setenv("HTTP_PROXY", closed_port)
    message = refused()
    assert "proxy" in message
    assert "HTTPS_PROXY" in message
    assert "Is DATABRICKS_HOST" not in message


@pytest.fixture
def secure(make_workspace: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The workspace behind TLS, with a certificate that nobody knows."""
    fake = make_workspace()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server = make_workspace.servers[-1]  # type: ignore[attr-defined]
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    fake.url = fake.url.replace("http://", "https://")
    monkeypatch.setenv("DATABRICKS_HOST", fake.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-good")
    return fake


def test_a_certificate_that_nobody_knows(secure: Any) -> None:
    """The sentence names the variable for one's own authority."""
    message = refused()
    assert "certificate" in message
    assert "REQUESTS_CA_BUNDLE" in message
    assert "Is DATABRICKS_HOST" not in message


def test_ones_own_authority(secure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With REQUESTS_CA_BUNDLE the SDK and we trust it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    assert workspace().get(ENDPOINTS) == {"endpoints": []}


def test_an_ip_access_list(pat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is about the address, and says so; other refusals speak of permissions."""
    opened = workspace()
    message = "Source IP address: 1.2.3.4 is blocked by Databricks IP ACL for workspace: 1"
    monkeypatch.setattr(pat, "answer", lambda *_: (403, {"error_code": "403", "message": message}))
    with pytest.raises(AccessDenied, match=r"1\.2\.3\.4.*IP access list does not have this machine's address"):
        opened.get(ENDPOINTS)
    monkeypatch.setattr(pat, "answer", lambda *_: (403, {"error_code": "PERMISSION_DENIED", "message": "no"}))
    with pytest.raises(AccessDenied, match="lacks a permission"):
        opened.get(ENDPOINTS)


def test_a_login_page_in_the_middle_of_a_run(pat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page with status 200 is no answer."""
    opened = workspace()
    monkeypatch.setattr(pat, "answer", lambda *_: (200, "<html><title>Sign in</title></html>"))
    with pytest.raises(AccessDenied, match="web page, most often a login page"):
        opened.get(ENDPOINTS)


@pytest.mark.parametrize(
    ("url", "own"), [("{}/x", True), ("{}", True), ("https://127.0.0.1/x", False), ("http://127.0.0.1:1/x", False), ("http://h/x", False)]
)
def test_which_addresses_are_the_workspaces_own(pat: Any, url: str, own: bool) -> None:
    """Scheme, host and port have to be the same."""
    assert (own_workspace(url.format(pat.url)) is not None) is own


def test_no_workspace_no_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a workspace, or with one whose address is none, nothing is opened, and nothing is an error."""
    assert own_workspace("http://127.0.0.1:1/x") is None
    monkeypatch.setenv("DATABRICKS_HOST", "https://host:port")
    assert own_workspace("http://127.0.0.1:1/x") is None


def test_a_token_never_leaves_tls(secure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace behind TLS does not send its token to an address without."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with pytest.raises(ConfigurationError, match="is not https"):
        workspace().server_at("http://127.0.0.1:1", name="app 'x'")
