"""Servers on the web: what stands at an address, who calls it, and that no workspace's token goes there."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from typing import Any

import pytest

import evalpoint
from evalpoint.endpoints import Kind, connect
from evalpoint.errors import AccessDenied, ConfigurationError, Rejected

MESSAGES = {"messages": [{"role": "user", "content": "Why?"}]}
CHAT = {"choices": [{"message": {"role": "assistant", "content": "Because."}}], "model": "m-1"}
MODELS = {"object": "list", "data": [{"id": "m-1"}, {"id": "m-2"}]}


def openai_like(stub: Any, base: str = "/v1") -> None:
    stub.on("GET", f"{base}/models", MODELS)
    stub.on("POST", f"{base}/chat/completions", CHAT)


@pytest.mark.parametrize(
    ("base", "path"), [("/v1", ""), ("/v1", "/"), ("/v1", "/v1"), ("/v1", "/v1/chat/completions"), ("/api/v3", "/api/v3")], ids=str
)
def test_an_openai_compatible_server(stub: Any, base: str, path: str) -> None:
    """A bare address, the base URL, and the full one; the first model that it lists is asked, and it is asked for once."""
    openai_like(stub, base)
    function = evalpoint.to_predict_fn(stub.url + path)
    assert [evalpoint.text_of(function(question="Why?")) for _ in range(2)] == ["Because."] * 2
    assert [each.json for each in stub.sent(f"{base}/chat/completions")] == [{**MESSAGES, "model": "m-1"}] * 2
    assert len(stub.sent(f"{base}/models", "GET")) <= 2


def test_the_model_is_named(stub: Any) -> None:
    """By the row, or else by `served_model=`."""
    openai_like(stub)
    door = connect(f"{stub.url}/v1", served_model="m-2")
    assert door.invoke(MESSAGES).served_model == "m-1"  # as the answer says
    door.invoke({**MESSAGES, "model": "mine"})
    assert [each.json["model"] for each in stub.sent("/v1/chat/completions")] == ["m-2", "mine"]
    assert stub.sent("/v1/models", "GET") == []


def test_mlflow_models_serve(stub: Any) -> None:
    """At its address or at `/invocations`: columns become records, requests stay as they are."""
    stub.on("GET", "/invocations", {"detail": "Method Not Allowed"}, 405)
    stub.on("POST", "/invocations", {"predictions": [1]})
    for url in (stub.url, f"{stub.url}/invocations"):
        function = evalpoint.to_predict_fn(url)
        assert function(age=3, plan="a") == {"predictions": [1]}
        function(instances=[[1]])
    assert [each.json for each in stub.sent("/invocations")] == [{"dataframe_records": [{"age": 3, "plan": "a"}]}, {"instances": [[1]]}] * 2


def test_an_agent_server(stub: Any) -> None:
    """An agent server that runs on one's own machine takes the Responses protocol."""
    stub.on("GET", "/responses", {}, 405)
    stub.on("GET", "/invocations", {}, 405)
    stub.on("POST", "/responses", {"output": []})
    door = connect(stub.url)
    assert door.kind is Kind.RESPONSES
    door.invoke({"input": []})


@pytest.mark.parametrize("path", ["/ask", "/ask?version=2", ""], ids=["path", "query", "bare"])
def test_any_server(stub: Any, path: str) -> None:
    """A row's inputs are the request, as they are; the query is sent, and shown nowhere."""
    stub.on("POST", path or "/", {"answer": 42})
    function = evalpoint.to_predict_fn(stub.url + path)
    assert function(question="Why?", depth=3) == {"answer": 42}
    assert stub.asked[-1].json == {"question": "Why?", "depth": 3}
    assert "version" not in str(function)


def test_kind_says_what_it_is(stub: Any) -> None:
    """With `kind=` any address may be a chat model's."""
    stub.on("POST", "/ask", CHAT)
    evalpoint.to_predict_fn(f"{stub.url}/ask", kind="chat")(question="Why?")
    assert stub.asked[-1].json == MESSAGES


def test_fields_of_databricks_are_not_sent(stub: Any) -> None:
    """No options, request ids or usage contexts: an OpenAI server would refuse them."""
    stub.on("POST", "/ask", {})
    answer = connect(f"{stub.url}/ask").invoke({"a": 1}, trace=True, request_id="r", usage_context={"x": "y"})
    assert stub.asked[-1].json == {"a": 1}
    assert "not asked for a trace" in str(answer.trace_note)


# Who is calling.


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"auth": "secret-token"}, {"authorization": "Bearer secret-token"}),
        ({"auth": ("ann", "secret")}, {"authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}),
        ({"auth": lambda: {"X-Key": "secret-key"}}, {"x-key": "secret-key"}),
        ({"headers": {"X-Key": "secret-key"}}, {"x-key": "secret-key"}),
        ({"headers": {"X-A": "1"}, "auth": "secret-token"}, {"x-a": "1", "authorization": "Bearer secret-token"}),
    ],
    ids=["token", "password", "function", "headers", "both"],
)
def test_credentials(stub: Any, given: Any, expected: dict[str, str]) -> None:
    """They go with every request, and into no message."""
    stub.on("POST", "/ask", lambda asked: (400, {"detail": f"bad: {asked.headers.get('authorization')} {asked.headers.get('x-key')}"}))
    function = evalpoint.to_predict_fn(f"{stub.url}/ask", **given)
    with pytest.raises(Rejected) as caught:
        function(a=1)
    assert expected.items() <= stub.asked[-1].headers.items()
    assert "secret" not in f"{caught.value} {function!r}".replace("c2VjcmV0", "secret")


