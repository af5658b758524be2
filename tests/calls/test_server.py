"""A server over real sockets: what is sent, what comes back, what is refused."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from evalpoint.calls import Account, HttpReply, Server, account, bind, permits
from evalpoint.errors import (
    AccessDenied,
    Broken,
    CallError,
    CallTimeout,
    ConfigurationError,
    Rejected,
    Throttled,
    Unreachable,
    UnusableReply,
    UsageError,
)
from evalpoint.settings import Settings

Raw = Callable[[Callable[[socket.socket], None]], str]
JSON = {"Content-Type": "application/json"}


class Token:
    """Credentials that count how often they are refreshed."""

    key = "test:1"

    def __init__(self) -> None:
        self.number = 1
        self.refreshed: list[Mapping[str, str]] = []

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer token-{self.number}"}

    def refresh(self, rejected: Mapping[str, str]) -> None:
        self.refreshed.append(dict(rejected))
        self.number += 1


def server(url: str, **kwargs: Any) -> Server:
    return Server(url, name="the test server", **{"sleep": lambda _: None, **kwargs})


def post(url: str, body: Any = None, **kwargs: Any) -> HttpReply:
    return server(url).request("POST", "/ask", body=body, **kwargs)


def test_json_there_and_back(script: Any) -> None:
    """A body goes as UTF-8 JSON, the reply comes back whole with lower-cased headers and its latency."""
    script.plays((200, {**JSON, "X-Request-Id": "r1"}, '{"a": "ü"}'.encode()))
    with account() as used:
        reply = server(script.url, headers={"User-Agent": "test/1"}).request(
            "POST", "/ask?x=1", body={"q": "é\n"}, headers={"X-Extra": "2"}
        )
    sent = script.seen[0]
    assert (sent.method, sent.path, sent.body) == ("POST", "/ask?x=1", '{"q":"é\\n"}'.encode())
    assert (sent.headers["content-type"], sent.headers["user-agent"], sent.headers["x-extra"]) == ("application/json", "test/1", "2")
    assert (reply.status, reply.headers["x-request-id"], reply.json(), reply.text) == (200, "r1", {"a": "ü"}, '{"a": "ü"}')
    assert reply.latency_ms > 0
    assert (used.attempts, used.retries) == (1, 0)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        pytest.param(b"raw", b"raw", id="bytes as they are"),
        pytest.param("text", b'"text"', id="text is JSON"),
        pytest.param([], b"[]", id="empty list"),
        pytest.param({"a": "\ud800"}, b'{"a": "\\ud800"}', id="half of a surrogate pair"),
        pytest.param(None, b"", id="no body"),
    ],
)
def test_bodies(script: Any, body: Any, sent: bytes) -> None:
    """Every body arrives as it should."""
    post(script.url, body)
    assert script.seen[0].body == sent


def endless() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize("body", [{"x": float("nan")}, {"x": object()}, endless()], ids=["NaN", "an object", "endless"])
def test_no_json_is_not_sent(script: Any, body: Any) -> None:
    """What is no JSON is the caller's mistake, before anything is sent."""
    with pytest.raises(UsageError, match="The request is no JSON"):
        post(script.url, body)
    assert script.seen == []


@pytest.mark.parametrize(
    ("status", "expected", "requests"),
    [
        (400, Rejected, 1),
        (401, AccessDenied, 1),
        (404, Rejected, 1),
        (429, Throttled, 4),
        (500, Broken, 4),
        (503, Throttled, 4),
        (504, CallTimeout, 1),
    ],
)
def test_refusals(script: Any, status: int, expected: type[CallError], requests: int) -> None:
    """A status has its error; only those that may pass are sent again, three times."""
    script.plays((status, JSON, b'{"error_code": "CODE", "message": "because"}'))
    with pytest.raises(expected, match="because") as caught:
        post(script.url, {})
    assert type(caught.value) is expected
    assert (caught.value.status, caught.value.error_code) == (status, "CODE")
    assert len(script.seen) == requests


