"""Faults happen in the order given, once each, and look on the wire like the real thing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import requests

from evalpoint.errors import ConfigurationError
from evalpoint.mocks import MockWorkspace, fault

Caller = Callable[..., requests.Response]
ASK = {"messages": [{"role": "user", "content": "hi"}]}


def test_in_order(workspace: MockWorkspace, call: Caller) -> None:
    """One fault for each call, normal answers in between where asked, and after the last."""
    bot = workspace.chat("bot", faults=[fault.status(503), fault.ok(), fault.status(429, retry_after=1), fault.status(500)])
    assert [call("bot", ASK).status_code for _ in range(6)] == [503, 200, 429, 500, 200, 200]
    assert bot.calls == 6
    bot.fail(fault.status(502))
    assert [call("bot", ASK).status_code for _ in range(2)] == [502, 200]


@pytest.mark.parametrize(
    ("code", "error_code"),
    [
        (400, "BAD_REQUEST"),
        (401, 401),
        (403, "PERMISSION_DENIED"),
        (429, "REQUEST_LIMIT_EXCEEDED"),
        (500, "INTERNAL_ERROR"),
        (503, "TEMPORARILY_UNAVAILABLE"),
    ],
)
def test_status(workspace: MockWorkspace, call: Caller, code: int, error_code: str | int) -> None:
    """A status has the workspace's usual body, and Retry-After only when told."""
    workspace.chat("bot", faults=[fault.status(code), fault.status(code, "MINE", "Because.", retry_after=2.5)])
    usual, own = call("bot", ASK), call("bot", ASK)
    assert (usual.status_code, usual.json()["error_code"]) == (code, error_code)
    assert "retry-after" not in usual.headers
    assert own.json() == {"error_code": "MINE", "message": "Because."}
    assert own.headers["retry-after"] == "2.5"


def test_html(workspace: MockWorkspace, call: Caller) -> None:
    """A page where JSON should be: a proxy's error, or a login page with status 200."""
    workspace.chat("bot", faults=[fault.html(), fault.html(200, "Login")])
    proxy, login = call("bot", ASK), call("bot", ASK)
    assert (proxy.status_code, login.status_code) == (502, 200)
    assert proxy.headers["content-type"].startswith("text/html")
    assert "<h1>Login</h1>" in login.text


def test_cut(workspace: MockWorkspace, call: Caller) -> None:
    """A cut connection breaks the call before the first header, or in the middle of the body; the next call is well."""
    workspace.chat("bot", faults=[fault.cut(), fault.cut(20)])
    with pytest.raises(requests.ConnectionError):
        call("bot", ASK)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="20 bytes read"):
        call("bot", ASK)
    assert call("bot", ASK).status_code == 200


def test_cut_has_run(workspace: MockWorkspace, call: Caller) -> None:
    """A call that is cut has done its work: its answer is spent."""
    workspace.chat("bot", answers=["first", "second"], faults=[fault.cut()])
    with pytest.raises(requests.ConnectionError):
        call("bot", ASK)
    assert "second" in call("bot", ASK).text


def test_slow(workspace: MockWorkspace, call: Caller) -> None:
    """A slow answer is the normal one, later."""
    workspace.chat("bot", faults=[fault.slow(0.1)])
    reply = call("bot", ASK)
    assert reply.status_code == 200
    assert reply.elapsed.total_seconds() >= 0.1


def test_malformed(workspace: MockWorkspace, call: Caller) -> None:
    """Status 200, content type JSON, and no JSON."""
    workspace.chat("bot", faults=[fault.malformed(), fault.malformed("{oops")])
    half, given = call("bot", ASK), call("bot", ASK)
    assert half.headers["content-type"] == "application/json"
    with pytest.raises(ValueError):
        half.json()
    assert given.text == "{oops"


