"""Agents on apps: who may call them, three generations of servers, runs in the background, traces from the tracking server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import evalpoint
from evalpoint.calls import account, bind
from evalpoint.endpoints import Kind, apps, connect, fetching
from evalpoint.endpoints.app_runs import as_invocation, result_of
from evalpoint.endpoints.fetching import TraceFetcher
from evalpoint.errors import AccessDenied, CallTimeout, ConfigurationError, NotFound, Rejected, UnusableReply
from evalpoint.settings import Settings

FIXTURES = Path(__file__).parent.parent / "fixtures"
ASK = {"input": [{"role": "user", "content": "Why?"}]}
MESSAGE = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Because."}]}
REPLY = {"object": "response", "output": [MESSAGE]}
TRACE_ID = "tr-ca84052b56bf0a4d5731db53a4d5a13d"
APP = "/api/2.0/apps/agent"
GET_TRACE = "/api/3.0/mlflow/traces/get"
INFO = f"/api/3.0/mlflow/traces/{TRACE_ID}"
pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def agent(host: Any, make_stub: Callable[[], Any]) -> Any:
    """An app that runs; what it answers is each test's own."""
    stub = make_stub()
    host.on("GET", APP, {**json.loads((FIXTURES / "endpoint" / "get-app.json").read_text()), "url": stub.url, "name": "agent"})
    return stub


def state(host: Any, compute: str, app: str = "RUNNING", message: str = "") -> None:
    described = host.answers[("GET", APP)](None)[1]
    host.on("GET", APP, {**described, "compute_status": {"state": compute, "message": message}, "app_status": {"state": app}})


def stored_trace() -> Any:
    return json.loads((FIXTURES / "traces" / "rest-traces-get-3.17.2.json").read_text())


# Which server it is.


@pytest.mark.parametrize(
    ("payload", "invocation"),
    [
        (ASK, ASK),
        ({"input": "Why?", "background": True, "stream": True}, {"input": "Why?", "background": True, "stream": True}),
        ({"message": "Why?"}, {"input": {"message": "Why?"}}),
        ({**ASK, "custom_inputs": {"a": 1}}, {"input": {**ASK, "custom_inputs": {"a": 1}}}),
        ({"id": "mine", "input": 1}, {"id": "mine", "input": 1}),
    ],
    ids=["input", "background", "any", "more", "own-id"],
)
def test_what_the_newest_servers_are_asked(payload: Any, invocation: Any) -> None:
    """An id, and any JSON as the input of the run."""
    assert as_invocation(payload, "run-1") == {"id": "run-1", **invocation}


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ({"id": "r", "status": "completed", "output": {"messages": []}}, {"messages": []}),
        ({"id": "r", "status": "completed", "output": [MESSAGE]}, {"id": "r", "status": "completed", "output": [MESSAGE]}),
        ({"status": "completed", "output": "text"}, {"status": "completed", "output": "text"}),
        ({"output": {"a": 1}}, {"output": {"a": 1}}),
        ({"status": "ok", "choices": []}, {"status": "ok", "choices": []}),
        ("text", "text"),
    ],
    ids=["inside", "responses", "text", "no-run", "chat", "no-object"],
)
def test_what_a_run_gave(body: Any, result: Any) -> None:
    """The answer inside the account of a run; what is an answer already stays as it is."""
    assert result_of(body) == result


@pytest.mark.parametrize("first", [(504, {}), (409, {"detail": "invocation is active"})], ids=["proxy", "repetition"])
def test_a_run_that_outlives_its_request(agent: Any, first: Any) -> None:
    """When a proxy gives up, or our own repetition comes while the run is active, the run is asked for by its id; it runs once."""
    agent.on("POST", "/api/invocations", lambda _: first)
    runs: list[str] = []

    def state_of(asked: Any) -> Any:
        runs.append(asked.path)
        return {"id": "r", "status": "active"} if len(runs) == 1 else {"id": "r", "status": "completed", "output": REPLY}

    door = connect("apps:/agent")
    door._ids = lambda: "r"  # type: ignore[attr-defined]
    agent.on("GET", "/api/invocations/r", state_of)
    assert door.invoke(ASK).body == REPLY
    assert len(agent.sent("/api/invocations")) == 1