def test_retry_after_is_waited(script: Any) -> None:
    """A server that asks for seven seconds gets them."""
    slept: list[float] = []
    script.plays((429, {"Retry-After": "7"}, b""), (200, JSON, b"{}"))
    server(script.url, sleep=slept.append, rng=lambda: 0.0).request("GET", "/")
    assert slept == [7.0]


def test_accept_returns_refusals(script: Any) -> None:
    """Statuses named as answers come back as they are, pages too."""
    script.plays((404, {"Content-Type": "text/html"}, b"<html>"))
    assert server(script.url).request("GET", "/", accept=(404,)).text == "<html>"


def test_redirects_are_not_followed(script: Any) -> None:
    """A redirect is a closed door: it is not followed, and nothing is carried there."""
    script.plays((302, {"Location": f"{script.url}/login?next=x"}, b""))
    with pytest.raises(AccessDenied, match="not followed"):
        server(script.url, credentials=Token()).request("POST", "/ask", body={})
    assert len(script.seen) == 1


def test_web_page_is_access_denied(script: Any) -> None:
    """A page with status 200 is most often a login page."""
    script.plays((200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Sign in</html>"))
    with pytest.raises(AccessDenied, match="web page, most often a login page"):
        post(script.url)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "an empty body"),
        (b"<html>x", "It begins: '<html>x'"),
        (b'{"a":', "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 200_000, "nests too deeply"),
    ],
    ids=["empty", "page", "cut", "bytes", "brackets"],
)
def test_unusable_json(script: Any, body: bytes, says: str) -> None:
    """What is no JSON is shown by its first characters."""
    script.plays((200, JSON, body))
    with pytest.raises(UnusableReply, match=says):
        post(script.url).json()


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/plain", "ü".encode(), "ü"),
        ("text/plain; charset=latin-1", b"\xfc", "ü"),
        ("text/plain; charset=nonsense", b"a", "a"),
        ("text/plain", b"\xff", "\ufffd"),
    ],
    ids=["UTF-8", "named", "unknown", "broken"],
)
def test_text(script: Any, kind: str, body: bytes, text: str) -> None:
    """Text is UTF-8 unless the header names a charset that exists."""
    script.plays((200, {"Content-Type": kind}, body))
    assert post(script.url).text == text


def test_compressed_bodies(script: Any) -> None:
    """Compression is asked for and undone."""
    script.plays((200, {**JSON, "Content-Encoding": "gzip"}, gzip.compress(b'{"a": 1}')))
    assert post(script.url).json() == {"a": 1}
    assert "gzip" in script.seen[0].headers["accept-encoding"]


def test_fresh_credentials_once(script: Any) -> None:
    """A 401 is answered with fresh credentials once: a correction, no retry, and no latency."""
    token = Token()

    def answer(seen: Any) -> tuple[int, dict[str, str], bytes]:
        if seen.headers["authorization"] == "Bearer token-2":
            return 200, JSON, b"{}"
        time.sleep(0.2)
        return 401, {}, b""

    script.plays(answer)
    with account() as used:
        reply = server(script.url, credentials=token).request("GET", "/")
    assert token.refreshed == [{"Authorization": "Bearer token-1"}]
    assert (used.attempts, used.retries, used.corrections) == (2, 0, 1)
    assert used.lost_seconds >= 0.2 > reply.latency_ms / 1000


def test_credentials_refused_twice(script: Any) -> None:
    """Fresh credentials that are refused too end the call; nothing is tried a third time."""
    token = Token()
    script.plays((401, {}, b'{"message": "no"}'))
    with pytest.raises(AccessDenied, match="The credentials were refused"):
        server(script.url, credentials=token).request("GET", "/")
    assert len(script.seen) == 2


def test_one_correction_per_call(script: Any) -> None:
    """Over all attempts of one call credentials are refreshed once."""
    token = Token()
    script.plays((401, {}, b""), (503, {}, b""), (401, {}, b""))
    with pytest.raises(AccessDenied):
        server(script.url, credentials=token).request("GET", "/")
    assert len(token.refreshed) == 1
    assert len(script.seen) == 3


