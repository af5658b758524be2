"""Mock apps: three generations of servers, OAuth only, runs in the background, traces kept by the workspace."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config

from evalpoint.entities import Trace
from evalpoint.errors import ConfigurationError
from evalpoint.mocks import FakeClock, Ids, MockWorkspace, Stream, Streaming, fault

ASK = {"input": [{"role": "user", "content": "What is MLflow?"}]}
WANTS_TRACE = {"x-mlflow-return-trace-id": "true"}


def send(workspace: MockWorkspace, url: str, body: Any = None, headers: dict[str, str] | None = None) -> requests.Response:
    """A request with a fresh OAuth token; a POST where there is a body."""
    given = {"Authorization": f"Bearer {workspace.identity.issue_token()}", **(headers or {})}
    if body is None:
        return requests.get(url, headers=given, timeout=10, allow_redirects=False)
    return requests.post(url, json=body, headers=given, timeout=10, allow_redirects=False)


def until(read: Callable[[], dict[str, Any]], *statuses: str) -> dict[str, Any]:
    """Polls until the status is none of these."""
    deadline = time.monotonic() + 5
    while (body := read())["status"] in statuses:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return body


def invocation(given: Any, **more: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "input": given, **more}


def test_described(workspace: MockWorkspace) -> None:
    """The workspace lists and describes an app as the SDK reads it; one that is not there is a 404."""
    app = workspace.app("helper")
    client = WorkspaceClient(config=Config(host=workspace.url, token=workspace.token))
    if not hasattr(client.apps, "get"):
        pytest.skip("this databricks-sdk knows no apps yet")
    described = client.apps.get("helper")
    assert (described.url, described.compute_status.state.value, described.app_status.state.value) == (app.url, "ACTIVE", "RUNNING")
    assert [each.name for each in client.apps.list()] == ["helper"]
    assert app.url != workspace.url
    missing = send(workspace, f"{workspace.url}/api/2.0/apps/nobody")
    assert (missing.status_code, missing.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("server", "statuses"),
    [
        ("api", {"/api/invocations": 200, "/responses": 404, "/invocations": 404}),
        ("agentserver", {"/api/invocations": 404, "/responses": 200, "/invocations": 200}),
        ("legacy", {"/api/invocations": 404, "/responses": 404, "/invocations": 200}),
    ],
    ids=["api", "agentserver", "legacy"],
)
def test_generations(workspace: MockWorkspace, server: Any, statuses: dict[str, int]) -> None:
    """Each generation answers at its own addresses, and everywhere else as FastAPI does."""
    app = workspace.app("helper", server=server)
    asked = {path: invocation(ASK["input"]) if path.startswith("/api") else ASK for path in statuses}
    assert {path: send(workspace, app.url + path, asked[path]).status_code for path in statuses} == statuses
    unknown = send(workspace, app.url + "/nowhere", ASK)
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Not Found"})
    wrong = send(workspace, app.url + next(path for path, status in statuses.items() if status == 200))
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})


@pytest.mark.parametrize("sent", ["token", "none", "wrong", "plane"])
@pytest.mark.parametrize(("refusal", "status"), [("401", 401), ("login", 302)])
def test_oauth_only(workspace: MockWorkspace, sent: str, refusal: Any, status: int) -> None:
    """A personal access token opens no app: a 401, or a redirect to a page to sign in."""
    app = workspace.app("helper", refusal=refusal)
    tokens = {"token": workspace.token, "wrong": "x", "none": None, "plane": None}
    if sent == "plane":
        data = {"grant_type": "client_credentials", "authorization_details": "[]"}
        auth = (workspace.identity.client_id, workspace.identity.client_secret)
        tokens["plane"] = requests.post(f"{workspace.url}/oidc/v1/token", data=data, auth=auth, timeout=10).json()["access_token"]
    headers = {} if tokens[sent] is None else {"Authorization": f"Bearer {tokens[sent]}"}
    reply = requests.post(f"{app.url}/responses", json=ASK, headers=headers, timeout=10, allow_redirects=False)
    assert reply.status_code == status
    if status == 302:
        page = requests.get(reply.headers["location"], timeout=10)
        assert page.headers["content-type"].startswith("text/html")
        assert "Sign In" in page.text
    app.assert_not_called()


def test_may_not_use(workspace: MockWorkspace) -> None:
    """Who may not use the app gets a 403, and one that does not run a page."""
    app = workspace.app("helper", permission="NONE")
    assert send(workspace, f"{app.url}/responses", ASK).status_code == 403
    app.permission, app.running = "CAN_USE", False
    stopped = send(workspace, f"{app.url}/responses", ASK)
    assert (stopped.status_code, stopped.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert send(workspace, f"{workspace.url}/api/2.0/apps/helper").json()["compute_status"]["state"] == "STOPPED"


@pytest.mark.parametrize("path", ["/responses", "/invocations"])
def test_answer(workspace: MockWorkspace, path: str) -> None:
    """An agent server answers as a ResponsesAgent does; the trace's id is in the metadata of who asks for it."""
    app = workspace.app("helper", answers={"What is MLflow?": "A platform."})
    plain, traced = send(workspace, app.url + path, ASK), send(workspace, app.url + path, ASK, WANTS_TRACE)
    assert plain.json()["output"][-1]["content"][0]["text"] == "A platform."
    assert "metadata" not in plain.json()
    assert traced.json()["metadata"]["trace_id"].startswith("tr-")
    app.assert_called(times=2)
    app.assert_called_with("What is MLflow?")
    assert workspace.requests[-1].path == path


