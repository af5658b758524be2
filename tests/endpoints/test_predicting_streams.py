"""`to_predict_fn(..., stream=True, fresh=...)` from the outside: over real HTTP, inside `evaluate` and out."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import evalpoint
from evalpoint.errors import ConfigurationError
from evalpoint.mocks import MockWorkspace
from evalpoint.scorers import scorer

USAGE = {"prompt_tokens": 5, "completion_tokens": 20, "total_tokens": 25}
Answering = Callable[[Any], "list[Any] | int"]


class Agent:
    """A server on loopback: `answering` gives events for a body (numbers are pauses), or a status."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.answering: Answering = lambda body: answer("Hi.")
        self.url = ""


def answer(text: str, usage: Any = USAGE) -> list[Any]:
    half = len(text) // 2
    chunks = [{"choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}]} for part in (text[:half], text[half:])]
    return [chunks[0], 0.02, chunks[1], {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}]


class Handler(BaseHTTPRequestHandler):
    agent: Agent

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.agent.bodies.append(body)
        events = self.agent.answering(body)
        self.send_response(events if isinstance(events, int) else 200)
        self.send_header("Content-Type", "application/json" if isinstance(events, int) else "text/event-stream")
        self.end_headers()
        for event in () if isinstance(events, int) else (*events, None):
            if isinstance(event, float):
                time.sleep(event)
            else:
                self.wfile.write(f"data: {json.dumps(event) if event else '[DONE]'}\n\n".encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        return


@pytest.fixture
def agent() -> Iterator[Agent]:
    serving = Agent()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"agent": serving}))
    serving.url = f"http://127.0.0.1:{server.server_address[1]}/invocations"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield serving
    server.shutdown()
    server.server_close()


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"inputs": {"messages": [{"role": "user", "content": f"q{n}"}], **more}} for n in range(count)]


@scorer
def said(outputs: Any) -> bool:
    return evalpoint.text_of(outputs) == "Hi."


def streamed(agent: Agent, **options: Any) -> Any:
    return evalpoint.to_predict_fn(agent.url, **{"kind": "chat", "stream": True, **options})


def test_times_of_streamed_answers(agent: Agent) -> None:
    """Every row has its time to first token and its tokens a second, the root span too, and the result their percentiles."""
    result = evalpoint.evaluate(rows(3), [said], streamed(agent), progress=False)
    frame = result.result_df
    assert list(frame.columns)[-3:] == ["cost", "first_token_ms", "tokens_per_second"]
    assert (frame["said/value"].all(), frame["state"].tolist()) == (True, ["ok"] * 3)
    assert ((frame["first_token_ms"] > 0) & (frame["first_token_ms"] < frame["latency_ms"])).all()
    assert frame["tokens_per_second"].between(1, 20 / 0.01).all()
    assert set(result.first_token) == {"p50", "p95"}
    assert result.first_token["p95"] == frame["first_token_ms"].max()
    assert "first token p50" in str(result)
    assert {"first_token/p50", "latency/p50"} <= set(evalpoint.get_run(result.run_id).data.metrics)
    trace = evalpoint.get_trace(frame["trace_id"][0])
    assert trace is not None
    assert trace.root is not None
    assert trace.root.get_attribute("evalpoint.first_token_ms") == pytest.approx(frame["first_token_ms"][0], abs=0.001)
    assert trace.root.get_attribute("evalpoint.tokens_per_second") == pytest.approx(frame["tokens_per_second"][0], abs=0.001)
    assert all(body["stream"] is True for body in agent.bodies)


def test_no_columns_without_a_stream(agent: Agent) -> None:
    """Nothing is said of streaming where nothing was streamed, and answers that come with the data bring no times along."""
    once = evalpoint.evaluate(rows(1), [], streamed(agent), progress=False)
    trace = evalpoint.get_trace(once.result_df["trace_id"][0])
    again = evalpoint.evaluate([{"trace": trace}], [], progress=False)
    assert list(again.result_df.columns)[-1] == "cost"
    assert again.first_token == {}
    assert "first token" not in str(again)


def test_without_usage_there_is_no_rate(agent: Agent) -> None:
    """Tokens that nobody counted make no figure; the time to the first token is known all the same."""
    agent.answering = lambda body: answer("Hi.", usage=None)
    frame = evalpoint.evaluate(rows(1), [], streamed(agent), progress=False).result_df
    assert frame["first_token_ms"][0] > 0
    assert frame["tokens_per_second"].isna().all()


def test_a_request_that_asks_for_a_stream_itself(agent: Agent) -> None:
    """`"stream": true` among the inputs is heard without `stream=True`."""
    assert evalpoint.text_of(streamed(agent, stream=False)(question="q", stream=True)) == "Hi."


