"""Every kind streams as the real one does: events of its dialect, the trace in any of them, and everything that goes wrong."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from evalpoint.mocks import Answer, MockWorkspace, Stream, Streaming, ToolCall, Usage, fault, latency
from evalpoint.mocks.endpoint import MockEndpoint

Caller = Callable[..., requests.Response]
SAMPLES = Path(__file__).parent.parent / "fixtures" / "endpoint"
MESSAGES = [{"role": "user", "content": "What is MLflow?"}]
TRACE = {"databricks_options": {"return_trace": True}}
ASK: dict[str, dict[str, Any]] = {
    "chat": {"messages": MESSAGES},
    "foundation": {"messages": MESSAGES},
    "external": {"messages": MESSAGES},
    "chat_completion": {"messages": MESSAGES},
    "chat_agent": {"messages": MESSAGES},
    "responses": {"input": MESSAGES},
    "completions": {"prompt": "What is MLflow?"},
    "custom": {"instances": ["What is MLflow?"]},
}
TEXT = "MLflow is a platform.\nIt is open."


def make(workspace: MockWorkspace, kind: str, answers: Any = TEXT, **options: Any) -> MockEndpoint:
    if kind in ("responses", "chat_agent", "chat_completion"):
        return workspace.agent("bot", answers, dialect=kind, **options)  # type: ignore[arg-type]
    return getattr(workspace, kind)("bot", answers, **options)


def events(reply: requests.Response) -> list[Any]:
    """The events of a stream that ends with [DONE]."""
    assert reply.headers["content-type"] == "text/event-stream"
    assert "content-length" not in reply.headers
    blocks = reply.content.decode().split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    return [json.loads(block.removeprefix("data: ")) for block in blocks[:-2]]


def text_in(kind: str, found: list[Any]) -> str:
    """The text that a client of that kind puts together."""
    if kind == "custom":
        return "".join(found)
    if kind == "responses":
        return "".join(e["delta"] for e in found if e.get("type") == "response.output_text.delta")
    if kind == "completions":
        return "".join(e["choices"][0]["text"] for e in found if "choices" in e)
    if kind == "chat_agent":
        return "".join(e["delta"]["content"] for e in found if "delta" in e)
    return "".join(e["choices"][0]["delta"].get("content", "") for e in found if e.get("choices"))


def drain(pieces: Iterator[bytes], into: bytearray) -> None:
    """Reads to the end, and keeps what came before an error."""
    for piece in pieces:
        into += piece


@pytest.mark.parametrize("kind", list(ASK))
def test_text(workspace: MockWorkspace, call: Caller, kind: str) -> None:
    """The pieces are the text, and there are as many as words; usage and the reason of the end come with the last."""
    make(workspace, kind)
    found = events(call("bot", {**ASK[kind], "stream": True}))
    assert text_in(kind, found) == TEXT
    assert len(found) >= 7
    if kind not in ("custom", "responses"):
        assert found[-1]["usage"]["total_tokens"] > 0
        assert (found[-1] if kind == "chat_agent" else found[-1]["choices"][0])["finish_reason"] == "stop"
    if kind == "responses":
        assert found[-1]["response"] == {**found[-1]["response"], "object": "response", "output": [found[-2]["item"]]}


@pytest.mark.parametrize(
    ("kind", "sample"),
    [("chat", "sse-chat.txt"), ("chat_agent", "sse-agent-v2-chat.txt"), ("responses", "sse-agent-v1-responses.txt")],
)
def test_as_documented(workspace: MockWorkspace, call: Caller, kind: str, sample: str) -> None:
    """The events have the members of the documented samples."""

    def shapes(found: list[Any]) -> set[tuple[str, ...]]:
        return {tuple(sorted(set(event) - {"usage", "databricks_output", "custom_outputs", "finish_reason"})) for event in found}

    make(workspace, kind, "ML flow")
    documented = [json.loads(b.removeprefix("data: ")) for b in (SAMPLES / sample).read_text().split("\n\n") if b.startswith("data: {")]
    mine = events(call("bot", {**ASK[kind], "stream": True}))
    assert shapes(documented) - {()} <= shapes(mine)


@pytest.mark.parametrize("kind", ["chat", "chat_completion", "chat_agent", "responses"])
def test_tool_calls(workspace: MockWorkspace, call: Caller, kind: str) -> None:
    """Calls of tools are streamed where the kind has them."""
    make(workspace, kind, [Answer("Found it.", tool_calls=(ToolCall("search", {"q": "x"}, "y"),), usage=Usage(3, 4))])
    found = json.dumps(events(call("bot", {**ASK[kind], "stream": True})))
    assert found.count('"search"') >= 1
    assert '{\\\\\\"q' in json.dumps(found) or '{\\"q' in found


def test_usage_chunk(workspace: MockWorkspace, call: Caller) -> None:
    """With `include_usage`, usage comes in a chunk of its own without choices."""
    workspace.foundation("bot", TEXT)
    found = events(call("bot", {**ASK["chat"], "stream": True, "stream_options": {"include_usage": True}}))
    assert (found[-1]["choices"], "usage" in found[-1], "usage" in found[-2]) == ([], True, False)


@pytest.mark.parametrize("kind", ["chat", "chat_completion", "chat_agent", "responses", "completions", "custom"])
@pytest.mark.parametrize("where", ["own", "merged", "middle"])
def test_trace(workspace: MockWorkspace, call: Caller, kind: str, where: Any) -> None:
    """The trace stands where it is told to: once, whole, in an event of its own, in the last, or in the middle."""
    make(workspace, kind, streaming=Streaming(trace=where))
    found = events(call("bot", {**ASK[kind], **TRACE, "stream": True}))
    bearing = [n for n, event in enumerate(found) if isinstance(event, dict) and "databricks_output" in event]
    assert len(bearing) == 1
    output = found[bearing[0]]["databricks_output"]
    assert output["trace"]["data"]["spans"]
    assert output["databricks_request_id"]
    alone = set(found[bearing[0]]) == {"databricks_output"}
    assert alone == (where != "merged" or kind == "custom")
    assert (bearing[0] == len(found) - 1) == (where != "middle")


def test_no_trace_unasked(workspace: MockWorkspace, call: Caller) -> None:
    """Who does not ask for a trace gets none in a stream either."""
    workspace.agent("bot")
    assert "databricks_output" not in call("bot", {**ASK["responses"], "stream": True}).text


def test_words(workspace: MockWorkspace, call: Caller) -> None:
    """Events may have several words."""
    workspace.chat("bot", "one two three", streaming=Streaming(words=2))
    found = events(call("bot", {**ASK["chat"], "stream": True}))
    assert [event["choices"][0]["delta"]["content"] for event in found] == ["one two", " three"]


@pytest.mark.parametrize("delay", [0.05, latency.fixed(0.05)], ids=["number", "distribution"])
def test_token_delay(workspace: MockWorkspace, delay: Any) -> None:
    """The first event comes after the latency, and each further one after its delay."""
    workspace.chat("bot", "one two three", latency=0.1, streaming=Streaming(token_delay=delay))
    url, headers = f"{workspace.url}/serving-endpoints/bot/invocations", {"Authorization": f"Bearer {workspace.token}"}
    started = time.perf_counter()
    with requests.post(url, json={**ASK["chat"], "stream": True}, headers=headers, timeout=10, stream=True) as reply:
        times = [time.perf_counter() - started for line in reply.iter_lines(chunk_size=1) if line.startswith(b"data: {")]
    assert len(times) == 3
    assert times[0] >= 0.1
    assert all(later - earlier > 0.03 for earlier, later in itertools.pairwise(times))


def test_error_inside(workspace: MockWorkspace, call: Caller) -> None:
    """A stream that begins well may end with an error, under status 200 and without [DONE]."""
    shapes: list[Any] = ["databricks_output", "error", "app", "responses"]
    workspace.chat("bot", "one two three", faults=[fault.stream_error(2, "OOPS", "It broke.", shape=shape) for shape in shapes])
    found = [call("bot", {**ASK["chat"], "stream": True}) for _ in shapes]
    assert [reply.status_code for reply in found] == [200] * 4
    last = [json.loads(reply.text.strip().split("\n\n")[-1].removeprefix("data: ")) for reply in found]
    told = {"error_code": "OOPS", "message": "It broke."}
    app, event = {"error": "It broke."}, {"type": "error", "code": "OOPS", "message": "It broke."}
    assert last == [{"databricks_output": {"error": told}}, {"error": told}, app, event]
    assert [len(reply.text.strip().split("\n\n")) for reply in found] == [3] * 4


def test_error_without_a_stream(workspace: MockWorkspace, call: Caller) -> None:
    """Who does not stream gets the same error as a 500."""
    workspace.chat("bot", faults=[fault.stream_error()])
    assert call("bot", ASK["chat"]).status_code == 500


@pytest.mark.parametrize("how", ["fault", "option"])
def test_just_ends(workspace: MockWorkspace, call: Caller, how: str) -> None:
    """A stream may just end, without [DONE]."""
    workspace.chat("bot", "a b", **({"faults": [fault.no_done()]} if how == "fault" else {"streaming": Streaming(done=False)}))  # type: ignore[arg-type]
    text = call("bot", {**ASK["chat"], "stream": True}).text
    assert text.endswith("}\n\n")
    assert text.count("data: ") == 2


def test_cut_at_every_byte(workspace: MockWorkspace, call: Caller) -> None:
    """A stream can be cut after any number of bytes; so many arrive, and the client sees that it is not the end."""
    bot = workspace.chat("bot", "a", streaming=Streaming(token_delay=0))
    whole = call("bot", {**ASK["chat"], "stream": True}).content
    for size in (0, 1, 50, len(whole) - 14, len(whole) - 1, len(whole)):
        bot.fail(fault.cut(size))
        url, headers = f"{workspace.url}/serving-endpoints/bot/invocations", {"Authorization": f"Bearer {workspace.token}"}
        got = bytearray()
        with requests.post(url, json={**ASK["chat"], "stream": True}, headers=headers, timeout=10, stream=True) as reply:
            pieces = reply.iter_content(1)
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                drain(pieces, got)
        assert len(got) == size


def test_given(workspace: MockWorkspace, call: Caller) -> None:
    """A stream may be given byte for byte, or as events; beside it, what a call without a stream gets."""
    raw = 'data: {"choices": []}\r\n\r\n: comment\n\ndata: [DONE]\n\n'
    workspace.chat("bot", [Stream(raw), Stream([{"x": 1}, "y"]), Stream([1], done=False), Stream([1], whole={"z": 2})])
    assert call("bot", {**ASK["chat"], "stream": True}).content == raw.encode()
    assert events(call("bot", {**ASK["chat"], "stream": True})) == [{"x": 1}, "y"]
    assert call("bot", {**ASK["chat"], "stream": True}).text == "data: 1\n\n"
    assert call("bot", ASK["chat"]).json() == {"z": 2}


def test_given_for_records(workspace: MockWorkspace, call: Caller) -> None:
    """A custom model's stream may be given too, and predictions that are no text are one event each."""
    workspace.custom("bot", [Stream([{"a": 1}, 2]), {"p": 1}, {"p": 2}])
    assert events(call("bot", {"instances": [1], "stream": True})) == [{"a": 1}, 2]
    assert events(call("bot", {"instances": [1, 2], "stream": True})) == [{"p": 1}, {"p": 2}]


