"""Recordings: every call ends with exactly one trace, whatever it emitted."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace as otel

from evalpoint.entities import Given, Row, RowKey, Trace
from evalpoint.errors import FormatError
from evalpoint.formats.traces import read_trace
from evalpoint.tracing import NOTE, ORIGINAL_ID, Recorder, activate, adopt, emit, new_gathered, request_id, root_span, start_span
from evalpoint.tracing.collection import COLLECTOR

FIXTURES = Path(__file__).parent.parent / "fixtures" / "traces"
SAMPLES = [*sorted(FIXTURES.glob("trace-to_dict-*.json")), FIXTURES / "rest-traces-get-3.17.2.json"]
RECORDER = Recorder(experiment_id="3", run_id="run1", metadata={"mlflow.sourceRun": "run1"}, tags={"evalpoint.run": "run1"})


def sample(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(autouse=True)
def _otel() -> None:
    activate({})


def test_a_call_without_spans_gets_a_root() -> None:
    """Inputs, outputs, the run's metadata and tags, and the time of the call are on a span made for it."""
    with RECORDER.record("my_fn", {"q": "hi"}, RowKey(4, 1)) as recording:
        assert request_id() == "evalpoint:run1:4:1"
        made = recording.answered({"a": 1})
    assert request_id() is None
    (root,) = made.data.spans
    assert (root.name, root.inputs, root.outputs, root.span_type) == ("my_fn", {"q": "hi"}, {"a": 1}, "CHAIN")
    assert made.info.trace_metadata["mlflow.sourceRun"] == "run1"
    assert made.info.tags == {"mlflow.traceName": "my_fn", "evalpoint.run": "run1"}
    assert not recording.linked


def test_a_call_that_raises_keeps_its_spans() -> None:
    """The trace of a failed call is in state ERROR and shows how far it came."""
    with RECORDER.record("my_fn", {}, RowKey(0)) as recording:
        with start_span("step"):
            pass
        made = recording.failed(RuntimeError("boom"))
    assert [span.name for span in made.data.spans] == ["step"]
    assert made.info.state.value == "ERROR"


def test_several_traces_hang_under_one_root() -> None:
    """A call that begins two traces has them as two branches of one."""
    with RECORDER.record("my_fn", {"q": 1}, RowKey(0)) as recording:
        with start_span("first"):
            pass
        with start_span("second"):
            pass
        made = recording.answered("x")
    root = made.data.spans[0]
    assert [(s.name, s.parent_id) for s in made.data.spans] == [("my_fn", None), ("first", root.span_id), ("second", root.span_id)]


def test_a_foreign_tracer_is_captured() -> None:
    """A function instrumented by OpenTelemetry alone has its own trace, with inputs and outputs filled in."""
    with RECORDER.record("my_fn", {"q": 1}, RowKey(0)) as recording:
        with otel.get_tracer("lib").start_as_current_span("work"):
            pass
        made = recording.answered("x")
    (root,) = made.data.spans
    assert (root.name, root.inputs, root.outputs) == ("work", {"q": 1}, "x")


def test_a_span_around_the_evaluation_is_no_parent() -> None:
    """Rows evaluated inside a traced block have traces of their own."""
    with start_span("outside") as outside, RECORDER.record("my_fn", {}, RowKey(0)) as recording:
        with start_span("inside"):
            pass
        made = recording.answered(1)
    assert [span.name for span in made.data.spans] == ["inside"]
    assert made.info.trace_id != outside.trace_id


def test_two_recordings_at_once_do_not_mix() -> None:
    """64 threads record at once; each trace has the spans of its own call."""
    found: dict[int, Trace] = {}

    def work(n: int) -> None:
        with RECORDER.record("f", {"n": n}, RowKey(n)) as recording:
            with start_span("a") as a:
                a.set_inputs({"n": n})
                with start_span("b") as b:
                    b.set_inputs({"n": n})
            found[n] = recording.answered(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: [s.inputs["n"] for s in t.data.spans] for n, t in found.items()} == {n: [n, n] for n in range(64)}
    assert COLLECTOR._open == {}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_dialect_is_adopted(path: Path) -> None:
    """A new id in the active experiment; spans, times, events, status and user tags kept; the original id remembered."""
    fields = read_trace(sample(path))
    original = read_trace(sample(path))
    with RECORDER.record("f", {}, RowKey(0)) as recording:
        emit(adopt(fields, metadata={"evalpoint.endpoint": "endpoints:/bot"}))
        made = recording.answered("ignored")
    assert made.info.trace_id != original["info"]["trace_id"]
    assert made.info.trace_metadata[ORIGINAL_ID] == original["info"]["trace_id"]
    assert made.info.trace_metadata["evalpoint.endpoint"] == "endpoints:/bot"
    assert made.info.experiment_id == "3"
    assert [s.span_id for s in made.data.spans] == [s["span_id"] for s in original["spans"]]
    assert [s.start_time_ns for s in made.data.spans] == [s["start_time_ns"] for s in original["spans"]]
    assert [s.span_type for s in made.data.spans] == ["AGENT", "RETRIEVER", "TOOL", "CHAT_MODEL"]
    assert [e.name for s in made.data.spans for e in s.events] == ["exception"]
    assert made.data.spans[0].inputs == {"messages": [{"role": "user", "content": "What is MLflow?"}]}
    assert not {k for k in made.info.tags if k.startswith("mlflow.")} - {"mlflow.traceName"}


