"""`@trace` and `start_span`: what becomes a span, and whose child it is."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator

import pytest
from opentelemetry import trace as otel

from evalpoint.entities import SpanEvent, SpanStatus, SpanStatusCode, SpanType, Trace
from evalpoint.tracing import (
    deliver_to,
    get_current_active_span,
    start_span,
    to_trace,
    trace,
    update_current_trace,
)
from evalpoint.tracing.collection import COLLECTOR


@pytest.fixture
def traces() -> Iterator[list[Trace]]:
    """The traces that are finished outside of any recording."""
    found: list[Trace] = []
    before = COLLECTOR.deliver
    deliver_to(lambda gathered: found.append(to_trace(gathered, experiment_id="7")))
    yield found
    deliver_to(before)


def test_nested_calls_make_one_trace(traces: list[Trace]) -> None:
    """A traced function inside another is its child, with arguments by name as inputs and the result as outputs."""

    @trace(span_type=SpanType.RETRIEVER)
    def retrieve(query: str, k: int = 2) -> list[str]:
        return ["a", "b"][:k]

    @trace
    def answer(question: str) -> str:
        return ", ".join(retrieve(question))

    assert answer("why?") == "a, b"
    (made,) = traces
    root, child = made.data.spans
    assert (root.name, root.parent_id, root.inputs, root.outputs) == ("answer", None, {"question": "why?"}, "a, b")
    assert (child.name, child.parent_id, child.inputs) == ("retrieve", root.span_id, {"query": "why?"})
    assert child.span_type == "RETRIEVER"
    assert made.info.state.value == "OK"
    assert made.info.experiment_id == "7"
    assert (made.info.request_preview, made.info.response_preview) == ("why?", "a, b")


def test_an_exception_is_recorded_and_raised(traces: list[Trace]) -> None:
    """The span has status ERROR and an exception event; the caller gets the exception itself."""

    @trace
    def broken() -> None:
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        broken()
    (root,) = traces[0].data.spans
    assert root.status == SpanStatus(SpanStatusCode.ERROR, "ValueError: no luck")
    assert [event.name for event in root.events] == ["exception"]
    assert root.events[0].attributes["exception.type"] == "ValueError"
    assert traces[0].info.state.value == "ERROR"


def test_coroutines(traces: list[Trace]) -> None:
    """Two coroutines at once keep their own children."""

    @trace
    async def inner(n: int) -> int:
        await asyncio.sleep(0.001)
        return n

    @trace
    async def outer(n: int) -> int:
        return await inner(n)

    async def both() -> list[int]:
        return await asyncio.gather(outer(1), outer(2))

    assert asyncio.run(both()) == [1, 2]
    assert sorted((t.data.spans[0].inputs["n"], t.data.spans[1].inputs["n"]) for t in traces) == [(1, 1), (2, 2)]


def test_generators_are_current_only_while_they_run(traces: list[Trace]) -> None:
    """What the consumer does between two items is no child of the generator; its outputs are what it yielded."""

    @trace
    def numbers() -> Iterator[int]:
        with start_span("inside"):
            pass
        yield 1
        yield 2

    seen = []
    for number in numbers():
        with start_span("consumer"):
            seen.append(number)
    assert seen == [1, 2]
    by_name = {t.data.spans[0].name: t for t in traces}
    assert [span.name for span in by_name["numbers"].data.spans] == ["numbers", "inside"]
    assert by_name["numbers"].data.spans[0].outputs == [1, 2]
    assert len(by_name["consumer"].data.spans) == 1


def test_a_generator_left_early_ends_its_span(traces: list[Trace]) -> None:
    """A consumer that stops asking ends the span, with what was yielded up to then and without an error."""

    @trace
    def numbers() -> Iterator[int]:
        yield from range(10)

    stream = numbers()
    assert next(stream) == 0
    stream.close()
    assert traces[0].data.spans[0].outputs == [0]
    assert traces[0].info.state.value == "OK"


def test_async_generators(traces: list[Trace]) -> None:
    """An async generator's outputs are what it yielded."""

    @trace
    async def letters():
        yield "a"
        yield "b"

    async def collect() -> list[str]:
        return [letter async for letter in letters()]

    assert asyncio.run(collect()) == ["a", "b"]
    assert traces[0].data.spans[0].outputs == ["a", "b"]