def test_a_function_is_asked_again_after_a_401(stub: Any) -> None:
    """A token that has expired is renewed by the caller's own function."""
    tokens = iter(["old", "new", "new"])
    stub.on("POST", "/ask", lambda asked: {"a": 1} if asked.token == "new" else (401, {}))
    assert connect(f"{stub.url}/ask", auth=lambda: {"Authorization": f"Bearer {next(tokens)}"}).invoke({}).body == {"a": 1}


def raising() -> dict[str, str]:
    raise RuntimeError("secret-word")


@pytest.mark.parametrize(("auth", "says"), [(raising, "raised RuntimeError"), (lambda: "x", "returned str")], ids=["raises", "text"])
def test_a_function_that_gives_no_headers(stub: Any, auth: Any, says: str) -> None:
    """It is the row's error, and repeats nothing that may be secret."""
    with pytest.raises(AccessDenied, match=says) as caught:
        connect(f"{stub.url}/ask", auth=auth).invoke({})
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"auth": 3}, "auth= takes"),
        ({"auth": ("a",)}, "auth= takes"),
        ({"auth": " "}, "auth= takes"),
        ({"headers": {"a": 1}}, "headers= should"),
        ({"headers": ["a"]}, "headers= should"),
        ({"served_model": "m"}, "OpenAI-compatible"),
    ],
    ids=str,
)
def test_what_cannot_be_used(stub: Any, given: Any, says: str) -> None:
    """It is refused when the function is made."""
    with pytest.raises(ConfigurationError, match=says):
        connect(f"{stub.url}/ask", **given)


@pytest.mark.parametrize(
    ("url", "says"),
    [("http://", "no web address"), ("http://u:p@h/x", "auth="), ("http://h:99999/", "no web address"), ("http://[::1", "no web address")],
    ids=str,
)
def test_what_is_no_address(url: str, says: str) -> None:
    """It says how one should look, and never shows a password."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        connect(url)
    assert "u:p" not in str(caught.value)


def test_nobody_listens() -> None:
    """A server that does not run is told when the function is made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/ask"
    with pytest.raises(ConfigurationError, match=r"Nothing answers at http://127\.0\.0\.1:\d+: Connection refused\. Is the server running"):
        connect(url)


# The workspace's token.


def test_the_workspaces_token_goes_to_its_own_host_only(host: Any, make_stub: Callable[[], Any]) -> None:
    """Not even `workspace=` makes it go elsewhere; that is said once."""
    from databricks.sdk.core import Config

    elsewhere = make_stub()
    for stub in (host, elsewhere):
        stub.on("POST", "/ask", {})
        connect(f"{stub.url}/ask").invoke({})
    told: list[str] = []
    config = Config(host=host.url, client_id="my-client", client_secret="my-secret")
    connect(f"{elsewhere.url}/ask", workspace=config, tell=told.append).invoke({})
    assert [("authorization" in each.headers) for each in elsewhere.sent("/ask")] == [False, False]
    assert host.sent("/ask")[0].token.startswith("oauth-")
    assert "its token is not sent there" in told[0]


def test_own_credentials_take_the_place_of_the_workspaces(host: Any) -> None:
    """With `headers=` or `auth=` the caller has decided."""
    host.on("POST", "/ask", {})
    connect(f"{host.url}/ask", auth="mine").invoke({})
    assert host.sent("/ask")[0].token == "mine"


def test_an_endpoints_own_address(host: Any) -> None:
    """The address of a serving endpoint, as it can be copied from its page, is the endpoint."""
    host.on("GET", "/api/2.0/serving-endpoints/bot", {"name": "bot", "task": "llm/v1/chat"})
    host.on("POST", "/serving-endpoints/bot/invocations", CHAT)
    door = connect(f"{host.url}/serving-endpoints/bot/invocations")
    assert (door.uri, door.kind) == ("endpoints:/bot", Kind.CHAT)
    door.invoke(MESSAGES, trace=True)
    assert "databricks_options" in host.sent("/serving-endpoints/bot/invocations")[0].json


def test_the_workspaces_openai_address(host: Any) -> None:
    """`{host}/serving-endpoints` is an OpenAI-compatible base; the endpoint is the model."""
    host.on("POST", "/serving-endpoints/chat/completions", CHAT)
    connect(f"{host.url}/serving-endpoints", served_model="bot").invoke(MESSAGES)
    assert host.sent("/serving-endpoints/chat/completions")[0].json == {**MESSAGES, "model": "bot"}