def test_values() -> None:
    """Faults are values: equal when they do the same."""
    assert fault.status(503) == fault.status(503) != fault.status(503, retry_after=1)
    assert len({fault.ok(), fault.ok(), fault.cut(), fault.cut(1)}) == 3


def test_at_rate(workspace: MockWorkspace, call: Caller) -> None:
    """A share of the calls fails, for ever, and the same ones for the same seed; after faults in order, too."""
    one = workspace.chat("one", faults=fault.at_rate(0.3, fault.status(503), fault.status(429), seed=5))
    workspace.chat("two", faults=[fault.status(500), fault.at_rate(0.3, fault.status(503), fault.status(429), seed=5)])
    first = [call("one", ASK).status_code for _ in range(60)]
    assert [call("two", ASK).status_code for _ in range(61)] == [500, *first]
    assert set(first) == {200, 503, 429}
    assert 8 <= sum(status != 200 for status in first) <= 28
    one.fail(fault.at_rate(1, fault.status(502)))
    assert [call("one", ASK).status_code for _ in range(2)] == [502, 502]
    one.fail()
    assert call("one", ASK).status_code == 200


@pytest.mark.parametrize("make", [lambda: fault.at_rate(2, fault.ok()), lambda: fault.at_rate(0.5), lambda: fault.drip(1, 0)])
def test_no_fault(make: Callable[[], object]) -> None:
    """What cannot be is told at once."""
    with pytest.raises(ConfigurationError):
        make()


@pytest.mark.parametrize("pieces", [1, 5])
def test_drip(workspace: MockWorkspace, pieces: int) -> None:
    """The head comes at once and the body in pieces over the time, with the length that was said."""
    workspace.chat("bot", faults=[fault.drip(0.2, pieces)])
    url, headers = f"{workspace.url}/serving-endpoints/bot/invocations", {"Authorization": f"Bearer {workspace.token}"}
    with requests.post(url, json=ASK, headers=headers, timeout=10, stream=True) as reply:
        began = time.perf_counter()
        assert reply.elapsed.total_seconds() < 0.15
        content = b"".join(reply.iter_content(10_000))
        assert time.perf_counter() - began > 0.15
    assert len(content) == int(reply.headers["content-length"])
    assert b"This is a mock answer." in content


@pytest.mark.parametrize("value", ["text/plain", "text/event-stream", ""])
def test_content_type(workspace: MockWorkspace, call: Caller, value: str) -> None:
    """A good answer may come under a wrong content type, or under none."""
    workspace.chat("bot", faults=[fault.content_type(value)])
    reply = call("bot", ASK)
    assert reply.headers.get("content-type", "") == value
    assert "This is a mock answer." in reply.text


def test_cut_after_the_head(workspace: MockWorkspace, call: Caller) -> None:
    """The connection may break between head and body."""
    workspace.chat("bot", faults=[fault.cut(0)])
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="0 bytes read"):
        call("bot", ASK)


def test_malformed_stream(workspace: MockWorkspace, call: Caller) -> None:
    """A stream may be broken JSON as well."""
    workspace.chat("bot", faults=[fault.malformed("data: {oops\n\n")])
    assert call("bot", {**ASK, "stream": True}).text == "data: {oops\n\n"


def test_outage(workspace: MockWorkspace, call: Caller) -> None:
    """The whole workspace may send everybody away: an access list, a login page; requests are still recorded."""
    bot = workspace.chat("bot")
    workspace.outage = fault.ip_blocked("203.0.113.9")
    blocked = call("bot", ASK)
    assert (blocked.status_code, blocked.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert "Source IP address: 203.0.113.9 is blocked by Databricks IP ACL" in blocked.json()["message"]
    workspace.outage = fault.html(200, "Login")
    assert "<h1>Login</h1>" in requests.get(f"{workspace.url}/.well-known/databricks-config", timeout=10).text
    workspace.outage = None
    assert call("bot", ASK).status_code == 200
    assert (bot.calls, len(workspace.requests)) == (1, 3)