@pytest.mark.parametrize("version", ["2.0", "3.0"])
def test_trace(workspace: MockWorkspace, version: str) -> None:
    """The trace is fetched by its id from the tracking server: its info, with spans, or with a signed link to the spans."""
    app = workspace.app("helper", "A platform.", experiment_id="55")
    body = send(workspace, f"{app.url}/responses", ASK, WANTS_TRACE).json()
    trace_id = body.pop("metadata")["trace_id"]
    info = send(workspace, f"{workspace.url}/api/3.0/mlflow/traces/{trace_id}").json()["trace"]["trace_info"]
    assert (info["trace_id"], info["state"], info["execution_duration"]) == (trace_id, "OK", "0.000s")
    assert info["trace_location"]["mlflow_experiment"]["experiment_id"] == "55"
    full = send(workspace, f"{workspace.url}/api/3.0/mlflow/traces/get?trace_id={trace_id}").json()["trace"]
    credentials = send(workspace, f"{workspace.url}/api/{version}/mlflow/traces/{trace_id}/credentials-for-data-download").json()
    link = credentials["credential_info"]["signed_uri"]
    data = requests.get(link, timeout=10).json()
    assert requests.get(link, headers={"Authorization": "Bearer x"}, timeout=10).status_code == 400
    for trace in (Trace.from_dict(full), Trace.from_dict({"info": info, "data": data})):
        assert [span.name for span in trace.data.spans] == ["predict", "retrieve", "llm"]
        assert trace.root is not None
        assert (trace.root.inputs, trace.root.outputs) == (ASK, body)


