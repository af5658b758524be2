"""Data -> checked rows and problems, in one pass that keeps nothing but what identity needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from evalpoint.datasets.containers import records_of
from evalpoint.datasets.records import Record
from evalpoint.datasets.rows import RowMaker
from evalpoint.entities import Row, RowKey
from evalpoint.errors import DataError, Problem, UsageError

__all__ = ["checked", "read"]


def read(data: object, *, predicting: bool, repeats: int = 1, base_dir: str | os.PathLike[str] | None = None) -> Iterator[Row | Problem]:
    """The rows of the data, made plain and checked, and the problems of those that cannot be evaluated, in order.

    Rows have the columns `inputs`, `outputs`, `expectations`, `trace`, `tags`, `request_id` and `source`. A column may
    also be one key of those that are dicts: `inputs.question`, `expectations.expected_facts`, `outputs.answer`,
    `tags.topic`. In CSV every cell is text; a cell that is a JSON object or list is read as such.

    Args:
        data: A list or iterator of dicts or traces, a DataFrame, an EvaluationDataset, or the path of a file.
        predicting: There is a predict function: every row needs inputs, and none may come with an answer. Otherwise
            every row needs `outputs` or `trace`.
        repeats: How often each row is yielded in succession, under the repeat numbers 0, 1, …
        base_dir: Where a relative path starts; the working directory by default.

    Raises:
        UsageError: The data is no container of rows, or a file that cannot be read; at once, or with the first item.
        DataError: There are no rows at all; at the end.
    """
    if repeats < 1:
        raise UsageError(f"repeats is {repeats!r}; it should be 1 or more")
    return _read(records_of(data, None if base_dir is None else Path(base_dir)), predicting, repeats)


def _read(records: Iterator[Record | Problem], predicting: bool, repeats: int) -> Iterator[Row | Problem]:
    maker = RowMaker(predicting=predicting)
    empty = True
    for record in records:
        empty = False
        if isinstance(record, Problem):
            yield record
            continue
        for made in maker.make(record):
            yield made
            if isinstance(made, Row):
                for repeat in range(1, repeats):
                    yield replace(made, key=RowKey(record.index, repeat))
    if empty:
        raise DataError([Problem(message="there are no rows in it; give at least one, with its inputs")])


def checked(data: object, *, predicting: bool, repeats: int = 1, base_dir: str | os.PathLike[str] | None = None) -> list[Row]:
    """All rows at once, for data that fits into memory; the arguments are those of `read`.

    Raises:
        UsageError: The data is no container of rows.
        DataError: Some rows cannot be evaluated; it lists the first hundred problems and counts them all.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    count = 0
    for item in read(data, predicting=predicting, repeats=repeats, base_dir=base_dir):
        if isinstance(item, Row):
            rows.append(item)
        else:
            count += 1
            problems.extend([item] if len(problems) < DataError.LISTED else [])
    if count:
        raise DataError(problems, count)
    return rows
