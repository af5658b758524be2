"""A mock workspace is a workspace to the real databricks-sdk, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import NotFound, PermissionDenied
from databricks.sdk.service.serving import ChatMessage, ChatMessageRole

from evalpoint.errors import ConfigurationError, EvalpointError, MissingExtra
from evalpoint.mocks import FakeClock, Ids, MockWorkspace

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No profile and no variable of the machine takes part."""
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET", "DATABRICKS_CONFIG_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", "/nonexistent")


@pytest.mark.parametrize("auth", ["pat", "oauth-m2m"])
def test_sdk(auth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real SDK authenticates from the environment, lists, describes and queries."""
    with MockWorkspace() as workspace:
        workspace.chat("bot", answers={"hi": "hello"})
        workspace.agent("helper")
        for name, value in (workspace.environ if auth == "pat" else workspace.oauth_environ).items():
            monkeypatch.setenv(name, value)
        client = WorkspaceClient()
        assert client.config.auth_type == auth
        assert sorted(endpoint.name or "" for endpoint in client.serving_endpoints.list()) == ["bot", "helper"]
        described = client.serving_endpoints.get("bot")
        assert (described.name, described.task, described.state.ready.value) == ("bot", "llm/v1/chat", "READY")
        reply = client.serving_endpoints.query("bot", messages=[ChatMessage(content="hi", role=ChatMessageRole.USER)])
        assert reply.choices[0].message.content == "hello"
        me = client.current_user.me().user_name
        assert me == ("ann@example.com" if auth == "pat" else workspace.identity.client_id)
        with pytest.raises(NotFound, match="does not exist"):
            client.serving_endpoints.get("nobody")


def test_sdk_denied() -> None:
    """What the SDK makes of a hidden description is the SDK's own error."""
    with MockWorkspace() as workspace:
        workspace.chat("secret", permission="ONLY_QUERY")
        client = WorkspaceClient(config=Config(host=workspace.url, token=workspace.token))
        assert list(client.serving_endpoints.list()) == []
        with pytest.raises(PermissionDenied, match="secret"):
            client.serving_endpoints.get("secret")


@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", "Basic dTpw", "Bearer ", "x"], ids=["none", "wrong", "basic", "empty", "nonsense"]
)
def test_unauthenticated(workspace: MockWorkspace, authorization: str | None) -> None:
    """Without the right token everything but the way to one is a 401, whether it exists or not."""
    bot = workspace.chat("bot")
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in ("/api/2.0/serving-endpoints", "/api/2.0/serving-endpoints/bot", "/nowhere"):
        reply = requests.get(workspace.url + path, headers=headers, timeout=10)
        assert (reply.status_code, reply.json()["error_code"]) == (401, 401)
        assert reply.json()["message"] == "Credential was not sent or was of an unsupported type for this API."
    assert requests.post(f"{workspace.url}/serving-endpoints/bot/invocations", json=CHAT, headers=headers, timeout=10).status_code == 401
    assert bot.calls == 0