def test_trace_appears_later(workspace: MockWorkspace) -> None:
    """A trace may take a while to appear; until then it is not found."""
    app = workspace.app("helper", trace_delay=0.2)
    trace_id = send(workspace, f"{app.url}/responses", ASK, WANTS_TRACE).json()["metadata"]["trace_id"]
    url = f"{workspace.url}/api/3.0/mlflow/traces/{trace_id}"
    early = send(workspace, url)
    assert (early.status_code, early.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    time.sleep(0.25)
    assert send(workspace, url).status_code == 200
    untraced = workspace.app("silent", trace=False)
    assert "metadata" not in send(workspace, f"{untraced.url}/responses", ASK, WANTS_TRACE).json()


def test_streams(workspace: MockWorkspace) -> None:
    """A stream has the agent's events, then the trace's id in one without a type, then the end."""
    app = workspace.app("helper", "one two", streaming=Streaming(token_delay=0.001))
    reply = send(workspace, f"{app.url}/responses", {**ASK, "stream": True}, WANTS_TRACE)
    events = reply.text.split("\n\n")
    assert reply.headers["content-type"] == "text/event-stream"
    assert [event.partition('"type": ')[2][:27] for event in events[:2]] == ['"response.output_text.delta'] * 2
    assert events[-3].startswith('data: {"trace_id": "tr-')
    assert events[-2:] == ["data: [DONE]", ""]


def test_background_responses(workspace: MockWorkspace) -> None:
    """An agent server takes a run at once and gives its answer later; without background it answers at once."""
    app = workspace.app("helper", ["done", "at once"], background=True, latency=0.1)
    accepted = send(workspace, f"{app.url}/responses", {**ASK, "background": True}, WANTS_TRACE).json()
    assert (accepted["status"], accepted["output"], accepted["object"]) == ("in_progress", [], "response")
    url = f"{app.url}/responses/{accepted['id']}"
    assert send(workspace, url).json() == {"id": accepted["id"], "status": "in_progress"}
    done = until(lambda: send(workspace, url).json(), "in_progress")
    assert (done["status"], done["output"][-1]["content"][0]["text"]) == ("completed", "done")
    assert done["metadata"]["trace_id"].startswith("tr-")
    assert send(workspace, f"{app.url}/responses/nobody").json() == {"detail": "Response not found"}
    assert app.calls == 1
    plain = workspace.app("plain", "now")
    assert send(workspace, f"{plain.url}/responses", {**ASK, "background": True}).json()["output"]


def test_invocation(workspace: MockWorkspace) -> None:
    """The newest server takes an id of the caller's and any input, and gives the agent's own JSON as output."""
    app = workspace.app("helper", lambda question: f"re {question}", server="api")
    for given in ("hi", ASK["input"], ASK, {"messages": ASK["input"]}):
        body = send(workspace, f"{app.url}/api/invocations", invocation(given)).json()
        assert body["status"] == "completed"
        assert body["output"]["output"][-1]["content"][0]["text"] in ("re hi", "re What is MLflow?")
    app.assert_called_with("hi", times=1)
    app.assert_called_with("What is MLflow?", times=3)


def test_invocation_is_idempotent(workspace: MockWorkspace) -> None:
    """The same id with the same request has the same answer and runs once; with another request it is refused."""
    app = workspace.app("helper", ["first", "second"], server="api")
    body = invocation("hi")
    one, two = (send(workspace, f"{app.url}/api/invocations", body).json() for _ in range(2))
    assert one == two
    other = send(workspace, f"{app.url}/api/invocations", {**body, "input": "ho"})
    assert (other.status_code, other.json()) == (409, {"detail": "id was already used for another request"})


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"input": "hi"}, ["body", "id"]),
        ({"id": "7", "input": "hi"}, ["body", "id"]),
        ({"id": str(uuid4()), "messages": []}, ["body", "messages"]),
        ([], ["body"]),
    ],
    ids=["no-id", "no-uuid", "extra", "list"],
)
def test_invocation_refused(workspace: MockWorkspace, body: Any, where: list[str]) -> None:
    """Whatever is no invocation is refused as FastAPI refuses it."""
    app = workspace.app("helper", server="api")
    reply = send(workspace, f"{app.url}/api/invocations", body)
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["loc"] == where


def test_invocation_in_background(workspace: MockWorkspace) -> None:
    """An invocation in the background is queued, polled where the answer says, and replayed as events."""
    app = workspace.app("helper", "one two", server="api", latency=0.1)
    body = invocation("hi", background=True, stream=True)
    accepted = send(workspace, f"{app.url}/api/invocations", body, WANTS_TRACE)
    assert accepted.status_code == 202
    assert accepted.json() == {
        "id": body["id"],
        "status": "queued",
        "status_url": f"/api/invocations/{body['id']}",
        "events_url": f"/api/invocations/{body['id']}/events",
    }
    url = app.url + accepted.json()["status_url"]
    assert send(workspace, url).json() == {"id": body["id"], "status": "active"}
    done = until(lambda: send(workspace, url).json(), "active")
    assert (done["status"], done["metadata"]["trace_id"][:3]) == ("completed", "tr-")
    events = send(workspace, f"{url}/events").text
    assert events.startswith("id: 1\nevent: response.output_text.delta\ndata: {")
    assert "[DONE]" not in events
    later = send(workspace, f"{url}/events?after=2").text
    assert later.startswith("id: 3\n")
    assert events.endswith(later)


