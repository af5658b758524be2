"""Reading traces: every dialect gives the same plain shape."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalpoint.errors import FormatError
from evalpoint.formats import new_span_id, read_trace, write_trace
from evalpoint.formats.jsontext import MAX_DEPTH

SAMPLES = Path(__file__).parent.parent / "fixtures" / "traces"
WITH_SPANS = [
    "trace-to_dict-mlflow-2.14.3",
    "trace-to_dict-mlflow-2.22.4",
    "trace-to_dict-mlflow-3.1.4",
    "trace-to_dict-mlflow-3.5.0",
    "trace-to_dict-mlflow-3.17.2",
    "rest-traces-get-3.17.2",
    "ui-artifact-3.17.2",
]
QUESTION = {"messages": [{"role": "user", "content": "What is MLflow?"}]}


def sample(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return loaded


def v3_span(digit: str, parent: str | None = None, /, *, start: int = 1_000, **changes: Any) -> dict[str, Any]:
    """A span as MLflow 3.5 writes it, with ids that a person can read."""
    return {
        "trace_id": "tr-" + "a" * 32,
        "span_id": digit * 16,
        "parent_span_id": parent * 16 if parent else None,
        "name": f"span-{digit}",
        "start_time_unix_nano": start,
        "end_time_unix_nano": start + 10,
        "events": [],
        "status": {"code": "OK", "message": ""},
        "attributes": {},
        **changes,
    }


def trace_of(*spans: Any, **info: Any) -> dict[str, Any]:
    base = {"trace_id": "tr-" + "a" * 32, "request_time": "2026-11-23T17:46:34.224Z", "state": "OK"}
    return {"info": {**base, **info}, "data": {"spans": list(spans)}}


@pytest.mark.parametrize("name", WITH_SPANS)
def test_samples(name):
    """The same app traced by every MLflow reads as the same tree, with types, inputs, outputs, times and the tool's exception."""
    fields = read_trace(sample(name))
    spans = {span["name"]: span for span in fields["spans"]}
    assert fields["problems"] == []
    assert [span["name"] for span in fields["spans"]] == ["predict", "retrieve", "flaky_tool", "llm"]
    root = fields["spans"][0]
    assert root["parent_id"] is None
    assert {span["parent_id"] for span in fields["spans"][1:]} == {root["span_id"]}
    assert all(len(span["span_id"]) == 16 and int(span["span_id"], 16) for span in fields["spans"])
    assert [span["attributes"]["mlflow.spanType"] for span in fields["spans"]] == ["AGENT", "RETRIEVER", "TOOL", "CHAT_MODEL"]
    assert root["attributes"]["mlflow.spanInputs"] == QUESTION
    assert root["attributes"]["agent.version"] == "7"
    assert spans["retrieve"]["attributes"]["mlflow.spanOutputs"][0]["metadata"] == {"doc_uri": "docs/intro.md", "score": 0.9}
    assert spans["flaky_tool"]["status_code"] == "ERROR"
    assert spans["flaky_tool"]["status_message"] == "ValueError: tool failed"
    [event] = spans["flaky_tool"]["events"]
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"] == "ValueError"
    for span in fields["spans"]:
        assert span["end_time_ns"] is not None
        assert 1795455000 * 10**9 < span["start_time_ns"] <= span["end_time_ns"] < 1795456000 * 10**9
    assert spans["llm"]["attributes"]["temperature"] == 0.2
    assert fields["info"]["state"] == "OK"
    assert fields["info"]["execution_duration_ms"] is not None


def test_to_dict_and_rest_agree():
    """One trace through `to_dict` and through REST reads the same, assessments included."""
    assert read_trace(sample("trace-to_dict-mlflow-3.17.2")) == read_trace(sample("rest-traces-get-3.17.2"))


def test_info_v2():
    """The info of MLflow 2 has other names for the same things."""
    info = read_trace(sample("trace-to_dict-mlflow-2.14.3"))["info"]
    assert info["trace_id"] == "b6c93f9ba08c4805964dab1fed9dcaba"
    assert info["trace_location"] == {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "752207255629537420"}}
    assert (info["request_time_ms"], info["execution_duration_ms"]) == (1795455142518, 1)
    assert info["trace_metadata"]["mlflow.trace_schema.version"] == "2"
    assert info["tags"]["mlflow.traceName"] == "predict"


