"""Values: everything becomes plain JSON, and what cannot is told with its path."""

from __future__ import annotations

import datetime
import json
import uuid
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.datasets import checked, read
from evalpoint.errors import Problem
from evalpoint.formats import dump_json


class Color(str, Enum):
    RED = "red"


class Loud:
    def to_dict(self) -> dict[str, Any]:
        raise RuntimeError("no")


class Silent:
    pass


def endless() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def inputs_of(value: Any) -> Any:
    (row,) = checked([{"inputs": {"x": value}}], predicting=True)
    dump_json(row.inputs)
    return row.inputs["x"]


def problems(value: Any, column: str = "inputs", name: str = "x") -> list[str]:
    row = {"inputs": {"a": 1}, column: {name: value}, **({"outputs": 1} if column != "outputs" else {})}
    return [item.message for item in read([row], predicting=False) if isinstance(item, Problem)]


@pytest.mark.parametrize(
    ("value", "made"),
    [
        (np.float32(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1.5, None], dtype=object), [1.5, None]),
        (np.array(["2024-01-02", "NaT"], dtype="M8[ns]"), ["2024-01-02T00:00:00", None]),
        (np.datetime64("2024-01-02T03:04:05.000000006", "ns"), "2024-01-02T03:04:05"),
        (pd.Timestamp("2024-01-02", tz="UTC"), "2024-01-02T00:00:00+00:00"),
        (pd.NaT, None),
        (pd.NA, None),
        ([pd.NA, 1], [None, 1]),
        (pd.Series([1, 2]).to_list(), [1, 2]),
        (datetime.date(2024, 1, 2), "2024-01-02"),
        (datetime.timedelta(minutes=1), 60.0),
        (Decimal("1.5"), 1.5),
        (Decimal("2"), 2),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"text", "text"),
        ((1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (Color.RED, "red"),
        ("\ud83d\ude00", "😀"),
        ("cut \ud83d", "cut \ufffd"),
        ({"k\udc00": 1}, {"k\ufffd": 1}),
        (None, None),
        (10**30, 10**30),
        (nested(80), nested(80)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_made_plain(value: Any, made: Any) -> None:
    """What has a plain meaning is written in JSON's own types."""
    assert inputs_of(value) == made
    assert type(inputs_of(value)) is type(made)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (float("nan"), "inputs.x is NaN, which JSON cannot hold; leave it out, or use None"),
        ([1, 2, 3, float("nan")], "inputs.x[3] is NaN"),
        (np.array([1.0, np.inf]), "inputs.x[1] is infinite"),
        ({"a b": [float("-inf")]}, "inputs.x['a b'][0] is infinite"),
        (Decimal("NaN"), "inputs.x is NaN"),
        (Decimal("Infinity"), "inputs.x is infinite"),
        ({1: 2}, "inputs.x has the key 1, which is a int and no string"),
        (b"\xff\x00", "inputs.x holds bytes that are no UTF-8 text; encode them, for instance with base64"),
        (Silent(), "inputs.x is a test_dataset_values.Silent, which has no JSON form"),
        (Silent, "inputs.x is the class Silent, which has no JSON form"),
        ((i for i in []), "inputs.x is a builtins.generator, which has no JSON form"),
        (Loud(), "inputs.x is a test_dataset_values.Loud, which has no JSON form"),
        (endless(), "inputs cannot be written as JSON: the value nests deeper than 200 levels, or contains itself"),
        (nested(120), "nests deeper than 90 levels"),
        (10**2000, "inputs.x is a number of more than a thousand digits; write it as text"),
    ],
    ids=[
        "nan",
        "list",
        "array",
        "key",
        "decimal_nan",
        "decimal_inf",
        "int_key",
        "bytes",
        "object",
        "class",
        "generator",
        "raises",
        "endless",
        "deep",
        "huge",
    ],
)
def test_refused(value: Any, says: str) -> None:
    """What JSON cannot hold, or would lose, is a problem that names the path."""
    (message,) = problems(value)
    assert says in message.replace("tests.datasets.", "")


@pytest.mark.parametrize("column", ["inputs", "expectations", "outputs", "tags"])
def test_every_column(column: str) -> None:
    """NaN inside is refused in every column that holds values."""
    assert problems([float("nan")], column) == [f"{column}.x[0] is NaN, which JSON cannot hold; leave it out, or use None"]


def test_bounded_list() -> None:
    """A cell with a thousand NaNs is told with five sentences."""
    assert len(problems([float("nan")] * 1000)) == 5


def test_bounded_path() -> None:
    """A key of any length makes a short sentence."""
    assert len(problems({"k" * 100_000: float("nan")})[0]) < 300


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"x": NaN}', "inputs.x is NaN"),
        ('{"x": [1e999]}', "inputs.x[0] is infinite"),
        ('{"x": ' + "9" * 5000 + "}", "inputs is a text and no JSON object"),
        ('{"x": ' + "[" * 150 + "]" * 150 + "}", "nests deeper than 90 levels"),
        ('{"x": ' + "[" * 50_000 + "]" * 50_000 + "}", "it nests too deep"),
    ],
    ids=["nan", "infinite", "digits", "deep", "too_deep"],
)
def test_json_text(text: str, says: str) -> None:
    """JSON text is looked through as every other value is."""
    (problem,) = (item for item in read([{"inputs": text}], predicting=True) if isinstance(item, Problem))
    assert says in problem.message


def test_json_halves() -> None:
    """Halves of a character in JSON text are mended too."""
    (row,) = checked([{"inputs": json.dumps({"x": "a\ud83d", "y": "😀"})}], predicting=True)
    assert row.inputs == {"x": "a\ufffd", "y": "😀"}


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
    | st.binary(max_size=4)
    | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=[])) | st.integers(), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(anything)
def test_any_value(value: Any) -> None:
    """Any value at all ends as inputs that can be stored as UTF-8 JSON, or as problems."""
    for item in read([{"inputs": {"x": value}}], predicting=True):
        if isinstance(item, Problem):
            assert item.message
        else:
            dump_json(item.inputs).encode()
