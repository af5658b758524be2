"""A mock answers a test's questions in sentences, and serves what an agent calls besides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from evalpoint.errors import ConfigurationError
from evalpoint.mocks import MockWorkspace, RecordedRequest

Caller = Callable[..., requests.Response]


def ask(question: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], **more}


def said(check: Callable[[], None]) -> str:
    """The sentence of a failed assertion."""
    with pytest.raises(AssertionError) as failed:
        check()
    return str(failed.value)


def test_called(workspace: MockWorkspace, call: Caller) -> None:
    """How often it was called, and what it was asked last."""
    bot = workspace.chat("bot")
    bot.assert_not_called()
    workspace.assert_no_calls()
    assert said(bot.assert_called) == "Mock endpoint 'bot' was to be called; it was called never."
    call("bot", ask("hi"))
    bot.assert_called()
    bot.assert_called(times=1)
    expected = "Mock endpoint 'bot' was to be called 3 times; it was called 1 time. The last question was 'hi'."
    assert said(lambda: bot.assert_called(times=3)) == expected
    assert "was to be called 0 times" in said(bot.assert_not_called)
    assert "'bot'" in said(workspace.assert_no_calls)
    workspace.forget()
    bot.assert_not_called()
    assert workspace.requests == []


@pytest.mark.parametrize(
    "expected",
    [
        {"question": "What is MLflow?"},
        {"question": "What is MLflow?", "times": 2},
        {"temperature": 0},
        {"custom_inputs": {"a": {"b": 1}}},
        {"messages": [{"content": "What is MLflow?"}]},
        {"headers": {"X-Mark": "1"}},
        {"question": "no", "times": 0},
    ],
    ids=["question", "times", "member", "part-of-an-object", "part-of-a-list", "header", "never"],
)
def test_called_with(workspace: MockWorkspace, call: Caller, expected: Any) -> None:
    """A request fits when it has what is wanted; of objects, what is wanted of them."""
    bot = workspace.chat("bot")
    call("bot", ask("What is MLflow?"))
    body = ask("What is MLflow?", temperature=0, custom_inputs={"a": {"b": 1, "c": 2}, "d": 3})
    headers = {"Authorization": f"Bearer {workspace.token}", "x-mark": "1"}
    requests.post(f"{workspace.url}/serving-endpoints/bot/invocations", json=body, headers=headers, timeout=10)
    bot.assert_called_with(**expected)


def test_not_called_with(workspace: MockWorkspace, call: Caller) -> None:
    """The sentence shows the nearest request, and what is otherwise in it."""
    bot = workspace.chat("bot")
    assert said(lambda: bot.assert_called_with("hi")) == (
        "Mock endpoint 'bot' was to be called with question='hi'; it was never. It was not called at all."
    )
    for question in ("Who made Spark?", "What is MLfow?"):
        call("bot", ask(question, temperature=0.7))
    sentence = said(lambda: bot.assert_called_with("What is MLflow?", temperature=0, top_p=1))
    assert sentence.startswith(
        "Mock endpoint 'bot' was to be called with question='What is MLflow?', temperature=0, top_p=1; it was never. "
        "The nearest of 2 requests: its question is 'What is MLfow?'; its 'temperature' is 0.7; it has no 'top_p'. Its body: {"
    )
    call("bot", ask("hi"))
    assert said(lambda: bot.assert_called_with("hi", times=2)) == (
        "Mock endpoint 'bot' was to be called 2 times with question='hi'; it was 1 time."
    )
    assert "its 'messages' is" in said(lambda: bot.assert_called_with(messages=[{"content": "hi"}, {}]))
    assert "its header x-a is None" in said(lambda: bot.assert_called_with(headers={"x-a": "1"}))


def test_no_token_elsewhere() -> None:
    """A workspace's secrets are recognised at another one, whether they opened anything there or not."""
    with MockWorkspace() as one, MockWorkspace() as two:
        oauth = one.identity.issue_token()
        one.assert_no_token_sent_to(two)
        requests.get(f"{two.url}/x", headers={"Authorization": f"Bearer {two.token}"}, timeout=10)
        one.assert_no_token_sent_to(two)
        requests.get(f"{two.url}/x", headers={"Authorization": f"Bearer {oauth}"}, timeout=10)
        assert said(lambda: one.assert_no_token_sent_to(two)) == f"A token of the mock workspace {one.url} was sent to {two.url}."
        assert oauth not in repr(two.requests)