@pytest.mark.parametrize("name", ["traceinfo-v4-uc_schema", "traceinfo-v4-uc_table_prefix", "rest-traces-search-3.17.2"])
def test_info_alone(name):
    """An info without spans is a trace without spans."""
    fields = read_trace(sample(name))
    assert fields["spans"] == []
    assert fields["problems"] == []
    assert fields["info"]["trace_id"].endswith("f5be331ece86ac6e5d8115b9f4654825")
    assert fields["info"]["request_time_ms"] == 1795455994224


@pytest.mark.parametrize(
    "wrap",
    [
        json.dumps,
        lambda data: json.dumps(data, indent=2).encode(),
        lambda data: {"trace": data},
        lambda data: {"trace": {"trace_info": data["info"], "spans": data["data"]["spans"]}},
        lambda data: {"trace_info": data["info"], "spans": data["data"]["spans"]},
        lambda data: {"info": json.dumps(data["info"]), "data": json.dumps(data["data"])},
        lambda data: {"traces": [{"info": data["info"], "data": data["data"]}]},
    ],
    ids=["text", "bytes", "trace", "trace_info", "flat", "texts-inside", "page-of-one"],
)
def test_wrappers(wrap: Callable[[Any], object]):
    """However a trace is wrapped, it is the same trace."""
    data = sample("trace-to_dict-mlflow-3.17.2")
    assert read_trace(wrap(data)) == read_trace(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "nothing"),
        ({}, "neither an info"),
        ([], "list"),
        ("", "str"),
        ("no json", "str"),
        (7, "int"),
        ({"info": {}, "data": {"spans": []}}, "neither an info"),
        ({"info": None, "data": None}, "neither an info"),
        ({"info": {"…": "see traces/"}, "data": {"spans": ["…"]}}, "neither an info"),
        ({"status": "OK", "message": "hello"}, "neither an info"),
        ({"trace": {}}, "neither an info"),
        ({"steps": [{"name": "x"}]}, "before MLflow 2.14"),
        ({"traces": [{}, {}]}, "page of 2"),
        (
            {
                "info": {"request_id": "r", "status": "OK", "request_metadata": {"mlflow.trace_schema.version": "2"}},
                "data": {
                    "spans": [
                        {"name": "x", "span_id": "3b0e5c0e-9a77-4f0c-8f43-0c6f5c8f1a11", "attributes": '{"mlflow.spanType": "\\"AGENT\\""}'}
                    ]
                },
            },
            "before MLflow 2.14",
        ),
    ],
    ids=[
        "none",
        "empty",
        "list",
        "no-text",
        "words",
        "number",
        "empty-parts",
        "null-parts",
        "placeholders",
        "other-json",
        "empty-trace",
        "steps",
        "page",
        "old-spans",
    ],
)
def test_no_trace(data, says):
    """What is no trace at all, or older than MLflow 2.14, is a FormatError that says so."""
    with pytest.raises(FormatError, match=says):
        read_trace(data)


def names_and_parents(fields: Any) -> list[tuple[str, str | None]]:
    names = {span["span_id"]: span["name"] for span in fields["spans"]}
    return [(span["name"], span["parent_id"] and names[span["parent_id"]]) for span in fields["spans"]]