def test_token_stays_with_its_host(script: Any) -> None:
    """An address on another host, port or scheme is refused before anything is sent; one on the same host is taken."""
    asked = server(script.url, credentials=Token())
    for other in ("http://127.0.0.2:1/x", script.url.replace("http", "https"), "http://127.0.0.1:1/x", f"{script.url}@evil.example/"):
        with pytest.raises(UsageError):
            asked.request("GET", other)
    assert script.seen == []
    asked.request("GET", f"{script.url}/same")
    asked.request("GET", "//evil.example/x")
    assert [seen.path for seen in script.seen] == ["/same", "/evil.example/x"]


@pytest.mark.parametrize(
    "url", ["", "host", "ftp://host", "https://", "https://user:secret-word@host", "https://h\\@evil", "http://h:99999999"]
)
def test_addresses(url: str) -> None:
    """What is no web address, or carries a password, is refused, and the password is not repeated."""
    with pytest.raises(ConfigurationError) as caught:
        server(url)
    assert "secret-word" not in str(caught.value)


def test_netrc_is_not_asked(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ~/.netrc entry for the host never replaces or adds an Authorization header."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login netrc-user password netrc-word\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server(script.url).request("GET", "/")
    server(script.url, credentials=Token()).request("GET", "/")
    assert [seen.headers.get("authorization") for seen in script.seen] == [None, "Bearer token-1"]


def test_cookies_are_not_kept(script: Any) -> None:
    """A cookie that a server sets is never sent back."""
    script.plays((200, {**JSON, "Set-Cookie": "session=1; Path=/"}, b"{}"))
    asked = server(script.url)
    asked.request("GET", "/")
    asked.request("GET", "/")
    assert "cookie" not in script.seen[1].headers


def test_proxy_of_the_environment(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies of the environment are used."""
    monkeypatch.setenv("http_proxy", script.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server("http://workspace.invalid").request("GET", "/x")
    assert script.seen[0].path == "http://workspace.invalid/x"


@pytest.mark.parametrize("status", [400, 401, 500])
def test_echoed_token_is_hidden(script: Any, status: int) -> None:
    """A server that repeats the token in its refusal does not bring it into the message, the log or the chain of errors."""
    script.plays(
        lambda seen: (
            status,
            JSON,
            f'{{"message": "bad header {seen.headers["authorization"]} alias {seen.headers["authorization"][7:]}"}}'.encode(),
        )
    )
    with pytest.raises(CallError, match="bad header") as caught:
        server(script.url, credentials=Token()).request("GET", "/")
    error: BaseException | None = caught.value
    assert "token-1" not in str(error)
    assert "token-2" not in str(error)


def test_no_secret_in_repr(script: Any) -> None:
    """Neither a server nor a reply shows a token or a body."""
    asked = server(script.url, credentials=Token(), headers={"X-Key": "hush-hush"})
    assert "token-1" not in repr(asked)
    assert "hush" not in repr(asked)
    assert "body" not in repr(asked.request("GET", "/"))


def test_unreachable() -> None:
    """No connection is tried again, and then named with its address and reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with (
        account() as used,
        pytest.raises(Unreachable, match=r"The test server at http://127\.0\.0\.1:\d+ cannot be reached: .*refused.* tried 4 times"),
    ):
        server(url).request("GET", "/")
    assert used.retries == 3


def drip(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(100):
            time.sleep(0.05)
            connection.sendall(piece)

    return talk


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(lambda _: time.sleep(3), id="silence"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\n", b"X-Drop: 1\r\n"), id="dripping headers"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n", b"x"), id="dripping body"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n", b"x"), id="dripping chunk"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), id="dripping chunks"),
        pytest.param(drip(b"HTTP/1.0 200 OK\r\n\r\n", b"x"), id="body without end"),
    ],
)
def test_one_deadline_over_everything(raw: Raw, talk: Callable[[socket.socket], None]) -> None:
    """However an answer is delayed, the attempt ends on time, and it is not sent again."""
    begun = time.monotonic()
    with bind(Settings(attempt_timeout=0.3)), account() as used, pytest.raises(CallTimeout, match=r"no complete answer within 0\.3 s"):
        server(raw(talk)).request("GET", "/")
    assert 0.25 < time.monotonic() - begun < 1.0
    assert used.attempts == 1
    assert used.lost_seconds >= 0.25


def test_refusal_that_drips(raw: Raw) -> None:
    """The status of a refusal counts, even when its explanation never ends."""
    with bind(Settings(attempt_timeout=0.3, max_retries=0)), pytest.raises(Throttled, match="answered 503"):
        server(raw(drip(b"HTTP/1.1 503 Busy\r\nContent-Length: 90\r\n\r\nhalf", b""))).request("GET", "/")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(b"", Broken, id="closed at once"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nhalf", Broken, id="body cut"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", Broken, id="chunk cut"),
        pytest.param(b"SSH-2.0-OpenSSH_9.0\r\n", Broken, id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", UnusableReply, id="no gzip"),
    ],
)
def test_broken_answers(raw: Raw, answer: bytes, expected: type[CallError]) -> None:
    """Half an answer is never taken for one."""
    with bind(Settings(max_retries=0)), pytest.raises(expected):
        server(raw(lambda connection: connection.sendall(answer))).request("GET", "/")