@pytest.mark.parametrize("route", apps.ROUTES)
@pytest.mark.parametrize("missing", [404, 405])
def test_the_route_is_found_and_remembered(agent: Any, route: str, missing: int) -> None:
    """Older addresses are tried only when newer ones do not exist; the agent runs once for each request."""
    agent.missing = (missing, {"detail": "no"})
    agent.on("POST", route, REPLY)
    door = connect("apps:/agent")
    assert [door.invoke(ASK).text for _ in range(3)] == ["Because."] * 3
    tried = apps.ROUTES[: apps.ROUTES.index(route) + 1]
    assert [each.path for each in agent.asked] == [*tried, route, route]
    assert {each.token for each in agent.asked} == {"oauth-1"}
    assert (door.kind, door.uri) == (Kind.RESPONSES, "apps:/agent")


def test_a_request_that_is_refused_is_not_sent_elsewhere(agent: Any) -> None:
    """A 422 comes from the agent itself; nothing is tried after it, and its words are kept."""
    agent.on("POST", "/api/invocations", {"detail": [{"loc": ["body", "input"], "msg": "Field required"}]}, 422)
    agent.on("POST", "/invocations", REPLY)
    with pytest.raises(Rejected, match="Field required"):
        connect("apps:/agent").invoke({})
    assert [each.path for each in agent.asked] == ["/api/invocations"]


def test_an_app_without_an_agent(agent: Any) -> None:
    """The message names the addresses that were tried."""
    with pytest.raises(Rejected, match=r"App 'agent'.*/api/invocations, /responses, /invocations gave 404"):
        connect("apps:/agent").invoke(ASK)


def test_fields_of_serving_endpoints_are_not_sent(agent: Any) -> None:
    """Apps know no options, request ids or usage contexts; the trace id is asked for with a header."""
    agent.on("POST", "/api/invocations", REPLY)
    answer = connect("apps:/agent").invoke(ASK, trace=True, request_id="r", usage_context={"a": "b"})
    assert agent.asked[0].json == {"id": agent.asked[0].json["id"], **ASK}
    assert agent.asked[0].headers["x-mlflow-return-trace-id"] == "true"
    assert "no trace id" in str(answer.trace_note)


# Who may call, and whether it runs.


def test_a_personal_access_token_is_refused(pat: Any) -> None:
    """When the function is made, with what to do instead."""
    with pytest.raises(ConfigurationError, match=r"App 'agent' takes Databricks OAuth tokens only.*databricks auth login"):
        evalpoint.to_predict_fn("apps:/agent")


@pytest.mark.parametrize("auth_type", ["azure-cli", "azure-client-secret"])
def test_tokens_of_a_cloud_are_refused(host: Any, auth_type: str) -> None:
    """A token of Azure opens the workspace, and no app."""
    from databricks.sdk.core import Config

    config = Config(host=host.url, client_id="my-client", client_secret="my-secret")
    config.auth_type = auth_type
    with pytest.raises(ConfigurationError, match=rf"Azure.*{auth_type}.*service principal"):
        connect("apps:/agent", workspace=config)


