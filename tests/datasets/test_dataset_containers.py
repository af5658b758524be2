"""Which containers are read, and how those that are not are refused."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest

from evalpoint.datasets import checked, read
from evalpoint.entities import Row, RowKey
from evalpoint.errors import DataError, UsageError

ROWS: list[dict[str, Any]] = [{"inputs": {"question": f"q{i}"}, "expectations": {"expected_response": f"a{i}"}} for i in range(3)]


def generated() -> Iterator[dict[str, Any]]:
    yield from ROWS


async def awaited() -> list[dict[str, Any]]:
    return ROWS


async def streamed() -> Any:
    yield ROWS[0]


class SparkLike:
    """What a Spark DataFrame offers."""

    def toPandas(self) -> pd.DataFrame:
        return pd.DataFrame(ROWS)


class DatasetLike:
    """What an MLflow EvaluationDataset offers: every column always there, `{}` where there is no answer."""

    def to_df(self) -> pd.DataFrame:
        record = {
            "outputs": {},
            "tags": {},
            "source": None,
            "source_type": "HUMAN",
            "source_id": None,
            "created_time": 1,
            "dataset_record_id": "d",
        }
        return pd.DataFrame([{**row, **record} for row in ROWS])


class SparkRow(tuple):  # type: ignore[type-arg]
    """What a Spark Row is: a tuple that knows its names."""

    __slots__ = ()

    def asDict(self, recursive: bool = False) -> dict[str, Any]:
        return ROWS[self[0]]


class RowModel(pydantic.BaseModel):
    inputs: dict[str, str]
    expectations: dict[str, str]


@dataclass
class RowData:
    inputs: dict[str, str]
    expectations: dict[str, str]


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        tuple(ROWS),
        iter(ROWS),
        generated(),
        (row for row in ROWS),
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS, index=[7, 7, 7]),
        SparkLike(),
        DatasetLike(),
        [SparkRow((i,)) for i in range(3)],
        [RowModel(**row) for row in ROWS],
        [RowData(**row) for row in ROWS],
        [row for _, row in pd.DataFrame(ROWS).iterrows()],
        np.array(ROWS, dtype=object),
    ],
    ids=[
        "list",
        "tuple",
        "iterator",
        "generator",
        "expression",
        "frame",
        "frame_index",
        "spark",
        "dataset",
        "spark_rows",
        "pydantic",
        "dataclass",
        "series",
        "array",
    ],
)
def test_containers(data: Any) -> None:
    """Every container gives the same rows, numbered from 0 in its own order."""
    rows = checked(data, predicting=True)
    assert [(row.key, dict(row.inputs), dict(row.expectations)) for row in rows] == [
        (RowKey(i), row["inputs"], row["expectations"]) for i, row in enumerate(ROWS)
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "data is None"),
        (42, "of type int"),
        (True, "of type bool"),
        (1.5, "of type float"),
        (b"{}", "bytes"),
        (ROWS[0], r"single dict; put it into a list: \[data\]"),
        ({"inputs": [1, 2]}, r"pd.DataFrame\(data\)"),
        (RowModel, "the class RowModel"),
        (generated, r"call it: generated\(\)"),
        (streamed(), "async iterator"),
        (io.StringIO("x"), "open file; pass its path"),
        (object(), "of type object"),
    ],
    ids=["none", "int", "bool", "float", "bytes", "row", "columns", "class", "function", "async", "file", "object"],
)
def test_refused(data: Any, says: str) -> None:
    """What is no container of rows is refused at once, with a word on what it is and the forms that are accepted."""
    with pytest.raises(UsageError, match=says) as caught:
        read(data, predicting=True)
    assert "a list or an iterator of dicts, a DataFrame" in str(caught.value)


def test_coroutine() -> None:
    """A coroutine that nobody awaited is no data."""
    coroutine = awaited()
    with pytest.raises(UsageError, match="coroutine; await it"):
        read(coroutine, predicting=True)
    coroutine.close()


@pytest.mark.parametrize(
    "data", [[], (), iter(()), pd.DataFrame(), pd.DataFrame(ROWS)[:0]], ids=["list", "tuple", "iterator", "frame", "sliced"]
)
def test_empty(data: Any) -> None:
    """Data without rows is an error, not an evaluation of nothing."""
    with pytest.raises(DataError, match="no rows"):
        checked(data, predicting=True)


def test_elements() -> None:
    """An element that has no fields is that row's problem; the rows after it keep their numbers."""
    items = list(read([ROWS[0], "text", None, 3, [1], ROWS[1]], predicting=True))
    assert [item.key.row if isinstance(item, Row) else item.row for item in items] == [0, 1, 2, 3, 4, 5]
    assert str(items[1]).startswith("row 1: it is of type str; a row is a dict such as")


def test_conversion_fails() -> None:
    """An error of a foreign dataset's own conversion is told with its reason."""

    class Broken:
        def to_df(self) -> Any:
            raise RuntimeError("no such table")

    with pytest.raises(UsageError, match=r"data.to_df\(\) failed: RuntimeError: no such table"):
        read(Broken(), predicting=True)


def test_own_iterator_fails() -> None:
    """An error of the caller's own iterator is the caller's, and reaches him as it is."""

    def failing() -> Iterator[dict[str, Any]]:
        yield ROWS[0]
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        checked(failing(), predicting=True)


def test_streams() -> None:
    """A row is yielded before the next one is asked for."""
    asked: list[int] = []

    def counted() -> Iterator[dict[str, Any]]:
        for i, row in enumerate(ROWS):
            asked.append(i)
            yield row

    next(read(counted(), predicting=True))
    assert asked == [0]


def test_repeats() -> None:
    """With repeats every row comes that often in succession, under the repeat numbers from 0."""
    rows = checked(ROWS[:2], predicting=True, repeats=3)
    assert [row.key for row in rows] == [RowKey(r, n) for r in range(2) for n in range(3)]
    assert [row.occurrence for row in rows] == [0] * 6


def test_no_repeats() -> None:
    """Repeats are 1 or more."""
    with pytest.raises(UsageError, match="repeats is 0"):
        read(ROWS, predicting=True, repeats=0)


def test_problems_counted() -> None:
    """All problems are counted, the first hundred are listed."""
    with pytest.raises(DataError) as caught:
        checked([{"inputs": "x"}] * 250, predicting=True)
    assert (len(caught.value.problems), caught.value.count) == (100, 250)
    assert "and 150 more" in str(caught.value)


def test_copied() -> None:
    """A row holds copies: who changes the data afterwards changes no row."""
    mine = {"inputs": {"messages": [{"content": "a"}]}}
    (row,) = checked([mine], predicting=True)
    mine["inputs"]["messages"][0]["content"] = "b"
    assert row.inputs == {"messages": [{"content": "a"}]}


def test_repeated_names() -> None:
    """Two columns of one name are refused: one of them would be lost."""
    frame = pd.DataFrame([[{"a": 1}, {"a": 2}]], columns=["inputs", "inputs"])
    with pytest.raises(UsageError, match="more than one column named 'inputs'"):
        read(frame, predicting=True)


def test_base_dir(tmp_path: Path) -> None:
    """A relative path starts at the folder given."""
    (tmp_path / "rows.jsonl").write_text('{"inputs": {"q": 1}}\n')
    assert len(checked("rows.jsonl", predicting=True, base_dir=tmp_path)) == 1
