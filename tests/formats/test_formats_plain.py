"""Whatever a user may hold, made plain."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections import OrderedDict, deque, namedtuple
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.formats.plain import MAX_DEPTH, canonical_json, copy_plain, digest, dump_json, json_safe, mend_text, plain


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Model(pydantic.BaseModel):
    when: date
    tags: set[str] = {"a"}


class Root(pydantic.RootModel[list[int]]):
    pass


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = None


class SparkRow(tuple):
    """A tuple that knows its columns, as Spark's rows do."""

    def asDict(self) -> dict[str, Any]:
        return {"a": 1}


class Broken:
    def to_dict(self) -> dict[str, Any]:
        raise RuntimeError("no")

    def __str__(self) -> str:
        raise RuntimeError("no")


Pair = namedtuple("Pair", "left right")

TABLE = {
    "none": (None, None),
    "text": ("a", "a"),
    "numpy-int": (np.int64(3), 3),
    "numpy-float": (np.float32(0.5), 0.5),
    "numpy-bool": (np.bool_(True), True),
    "numpy-text": (np.str_("a"), "a"),
    "numpy-matrix": (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "numpy-objects": (np.array([np.int8(1), "a", None], dtype=object), [1, "a", None]),
    "numpy-scalar-array": (np.array(5), 5),
    "numpy-date": (np.datetime64("2020-01-02T03:04:05"), "2020-01-02T03:04:05"),
    "numpy-date-ns": (np.datetime64("2020-01-02T03:04:05.000000123", "ns"), "2020-01-02T03:04:05"),
    "numpy-nat": (np.datetime64("NaT", "s"), None),
    "numpy-span": (np.timedelta64(90, "s"), 90.0),
    "pandas-na": (pd.NA, None),
    "pandas-nat": (pd.NaT, None),
    "pandas-timestamp": (pd.Timestamp("2020-01-02", tz="UTC"), "2020-01-02T00:00:00+00:00"),
    "pandas-timedelta": (pd.Timedelta("1s"), 1.0),
    "pandas-series": (pd.Series([1, None]).astype("Int64"), [1, None]),
    "pandas-frame": (pd.DataFrame({"a": [1, 2]}), [{"a": 1}, {"a": 2}]),
    "pandas-index": (pd.Index(["a"]), ["a"]),
    "arrow-array": (pa.array([1, None]), [1, None]),
    "arrow-scalar": (pa.scalar(3), 3),
    "pydantic": (Model(when=date(2020, 1, 2)), {"when": "2020-01-02", "tags": ["a"]}),
    "pydantic-root": (Root([1]), [1]),
    "dataclass": (Point(np.int64(1), Point(2)), {"x": 1, "y": {"x": 2, "y": None}}),
    "enum": (Colour.RED, "red"),
    "int-enum": (Level.HIGH, 3),
    "named-tuple": (Pair(1, 2), {"left": 1, "right": 2}),
    "spark-row": (SparkRow((1,)), {"a": 1}),
    "tuple": ((1, (2,)), [1, [2]]),
    "set": ({2, 1}, [1, 2]),
    "deque": (deque([1]), [1]),
    "range": (range(2), [0, 1]),
    "values-view": ({"a": 1}.values(), [1]),
    "mapping": (MappingProxyType(OrderedDict(a=1)), {"a": 1}),
    "datetime": (datetime(2020, 1, 2, tzinfo=timezone.utc), "2020-01-02T00:00:00+00:00"),
    "time": (time(1, 2), "01:02:00"),
    "timedelta": (timedelta(minutes=1), 60.0),
    "decimal": (Decimal("12.50"), 12.5),
    "decimal-whole": (Decimal(3), 3),
    "decimal-huge": (Decimal("1E+100000"), math.inf),
    "decimal-infinite": (Decimal("-Infinity"), -math.inf),
    "uuid": (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "bytes": (b"a\xff", "a�"),
    "path": (PurePosixPath("a/b"), "a/b"),
    "pair-of-surrogates": ("\ud83d\ude00", "😀"),
    "half-of-a-pair": ({"\ud83d": "x\udc00"}, {"�": "x�"}),
    "broken": (Broken(), "<Broken>"),
    "keys": (
        {1: "a", None: "b", False: "c", np.int64(4): "d", pd.Timestamp("2020-01-02"): "e", (1, 2): "f", Colour.RED: "g", math.nan: "h"},
        {"1": "a", "false": "c", "null": "b", "4": "d", "2020-01-02T00:00:00": "e", "[1, 2]": "f", "red": "g", "NaN": "h"},
    ),
}


@pytest.mark.parametrize(("value", "expected"), TABLE.values(), ids=TABLE)
def test_plain(value, expected):
    """Every kind of value that users hold has one plain form, which JSON can write."""
    made = plain(value)
    assert made == expected
    assert type(made) is type(expected)
    json.dumps(made).encode()


@pytest.mark.parametrize("value", [math.nan, Decimal("NaN"), np.float64("nan")], ids=["float", "decimal", "numpy"])
def test_plain_keeps_nan(value):
    """NaN stays: who must refuse it can say where it was."""
    assert math.isnan(plain(value))


def test_plain_self_containing():
    """A value that contains itself, and one that nests too deep, is a ValueError and not a crash."""
    loop: list[Any] = []
    loop += [loop, loop]
    point = Point(1)
    point.y = point
    deep: Any = 0
    for _ in range(5000):
        deep = {"a": deep}
    for value in (loop, point, deep):
        with pytest.raises(ValueError, match="nests deeper"):
            plain(value)
    allowed: Any = 0
    for _ in range(MAX_DEPTH):
        allowed = [allowed]
    assert plain(allowed) == allowed
    with pytest.raises(ValueError, match="nests deeper"):
        plain([allowed, 1])


def test_json_safe():
    """NaN, infinities and numbers that Python cannot write are texts."""
    made = json_safe({"a": [math.nan, -math.inf, 1.5, True], "b": 10**5000, "c": 10**400})
    assert made == {"a": ["NaN", "-Infinity", 1.5, True], "b": "a number of 16,610 bits", "c": str(10**400)}
    assert json.dumps(made, allow_nan=False)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(PLAIN)
def test_plain_values_stay(value):
    """What is plain already stays as it is, but is a copy."""
    assert plain(value) == value
    assert copy_plain(value) == value
    assert json.loads(dump_json(value)) == value
    if value and isinstance(value, (dict, list)):
        assert plain(value) is not value
        assert copy_plain(value) is not value


def test_copy_plain_is_deep():
    """Changing the copy changes nothing else."""
    value = {"a": [1, {"b": 2}]}
    copied = copy_plain(value)
    copied["a"][1]["b"] = 3  # type: ignore[index]
    assert value == {"a": [1, {"b": 2}]}


def test_digest():
    """Equal values have one digest, whatever the order of keys and whether whole numbers are floats; others differ."""
    assert digest({"a": 1, "b": [2.0]}) == digest({"b": [2], "a": 1.0})
    assert digest({"a": 1}) != digest({"a": "1"})
    assert digest({"a": True}) != digest({"a": 1})
    assert digest("é").startswith("sha256:1:")
    assert canonical_json({"b": 1.0, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        digest(math.nan)


@pytest.mark.parametrize(
    ("text", "expected"), [("abc", "abc"), ("é", "é"), ("\ud83d\ude00", "😀"), ("\ud83d!", "�!"), ("\ude00\ud83d", "��")], ids=ascii
)
def test_mend_text(text, expected):
    """Pairs are joined, single halves replaced, all else stays."""
    assert mend_text(text) == expected