@pytest.mark.parametrize(
    ("server", "path", "body", "expected"),
    [
        ("agentserver", "/responses", ASK, {"detail": "broke"}),
        ("api", "/api/invocations", invocation("hi"), {"detail": "agent invocation failed"}),
    ],
    ids=["agentserver", "api"],
)
def test_errors(server: Any, path: str, body: Any, expected: Any) -> None:
    """An error of the agent is answered as the server answers it, and fails the test that caused it."""

    def broken(question: str) -> str:
        raise LookupError("broke")

    workspace = MockWorkspace().start()
    app = workspace.app("helper", broken, server=server, background=True)
    reply = send(workspace, app.url + path, body)
    assert (reply.status_code, reply.json()) == (500, expected)
    started = send(workspace, app.url + path, {**body, "background": True, **({"id": str(uuid4())} if "id" in body else {})}).json()
    root = f"{app.url}/responses" if server == "agentserver" else f"{app.url}/api/invocations"
    assert until(lambda: send(workspace, f"{root}/{started['id']}").json(), "in_progress", "queued", "active")["status"] == "failed"
    with pytest.raises(LookupError, match="broke"):
        workspace.stop()


def test_bad_bodies(workspace: MockWorkspace) -> None:
    """An agent server says what is wrong with a request under `detail`."""
    app = workspace.app("helper")
    missing, nonsense = send(workspace, f"{app.url}/responses", {"messages": []}), send(workspace, f"{app.url}/responses", [1])
    assert missing.status_code == nonsense.status_code == 400
    assert "missing inputs ['input']" in missing.json()["detail"]
    assert "Invalid JSON" in nonsense.json()["detail"]


def test_faults(workspace: MockWorkspace) -> None:
    """Apps go wrong when told to, streams too, and can be given a stream byte for byte."""
    app = workspace.app("helper", ["a b c", Stream('data: {"x": 1}\n\n')], faults=[fault.status(429), fault.stream_error(1, shape="app")])
    assert send(workspace, f"{app.url}/responses", ASK).status_code == 429
    assert send(workspace, f"{app.url}/responses", {**ASK, "stream": True}).text.splitlines()[2].startswith('data: {"error": "')
    assert send(workspace, f"{app.url}/responses", {**ASK, "stream": True}).text == 'data: {"x": 1}\n\n'


def test_health(workspace: MockWorkspace) -> None:
    """An agent server tells its health, and what it is."""
    app = workspace.app("helper")
    assert send(workspace, f"{app.url}/health").json() == {"status": "healthy"}
    assert send(workspace, f"{app.url}/agent/info").json()["agent_api"] == "responses"


def test_declared_before_the_start() -> None:
    """An app may be declared before the start; its address is there when the workspace runs, and gone afterwards."""
    workspace = MockWorkspace(ids=Ids(3), clock=FakeClock())
    app = workspace.app("helper")
    with pytest.raises(ConfigurationError, match="does not run"):
        app.url  # noqa: B018 - reading it raises
    with workspace:
        assert send(workspace, f"{app.url}/responses", ASK).status_code == 200
        assert [each.name for each in workspace.apps] == ["helper"]
    with pytest.raises(ConfigurationError, match="does not run"):
        app.url  # noqa: B018 - reading it raises


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [("Bad", {}, "no name for an app"), ("a", {"server": "x"}, "'agentserver'"), ("a", {"dialect": "x"}, "'chat_agent'")],
    ids=["name", "server", "dialect"],
)
def test_declared_wrongly(workspace: MockWorkspace, name: str, options: Any, match: str) -> None:
    """Mistakes are found when an app is declared."""
    with pytest.raises(ConfigurationError, match=match):
        workspace.app(name, **options)
    workspace.app("b")
    with pytest.raises(ConfigurationError, match="already has an app 'b'"):
        workspace.app("b")