def test_a_trace_that_lives_here_is_linked() -> None:
    """A trace of the active experiment keeps its id and is marked as linked."""
    fields = read_trace(sample(SAMPLES[0]))
    recorder = Recorder(experiment_id="3", run_id="r", lives_here=lambda trace_id: trace_id == fields["info"]["trace_id"])
    with recorder.record("f", {}, RowKey(0)) as recording:
        emit(adopt(fields))
        made = recording.answered("x")
    assert recording.linked
    assert made.info.trace_id == read_trace(sample(SAMPLES[0]))["info"]["trace_id"]


def test_adopted_spans_hang_under_the_calling_span() -> None:
    """Called inside another traced function, the endpoint's spans are its descendants; ids are kept unless taken."""
    with RECORDER.record("f", {}, RowKey(0)) as recording:
        with start_span("caller") as caller:
            emit(adopt(read_trace(sample(SAMPLES[0]))))
            emit(adopt(read_trace(sample(SAMPLES[0]))))
        made = recording.answered("x")
    spans = {span.span_id: span for span in made.data.spans}
    assert len(spans) == 9
    assert (made.info.token_usage or {}).get("total_tokens") in (None, 60)  # 30 each, where the sample's spans say: no piece is the total
    assert made.data.spans[0].name == "caller"
    under = [span for span in made.data.spans if span.parent_id == caller.span_id]
    assert [span.name for span in under] == ["predict", "predict"]
    assert all(span.parent_id in spans for span in made.data.spans[1:])


def test_a_damaged_trace_says_so() -> None:
    """What could not be read is told on the trace."""
    data = sample(FIXTURES / "trace-to_dict-mlflow-3.17.2.json")
    data["data"]["spans"][2] = "rubbish"
    with RECORDER.record("f", {}, RowKey(0)) as recording:
        emit(adopt(read_trace(data)))
        made = recording.answered("x")
    assert len(made.data.spans) == 3
    assert "damaged" in made.info.trace_metadata[NOTE]


@pytest.mark.parametrize("data", [{"spans": []}, {"spans": None}, {}], ids=["empty", "null", "absent"])
def test_a_trace_without_spans_is_no_trace(data: Any) -> None:
    """It is told as such, and never as an error of another kind."""
    info = sample(FIXTURES / "trace-to_dict-mlflow-3.17.2.json")["info"]
    with pytest.raises(FormatError):
        adopt(read_trace({"info": info, "data": data}))


def test_given_answers() -> None:
    """An answer sheet's row has a trace of one span; a given trace is adopted, and explicit outputs win."""
    sheet = RECORDER.given(Row(key=RowKey(0), inputs={"q": 1}, given=Given(outputs="A")))
    assert (sheet.outputs, sheet.trace.data.spans[0].outputs, sheet.latency_ms) == ("A", "A", None)
    trace = Trace.from_dict(sample(SAMPLES[0]))
    adopted = RECORDER.given(Row(key=RowKey(0), inputs={"q": 1}, given=Given(outputs="B", trace=trace)))
    assert adopted.outputs == "B"
    assert len(adopted.trace.data.spans) == 4
    assert adopted.trace.info.trace_id != trace.info.trace_id
    with pytest.raises(ValueError, match="no answer"):
        RECORDER.given(Row(key=RowKey(0), inputs={}))


def test_an_emitted_span_outside_of_a_recording_is_delivered() -> None:
    """A finished trace with nobody recording goes to the store's door."""
    found = []
    before, COLLECTOR.deliver = COLLECTOR.deliver, found.append
    try:
        emit(new_gathered(root_span("predict", {}, start_ns=1, end_ns=2)))
    finally:
        COLLECTOR.deliver = before
    assert [next(iter(g.finished.values()))["name"] for g in found] == ["predict"]
