"""What each column may hold, what is refused, and what a misspelt one is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pandas as pd
import pydantic
import pytest

from evalpoint.datasets import checked, read
from evalpoint.entities import Given, Row
from evalpoint.errors import Problem, UsageError

GOOD: dict[str, Any] = {"question": "q"}


def problems(data: Any, *, predicting: bool = True) -> list[str]:
    return [str(item) for item in read(data, predicting=predicting) if isinstance(item, Problem)]


def one(row: Any, *, predicting: bool = True) -> Row:
    (made,) = checked([row], predicting=predicting)
    return made


class Pair(NamedTuple):
    question: str
    n: int


class Model(pydantic.BaseModel):
    question: str
    n: int


@dataclass
class Data:
    question: str
    n: int


@pytest.mark.parametrize(
    "inputs",
    [{"question": "q", "n": 1}, '{"question": "q", "n": 1}', Pair("q", 1), Model(question="q", n=1), Data("q", 1)],
    ids=["dict", "json", "named_tuple", "pydantic", "dataclass"],
)
def test_inputs(inputs: Any) -> None:
    """Inputs are a dict, JSON text of one, or anything with named fields."""
    assert one({"inputs": inputs}).inputs == {"question": "q", "n": 1}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({}, "it has no inputs (its keys are none); give it a dict"),
        ({"inputs": None}, "inputs is None; make it a dict"),
        ({"inputs": float("nan")}, "inputs is None; make it a dict"),
        (
            {"inputs": "What?"},
            'inputs is a text and no JSON object; make it a dict whose keys are the parameters of predict_fn, such as {"question": "…"}',
        ),
        ({"inputs": '{"a": '}, "inputs is a text and no JSON object (as JSON: Expecting value at character 7)"),
        ({"inputs": "[1]"}, "inputs is of type list; make it a dict"),
        ({"inputs": [1]}, "inputs is of type list; make it a dict"),
        ({"inputs": 3}, "inputs is of type int; make it a dict"),
        ({"inputs": {3: "a"}}, "inputs has the key 3, which is a int and no string"),
        ({"inputs": {"a": [{None: 1}]}}, "inputs.a[0] has the key None, which is a NoneType and no string"),
        ({"inputs": GOOD, "expectations": ["a"]}, "expectations is of type list; make it a dict of names"),
        ({"inputs": GOOD, "expectations": "a"}, "expectations is a text and no JSON object; make it a dict of names"),
        (
            {"inputs": GOOD, "expectations": {"expected_response": None}},
            "expectations.expected_response is None; leave out what is not expected",
        ),
        ({"inputs": GOOD, "expectations": {"": 1}}, "expectations has a name that is empty"),
        ({"inputs": GOOD, "expectations": {1: 1}}, "expectations has the key 1, which is a int and no string"),
        ({"inputs": GOOD, "tags": ["a"]}, "tags is of type list; make it a dict of strings"),
        ({"inputs": GOOD, "tags": {1: "a"}}, "tags has the key 1, which is a int and no string"),
        ({"inputs": GOOD, "request_id": ""}, "request_id is empty; it is a text that no other row has"),
        ({"inputs": GOOD, "request_id": ["a"]}, "request_id is of type list; it is a text that no other row has"),
        ({"inputs": GOOD, "request_id": True}, "request_id is of type bool; it is a text that no other row has"),
        ({"inputs": GOOD, "source": 3}, "source is of type int; make it a dict such as"),
    ],
    ids=lambda value: value.split(";")[0][:40] if isinstance(value, str) else "",
)
def test_bad_cell(row: dict[str, Any], says: str) -> None:
    """A cell of the wrong kind is that row's problem: what it is, and what it should be."""
    found = problems([row])
    assert len(found) == 1
    assert found[0].startswith("row 0: " + says)


def test_all_problems_of_a_row() -> None:
    """A row's problems come together, not one at a time."""
    assert (
        len(problems([{"inputs": 1, "expectations": 2, "tags": 3, "request_id": [], "outputs": {"a": float("nan")}}], predicting=False))
        == 5
    )


@pytest.mark.parametrize(
    ("expectations", "kept"),
    [
        (None, {}),
        (float("nan"), {}),
        (pd.NA, {}),
        ({}, {}),
        ('{"expected_facts": ["a"]}', {"expected_facts": ["a"]}),
        ({"expected_facts": ("a",), "n": 0, "b": False}, {"expected_facts": ["a"], "n": 0, "b": False}),
    ],
    ids=["none", "nan", "na", "empty", "json", "dict"],
)
def test_expectations(expectations: Any, kept: dict[str, Any]) -> None:
    """Expectations are a dict of names, or nothing at all."""
    assert one({"inputs": GOOD, "expectations": expectations}).expectations == kept


