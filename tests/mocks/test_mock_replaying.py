"""A recording is answered again: by the request, whoever asks, with its trace where one is asked for, and as a stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

import evalpoint
from evalpoint.errors import ConfigurationError, FormatError
from evalpoint.mocks import MockWorkspace
from evalpoint.mocks.recorder import record

Caller = Callable[..., requests.Response]
ASK = {"messages": [{"role": "user", "content": "hi"}]}


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}], **more}


def line(body: Any, request: Any = ASK, status: int | None = 200, endpoint: str = "bot", **more: Any) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "request": request,
        "response": {"status": status, "headers": more.pop("headers", {}), "body": body},
        **more,
    }


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    """Writes a recording."""

    def write(*lines: Any) -> Path:
        path = tmp_path / "calls.jsonl"
        path.write_text("\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in lines) + "\n")
        return path

    return write


def test_by_the_request(workspace: MockWorkspace, call: Caller, recorded: Callable[..., Path]) -> None:
    """The same request, in any order of its members and whoever marks it, has the recorded answer and headers."""
    other = {"temperature": 0, **ASK}
    (bot,) = workspace.replay(
        recorded(line(chat("one"), headers={"served-model-name": "bot-3", "content-length": "7"}), line(chat("two"), other))
    )
    reply = call("bot", {**ASK, "client_request_id": "x", "usage_context": {"run": "y"}})
    assert reply.json() == chat("one")
    assert reply.headers["served-model-name"] == "bot-3"
    assert call("bot", {**ASK, "temperature": 0}).json() == chat("two")
    bot.assert_called(times=2)


def test_not_recorded(workspace: MockWorkspace, call: Caller, recorded: Callable[..., Path]) -> None:
    """Another request is a 404 that names the nearest and where it differs."""
    workspace.replay(
        recorded(line(chat("a"), {"messages": [{"role": "user", "content": "bye"}]}), line(chat("b"), {**ASK, "temperature": 0}))
    )
    reply = call("bot", {**ASK, "temperature": 1, "client_request_id": "x"})
    assert (reply.status_code, reply.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert reply.json()["message"] == (
        "The recording of endpoint 'bot' has no such request. The nearest differs in temperature: "
        '{"messages":[{"content":"hi","role":"user"}],"temperature":0}'
    )


def test_in_order(workspace: MockWorkspace, call: Caller, recorded: Callable[..., Path]) -> None:
    """A request that was recorded several times has its answers in order, errors and cut connections too, the last again and again."""
    workspace.replay(recorded(line({"error_code": "X"}, status=503), line(None, status=None), line(chat("a")), line(chat("b"))))
    assert call("bot", ASK).json() == {"error_code": "X"}
    with pytest.raises(requests.ConnectionError):
        call("bot", ASK)
    assert [call("bot", ASK).json() for _ in range(3)] == [chat("a"), chat("b"), chat("b")]


def test_trace_and_stream(workspace: MockWorkspace, call: Caller, recorded: Callable[..., Path]) -> None:
    """The recorded trace comes to who asks for one; who asks for a stream gets the answer as one."""
    workspace.replay(recorded(line(chat("one two", databricks_output={"trace": {"info": {}}}), kind="llm/v1/chat")))
    options = {"databricks_options": {"return_trace": True}}
    assert "databricks_output" not in call("bot", ASK).json()
    assert call("bot", {**ASK, **options}).json()["databricks_output"] == {"trace": {"info": {}}}
    stream = call("bot", {**ASK, **options, "stream": True})
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.text.count("data: ") == 4


def test_recorded_stream(workspace: MockWorkspace, call: Caller, recorded: Callable[..., Path]) -> None:
    """A stream that was recorded as it was comes as it was."""
    text = 'data: {"a": 1}\n\ndata: [DONE]\n\n'
    workspace.replay(recorded(line(text, headers={"Content-Type": "text/event-stream"})))
    reply = call("bot", {**ASK, "stream": True})
    assert (reply.text, reply.headers["content-type"]) == (text, "text/event-stream")


@pytest.mark.parametrize(
    ("request_body", "more", "task"),
    [
        (ASK, {}, "llm/v1/chat"),
        (ASK, {"kind": "agent/v2/chat"}, "agent/v2/chat"),
        ({"input": ASK["messages"]}, {}, "agent/v1/responses"),
        ({"input": "x"}, {}, "llm/v1/embeddings"),
        ({"prompt": "x"}, {}, "llm/v1/completions"),
        ({"instances": [1]}, {}, None),
        ({"dataframe_records": [{"a": 1}]}, {"kind": "custom"}, None),
    ],
)
def test_kind(
    workspace: MockWorkspace,
    get: Callable[[str], requests.Response],
    recorded: Callable[..., Path],
    request_body: Any,
    more: Any,
    task: Any,
) -> None:
    """What was recorded decides what the endpoint is: its kind, or the form of its requests."""
    workspace.replay(recorded(line({}, request_body, **more)))
    assert get("/api/2.0/serving-endpoints/bot").json().get("task") == task


def test_description(workspace: MockWorkspace, get: Callable[[str], requests.Response], recorded: Callable[..., Path]) -> None:
    """A recorded description is given as it is."""
    description = {"name": "bot", "task": "llm/v1/chat", "endpoint_type": "FOUNDATION_MODEL_API", "state": {"ready": "READY"}}
    workspace.replay(recorded({"endpoint": "bot", "description": description}, line(chat("a"))))
    assert get("/api/2.0/serving-endpoints/bot").json() == description


def test_ignored(workspace: MockWorkspace, call: Caller, recorded: Callable[..., Path]) -> None:
    """Members that are anew in each run can be told not to count."""
    path = recorded(line(chat("a"), {**ASK, "custom_inputs": {"thread_id": "1", "x": 1}}))
    workspace.replay(path, ignore=["custom_inputs.thread_id"])
    assert call("bot", {**ASK, "custom_inputs": {"thread_id": "2", "x": 1}}).status_code == 200
    assert call("bot", {**ASK, "custom_inputs": {"thread_id": "1", "x": 2}}).status_code == 404


def test_existing_endpoint(workspace: MockWorkspace, call: Caller, recorded: Callable[..., Path]) -> None:
    """An endpoint that is there already answers as recorded, and keeps its faults and its latency."""
    bot = workspace.chat("bot", "live", latency=0.05)
    assert workspace.replay(recorded(line(chat("recorded")))) == [bot]
    reply = call("bot", ASK)
    assert (reply.json(), reply.elapsed.total_seconds() >= 0.05) == (chat("recorded"), True)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{oops", "line 1 is no JSON"),
        ('{"request": {}}', "line 1 names no endpoint"),
        ('{"endpoint": "bot", "request": {}}', "line 1 has no response"),
        ('{"endpoint": "bot", "response": {"status": "x"}}', "line 1 has the status 'x'"),
    ],
)
def test_no_recording(workspace: MockWorkspace, recorded: Callable[..., Path], text: str, match: str) -> None:
    """What is no recording is told with its lines."""
    with pytest.raises(FormatError, match=match):
        workspace.replay(recorded(text))
    with pytest.raises(ConfigurationError, match="no recording"):
        workspace.replay("nowhere.jsonl")


def test_what_the_recorder_wrote(tmp_path: Path) -> None:
    """What the recorder wrote of one workspace, another one answers, without the first."""
    path = tmp_path / "calls.jsonl"
    with MockWorkspace() as workspace, workspace.exported(), record(path) as recorder:
        workspace.agent("bot", lambda question: f"re {question}")
        live = recorder(evalpoint.to_predict_fn("endpoints:/bot"))(question="hi")
    with MockWorkspace() as workspace, workspace.exported():
        workspace.replay(path)
        assert evalpoint.to_predict_fn("endpoints:/bot")(question="hi") == live