def test_unknown(workspace: MockWorkspace, call: Callable[..., requests.Response], get: Callable[[str], requests.Response]) -> None:
    """An endpoint that is not there and a path that is not there are two different 404s."""
    missing, nowhere, wrong_method = call("chta", CHAT), call("chta", CHAT, "foo"), get("/serving-endpoints/chta/invocations")
    assert (missing.status_code, missing.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert missing.json()["message"] == "Endpoint with name 'chta' does not exist."
    assert (nowhere.status_code, nowhere.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
    assert nowhere.json()["message"] == "No API found for 'POST /serving-endpoints/chta/foo'"
    assert wrong_method.json()["error_code"] == "ENDPOINT_NOT_FOUND"


def _token(workspace: MockWorkspace, secret: str | None = None, grant: str = "client_credentials") -> requests.Response:
    identity = workspace.identity
    auth = (identity.client_id, secret or identity.client_secret)
    return requests.post(f"{workspace.url}/oidc/v1/token", data={"grant_type": grant, "scope": "all-apis"}, auth=auth, timeout=10)


def _listed(workspace: MockWorkspace, token: str) -> int:
    return requests.get(f"{workspace.url}/api/2.0/serving-endpoints", headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code


def test_token_expires() -> None:
    """An OAuth token is good for its lifetime, and not a second longer."""
    clock = FakeClock()
    with MockWorkspace(clock=clock, token_lifetime=60) as workspace:
        issued = _token(workspace).json()
        assert (issued["token_type"], issued["expires_in"]) == ("Bearer", 60)
        clock.advance(59)
        assert _listed(workspace, issued["access_token"]) == 200
        clock.advance(1)
        assert _listed(workspace, issued["access_token"]) == 401
        assert _listed(workspace, _token(workspace).json()["access_token"]) == 200
        assert workspace.identity.tokens_issued == 2


def test_token_revoked(workspace: MockWorkspace) -> None:
    """Tokens can be taken back in the middle of a test, both kinds."""
    oauth, pat = _token(workspace).json()["access_token"], workspace.token
    workspace.identity.expire_tokens()
    assert (_listed(workspace, oauth), _listed(workspace, pat)) == (401, 200)
    fresh = workspace.identity.rotate_token()
    assert (_listed(workspace, pat), _listed(workspace, fresh), workspace.token) == (401, 200, fresh)


def test_token_refused(workspace: MockWorkspace) -> None:
    """No token for a wrong secret, or for another kind of grant."""
    assert _token(workspace, secret="wrong").json()["error"] == "invalid_client"
    assert _token(workspace, grant="password").json()["error"] == "unsupported_grant_type"
    assert requests.post(f"{workspace.url}/oidc/v1/token", headers={"Authorization": "Basic §"}, timeout=10).status_code == 401


def test_two_workspaces() -> None:
    """Two workspaces at once have nothing in common; a token opens one of them."""
    with MockWorkspace() as one, MockWorkspace() as two:
        assert one.url != two.url
        assert one.workspace_id != two.workspace_id
        assert (_listed(one, one.token), _listed(one, two.token)) == (200, 401)


def test_records(workspace: MockWorkspace, call: Callable[..., requests.Response]) -> None:
    """Every request is remembered in order, with lower-case headers and without credentials."""
    bot = workspace.chat("bot")
    call("bot", CHAT)
    call("nobody", [1])
    first, second = workspace.requests
    assert (first.method, first.path, first.body) == ("POST", "/serving-endpoints/bot/invocations", CHAT)
    assert (second.path, second.body) == ("/serving-endpoints/nobody/invocations", [1])
    assert first.headers["content-type"] == "application/json"
    assert first.headers["authorization"] == "Bearer [redacted]"
    assert workspace.token not in repr(workspace.requests)
    assert (bot.calls, bot.requests) == (1, [first])


def test_error_reaches_the_test() -> None:
    """What an answering function raises is a 500 to the caller, and fails the test when the workspace stops."""

    def run() -> None:
        with MockWorkspace() as workspace:
            workspace.chat("bot", answers=lambda question: str(1 // 0))
            headers = {"Authorization": f"Bearer {workspace.token}"}
            reply = requests.post(f"{workspace.url}/serving-endpoints/bot/invocations", json=CHAT, headers=headers, timeout=10)
            assert (reply.status_code, reply.json()["error_code"]) == (500, "INTERNAL_ERROR")
            assert [type(error) for error in workspace.errors] == [ZeroDivisionError]

    with pytest.raises(ZeroDivisionError):
        run()


def test_error_once() -> None:
    """A workspace that has raised its error stops cleanly the second time, and can start anew."""
    workspace = MockWorkspace().start()
    workspace.chat("bot", answers=[])
    headers = {"Authorization": f"Bearer {workspace.token}"}
    requests.post(f"{workspace.url}/serving-endpoints/bot/invocations", json=CHAT, headers=headers, timeout=10)
    with pytest.raises(EvalpointError, match="0 scripted answers"):
        workspace.stop()
    workspace.stop()
    with workspace:
        assert _listed(workspace, workspace.token) == 200


def test_stopped() -> None:
    """After the stop nothing listens, no thread is left, and the address is gone; a call under way is cut off, not waited for."""
    workspace = MockWorkspace()
    with pytest.raises(ConfigurationError, match="does not run"):
        workspace.environ  # noqa: B018 - reading it raises
    with workspace:
        url = workspace.url
        workspace.chat("sleepy", latency=60)
        body, headers = CHAT, {"Authorization": f"Bearer {workspace.token}"}
        failed: list[Exception] = []

        def late() -> None:
            try:
                requests.post(f"{url}/serving-endpoints/sleepy/invocations", json=body, headers=headers, timeout=10).json()
            except requests.RequestException as error:
                failed.append(error)

        thread = threading.Thread(target=late)
        thread.start()
        while not workspace.endpoint("sleepy").calls:
            time.sleep(0.001)
        started = time.perf_counter()
    thread.join(5)
    assert time.perf_counter() - started < 2
    assert not any(t.name == "evalpoint-mock" for t in threading.enumerate())
    host, port = url.removeprefix("http://").split(":")
    with pytest.raises(OSError), socket.create_connection((host, int(port)), timeout=1):
        pass


def test_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a block, the environment chooses this workspace and no other; afterwards it is what it was, also after an error."""
    monkeypatch.setenv("DATABRICKS_HOST", "https://elsewhere")
    monkeypatch.setenv("DATABRICKS_AUTH_TYPE", "pat")
    before = dict(os.environ)

    def fail() -> None:
        with MockWorkspace() as workspace, workspace.exported(workspace.oauth_environ):
            assert {k: v for k, v in os.environ.items() if k.startswith("DATABRICKS_")} == workspace.oauth_environ
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert dict(os.environ) == before


def test_ids_from_a_seed() -> None:
    """With seeded ids, two workspaces have the same credentials and ids."""
    assert MockWorkspace(ids=Ids(7)).token == MockWorkspace(ids=Ids(7)).token != MockWorkspace(ids=Ids(8)).token
    assert MockWorkspace(token="mine").token == "mine"


def test_quick_start() -> None:
    """Ten workspaces start, serve and stop in a second or two: cheap enough for every test to have its own."""
    started = time.perf_counter()
    for _ in range(10):
        with MockWorkspace() as workspace:
            assert _listed(workspace, workspace.token) == 200
    assert time.perf_counter() - started < 3


def test_many_clients(workspace: MockWorkspace) -> None:
    """64 clients at once each get their own answer, every call is counted, and the highest number at once is known."""
    bot = workspace.agent("bot", answers=lambda question: f"re {question}", latency=0.05)
    url, headers = f"{workspace.url}/serving-endpoints/bot/invocations", {"Authorization": f"Bearer {workspace.token}"}
    together = threading.Barrier(64, timeout=10)

    def ask(number: int) -> str:
        with requests.Session() as session:
            together.wait()
            texts = set()
            for turn in range(3):
                body = {"input": [{"role": "user", "content": f"{number}/{turn}"}]}
                reply = session.post(url, json=body, headers=headers, timeout=20).json()
                texts.add(reply["output"][0]["content"][0]["text"] == f"re {number}/{turn}")
            return str(texts)

    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(ask, range(64))) == {"{True}"}
    assert bot.calls == 192
    assert 2 <= bot.peak <= 64


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-a", "a" * 64], ids=["empty", "space", "slash", "dash", "long"])
def test_bad_name(workspace: MockWorkspace, name: str) -> None:
    """An endpoint's name is one that a workspace would take."""
    with pytest.raises(ConfigurationError, match="no name for an endpoint"):
        workspace.chat(name)


def test_declared_wrongly(workspace: MockWorkspace) -> None:
    """Mistakes in a mock are found when it is declared, each with what to do."""
    workspace.chat("bot")
    with pytest.raises(ConfigurationError, match="already has an endpoint 'bot'"):
        workspace.agent("bot")
    with pytest.raises(ConfigurationError, match="Did you mean 'bot'"):
        workspace.endpoint("bto")
    with pytest.raises(ConfigurationError, match="'chat_agent'"):
        workspace.agent("other", dialect="chatagent")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="takes 'a', 'b'"):
        workspace.agent("other", answers=lambda a, b: "")
    with pytest.raises(ConfigurationError, match="of type int"):
        workspace.agent("other", answers=5)  # type: ignore[arg-type]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without uvicorn the start says what to install."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtra, match=r'The mock workspace needs .* pip install "evalpoint\[ui\]"'):
        MockWorkspace().start()


def test_no_waiting_for_acknowledgements(workspace: MockWorkspace) -> None:
    """Calls on one connection follow each other at once: no answer waits for the client's delayed acknowledgement."""
    workspace.chat("bot")
    url, headers = f"{workspace.url}/serving-endpoints/bot/invocations", {"Authorization": f"Bearer {workspace.token}"}
    taken: list[float] = []
    with requests.Session() as session:
        for _ in range(15):
            started = time.perf_counter()
            session.post(url, json=CHAT, headers=headers, timeout=10)  # the body is what would wait, after the head
            taken.append(time.perf_counter() - started)
    assert sorted(taken)[7] < 0.03