# Routes.


async def later(request: RecordedRequest) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"path": request.path}


@pytest.mark.parametrize(
    ("handler", "status", "kind", "body"),
    [
        (lambda request: {"got": request.body}, 200, "application/json", {"got": {"q": 1}}),
        (lambda request: [1], 200, "application/json", [1]),
        (lambda request: "text", 200, "text/plain; charset=utf-8", "text"),
        (lambda request: b"bytes", 200, "text/plain; charset=utf-8", "bytes"),
        (lambda request: (404, {"error": "x"}), 404, "application/json", {"error": "x"}),
        (lambda request: (200, "<p>", {"Content-Type": "text/html"}), 200, "text/html", "<p>"),
        (lambda request: None, 200, None, ""),
        (later, 200, "application/json", {"path": "/search"}),
    ],
    ids=["object", "list", "text", "bytes", "status", "headers", "nothing", "async"],
)
def test_route(workspace: MockWorkspace, handler: Any, status: int, kind: str | None, body: Any) -> None:
    """A handler gives a body, a status with it, or headers too."""
    route = workspace.route("post", "/search", handler)
    reply = requests.post(f"{workspace.url}/search", json={"q": 1}, headers={"Authorization": f"Bearer {workspace.token}"}, timeout=10)
    assert (reply.status_code, reply.headers.get("content-type")) == (status, kind)
    assert (json.loads(reply.text) if kind == "application/json" else reply.text) == body
    route.assert_called_with(q=1, times=1)
    assert route.name == "POST /search"


def test_route_names(workspace: MockWorkspace, get: Callable[[str], requests.Response]) -> None:
    """Names in the path reach the handler, the query is in the request, and the test's routes go before the workspace's own."""
    workspace.route("GET", "/indexes/{index}/rows/{row}", lambda request, index, row: {"index": index, "row": row, **request.query})
    workspace.route("GET", "/api/2.0/preview/scim/v2/Me", lambda request: {"userName": "somebody else"})
    assert get("/indexes/docs/rows/7?limit=2&x=a%20b").json() == {"index": "docs", "row": "7", "limit": "2", "x": "a b"}
    assert get("/api/2.0/preview/scim/v2/Me").json() == {"userName": "somebody else"}


def test_route_for_all(workspace: MockWorkspace) -> None:
    """A route wants the workspace's token, unless it is for all."""
    workspace.route("GET", "/mine", lambda request: "mine")
    workspace.route("GET", "/all", lambda request: "all", auth=False)
    assert [requests.get(workspace.url + path, timeout=10).status_code for path in ("/mine", "/all")] == [401, 200]


@pytest.mark.parametrize("given", [object(), (1, 2, 3, 4), ("x", {}), (200, {}, "x")], ids=["object", "four", "no-status", "no-headers"])
def test_route_gives_nonsense(given: Any) -> None:
    """What is no answer, and what the handler raises, fails the test."""
    workspace = MockWorkspace().start()
    workspace.route("GET", "/x", lambda request: given, auth=False)
    assert requests.get(f"{workspace.url}/x", timeout=10).status_code == 500
    with pytest.raises(TypeError):
        workspace.stop()


def test_no_route(workspace: MockWorkspace) -> None:
    """What can be no route is told at once."""
    with pytest.raises(ConfigurationError, match='begins with "/"'):
        workspace.route("GET", "x", lambda request: None)
    with pytest.raises(ConfigurationError, match="of type str"):
        workspace.route("GET", "/x", "x")  # type: ignore[arg-type]