def test_everything_that_can_be_set_on_a_span(traces: list[Trace]) -> None:
    """Attributes keep their JSON types, events their times, and later changes of an object do not show."""
    inputs = {"deep": [1, {"x": None}]}
    with start_span("all", span_type="TOOL", attributes={"n": 3}) as span:
        span.set_inputs(inputs)
        inputs["deep"].append("later")
        span.set_outputs(float("nan"))
        span.set_attributes({"flag": True, "text": "7"})
        span.add_event(SpanEvent(name="tick", timestamp=5, attributes={"a": 1, "b": [1]}))
        span.set_status("OK")
        update_current_trace(tags={"topic": 1}, metadata={"mlflow.trace.session": "s"}, client_request_id="mine")
        assert get_current_active_span().span_id == span.span_id
    (found,) = traces[0].data.spans
    assert found.inputs == {"deep": [1, {"x": None}]}
    assert found.get_attribute("text") == "7"
    assert found.get_attribute("flag") is True
    assert found.span_type == "TOOL"
    assert (found.events[0].name, found.events[0].timestamp) == ("tick", 5)
    assert traces[0].info.tags["topic"] == "1"
    assert traces[0].info.trace_metadata["mlflow.trace.session"] == "s"
    assert traces[0].info.client_request_id == "mine"
    assert get_current_active_span() is None


def test_objects_that_json_cannot_hold(traces: list[Trace]) -> None:
    """An argument that contains itself, or is of no known kind, is written as text and breaks nothing."""
    loop: list[object] = []
    loop.append(loop)

    @trace
    def take(a: object, b: object) -> str:
        return "ok"

    assert take(loop, object()) == "ok"
    assert "take" in traces[0].data.spans[0].name
    assert traces[0].info.state.value == "OK"


def test_methods_leave_out_self(traces: list[Trace]) -> None:
    """A method's inputs are its arguments, without the object."""

    class Bot:
        @trace
        def ask(self, question: str, **more: int) -> str:
            return question

    Bot().ask("hi", temperature=1)
    assert traces[0].data.spans[0].inputs == {"question": "hi", "temperature": 1}


def test_instrumented_libraries_are_captured(traces: list[Trace]) -> None:
    """A span of any OpenTelemetry tracer inside one of ours becomes part of the trace, in MLflow's terms; outside it stays out."""

    @trace
    def call() -> None:
        tracer = otel.get_tracer("some.library")
        with tracer.start_as_current_span(
            "chat m", attributes={"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 2}
        ):
            pass

    call()
    otel.get_tracer("some.library").start_span("alone").end()
    (made,) = traces
    library = made.data.spans[1]
    assert (library.name, library.span_type) == ("chat m", "CHAT_MODEL")
    assert made.info.token_usage == {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}


def test_spans_of_other_threads_find_their_trace(traces: list[Trace]) -> None:
    """Spans are gathered by trace id: a child that ends on another thread belongs to its parent's trace."""
    with start_span("root"):
        context = contextvars.copy_context()

        def work() -> None:
            with start_span("elsewhere"):
                pass

        thread = threading.Thread(target=context.run, args=(work,))
        thread.start()
        thread.join()
    assert [span.name for span in traces[0].data.spans] == ["root", "elsewhere"]


def test_many_threads_do_not_mix(traces: list[Trace]) -> None:
    """200 traces on 16 threads: each has its own two spans."""

    @trace
    def inner(n: int) -> int:
        return n

    @trace
    def outer(n: int) -> int:
        return inner(n)

    def work(start: int) -> None:
        for n in range(start, 200, 16):
            outer(n)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(t.data.spans[0].inputs["n"] for t in traces) == list(range(200))
    assert all([s.inputs["n"] for s in t.data.spans] == [t.data.spans[0].inputs["n"]] * 2 for t in traces)
    assert COLLECTOR._open == {}


def test_a_span_that_begins_too_late_does_not_take_the_traces_place(traces: list[Trace]) -> None:
    """What begins under a span of an ended trace is left out; the trace stays as it was."""
    with start_span("root"), start_span("child"):
        context = contextvars.copy_context()

    def late() -> None:
        with start_span("late"):
            pass

    context.run(late)
    assert [[span.name for span in t.data.spans] for t in traces] == [["root", "child"]]


def test_two_traces_under_one_foreign_span_are_two(traces: list[Trace]) -> None:
    """A tracer of somebody else around them lends them its id; they stay apart all the same."""
    with otel.get_tracer("somebody").start_as_current_span("around"):
        with start_span("first"):
            pass
        with start_span("second"):
            pass
    assert [t.data.spans[0].name for t in traces] == ["first", "second"]
    assert len({t.info.trace_id for t in traces}) == 2


def test_a_decorator_on_something_else_says_so() -> None:
    """`@trace("name")` is a mistake that is explained."""
    with pytest.raises(TypeError, match="name='lookup'"):
        trace("lookup")  # type: ignore[call-overload]