def test_a_stream_that_fails_is_a_failed_row(agent: Agent) -> None:
    """An error after the 200 is that row's failure, with the server's words; the others stand."""
    agent.answering = lambda body: [*answer("Hi.")[:2], {"error": "out of memory"}] if "q1" in str(body) else answer("Hi.")
    result = evalpoint.evaluate(rows(3), [said], streamed(agent), progress=False)
    assert result.states == {"ok": 2, "target_error": 1}
    assert "out of memory" in result.failures[0].message
    assert len(agent.bodies) == 3


def test_what_cannot_be_streamed(agent: Agent) -> None:
    """Embeddings do not come as a stream; that is said when the function is made."""
    with pytest.raises(ConfigurationError, match="does not come as a stream"):
        streamed(agent, kind="embeddings")


def threads_of(agent: Agent) -> list[str]:
    return [body["custom_inputs"]["thread_id"] for body in agent.bodies]


def test_fresh_for_every_row_repeat_and_retry(agent: Agent) -> None:
    """Every request on the wire has a value of its own, those of failed attempts too; the trace has the one that was answered."""
    tried: set[str] = set()
    answered: list[str] = []

    def answering(body: Any) -> Any:
        question = body["messages"][0]["content"]
        if question not in tried:
            tried.add(question)
            return 503
        answered.append(body["custom_inputs"]["thread_id"])
        return answer("Hi.")

    agent.answering = answering
    function = streamed(agent, fresh={"custom_inputs.thread_id": "uuid"})
    result = evalpoint.evaluate(rows(3, custom_inputs={"thread_id": "mine", "k": 1}), [said], function, repeats=2, progress=False)
    assert result.states == {"ok": 6}
    assert len(agent.bodies) == 9
    assert len(set(threads_of(agent))) == 9
    assert all(body["custom_inputs"]["k"] == 1 for body in agent.bodies)
    trace = evalpoint.get_trace(result.result_df["trace_id"][0])
    assert trace is not None
    assert trace.root is not None
    assert trace.root.inputs["custom_inputs"]["thread_id"] in answered


def test_fresh_without_a_stream_and_with_a_function(agent: Agent) -> None:
    """The values may come from a function, and plain answers are asked for in the same way."""
    numbers = iter(range(10, 20))
    agent.answering = lambda body: 400
    function = streamed(agent, stream=False, fresh={"context.conversation_id": lambda: f"c{next(numbers)}"})
    for _ in range(2):
        with pytest.raises(evalpoint.errors.Rejected):
            function(question="q")
    assert [body["context"] for body in agent.bodies] == [{"conversation_id": "c10"}, {"conversation_id": "c11"}]


def test_a_place_that_rows_have_not(agent: Agent) -> None:
    """Rows whose payload has no such place are told before anything is sent."""
    data = [*rows(1), *rows(1, custom_inputs="text")]
    with pytest.raises(evalpoint.errors.DataError, match=r"row 1: fresh= should fill 'custom_inputs.thread_id'.*of type str"):
        evalpoint.evaluate(data, [], streamed(agent, fresh={"custom_inputs.thread_id": "uuid"}), progress=False)
    assert agent.bodies == []


@pytest.mark.parametrize("made", [False, True], ids=["inputs", "request="])
def test_one_id_for_all_rows_gets_a_warning(agent: Agent, caplog: pytest.LogCaptureFixture, made: bool) -> None:
    """One sentence in the log, for the whole evaluation; none with `fresh`, and none when a person talks to the function."""
    data = rows(4, custom_inputs={"thread_id": "always"})
    options = {"request": dict} if made else {}
    evalpoint.evaluate(data, [], streamed(agent, fresh={"custom_inputs.thread_id": "uuid"}, **options), progress=False)
    function = streamed(agent, **options)
    if made:
        for row in data:
            function(**row["inputs"])
    assert [r.message for r in caplog.records if r.name == "evalpoint" and "thread_id" in r.message] == []
    for _ in range(2):
        evalpoint.evaluate(data, [], function, progress=False)
    (warning,) = [r.message for r in caplog.records if r.name == "evalpoint" and "thread_id" in r.message]
    assert "'always'" in warning


def test_whose_call_it_is() -> None:
    """Inside an evaluation every call to a serving endpoint is marked with its run; outside it is not. A refused mark is left out."""
    with MockWorkspace() as mock, mock.exported():
        plain, strict = mock.chat("plain"), mock.chat("strict", rejects=["usage_context"])
        for bot in (plain, strict):
            function = evalpoint.to_predict_fn(f"endpoints:/{bot.name}")
            function(question="before")
            result = evalpoint.evaluate(rows(2), [], function, progress=False, max_workers=1)
            assert result.states == {"ok": 2}
            sent = [request.body.get("usage_context") for request in bot.requests]
            mark = {"evalpoint_run": result.run_id}
            assert sent == ([None, mark, mark] if bot is plain else [None, mark, None, None])
            assert bot.requests[-1].body["client_request_id"].startswith(f"evalpoint:{result.run_id}:")
            trace = evalpoint.search_traces(run_id=result.run_id, return_type="list")[0]
            assert trace.info.tags["evalpoint.run"] == result.run_id