@pytest.mark.parametrize(
    ("spans", "tree", "says"),
    [
        ([v3_span("2", "1", start=5), v3_span("1", start=1)], [("span-1", None), ("span-2", "span-1")], []),
        (
            [v3_span("1"), v3_span("3", "2", start=5), v3_span("2", "1", start=5)],
            [("span-1", None), ("span-2", "span-1"), ("span-3", "span-2")],
            [],
        ),
        ([v3_span("1", start=9), v3_span("2", "1", start=5)], [("span-1", None), ("span-2", "span-1")], []),
        (
            [v3_span("1", start=5), v3_span("2", start=1), v3_span("3", "1", start=6)],
            [("span-2", None), ("span-1", "span-2"), ("span-3", "span-1")],
            ["second span without a parent"],
        ),
        ([v3_span("1"), v3_span("2", "9")], [("span-1", None), ("span-2", "span-1")], ["parent is not in the trace"]),
        ([v3_span("1", "9"), v3_span("2", "1")], [("span-1", None), ("span-2", "span-1")], ["root's parent is not in the trace"]),
        ([v3_span("1", "1")], [("span-1", None)], ["made the root"]),
        (
            [v3_span("1"), v3_span("2", "3", start=5), v3_span("3", "2", start=4), v3_span("4", "2", start=6)],
            [("span-1", None), ("span-3", "span-1"), ("span-2", "span-3"), ("span-4", "span-2")],
            ["one another's parents"],
        ),
        (
            [v3_span("1", "2", start=2), v3_span("2", "1", start=1)],
            [("span-2", None), ("span-1", "span-2")],
            ["made the root"],
        ),
    ],
    ids=["unsorted", "same-start", "child-first", "two-roots", "orphan", "remote-root", "own-parent", "cycle-aside", "only-a-cycle"],
)
def test_one_tree(spans, tree, says):
    """There is exactly one root and it comes first; orphans and second roots hang under it, cycles are cut, and `problems` says so."""
    fields = read_trace(trace_of(*spans))
    assert names_and_parents(fields) == tree
    assert len(fields["problems"]) == len(says)
    assert all(words in problem for words, problem in zip(says, fields["problems"], strict=True))


@pytest.mark.parametrize(
    ("changes", "check", "says"),
    [
        ({"span_id": None}, lambda span: len(span["span_id"]) == 16, "no readable id"),
        ({"span_id": "span-1"}, lambda span: len(span["span_id"]) == 16, "unknown form"),
        ({"name": None}, lambda span: span["name"] == "unnamed", "no name"),
        ({"start_time_unix_nano": None}, lambda span: span["start_time_ns"] == 1000, "no start"),
        ({"start_time_unix_nano": "1500"}, lambda span: span["start_time_ns"] == 1500, None),
        ({"start_time_unix_nano": 10**30}, lambda span: span["start_time_ns"] == 1000, "no start"),
        ({"end_time_unix_nano": 5}, lambda span: span["end_time_ns"] == span["start_time_ns"], "ends before it starts"),
        ({"end_time_unix_nano": "soon"}, lambda span: span["end_time_ns"] is None, "no time"),
        ({"end_time_unix_nano": None}, lambda span: span["end_time_ns"] is None, None),
        ({"status": {"code": "STATUS_CODE_ERROR"}}, lambda span: span["status_code"] == "ERROR", None),
        ({"status": {"code": 2, "message": "m"}}, lambda span: (span["status_code"], span["status_message"]) == ("ERROR", "m"), None),
        ({"status": "ok"}, lambda span: span["status_code"] == "OK", None),
        ({"status": None}, lambda span: span["status_code"] == "UNSET", None),
        ({"status": {"code": "BORED"}}, lambda span: span["status_code"] == "UNSET", "status is unknown"),
        ({"attributes": {"a": "{broken", "b": "7", "c": 7, "d": "1e999"}},
         lambda span: span["attributes"] == {"a": "{broken", "b": 7, "c": 7, "d": "1e999"}, None),
        ({"attributes": {"deep": "[" * 500 + "]" * 500}}, lambda span: span["attributes"]["deep"].startswith("[[["), None),
        ({"attributes": 7}, lambda span: span["attributes"] == {}, "no map"),
        ({"attributes": {"mlflow.traceRequestId": '"x"', "\ud83d": '"\ud83d"'}}, lambda span: span["attributes"] == {"�": "�"}, None),
        ({"attributes": [{"key": "a", "value": {"intValue": "7"}}, {"key": "b", "value": {}}, {"key": 3}, 4]},
         lambda span: span["attributes"] == {"a": 7, "b": None}, None),
        ({"events": {"name": "x"}}, lambda span: span["events"] == [{"name": "x", "timestamp_ns": 1500, "attributes": {}}], "no time"),
        ({"events": ["x", {"name": "e", "timestamp": 9}]}, lambda span: [e["timestamp_ns"] for e in span["events"]] == [9], "no object"),
        ({"links": [{"trace_id": "9b4zHs6GrG5dgRW59GVIJQ==", "span_id": "jq6SOP6LFuk="}]},
         lambda span: [tuple(link.values()) for link in span["links"]] == [("tr-f5be331ece86ac6e5d8115b9f4654825", "8eae9238fe8b16e9", {})],
         None),
        ({"links": [{"trace_id": 7}]}, lambda span: span["links"] == [], "leads nowhere"),
    ],
)  # fmt: skip
def test_one_damaged_span(changes, check, says):
    """What is damaged in a span is repaired, kept raw or left out, the rest of the trace stands, and `problems` says so."""
    damaged = v3_span("2", "1", start=1500) | changes
    fields = read_trace(trace_of(v3_span("1"), damaged, v3_span("3", "1", start=1600)))
    assert {"span-1", "span-3"} < {span["name"] for span in fields["spans"]}
    [span] = [span for span in fields["spans"] if span["name"] not in ("span-1", "span-3")]
    assert check(span)
    assert len(fields["problems"]) == (1 if says else 0)
    assert says is None or says in fields["problems"][0]