def test_body_is_bounded(raw: Raw) -> None:
    """A body without end is read no further than the limit."""

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x" * 65536)

    with pytest.raises(UnusableReply, match="more than 1,000,000 bytes"):
        server(raw(flood)).request("GET", "/", max_body=1_000_000)


def test_body_at_the_limit(script: Any) -> None:
    """Exactly the limit is allowed."""
    script.plays((200, JSON, b"1" * 1000))
    assert len(server(script.url).request("GET", "/", max_body=1000).body) == 1000
    with pytest.raises(UnusableReply):
        server(script.url).request("GET", "/", max_body=999)


@pytest.mark.skipif(os.name == "nt", reason="signals to a thread are POSIX")
@pytest.mark.parametrize("wait", ["answer", "back-off", "permit"])
def test_ctrl_c_gets_through(raw: Raw, wait: str) -> None:
    """Ctrl-C ends every kind of wait at once."""
    url = raw(
        lambda connection: (
            time.sleep(3) if wait == "answer" else connection.sendall(b"HTTP/1.1 503 Busy\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n")
        )
    )
    gate = permits(f"the test server at {url} as anonymous")
    gate.limit = 1
    main = threading.main_thread().ident
    assert main is not None
    begun = time.monotonic()
    threading.Timer(0.15, signal.pthread_kill, (main, signal.SIGINT)).start()
    with gate.hold(1) if wait == "permit" else nullcontext(), pytest.raises(KeyboardInterrupt):
        Server(url, name="the test server").request("GET", "/")
    assert time.monotonic() - begun < 1.5
    assert gate.in_flight == 0


def test_many_threads_share_a_server(script: Any) -> None:
    """Forty threads with one server: every answer is its own, every call is counted."""
    script.plays(lambda seen: (200, JSON, seen.body))
    asked = server(script.url, credentials=Token())
    answers: dict[int, int] = {}

    def work(number: int, used: Account) -> None:
        for step in range(5):
            body = {"n": number * 100 + step}
            assert asked.request("POST", "/echo", body=body).json() == body
        answers[number] = used.attempts

    with account() as used:
        threads = [threading.Thread(target=copy_context().run, args=(work, number, used)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 40
    assert used.attempts == len(script.seen) == 200


def test_retry_after_a_dropped_connection(raw: Raw) -> None:
    """A connection that is dropped before an answer is tried again."""
    count = iter(range(10))

    def talk(connection: socket.socket) -> None:
        if next(count) > 0:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

    with account() as used:
        assert server(raw(talk)).request("POST", "/", body={}).json() == {}
    assert used.retries == 1
