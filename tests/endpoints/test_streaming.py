"""Asking with a stream: every dialect assembled into the shape of the unstreamed answer, over real sockets."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.calls import Server, account, bind
from evalpoint.endpoints.answers import answer_from
from evalpoint.endpoints.assembling import Assembly
from evalpoint.endpoints.description import Kind
from evalpoint.endpoints.events import EventReader
from evalpoint.endpoints.streaming import Streamed, ask
from evalpoint.endpoints.waking import FirstCall, Patience
from evalpoint.errors import AccessDenied, Broken, CallError, CallTimeout, Rejected, Throttled, UnusableReply
from evalpoint.formats import text_of, tool_calls
from evalpoint.settings import Settings

SAMPLES = Path(__file__).parent.parent / "fixtures" / "endpoint"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nserved-model-name: bot-3\r\n"
CLOSING = HEAD + b"Connection: close\r\n\r\n"
"""The body ends where the connection does: nothing in HTTP itself tells a whole answer from one that was cut."""


class Stub:
    """A server that reads a request and then lets `talk` write what it likes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.bodies: list[Any] = []
        self.talks: list[Callable[[socket.socket], None]] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def plays(self, *talks: bytes | Callable[[socket.socket], None]) -> None:
        """In order, the last for ever; bytes are sent and the connection is closed."""
        self.talks = [talk if callable(talk) else sending(talk) for talk in talks]

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            read = b""
            while b"\r\n\r\n" not in read:
                read += connection.recv(65536)
            head, _, body = read.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(65536)
            self.bodies.append(json.loads(body))
            talk = self.talks.pop(0) if len(self.talks) > 1 else self.talks[0]
            try:
                talk(connection)
            except OSError:
                return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def sending(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


@pytest.fixture
def stub() -> Iterator[Stub]:
    serving = Stub()
    yield serving
    serving.close()


def asked(stub: Stub, kind: Kind = Kind.CHAT, *, retries: int = 0, seconds: float = 10) -> Streamed:
    server = Server(stub.url, name="the stub", sleep=lambda _: None)
    with bind(Settings(max_retries=retries, attempt_timeout=seconds)):
        return ask(server, "/invocations", {"messages": []}, what="Endpoint 'bot'", kind=kind)


def sse(*events: Any, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events]
    return ("".join(lines) + ("data: [DONE]\n\n" if done else "")).encode()


def sample(name: str, *left_out: str) -> Any:
    answer = json.loads((SAMPLES / f"io-{name}.json").read_text())["response"]
    return {key: value for key, value in answer.items() if key not in left_out}


# ---- an unstreamed answer as its server would stream it -----------------------------------------------------------------------


def halves(text: str) -> list[str]:
    return [text[: len(text) // 2], text[len(text) // 2 :]]


def chat_chunks(answer: dict[str, Any]) -> list[Any]:
    base = {"id": answer["id"], "object": "chat.completion.chunk", "created": answer["created"], "model": answer["model"]}
    chunks: list[Any] = []
    for choice in answer["choices"]:
        index, message = choice["index"], choice["message"]
        deltas: list[Any] = [{"role": "assistant", "content": None if message["content"] is None else ""}]
        deltas += [{"content": half} for half in halves(message["content"] or "")]
        for number, call in enumerate(message.get("tool_calls", [])):
            whole = {"index": number, **call, "function": {"name": call["function"]["name"], "arguments": ""}}
            deltas.append({"tool_calls": [whole]})
            deltas += [{"tool_calls": [{"index": number, "function": {"arguments": h}}]} for h in halves(call["function"]["arguments"])]
        if message["content"] is None:
            deltas = [delta for delta in deltas if delta.get("content") != ""]
        chunks += [{**base, "choices": [{"index": index, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({**base, "choices": [{"index": index, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    rest = {key: answer[key] for key in answer.keys() - {"choices", *base, "databricks_output"}}
    return [*chunks, {**base, "choices": [], **rest}]


def completion_chunks(answer: dict[str, Any]) -> list[Any]:
    (choice,) = answer["choices"]
    parts = [{**choice, "text": half, "finish_reason": None} for half in halves(choice["text"])]
    parts[-1]["finish_reason"] = choice["finish_reason"]
    return [{**answer, "choices": [part], "usage": None} for part in parts] + [{**answer, "choices": []}]


def chat_agent_deltas(answer: dict[str, Any]) -> list[Any]:
    deltas: list[Any] = []
    for message in answer["messages"]:
        deltas += [{"delta": {**message, "content": half}} for half in halves(message["content"])]
    rest = {key: answer[key] for key in answer.keys() - {"messages", "databricks_output"}}
    return [*deltas[:-1], {**deltas[-1], **rest}]


def responses_events(answer: dict[str, Any]) -> list[Any]:
    events: list[Any] = []
    for item in answer["output"]:
        for part in item.get("content", []):
            events += [{"type": "response.output_text.delta", "item_id": item["id"], "delta": half} for half in halves(part["text"])]
        events.append({"type": "response.output_item.done", "item": item})
    rest = {key: answer[key] for key in ("usage", "custom_outputs")}
    return [*events[:-1], {**events[-1], **rest}]


def responses_completed(answer: dict[str, Any]) -> list[Any]:
    whole = {key: value for key, value in answer.items() if key != "databricks_output"}
    begun = {"id": answer["id"], "object": "response", "status": "in_progress", "output": []}
    return [{"type": "response.created", "response": begun}, *responses_events(answer), {"type": "response.completed", "response": whole}]


KINDS: dict[str, tuple[Kind, Any, list[Any]]] = {
    "chat": (Kind.CHAT, sample("chat"), chat_chunks(sample("chat"))),
    "chat-tool-call": (Kind.CHAT, sample("chat-content-parts-and-tool-call"), chat_chunks(sample("chat-content-parts-and-tool-call"))),
    "agent-chat": (Kind.AGENT_CHAT, sample("agent-v1-chat"), chat_chunks(sample("agent-v1-chat"))),
    "completions": (Kind.COMPLETIONS, sample("completions"), completion_chunks(sample("completions"))),
    "chat-agent": (Kind.CHAT_AGENT, sample("agent-v2-chat"), chat_agent_deltas(sample("agent-v2-chat"))),
    "responses": (Kind.RESPONSES, sample("agent-v1-responses", "id"), responses_events(sample("agent-v1-responses"))),
    "responses-completed": (Kind.RESPONSES, sample("agent-v1-responses"), responses_completed(sample("agent-v1-responses"))),
    "pyfunc-records": (Kind.CUSTOM, sample("pyfunc-dataframe_records"), sample("pyfunc-dataframe_records")["predictions"]),
    "pyfunc-numbers": (Kind.CUSTOM, sample("pyfunc-inputs"), sample("pyfunc-inputs")["predictions"]),
    "pyfunc-text": (Kind.CUSTOM, {"predictions": "MLflow"}, ["ML", "flow"]),
    "pyfunc-wrapped": (Kind.CUSTOM, sample("pyfunc-dataframe_split"), [{"predictions": ["A"]}, {"predictions": ["B"]}]),
}
ALL = pytest.mark.parametrize(("kind", "unstreamed", "events"), list(KINDS.values()), ids=list(KINDS))


def without_aside(answer: dict[str, Any]) -> Any:
    return {key: value for key, value in answer.items() if key != "databricks_output"}


@ALL
def test_the_shape_is_that_of_the_unstreamed_answer(stub: Stub, kind: Kind, unstreamed: Any, events: list[Any]) -> None:
    """The answer assembled of its stream equals the answer that came in one piece; what is asked says that a stream is wanted."""
    stub.plays(CLOSING + sse(*events))
    streamed = asked(stub, kind)
    assert streamed.body == without_aside(unstreamed)
    assert stub.bodies == [{"messages": [], "stream": True}]
    assert (streamed.status, streamed.events, streamed.headers["served-model-name"]) == (200, len(events), "bot-3")
    assert streamed.first_token_ms is not None
    assert 0 < streamed.first_token_ms <= streamed.latency_ms


@ALL
def test_a_connection_cut_at_any_byte(kind: Kind, unstreamed: Any, events: list[Any]) -> None:
    """Whatever the place of the cut, what the assembly calls complete is the whole answer's text and tool calls."""
    stream = sse(*events)
    whole = without_aside(unstreamed)
    kept = 0
    for end in range(len(stream)):
        assembly, reader = Assembly(kind), EventReader()
        for event in [*reader.feed(stream[:end]), *reader.close()]:
            if event.problem is None and not event.done:
                assembly.take(event.value)
        if assembly.complete:
            kept += 1
            assert text_of(assembly.body()) == text_of(whole)
            if kind is not Kind.RESPONSES:  # whose items are answers one by one
                assert tool_calls(assembly.body()) == tool_calls(whole)
    assert kept > 0 or kind is Kind.CUSTOM


@pytest.mark.parametrize("name", ["chat", "chat-agent", "responses"])
def test_a_real_connection_cut_at_many_bytes(stub: Stub, name: str) -> None:
    """Over a socket: the whole text, or an error of ours that tells what had come. Never half an answer, never another exception."""
    kind, unstreamed, events = KINDS[name]
    stream = sse(*events)
    found: list[str] = []
    for end in range(0, len(stream), 17):
        stub.plays(CLOSING + stream[:end])
        try:
            found.append(text_of(asked(stub, kind).body))
        except UnusableReply as error:
            found.append(str(error))
    kept = [text for text in found if "Endpoint 'bot'" not in text]
    assert 0 < len(kept) < len(found)
    assert set(kept) <= {text_of(without_aside(unstreamed)), ""}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_any_cutting_and_any_order_of_keys(name: str, data: st.DataObject) -> None:
    """Neither the pieces that arrive nor the order of keys in an event change the answer."""
    kind, unstreamed, events = KINDS[name]
    stream = sse(*[shuffled(event, data) for event in events])
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    assembly, reader = Assembly(kind), EventReader()
    found = [e for a, b in zip([0, *places], [*places, len(stream)], strict=True) for e in reader.feed(stream[a:b])] + reader.close()
    for event in found:
        if not event.done:
            assembly.take(event.value)
    assert assembly.body() == without_aside(unstreamed)


def shuffled(event: Any, data: st.DataObject) -> Any:
    return {key: event[key] for key in data.draw(st.permutations(list(event)))} if isinstance(event, dict) else event


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([
    "choices", "delta", "messages", "type", "item", "response", "index", "content", "tool_calls", "function", "id", "role", "usage",
    "databricks_output", "output", "finish_reason", "text", "summary", "arguments",
])  # fmt: skip
ODD = st.recursive(
    JSON | st.sampled_from(["response.completed", "response.output_item.done", "message", "text", "reasoning"]),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(KEYS, x, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ODD, max_size=5), st.sampled_from([Kind.CHAT, Kind.CUSTOM, Kind.RESPONSES]))
def test_whatever_comes_is_no_crash(events: list[Any], kind: Kind) -> None:
    """Odd values in every place of an event give some answer that is JSON; nothing raises."""
    assembly = Assembly(kind)
    for event in events:
        assembly.take(event)
    assert isinstance(assembly.text(), str)
    assert json.dumps(assembly.body()) != ""


# ---- dialects' peculiarities -----------------------------------------------------------------------------------------------------


def chunk(delta: Any = None, index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta or {}, "finish_reason": finish}], **more}


def body_of(*events: Any, kind: Kind = Kind.CHAT) -> Any:
    assembly = Assembly(kind)
    for event in events:
        assembly.take(event)
    return assembly.body()


def test_content_parts_and_reasoning() -> None:
    """Parts of one type grow into one, a plain text after parts is one more part, and reasoning is no text."""
    reason = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Let me"}]}
    more = {"type": "reasoning", "summary": [{"type": "summary_text", "text": " think"}]}
    events = [
        chunk({"content": [reason]}),
        chunk({"content": [more]}),
        chunk({"content": "ML"}),
        chunk({"content": [{"type": "text", "text": "flow"}]}),
    ]
    assert Assembly(Kind.CHAT).take(events[0]) is False
    assert body_of(*events)["choices"][0]["message"]["content"] == [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Let me think"}]},
        {"type": "text", "text": "MLflow"},
    ]  # fmt: skip


def test_several_choices_and_tool_calls() -> None:
    """Fragments find their choice and their call by index; a server that numbers all calls 0 is told from the ids."""
    body = body_of(
        chunk({"content": "b1"}, index=1),
        chunk({"content": "a"}, finish="stop"),
        chunk({"content": "b2"}, index=1, finish="stop"),
        chunk({"tool_calls": [{"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}]}, index=2),
        chunk({"tool_calls": [{"index": 0, "function": {"name": "", "arguments": ":1}"}}]}, index=2),
        chunk({"tool_calls": [{"index": 0, "id": "y", "type": "function", "function": {"name": "g", "arguments": "{}"}}]}, index=2),
        chunk({"reasoning_content": "be"}, index=2),
        chunk({"reasoning_content": "cause"}, index=2, finish="tool_calls"),
        {"choices": [], "usage": {"total_tokens": 3}},
    )
    a, b, c = body["choices"]
    assert (a["message"]["content"], b["message"]["content"], c["finish_reason"]) == ("a", "b1b2", "tool_calls")
    assert c["message"]["tool_calls"] == [
        {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "y", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    assert c["message"]["reasoning_content"] == "because"
    assert body["usage"] == {"total_tokens": 3}


def test_messages_of_a_chat_agent() -> None:
    """A new id begins a message, a known one goes on, and without ids a message goes on as long as the same speaks."""
    body = body_of(
        {"delta": {"role": "assistant", "content": "a", "id": "1"}},
        {"delta": {"role": "tool", "content": "x", "id": "2", "tool_call_id": "c"}},
        {"delta": {"role": "assistant", "content": "b", "id": "1"}},
        {"delta": {"role": "user", "content": "y"}},
        {"delta": {"content": "z"}, "custom_outputs": {"k": 1}},
    )
    assert [m["content"] for m in body["messages"]] == ["ab", "x", "yz"]
    assert body["custom_outputs"] == {"k": 1}


def test_items_of_a_responses_agent() -> None:
    """An item that is sent again takes its place; another one under the same id does not; deltas count only when nothing final came."""
    text = [{"type": "output_text", "text": "Hi"}]
    done = {"type": "response.output_item.done", "item": {"type": "message", "id": "m", "content": text}}
    other = {
        "type": "response.output_item.done",
        "item": {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Bye"}]},
    }
    delta = {"type": "response.output_text.delta", "item_id": "m", "delta": "H"}
    assert len(body_of(delta, done, done, kind=Kind.RESPONSES)["output"]) == 1
    assert len(body_of(done, other, kind=Kind.RESPONSES)["output"]) == 2
    assert text_of(body_of(delta, delta, kind=Kind.RESPONSES)) == "HH"


@pytest.mark.parametrize(
    ("path", "text"),
    [("chat", "MLflow"), ("agent-v2-chat", "MLflow"), ("agent-v1-responses", "MLflow"), ("app-agentserver", "MLflow")],
    ids=lambda value: value,
)
def test_recorded_streams(stub: Stub, path: str, text: str) -> None:
    """The samples' text, and what stands beside it: trace, request id, the trace's id of an app."""
    stub.plays(CLOSING + (SAMPLES / f"sse-{path}.txt").read_bytes())
    streamed = asked(stub, Kind.RESPONSES)
    assert text_of(streamed.body) == text
    assert "databricks_output" not in json.dumps(streamed.body)
    beside = {"chat": set(), "app-agentserver": {"trace_id"}}.get(path, {"trace", "databricks_request_id"})
    assert set(streamed.output) == beside


@pytest.mark.parametrize("place", range(4))
def test_a_trace_in_any_event(place: int) -> None:
    """`databricks_output` is taken from whatever event has it, and is merged."""
    events: list[Any] = [chunk({"content": "a"}), chunk({"content": "b"}, finish="stop"), {"choices": [], "usage": {}}, {"x": 1}]
    events[place] = {**events[place], "databricks_output": {"trace": {"info": {}}, "databricks_request_id": None}}
    assembly = Assembly(Kind.CHAT)
    for event in [{"databricks_output": {"databricks_request_id": "r"}}, *events]:
        assembly.take(event)
    assert assembly.output == {"trace": {"info": {}}, "databricks_request_id": "r"}
    assert text_of(assembly.body()) == "ab"


# ---- errors inside a stream, and streams that end too early --------------------------------------------------------------------------


BEGUN = chunk({"content": "MLflow is"})
ITEM = {"type": "response.output_item.done", "item": {"type": "message", "content": "MLflow is", "role": "assistant"}}


@pytest.mark.parametrize(
    ("event", "kind", "code"),
    [
        ({"databricks_output": {"error": {"error_code": "BAD_REQUEST", "message": "boom"}}}, Rejected, "BAD_REQUEST"),
        ({"error": "boom"}, Broken, None),
        ({"error": {"message": "boom", "type": "rate_limit_error", "code": None}}, Throttled, "rate_limit_error"),
        ({"error": {"message": "boom", "code": 429}}, Throttled, "429"),
        ({"type": "error", "code": "PERMISSION_DENIED", "message": "boom"}, AccessDenied, "PERMISSION_DENIED"),
        ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "boom"}}}, Broken, "server_error"),
        ({"error_code": "DEADLINE_EXCEEDED", "error": {"message": "boom"}}, CallTimeout, "DEADLINE_EXCEEDED"),
        ({"choices": [], "error": {"message": "boom", "code": "context_length_exceeded"}}, Rejected, "context_length_exceeded"),
    ],
    ids=["databricks", "app", "openai", "number", "responses", "failed", "outside", "in a chunk"],
)
def test_errors_after_a_200(stub: Stub, event: Any, kind: type[CallError], code: str | None) -> None:
    """They are errors of their own class, with the server's code and words and what had come; nothing is tried again."""
    stub.plays(CLOSING + sse(BEGUN, event))
    with pytest.raises(kind, match="boom.*1 event had come before: 'MLflow is'") as caught:
        asked(stub, retries=3)
    assert (type(caught.value), caught.value.status, caught.value.error_code) == (kind, 200, code)
    assert len(stub.bodies) == 1


def test_a_named_error_event(stub: Stub) -> None:
    """`event: error` is an error, be its data JSON or not."""
    for data in (b'{"message": "boom"}', b"boom"):
        stub.plays(CLOSING + b"event: error\ndata: " + data + b"\n\n")
        with pytest.raises(Broken, match="boom"):
            asked(stub)


def test_a_figure_called_error_is_none(stub: Stub) -> None:
    """A custom model may predict an `error`."""
    stub.plays(CLOSING + sse({"value": 3, "error": "small"}, {"error": None, "value": 4}, {"error": 0.5}))
    assert len(asked(stub, Kind.CUSTOM).body["predictions"]) == 3


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"", "empty body"),
        (b": nothing\n\n", "without an answer"),
        (sse(), "without an answer"),
        (sse({"choices": [], "usage": {}}), "without an answer"),
        (sse(BEGUN, done=False), "before the answer was complete.*'MLflow is'"),
        (sse(BEGUN, done=False) + b"data: {\"choi", "no JSON.*'MLflow is'"),
        (sse(BEGUN, done=False) + b"data: nonsense\n\n" + sse(chunk(finish="stop")), "no JSON.*nonsense"),
        (sse({"delta": {"content": "a", "id": "1"}}, done=False), "before the answer was complete"),
        (sse({"type": "response.output_text.delta", "item_id": "1", "delta": "a"}, done=False), "before the answer was complete"),
        (sse({"type": "response.created", "response": {}}, ITEM, done=False), "before the answer was complete"),
        (b"Busy. Come again.", "without an answer"),
    ],
    ids=["empty", "comments", "only done", "only usage", "cut", "cut inside", "a hole", "cut agent", "only deltas", "begun",
         "no stream"],
)  # fmt: skip
def test_what_is_no_answer(stub: Stub, stream: bytes, message: str) -> None:
    """A stream that ends before the answer is complete is an unusable reply that tells what had come."""
    stub.plays(CLOSING + stream)
    with pytest.raises(UnusableReply, match=message):
        asked(stub)


@pytest.mark.parametrize(
    "stream",
    [
        sse(BEGUN, chunk(finish="stop"), done=False),
        sse(BEGUN, chunk(finish="stop"), done=False) + b"data: [DO",
        sse(BEGUN),
        sse({"delta": {"content": "MLflow is", "id": "1"}}, {"databricks_output": {"databricks_request_id": "r"}}, done=False),
        sse({"delta": {"content": "MLflow is", "id": "1"}, "finish_reason": "stop"}, done=False),
        sse(ITEM, done=False),
        sse({"type": "response.output_text.delta", "delta": "MLflow is"}),
        sse("MLflow", " is", done=False),
    ],
    ids=["finished", "cut after", "done", "request id", "agent finished", "item done", "only deltas and done", "pyfunc"],
)
def test_what_is_an_answer_without_its_end(stub: Stub, stream: bytes) -> None:
    """An answer that is complete by its own signs is kept, whatever is missing after it."""
    stub.plays(CLOSING + stream)
    assert text_of(asked(stub).body) == "MLflow is"


def test_no_token_in_a_message(stub: Stub) -> None:
    """Neither the server's words nor what had come bring a token into an error."""
    token = "dapi" + "0123456789abcdef" * 2
    leak = sse(chunk({"content": token}), done=False)
    for rest in (b"data: " + token.encode() + b"\n\n", sse({"error": f"Bearer {token} is wrong", "code": token}), b""):
        stub.plays(CLOSING + leak + rest)
        with pytest.raises(CallError, match=r"\[(hidden|removed)\]") as caught:
            asked(stub)
        assert token not in f"{caught.value} {caught.value.error_code}"


def test_waking_up_repeats_no_stream_that_has_begun(stub: Stub) -> None:
    """An endpoint that fails inside a stream is awake: its first call is not made again."""
    full, broken = sse(BEGUN, {"error": {"code": 429, "message": "full"}}), sse(BEGUN, {"error": "boom"})
    for talk in (CLOSING + full, CLOSING + broken, dripping(CLOSING, sse(BEGUN, done=False), 1.0)):
        stub.plays(talk)
        stub.bodies.clear()
        asking = FirstCall("Endpoint 'bot'", asleep=False, patience=Patience(wait=5, sleep=lambda _: None, tell=lambda _: None))
        with pytest.raises((Throttled, Broken, CallTimeout)):
            asking.ask(lambda: answer_from(asked(stub, seconds=0.2)))
        assert len(stub.bodies) == 1


def chunked(stream: bytes) -> bytes:
    return f"{len(stream):x}\r\n".encode() + stream + b"\r\n"


def test_a_broken_connection(stub: Stub) -> None:
    """A body that HTTP says is cut is a broken connection, with what had come; a complete answer before the break is kept."""
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    stub.plays(head + chunked(sse(BEGUN, done=False)))
    with account() as used, pytest.raises(Broken, match="broke the connection off.*'MLflow is'"):
        asked(stub, retries=3)
    assert used.attempts == 1
    stub.plays(head + chunked(sse(BEGUN, chunk(finish="stop"), done=False)))
    assert text_of(asked(stub).body) == "MLflow is"


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_before_the_first_byte_calls_are_tried_again(stub: Stub) -> None:
    """A refusal, a reset, and a body that never begins are tried again; the answer that comes then is taken."""
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    broken = HEAD + b"Content-Length: 99\r\nConnection: close\r\n\r\n"
    stub.plays(busy, reset, broken, CLOSING + sse(BEGUN))
    with account() as used:
        assert text_of(asked(stub, retries=3).body) == "MLflow is"
    assert (used.attempts, used.retries) == (4, 3)


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_plain_json_is_taken_as_it_is(stub: Stub, kind: str) -> None:
    """A server that does not stream although it was asked to gives its answer; there is no first token."""
    answer = b'\xef\xbb\xbf \n{"choices": [{"message": {"content": "\xc3\xbc"}}], "databricks_output": {"trace": {"a": 1}}}'[4:]
    stub.plays(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode() + answer)
    streamed = asked(stub)
    assert (text_of(streamed.body), streamed.first_token_ms, streamed.events) == ("ü", None, 0)
    assert (streamed.output, "databricks_output" in streamed.body) == ({"trace": {"a": 1}}, False)


def test_a_web_page(stub: Stub) -> None:
    """A login page is no stream."""
    stub.plays(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>log in</html>")
    with pytest.raises(AccessDenied, match="login page"):
        asked(stub)


def test_text_is_utf8_whatever_the_header_says(stub: Stub) -> None:
    """An event stream is UTF-8; there is no other encoding of it."""
    stub.plays(CLOSING.replace(b"stream", b"stream; charset=iso-8859-1") + sse(chunk({"content": "Grüße 你好 🎉"}, finish="stop")))
    assert text_of(asked(stub).body) == "Grüße 你好 🎉"


# ---- time ------------------------------------------------------------------------------------------------------------------------------


def dripping(*steps: bytes | float) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        for step in steps:
            if isinstance(step, float):
                time.sleep(step)
            else:
                connection.sendall(step)

    return talk


@pytest.mark.parametrize("way", ["closing", "chunked", "one chunk"])
def test_time_to_first_token(stub: Stub, way: str) -> None:
    """It is measured when the first text arrives, not when a buffer is full: neither the role nor the rest of the answer counts."""
    first, second, third = (
        sse(chunk({"role": "assistant"}), done=False),
        sse(BEGUN, done=False),
        sse(chunk({"content": "."}, finish="stop")),
    )
    if way == "closing":
        steps = (CLOSING, first, 0.1, second, 0.2, third)
    elif way == "chunked":
        steps = (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunked(first), 0.1, chunked(second), 0.2, chunked(third) + b"0\r\n\r\n")
    else:  # the events drip inside one chunk of HTTP
        size = f"{len(first + second + third):x}\r\n".encode()
        steps = (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + size, first, 0.1, second, 0.2, third + b"\r\n0\r\n\r\n")
    stub.plays(dripping(*steps))
    streamed = asked(stub)
    assert streamed.first_token_ms is not None
    assert 95 <= streamed.first_token_ms < 250
    assert streamed.latency_ms >= 295


def test_a_server_that_goes_on_after_the_end(stub: Stub) -> None:
    """After [DONE] it is waited for a trace a moment, and no longer; the latency ends with [DONE]."""
    late = sse({"databricks_output": {"trace": {"a": 1}}}, done=False)
    stub.plays(dripping(CLOSING, sse(BEGUN), 0.1, late, 3.0))
    begun = time.monotonic()
    streamed = asked(stub)
    assert streamed.output == {"trace": {"a": 1}}
    assert time.monotonic() - begun < 2.5
    assert streamed.latency_ms < 100


def test_one_deadline_over_the_whole_stream(stub: Stub) -> None:
    """A stream that drips for ever ends with the attempt's time, and is not asked for again."""
    stub.plays(dripping(CLOSING, *([sse(BEGUN, done=False), 0.05] * 100)))
    begun = time.monotonic()
    with pytest.raises(CallTimeout, match=r"within 0\.4 s.*events had come before"):
        asked(stub, retries=3, seconds=0.4)
    assert time.monotonic() - begun < 2
    assert len(stub.bodies) == 1


def test_the_connection_is_used_again(stub: Stub) -> None:
    """A stream that was read to its end leaves its connection to the next one."""
    accepted: list[socket.socket] = []
    body = chunked(sse(BEGUN)) + b"0\r\n\r\n"

    def talk(connection: socket.socket) -> None:
        accepted.append(connection)
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        connection.recv(65536)
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body)

    stub.plays(talk)
    server = Server(stub.url, name="the stub")
    for _ in range(2):
        ask(server, "/invocations", {}, what="it", kind=Kind.CHAT)
    assert len(accepted) == 1