def test_foreign_ids_keep_the_tree():
    """Ids of an unknown form are replaced by the same digits wherever they come up."""
    root = v3_span("1", span_id="root-span")
    fields = read_trace(trace_of(root, v3_span("2", parent_span_id="root-span", start=2000)))
    assert names_and_parents(fields) == [("span-1", None), ("span-2", "span-1")]


def test_duplicate_ids():
    """The first of two spans with one id keeps it and its children; the second gets the id that chance gives."""
    fields = read_trace(
        trace_of(v3_span("1"), v3_span("2", "1", start=2000), v3_span("2", "1", start=3000, name="twin"), v3_span("3", "2", start=4000)),
        random=lambda size: b"\x07" * size,
    )
    assert names_and_parents(fields) == [("span-1", None), ("span-2", "span-1"), ("twin", "span-1"), ("span-3", "span-2")]
    assert fields["spans"][2]["span_id"] == "07" * 8
    assert fields["problems"] == ["A span was given a new id, as its id is another span's."]


def test_unreadable_spans():
    """Spans that are no objects, or have neither name nor id, are left out and counted."""
    fields = read_trace(trace_of(v3_span("1"), "junk", None, {"start_time_unix_nano": 7}))
    assert len(fields["spans"]) == 1
    assert fields["problems"] == ["A span that cannot be read was left out. (3 times)"]


