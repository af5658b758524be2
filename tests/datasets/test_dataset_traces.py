"""Rows that come with a trace: where inputs, outputs and expectations are taken from."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from evalpoint.datasets import checked, read
from evalpoint.entities import Expectation, Row, Trace
from evalpoint.errors import Problem
from evalpoint.formats import TraceFields

TRACE_ID = "tr-" + "a" * 32


def fields(inputs: Any = None, outputs: Any = None, *, spans: int = 1) -> TraceFields:
    attributes = {
        "mlflow.spanInputs": {"question": "q"} if inputs is None else inputs,
        "mlflow.spanOutputs": "a" if outputs is None else outputs,
    }
    return {
        "info": {
            "trace_id": TRACE_ID,
            "client_request_id": None,
            "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}},
            "request_time_ms": 1_700_000_000_000,
            "execution_duration_ms": 5,
            "state": "OK",
            "trace_metadata": {},
            "tags": {"mlflow.traceName": "root"},
            "request_preview": None,
            "response_preview": None,
            "assessments": [],
        },
        "spans": [
            {
                "name": "root" if n == 0 else "child",
                "span_id": f"{n + 1:016x}",
                "parent_id": None if n == 0 else f"{1:016x}",
                "start_time_ns": 1_700_000_000_000_000_000 + n,
                "end_time_ns": 1_700_000_000_005_000_000,
                "status_code": "OK",
                "status_message": "",
                "attributes": dict(attributes) if n == 0 else {},
                "events": [],
                "links": [],
            }
            for n in range(spans)
        ],
        "problems": [],
    }


def trace(inputs: Any = None, outputs: Any = None, *, spans: int = 1) -> Trace:
    return Trace.from_fields(fields(inputs, outputs, spans=spans))


TRACE = trace()
FOREIGN = SimpleNamespace(info=None, data=None, to_json=TRACE.to_json)
"""Reads like a trace object of another library."""


@pytest.mark.parametrize(
    "data",
    [
        [TRACE],
        [TRACE.to_dict()],
        [FOREIGN],
        [{"trace": TRACE}],
        [{"trace": TRACE.to_dict()}],
        [{"trace": TRACE.to_json()}],
        [{"trace": FOREIGN}],
        [{"trace": SimpleNamespace(to_dict=TRACE.to_dict)}],
        pd.DataFrame(
            [{"trace": TRACE.to_json(), "trace_id": TRACE_ID, "state": "OK", "request": "{}", "tags": {"mlflow.traceName": "root"}}]
        ),
    ],
    ids=["traces", "dicts", "foreign", "column", "column_dict", "column_json", "column_foreign", "column_to_dict", "search_traces"],
)
def test_forms(data: Any) -> None:
    """A trace may be an object, a dict, JSON text, or a row of `search_traces`; it is the same row."""
    (row,) = checked(data, predicting=False)
    assert (row.inputs, row.expectations, row.tags) == ({"question": "q"}, {}, {})
    assert row.given is not None
    assert row.given.outputs == "a"
    assert row.given.trace is not None
    assert row.given.trace.info.trace_id == TRACE_ID


@pytest.mark.parametrize("name", ["one.jsonl", "one.json", "many.json"])
def test_files(name: str, tmp_path: Path) -> None:
    """A file may hold traces: one per line, one alone, or a list under `traces`."""
    document: Any = {"traces": [TRACE.to_dict()] * 2} if name == "many.json" else TRACE.to_dict()
    (tmp_path / name).write_text(json.dumps(document))
    assert len(checked(tmp_path / name, predicting=False)) == (2 if name == "many.json" else 1)


@pytest.mark.parametrize(
    ("inputs", "made"),
    [({"a": 1}, {"a": 1}), ("text", {"input": "text"}), ([1], {"input": [1]}), (0, {"input": 0})],
    ids=["dict", "text", "list", "zero"],
)
def test_inputs(inputs: Any, made: dict[str, Any]) -> None:
    """Inputs that are no dict become the key `input`."""
    assert checked([trace(inputs)], predicting=False)[0].inputs == made


def test_explicit_wins() -> None:
    """The row's own inputs and outputs go before the trace's."""
    (row,) = checked([{"trace": TRACE, "inputs": {"x": 1}, "outputs": "mine", "tags": {"t": "u"}}], predicting=False)
    assert row.given is not None
    assert (row.inputs, row.given.outputs, row.given.trace, row.tags) == ({"x": 1}, "mine", TRACE, {"t": "u"})


def test_gaps() -> None:
    """Explicit inputs and outputs that are missing leave the trace's."""
    (row,) = checked(pd.DataFrame([{"trace": TRACE, "inputs": None, "outputs": float("nan")}]), predicting=False)
    assert row.given is not None
    assert (row.inputs, row.given.outputs) == ({"question": "q"}, "a")


def test_expectations() -> None:
    """The trace's expectations hold where the row has none of that name."""
    assessed = TRACE.with_assessments([Expectation("a", 1), Expectation("b", 2)])
    (row,) = checked([{"trace": assessed, "expectations": {"b": 3, "c": 4}}], predicting=False)
    assert row.expectations == {"a": 1, "b": 3, "c": 4}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (3, "trace is of type int; give a Trace, its dict, or its JSON text"),
        ("no json", "trace cannot be read:"),
        ("[]", "trace cannot be read:"),
        ({}, "trace cannot be read:"),
        (trace(spans=0), "trace has no spans, so there is nothing to score"),
        (SimpleNamespace(to_json=lambda: 1 / 0), "trace cannot be converted: ZeroDivisionError"),
        ("[" * 100_000, "trace cannot be"),
    ],
    ids=["int", "text", "list", "empty", "spanless", "raises", "deep"],
)
def test_unusable(value: Any, says: str) -> None:
    """A trace that cannot be read, or has no spans, is the row's only problem."""
    (problem,) = read([{"trace": value}], predicting=False)
    assert isinstance(problem, Problem)
    assert problem.message.startswith(says)


def test_not_shared() -> None:
    """Changing the dict that a trace was read from changes no row."""
    mine = TRACE.to_dict()
    before = copy.deepcopy(mine)
    (row,) = checked([{"trace": mine}], predicting=False)
    for span in mine["data"]["spans"]:
        span["name"] = "changed"
        span["attributes"].clear()
    assert mine != before
    assert row.given is not None
    assert row.given.trace is not None
    assert row.given.trace.data.spans[0].name == "root"
    assert row.given.trace.data.spans[0].inputs == {"question": "q"}


def test_many_spans() -> None:
    """Inputs and outputs are the root's, whatever the other spans hold."""
    (row,) = checked([trace(spans=3)], predicting=False)
    assert isinstance(row, Row)
    assert row.inputs == {"question": "q"}