def test_tags() -> None:
    """Tags become strings; what is missing is left out."""
    row = one({"inputs": GOOD, "tags": {"a": "x", "b": 3, "c": True, "d": [1], "e": None, "f": 1.5}})
    assert row.tags == {"a": "x", "b": "3", "c": "True", "d": "[1]", "f": "1.5"}


@pytest.mark.parametrize(
    "source",
    [
        SimpleNamespace(source_data={"session_id": "s"}),
        {"source_data": {"session_id": "s"}},
        '{"source_data": {"session_id": "s"}}',
        {"session_id": "s"},
    ],
    ids=["object", "dict", "json", "flat"],
)
def test_source(source: Any) -> None:
    """The session that a record comes from is kept as the row's tag."""
    assert one({"inputs": GOOD, "source": source}).tags == {"mlflow.trace.session": "s"}
    assert one({"inputs": GOOD, "source": {"human": {"user_name": "x"}}}).tags == {}


@pytest.mark.parametrize(
    ("given", "kept"), [("a", "a"), (7, "7"), (7.0, "7"), (None, None), (float("nan"), None)], ids=["text", "int", "float", "none", "nan"]
)
def test_request_id(given: Any, kept: str | None) -> None:
    """A request id is text, or a whole number written as text."""
    assert one({"inputs": GOOD, "request_id": given}).request_id == kept


def test_request_id_twice() -> None:
    """A request id that a row has already is a problem that names both rows."""
    rows = [{"inputs": {"q": i}, "request_id": name} for i, name in enumerate(["a", "b", "a", "b", "a"])]
    assert [problem[:60] for problem in problems(rows)] == [
        "row 2: request_id 'a' is that of row 0 already; each row nee",
        "row 3: request_id 'b' is that of row 1 already; each row nee",
        "row 4: request_id 'a' is that of row 0 already; each row nee",
    ]


@pytest.mark.parametrize("outputs", ["text", 0, False, "", [], {}, {"a": [1]}, 1.5], ids=repr)
def test_outputs(outputs: Any) -> None:
    """Any value is an answer, also an empty one."""
    assert one({"inputs": GOOD, "outputs": outputs}, predicting=False).given == Given(outputs=outputs)


def test_outputs_keys() -> None:
    """Keys of an answer that are no strings are written as strings: class probabilities have them."""
    assert one({"inputs": GOOD, "outputs": {0: 0.9, 1: 0.1}}, predicting=False).given == Given(outputs={"0": 0.9, "1": 0.1})


def test_no_outputs() -> None:
    """Without a predict function every row needs an answer."""
    rows = [{"inputs": GOOD}, {"inputs": GOOD, "outputs": None}, {"inputs": GOOD, "outputs": "a"}]
    assert problems(rows, predicting=False) == [
        "row 0: it has no outputs and there is no predict_fn; give the answer as outputs, or a predict_fn that gets it",
        "row 1: its outputs is None and there is no predict_fn; give the answer as outputs, or a predict_fn that gets it",
    ]


def test_outputs_and_predict_fn() -> None:
    """Outputs together with a predict function are told once, with what to drop; missing ones are no conflict."""
    assert problems([{"inputs": GOOD, "outputs": "a"}] * 3) == [
        (
            "the data has 'outputs' and there is a predict_fn: drop predict_fn to score the outputs that the data has, "
            "or drop the column 'outputs' to have them predicted anew"
        )
    ]
    assert one({"inputs": GOOD, "outputs": None}).given is None
    assert len(problems(pd.DataFrame([{"inputs": GOOD, "outputs": None}, {"inputs": GOOD, "outputs": 1}]))) == 1