def test_a_notebooks_token_is_exchanged(host: Any, agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook the SDK's own way to OAuth is asked for, by scopes."""
    from databricks.sdk.core import Config

    if not hasattr(Config, "scopes"):
        pytest.skip("this databricks-sdk knows no scopes")
    for name in ("DATABRICKS_HOST", "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "16.4")
    runtime = ModuleType("databricks.sdk.runtime")  # what the SDK finds in a notebook
    nothing = (None, None)
    runtime.__dict__.update(
        init_runtime_native_unified=None,
        init_runtime_native_auth=lambda: (host.url, lambda: {"Authorization": "Bearer notebook-token"}),
        init_runtime_repl_auth=lambda: nothing,
        init_runtime_legacy_auth=lambda: nothing,
    )
    monkeypatch.setitem(sys.modules, "databricks.sdk.runtime", runtime)
    agent.on("POST", "/responses", REPLY)
    assert connect("endpoints:/bot", kind="chat").host == host.url
    assert connect("apps:/agent").invoke(ASK).text == "Because."
    (exchange,) = [each.form for each in host.sent("/oidc/v1/token")]
    assert (exchange["subject_token"], exchange["scope"]) == ("notebook-token", "all-apis")
    assert agent.asked[-1].token == "exchanged-1"


def test_no_permission_to_use_the_app(agent: Any) -> None:
    """CAN USE and the principal are named."""
    agent.on("POST", "/api/invocations", {"message": "forbidden"}, 403)
    with pytest.raises(AccessDenied, match=r"CAN USE.*ada@example\.com"):
        connect("apps:/agent").invoke(ASK)


@pytest.mark.parametrize(
    "reply",
    [(200, "<html><title>Sign in</title></html>"), (302, {}, {"Location": "https://login.example/oidc?x=1"}), (401, {"message": "no"})],
    ids=["page", "redirect", "401"],
)
def test_a_login_page_is_a_refusal(agent: Any, reply: Any) -> None:
    """Whatever form it takes, the sentence is about OAuth tokens; the agent's routes are not searched."""
    agent.on("POST", "/api/invocations", lambda _: reply)
    with pytest.raises(AccessDenied, match="OAuth tokens only"):
        connect("apps:/agent").invoke(ASK)
    assert {each.path for each in agent.asked} == {"/api/invocations"}


def test_no_such_app(host: Any) -> None:
    """The nearest names are offered."""
    host.on("GET", "/api/2.0/apps", {"apps": [{"name": "agent"}]})
    with pytest.raises(NotFound, match=r"App 'agnet' does not exist.*Did you mean 'agent'"):
        connect("apps:/agnet")


def test_an_app_that_may_not_be_seen(host: Any) -> None:
    """CAN USE and the principal are named when the function is made: without the description there is no address."""
    host.on("GET", APP, {"message": "no"}, 403)
    with pytest.raises(AccessDenied, match=r"ada@example\.com.*CAN USE"):
        connect("apps:/agent")


@pytest.mark.parametrize(
    ("compute", "app", "says"),
    [
        ("STOPPED", "UNAVAILABLE", "compute is STOPPED.*databricks apps start agent"),
        ("ERROR", "CRASHED", "compute is ERROR"),
        ("ACTIVE", "CRASHED", "the app is CRASHED.*logs"),
    ],
)
def test_an_app_that_does_not_run(host: Any, agent: Any, compute: str, app: str, says: str) -> None:
    """Refused when the function is made, with the state and what to do."""
    state(host, compute, app)
    with pytest.raises(ConfigurationError, match=says):
        connect("apps:/agent")


def test_an_app_that_starts_is_waited_for(host: Any, agent: Any) -> None:
    """With two lines for whoever watches; with `wait=0` it is an error at once, with a deadline an error then."""
    described = host.answers[("GET", APP)](None)[1]
    state(host, "STARTING")
    starting = host.answers[("GET", APP)]
    with pytest.raises(ConfigurationError, match="is starting"):
        connect("apps:/agent", wait=0)
    with pytest.raises(ConfigurationError, match="was not ready within 0 s: it is starting"):
        connect("apps:/agent", wait=0.05)
    left = [starting, starting, lambda _: (200, described)]
    host.on("GET", APP, lambda asked: left.pop(0)(asked) if len(left) > 1 else left[0](asked))
    told: list[str] = []
    assert connect("apps:/agent", tell=told.append).name == "agent"
    assert [("waiting up to 600 s" in line, "was ready after" in line) for line in told] == [(True, False), (False, True)]


# Runs in the background.


def test_a_run_in_the_background_is_polled(agent: Any) -> None:
    """The answer is the run's, its latency that of the whole run."""
    states = ["queued", "in_progress"]
    agent.on("POST", "/api/invocations", {"id": "run 1", "status": "queued"}, 202)

    def poll(asked: Any) -> Any:
        return {"id": "run 1", "status": states.pop()} if states else {"id": "run 1", "status": "completed", **REPLY}

    agent.on("GET", "/api/invocations/run%201", poll)
    answer = connect("apps:/agent").invoke({**ASK, "background": True})
    assert answer.text == "Because."
    assert answer.latency_ms > 25
    assert len(agent.sent("/api/invocations")) == 1


def test_a_run_whose_result_is_inside(agent: Any) -> None:
    """Some servers put the answer into the account of the run."""
    agent.on("POST", "/api/invocations", {"invocation_id": "r", "status": "RUNNING"})
    agent.on("GET", "/api/invocations/r", {"invocation_id": "r", "status": "COMPLETED", "response": REPLY})
    assert connect("apps:/agent").invoke(ASK).body == REPLY


def test_a_run_that_fails_or_never_ends(agent: Any) -> None:
    """A failed run is an error with the server's words; one that does not end is given up at the call's deadline."""
    agent.on("POST", "/api/invocations", {"id": "r", "status": "in_progress"})
    agent.on("GET", "/api/invocations/r", {"id": "r", "status": "failed", "error": {"message": "tool exploded"}})
    door = connect("apps:/agent")
    with pytest.raises(UnusableReply, match=r"'r' is failed: tool exploded"):
        door.invoke(ASK)
    agent.on("GET", "/api/invocations/r", {"id": "r", "status": "in_progress"})
    with bind(Settings(call_timeout=0.1)), pytest.raises(CallTimeout, match="did not finish its run 'r'"):
        door.invoke(ASK)


# Traces.


def test_the_trace_comes_from_the_tracking_server(host: Any, agent: Any) -> None:
    """It is waited for while it is on its way, and no latency has the wait in it."""
    agent.on("POST", "/api/invocations", {**REPLY, "metadata": {"trace_id": TRACE_ID}})
    trace = stored_trace()
    replies = [(404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}), (200, {"trace": {**trace["trace"], "spans": []}}), (200, trace)]
    host.on("GET", GET_TRACE, lambda _: replies.pop(0))
    with account() as used:
        answer = connect("apps:/agent").invoke(ASK, trace=True)
    assert (answer.trace, answer.trace_note) == (trace["trace"], None)
    assert host.sent(f"{GET_TRACE}?trace_id={TRACE_ID}", "GET")[0].token == "oauth-1"
    assert used.lost_seconds > 0.025


def test_a_trace_whose_spans_are_stored_elsewhere(host: Any, agent: Any, make_stub: Callable[[], Any]) -> None:
    """The storage gets the headers that belong to its address, and never the workspace's token."""
    storage = make_stub()
    agent.on("POST", "/api/invocations", {**REPLY, "metadata": {"trace_id": TRACE_ID}})
    stored = json.loads((FIXTURES / "traces" / "trace-to_dict-mlflow-3.17.2.json").read_text())
    host.on("GET", GET_TRACE, {"error_code": "INTERNAL_ERROR", "message": "Trace data not stored in tracking store"}, 500)
    host.on("GET", INFO, {"trace": {"trace_info": stored["info"]}})
    access = {"type": "AWS_PRESIGNED_URL", "signed_uri": f"{storage.url}/t.json?sig=1", "headers": [{"name": "x-a", "value": "b"}]}
    host.on("GET", f"/api/2.0/mlflow/traces/{TRACE_ID}/credentials-for-data-download", {"credential_info": access})
    storage.on("GET", "/t.json?sig=1", {"spans": stored["data"]["spans"]})
    answer = connect("apps:/agent").invoke(ASK, trace=True)
    assert len(answer.trace["data"]["spans"]) == 4
    assert storage.asked[0].headers["x-a"] == "b"
    assert "authorization" not in storage.asked[0].headers


def test_the_trace_is_the_rows_trace(host: Any, agent: Any) -> None:
    """Through `to_predict_fn` the app's spans come home, with the original id."""
    from evalpoint.entities import RowKey
    from evalpoint.tracing import ORIGINAL_ID, Recorder

    agent.on("POST", "/api/invocations", {**REPLY, "metadata": {"trace_id": TRACE_ID}})
    host.on("GET", GET_TRACE, stored_trace())
    function = evalpoint.to_predict_fn("apps:/agent")
    with Recorder(experiment_id="1", run_id="run").record("f", {"question": "Why?"}, RowKey(0)) as recording:
        trace = recording.answered(function(question="Why?"))
    assert len(trace.data.spans) == len(stored_trace()["trace"]["spans"])
    assert trace.info.trace_metadata[ORIGINAL_ID] == stored_trace()["trace"]["trace_info"]["trace_id"]
    assert trace.info.trace_metadata["evalpoint.endpoint"] == "apps:/agent"


def test_a_trace_that_never_comes(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its note says how long it was waited for; after two of them the next is waited for only briefly."""
    from evalpoint.workspace import workspace

    now = [0.0]
    monkeypatch.setattr(fetching, "_FIRST_PAUSE", 1.0)
    monkeypatch.setattr(fetching, "_LONGEST_PAUSE", 10.0)
    fetcher = TraceFetcher(workspace(), clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    waited: list[float] = []
    for _ in range(3):
        begun = now[0]
        assert "could not be fetched" in str(fetcher.fetch(TRACE_ID).note)
        waited.append(now[0] - begun)
    assert waited == [30.0, 30.0, 1.0]


def test_a_tracking_server_that_lets_nobody_read(host: Any, agent: Any) -> None:
    """It is asked once, not once for each row."""
    agent.on("POST", "/api/invocations", {**REPLY, "metadata": {"trace_id": TRACE_ID}})
    host.on("GET", GET_TRACE, {"message": "no"}, 403)
    door = connect("apps:/agent")
    notes = [str(door.invoke(ASK, trace=True).trace_note) for _ in range(3)]
    assert all("does not let the caller read traces" in note for note in notes)
    assert len([each for each in host.asked if each.path.startswith(GET_TRACE)]) == 1