@pytest.mark.parametrize("kind", ["chat", "chat_completion", "chat_agent", "responses", "completions"])
def test_own_body(workspace: MockWorkspace, call: Caller, kind: str) -> None:
    """A body of any other shape is one event."""
    make(workspace, kind, {"What is MLflow?": {"mine": 1}})
    assert events(call("bot", {**ASK[kind], "stream": True})) == [{"mine": 1}]


def test_does_not_stream(workspace: MockWorkspace, call: Caller) -> None:
    """Embeddings and feature specs do not stream."""
    workspace.embeddings("vectors")
    assert call("vectors", {"input": "x", "stream": True}).status_code == 400


def test_many_streams(workspace: MockWorkspace) -> None:
    """A caller who leaves in the middle of a stream holds up nobody, and the workspace stops at once."""
    bot = workspace.chat("bot", "word " * 200, streaming=Streaming(token_delay=0.05))
    url, headers = f"{workspace.url}/serving-endpoints/bot/invocations", {"Authorization": f"Bearer {workspace.token}"}
    for _ in range(5):
        with requests.post(url, json={**ASK["chat"], "stream": True}, headers=headers, timeout=10, stream=True) as reply:
            next(reply.iter_content(1))
    bot.assert_called(times=5)
    started = time.perf_counter()
    workspace.stop()
    assert time.perf_counter() - started < 1