def test_trace_and_predict_fn() -> None:
    """A trace together with a predict function is told once, and rows are not blamed for having no inputs."""
    (told,) = problems([{"trace": "{}"}] * 3)
    assert told.startswith("the data has 'trace' and there is a predict_fn: drop predict_fn")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("expectation", "did you mean 'expectations'?"),
        ("Outputs", "did you mean 'outputs'?"),
        ("output", "did you mean 'outputs'?"),
        ("response", "did you mean 'outputs'?"),
        ("request", "did you mean 'inputs'?"),
        ("answer", "did you mean 'outputs'?"),
        ("question", "did you mean inputs={\"question\": …}, or a column named 'inputs.question'?"),
        ("expected_facts", "did you mean expectations={\"expected_facts\": …}, or a column named 'expectations.expected_facts'?"),
        ("ground_truth", "or a column named 'expectations.ground_truth'?"),
        ("input.question", "did you mean 'inputs.question'?"),
        ("metadata", "did you mean 'tags'?"),
        ("traces", "did you mean 'trace'?"),
        ("zebra", "known are inputs, outputs, expectations, trace, tags, request_id, source"),
        ("inputs.", "the column 'inputs.' is unknown"),
        (3, "the column '3' is unknown"),
    ],
)
def test_unknown_column(name: Any, says: str) -> None:
    """An unknown column is told once for all rows, with the nearest that is known."""
    found = problems([{"inputs": GOOD, name: "x"}] * 5)
    assert len(found) == 1
    assert says in found[0]


def test_misspelt_inputs() -> None:
    """Rows whose inputs are missing because the column is misspelt are not told so one by one."""
    assert problems([{"input": GOOD}] * 5) == ["the column 'input' is unknown; did you mean 'inputs'?"]
    assert problems([{"inputs": GOOD, "output": "a"}] * 5, predicting=False) == ["the column 'output' is unknown; did you mean 'outputs'?"]


def test_unknown_column_in_other_rows() -> None:
    """It is told once also where the rows differ in their other columns."""
    assert len(problems([{"inputs": GOOD, "zebra": 1}, {"zebra": 1, "inputs": GOOD}, {"inputs": GOOD, "zebra": 1, "tags": {}}])) == 1


def test_endless_columns() -> None:
    """Data whose every row has a column of its own is told for each, and remembered for the first thousand only."""
    assert len(problems([{"inputs": GOOD, f"c{i}": 1} for i in range(1500)])) == 1500


def test_passed_over() -> None:
    """The columns that an EvaluationDataset and an unnamed index add are passed over knowingly."""
    record = {
        "dataset_record_id": "d",
        "created_time": 1,
        "last_update_time": 2,
        "source_type": "HUMAN",
        "source_id": "x",
        "Unnamed: 0": 0,
        "": 0,
    }
    assert problems([{"inputs": GOOD, **record}]) == []


def test_dotted() -> None:
    """A column may be one key of a dict column; a missing cell is a key that the row has not."""
    frame = pd.DataFrame(
        {
            "inputs.question": ["a", "b"],
            "inputs.k": [1, None],
            "expectations.expected_response": [None, "x"],
            "tags.topic": ["t", None],
            "outputs.text": ["o", "p"],
        }
    )
    first, second = checked(frame, predicting=False)
    assert (first.inputs, first.expectations, first.tags) == ({"question": "a", "k": 1.0}, {}, {"topic": "t"})
    assert (second.inputs, second.expectations, second.tags) == ({"question": "b"}, {"expected_response": "x"}, {})
    assert first.given == Given(outputs={"text": "o"})


def test_dotted_and_whole() -> None:
    """A dict column and its dotted form together are told once: one of them would be lost."""
    (told,) = problems([{"inputs": GOOD, "inputs.k": 1}] * 3)
    assert told == "there are both a column 'inputs' and a column 'inputs.k'; keep one of the two forms"


def test_flat_table() -> None:
    """A table without inputs is refused before its first row, with the names that its columns should have."""
    frame = pd.DataFrame([{"question": "q", "expected_response": "a", "answer": "b"}])
    with pytest.raises(UsageError) as caught:
        read(frame, predicting=True)
    assert str(caught.value) == (
        "The DataFrame has no column 'inputs' (and no 'trace'); its columns are 'question', 'expected_response', 'answer'. "
        "Give each row its inputs as one dict (or JSON text), or name the columns after what they are, "
        "for instance 'inputs.question', 'outputs', 'expectations.expected_response'."
    )


def test_frame_gaps() -> None:
    """In a DataFrame, None and NaN are what a row does not have: also inside a struct of expectations or tags."""
    frame = pd.DataFrame(
        {
            "inputs": [GOOD, json.dumps(GOOD)],
            "expectations": [{"a": 1, "b": None, "c": float("nan")}, None],
            "tags": [{"t": None, "u": 1}, float("nan")],
            "request_id": [1.0, float("nan")],
            "outputs": ["x", "y"],
        }
    )
    first, second = checked(frame, predicting=False)
    assert (first.inputs, first.expectations, first.tags, first.request_id) == (GOOD, {"a": 1}, {"u": "1"}, "1")
    assert (second.inputs, second.expectations, second.tags, second.request_id) == (GOOD, {}, {}, None)