@pytest.mark.parametrize(
    ("info", "expected", "says"),
    [
        ({"request_time": "soon"}, {"request_time_ms": 0}, "time is missing"),
        ({"state": "BORED"}, {"state": "OK"}, "state is missing"),
        ({"state": "TRACE_STATUS_UNSPECIFIED"}, {"state": "STATE_UNSPECIFIED"}, None),
        ({"execution_duration": "1.938s"}, {"execution_duration_ms": 1938}, None),
        ({"execution_duration_ms": "long"}, {"execution_duration_ms": 0}, "duration is no duration"),
        ({"tags": [{"key": "a", "value": "1"}, {"value": 2}, 3]}, {"tags": {"a": "1"}}, None),
        ({"tags": {"a": 1, "b": None, "c": True}}, {"tags": {"a": "1", "c": "true"}}, None),
        ({"tags": "x", "trace_metadata": 5}, {"tags": {}, "trace_metadata": {}}, None),
        ({"trace_location": "here"}, {"trace_location": {}}, "location cannot be read"),
        ({"trace_location": None, "experiment_id": 5},
         {"trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "5"}}}, None),
        ({"assessments": [{"assessment_name": "x"}, 5]}, {"assessments": []}, "assessment that cannot be read"),
        ({"client_request_id": 5, "request_preview": ["x"]}, {"client_request_id": None, "request_preview": None}, None),
        ({"trace_id": None}, {"trace_id": "tr-" + "a" * 32}, None),
    ],
)  # fmt: skip
def test_damaged_info(info, expected, says):
    """What is damaged in the info is repaired from the spans or left out."""
    fields = read_trace(trace_of(v3_span("1"), **info))
    assert {key: fields["info"][key] for key in expected} == expected  # type: ignore[literal-required]
    assert len(fields["problems"]) == (1 if says else 0)
    assert says is None or says in fields["problems"][0]


def test_info_with_an_id_alone():
    """An info that has nothing but an id still gives the trace its id; the rest comes from the spans."""
    info = read_trace({"info": {"trace_id": "tr-mine"}, "data": {"spans": [v3_span("1", start=5_000_000)]}})["info"]
    assert (info["trace_id"], info["request_time_ms"], info["state"]) == ("tr-mine", 5, "OK")


def test_no_id_anywhere():
    """A trace whose id is nowhere to be found gets a new one."""
    span = v3_span("1", trace_id=None)
    fields = read_trace({"data": {"spans": [span]}}, random=lambda size: b"\x01" * size)
    assert fields["info"]["trace_id"] == "tr-" + "01" * 16
    assert fields["problems"] == ["The trace has no readable id; it was given a new one."]


def many(count: int, parent: Callable[[int], int | None]) -> dict[str, Any]:
    ids = [f"{index + 1:016x}" for index in range(count)]
    spans: list[Any] = []
    for index in range(count):
        above = parent(index)
        spans.append(
            {"span_id": ids[index], "parent_span_id": None if above is None else ids[above], "name": "s", "start_time_unix_nano": index + 1}
        )
    return trace_of(*spans)


@pytest.mark.parametrize(
    "parent",
    [lambda i: 0 if i else None, lambda i: i - 1 if i else None, lambda i: i + 1 if i < 7_999 else None, lambda i: i ^ 1, lambda i: None],
    ids=["star", "chain", "chain-backwards", "pairs-in-circles", "all-roots"],
)
def test_many_spans(parent):
    """Eight thousand spans of any shape are read in well under a second and without recursion."""
    began = time.perf_counter()
    fields = read_trace(many(8_000, parent))
    assert time.perf_counter() - began < 3
    assert len(fields["spans"]) == 8_000
    assert sum(span["parent_id"] is None for span in fields["spans"]) == 1
    assert len(fields["problems"]) <= 2


def test_deep_json_text():
    """A text that nests a hundred thousand levels is no trace, and no crash."""
    with pytest.raises(FormatError):
        read_trace('{"info":' * 100_000)
    deep = '{"a":' * 400 + "1" + "}" * 400
    fields = read_trace(
        f'{{"trace_id": "tr-1", "state": "OK", "trace_location": {deep}, "spans": [{{"name": "s", "attributes": {{"a": {deep}}}}}]}}'
    )
    assert isinstance(fields["info"]["trace_location"]["a"], dict)
    assert fields["spans"][0]["attributes"]["a"].startswith("…")


@pytest.mark.parametrize("dialect", ["v3", "rest"])
def test_deepest_value(dialect):
    """A value as deep as a trace may hold survives both dialects, as JSON text too."""
    value: Any = 1
    for _ in range(MAX_DEPTH // 2):
        value = {"a": [value]}
    fields = read_trace(trace_of(v3_span("1", attributes={"a": value})))
    assert fields["spans"][0]["attributes"]["a"] == value
    assert read_trace(json.dumps(write_trace(fields, dialect))) == fields


def test_input_is_not_changed():
    """Reading changes nothing in what it reads, and shares no container with it."""
    data = sample("trace-to_dict-mlflow-3.17.2")
    before = json.dumps(data)
    fields = read_trace(data)
    fields["info"]["tags"]["x"] = "y"
    fields["info"]["trace_location"]["type"] = "changed"
    fields["spans"][2]["events"][0]["attributes"]["x"] = 1
    assert json.dumps(data) == before


def test_writing_a_damaged_trace():
    """What was repaired is written and read back without further repairs."""
    fields = read_trace(trace_of(v3_span("1", span_id="odd"), v3_span("2", "9", start=2000, name=None)))
    again = read_trace(write_trace(fields))
    assert again["problems"] == []
    assert again["spans"] == fields["spans"]
    assert new_span_id() != new_span_id()
