"""Faults happen in the order given, once each, and look on the wire like the real thing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

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
