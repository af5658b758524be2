"""The contract with a workspace, held by the mock and, when credentials are set, by a real one: read-only, about six calls in all.

    DATABRICKS_HOST, DATABRICKS_TOKEN (or a service principal, or DATABRICKS_CONFIG_PROFILE)   the workspace
    EVALPOINT_TEST_ENDPOINT   a serving endpoint that answers questions, such as endpoints:/bot
    EVALPOINT_TEST_JUDGE      optional: a judge's model, such as endpoints:/databricks-claude-sonnet-4
    EVALPOINT_TEST_APP        optional: an agent on Databricks Apps, such as apps:/support
    EVALPOINT_TEST_QUESTION   optional: what they are asked

What no documentation settles is found out on the way, and printed at the end as lines that begin with "finding".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from evalpoint.calls import account
from evalpoint.endpoints import Answer, Door, Kind, connect
from evalpoint.errors import CallError, FormatError, NotFound, Rejected
from evalpoint.formats import is_dict, is_list, read_trace
from evalpoint.judges import is_correct
from evalpoint.mocks import MockWorkspace
from evalpoint.workspace import Workspace, workspace

QUESTION = os.environ.get("EVALPOINT_TEST_QUESTION", "Say hello, in one word.")
ENDPOINT = os.environ.get("EVALPOINT_TEST_ENDPOINT", "")
CREDENTIALS = ("DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE")


@dataclass(slots=True)
class Target:
    """A workspace, and what is asked there. Each call is made once, by whichever test needs it first."""

    uri: str
    judge: str | None
    app: str | None
    where: Workspace
    findings: dict[str, str] = field(default_factory=dict[str, str])
    door: Door | None = None
    answer: Answer | None = None
    corrections: int = 0

    def connected(self) -> Door:
        if self.door is None:
            self.door = connect(self.uri)
        return self.door

    def payload(self) -> dict[str, Any]:
        return self.connected().chat_payload([{"role": "user", "content": QUESTION}])

    def answered(self) -> Answer:
        if self.answer is None:
            marks = {"request_id": "evalpoint:contract:0:0", "usage_context": {"evalpoint_run": "contract"}}
            with account() as used:
                self.answer = self.connected().invoke(self.payload(), trace=True, **marks)  # type: ignore[arg-type]
            self.corrections = used.corrections
        return self.answer


@pytest.fixture(scope="module", params=["mock", "real"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """The mock always; a real workspace when it is configured."""
    if request.param == "mock":
        with MockWorkspace() as mock, mock.exported(mock.oauth_environ):
            mock.agent("bot", answers="Hello.")
            mock.judge("judge")
            mock.app("support", answers="Hello.")
            yield from _told(request, Target("endpoints:/bot", "endpoints:/judge", "apps:/support", workspace()))
        return
    if not ENDPOINT or not any(os.environ.get(name) for name in CREDENTIALS):
        pytest.skip(f"no real workspace: set EVALPOINT_TEST_ENDPOINT, and one of {' and '.join(CREDENTIALS)}")
    uri = ENDPOINT if ":" in ENDPOINT else f"endpoints:/{ENDPOINT}"
    judge, app = os.environ.get("EVALPOINT_TEST_JUDGE"), os.environ.get("EVALPOINT_TEST_APP")
    yield from _told(request, Target(uri, judge, app, workspace()))


def _told(request: pytest.FixtureRequest, made: Target) -> Iterator[Target]:
    """Gives the target to the tests, and prints what they have found."""
    yield made
    capturing: Any = request.config.pluginmanager.getplugin("capturemanager")
    with capturing.global_and_fixture_disabled():
        for what, found in made.findings.items():
            print(f"\nfinding ({request.param}): {what}: {found}", end="")


def test_who_is_calling(target: Target) -> None:
    """The workspace says who we are."""
    assert target.where.principal()


def test_description(target: Target) -> None:
    """The endpoint has a kind that is asked with a question, and is ready."""
    door = target.connected()
    assert door.kind in set(Kind) - {Kind.EMBEDDINGS, Kind.FEATURES}
    target.findings["kind"] = door.kind.value
    if door.description is not None:
        assert door.description.ready
        assert door.description.served or door.kind.is_agent


def test_answer(target: Target) -> None:
    """An answer has a text, a latency, and tokens that are numbers."""
    answer = target.answered()
    assert answer.text.strip()
    assert answer.latency_ms > 0
    assert all(isinstance(count, int) for count in (answer.usage or {}).values())
    assert "databricks_output" not in answer.body


def test_marks(target: Target) -> None:
    """What says whose call it is either is accepted, or is dropped by one correction that costs nothing."""
    target.answered()
    assert target.corrections <= 3
    said = "accepted" if target.corrections == 0 else f"refused, and dropped after {target.corrections} corrections"
    target.findings["client_request_id, usage_context and databricks_options"] = said


def test_trace(target: Target) -> None:
    """A trace that comes can be read, and has a root."""
    answer = target.answered()
    if not answer.trace:
        target.findings["trace"] = "none, though it was asked for" if answer.trace_asked else "none: this kind takes no databricks_options"
        return
    try:
        fields = read_trace(answer.trace)
    except FormatError as error:
        target.findings["trace"] = f"cannot be read: {error}"
        raise
    assert fields["spans"]
    assert fields["spans"][0]["parent_id"] is None
    schema = fields["info"]["trace_metadata"].get("mlflow.trace_schema.version", "unknown")
    location = fields["info"]["trace_location"].get("type")
    target.findings["trace"] = (
        f"{len(fields['spans'])} spans, schema {schema}, located in {location}; problems: {fields['problems'] or 'none'}"
    )


def test_stream(target: Target) -> None:
    """A stream puts the same answer together, and its events are of a form that we know; where the trace comes is a finding."""
    door = target.connected()
    asked = {"databricks_options": {"return_trace": True}} if target.answered().trace_asked else {}
    path = f"/serving-endpoints/{door.name}/invocations"
    try:
        reply = target.where.server.request("POST", path, body={**target.payload(), **asked, "stream": True}, what="the stream")
    except Rejected as error:
        target.findings["stream"] = f"refused: {error}"
        pytest.skip("the endpoint does not stream")
    texts = [line.removeprefix("data:").strip() for line in reply.text.splitlines() if line.startswith("data:")]
    assert texts, reply.headers
    events = [json.loads(text) for text in texts if text != "[DONE]"]
    assert all(is_dict(event) for event in events)
    target.findings["stream"] = f"{len(events)} events, {'with' if texts[-1] == '[DONE]' else 'without'} [DONE], {_place_of_trace(events)}"
    streamed = door.invoke(target.payload(), trace=True, stream=True)
    assert streamed.text.strip()
    assert streamed.first_token_ms is not None
    assert 0 < streamed.first_token_ms <= streamed.latency_ms
    assert type(streamed.body) is type(target.answered().body)
    assert _shape(streamed.body) <= _shape(target.answered().body) | {"usage", "id", "object", "custom_outputs", "finish_reason"}


def _place_of_trace(events: list[Any]) -> str:
    found = [number for number, event in enumerate(events) if "trace" in event.get("databricks_output", {})]
    if not found:
        return "no trace in it"
    event = events[found[0]]
    own = not set(event) - {"databricks_output", "id", "object"}
    return f"the trace in event {found[0] + 1}, {'its own' if own else 'merged into ' + str(sorted(set(event) - {'databricks_output'}))}"


def _shape(body: Any) -> set[str]:
    return set(body) if is_dict(body) else set()


def test_refusal(target: Target) -> None:
    """A request that makes no sense is refused with a status and a message, or answered; never anything else."""
    refusal: CallError | None = None
    try:
        target.connected().invoke({"evalpoint_contract": [1, 2, 3]})
    except CallError as error:
        refusal = error
    said = "was answered" if refusal is None else f"{refusal.status} {refusal.error_code}: {str(refusal)[:200]}"
    target.findings["a request that makes no sense"] = said
    assert refusal is None or (refusal.status is not None and 400 <= refusal.status < 600)


def test_no_such_endpoint(target: Target) -> None:
    """A name that does not exist is told from one that may not be seen."""
    with pytest.raises(NotFound, match="does not exist"):
        connect("endpoints:/evalpoint-contract-no-such-endpoint")


def test_judge(target: Target) -> None:
    """A judge says yes to what is right."""
    if target.judge is None:
        pytest.skip("EVALPOINT_TEST_JUDGE is not set")
    verdict = is_correct(request="What is 2 + 2?", response="2 + 2 is 4.", expected_facts=["2 + 2 is 4"], model=target.judge)
    assert verdict.value == "yes"


def test_app(target: Target) -> None:
    """An agent on an app answers an OAuth token, and sends everybody else away; how, is a finding."""
    if target.app is None:
        pytest.skip("EVALPOINT_TEST_APP is not set")
    door = connect(target.app)
    answer = door.invoke(door.chat_payload([{"role": "user", "content": QUESTION}]), trace=True)
    assert answer.text.strip()
    target.findings["an app's trace"] = "came" if answer.trace else str(answer.trace_note)
    described: Any = target.where.get(f"/api/2.0/apps/{door.name}")
    without = requests.post(f"{described['url']}/invocations", json={}, timeout=30, allow_redirects=False)
    assert without.status_code != 200 or "html" in without.headers.get("content-type", "")
    target.findings["an app without a token"] = f"{without.status_code}, {without.headers.get('content-type')}"


def test_list(target: Target) -> None:
    """The list of endpoints has names and, where they have one, tasks: what error messages offer comes from it."""
    listed: Any = target.where.get("/api/2.0/serving-endpoints")
    assert is_list(listed.get("endpoints", []))
    assert all(isinstance(each.get("name"), str) for each in listed.get("endpoints", []))
