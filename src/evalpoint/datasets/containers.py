"""Whatever the user calls data -> records, one by one; everything else is refused with the forms that are accepted."""

from __future__ import annotations

import inspect
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from evalpoint.datasets.columns import require_columns
from evalpoint.datasets.files import file_records
from evalpoint.datasets.records import FROM_PYTHON, FROM_TABLE, Origin, Record, fields_of, is_dict, is_list, is_mapping, shortened
from evalpoint.entities import Trace
from evalpoint.errors import Problem, UsageError

__all__ = ["records_of"]

ACCEPTED = (
    "data is a list or an iterator of dicts, a DataFrame, a list of traces, an EvaluationDataset, "
    "or the path of a .jsonl, .json, .csv or .parquet file"
)
FROM_DATASET = Origin(table=True, blank_outputs=True)


def records_of(data: Any, base_dir: Path | None) -> Iterator[Record | Problem]:
    """The records of the data, in order, as they are asked for.

    Raises:
        UsageError: The data is no container of rows; the message names those that are.
    """
    if isinstance(data, (str, os.PathLike)):
        return file_records(os.fspath(cast("str | os.PathLike[str]", data)), base_dir)
    if _is_frame(data):
        return _frame_records(data, FROM_TABLE)
    converted = _converted(data)
    if converted is not None:
        frame, origin = converted
        return _frame_records(frame, origin)
    refusal = _refusal(data)
    if refusal is not None:
        raise UsageError(f"{refusal}; {ACCEPTED}")
    return _element_records(cast("Iterable[Any]", data))


def _refusal(data: Any) -> str | None:
    """Why this is no container of rows."""
    if data is None:
        return "data is None"
    if isinstance(data, type):
        return f"data is the class {data.__name__}, not an object"
    if isinstance(data, Trace):
        return "data is a single trace; put it into a list: [trace]"
    if is_mapping(data):
        if any(is_list(value) for value in data.values()):
            return "data is a dict of columns; make it a DataFrame: pd.DataFrame(data)"
        return "data is a single dict; put it into a list: [data]"
    if isinstance(data, (bytes, bytearray, memoryview)):
        return "data is bytes"
    if isinstance(data, io.IOBase):
        return "data is an open file; pass its path"
    if inspect.iscoroutine(data):
        return "data is a coroutine; await it"
    if inspect.isroutine(data):
        name = getattr(data, "__name__", "data")
        return f"data is the function {name!r}; call it: {name}()"
    if hasattr(data, "__aiter__"):
        return "data is an async iterator; gather it into a list first"
    if isinstance(data, Iterable):
        return None
    return f"data is of type {type(data).__name__}"


def _is_frame(data: Any) -> bool:
    """Whether this is a pandas DataFrame; who has not imported pandas has none."""
    pandas: Any = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


def _converted(data: Any) -> tuple[Any, Origin] | None:
    """The DataFrame of anything that offers one: Spark's, an MLflow EvaluationDataset, Arrow's and Polars' tables."""
    if isinstance(data, type):
        return None
    for method, origin in (("to_df", FROM_DATASET), ("toPandas", FROM_TABLE), ("to_pandas", FROM_TABLE)):
        convert = getattr(data, method, None)
        if not callable(convert):
            continue
        try:
            frame: Any = convert()
            if not _is_frame(frame) and callable(getattr(frame, "toPandas", None)):
                frame = frame.toPandas()
        except Exception as error:
            raise UsageError(f"data.{method}() failed: {type(error).__name__}: {shortened(str(error), 300)}") from error
        if not _is_frame(frame):
            raise UsageError(f"data.{method}() gave a {type(frame).__name__}, not a pandas DataFrame; {ACCEPTED}")
        return frame, origin
    return None


def _frame_records(frame: Any, origin: Origin) -> Iterator[Record | Problem]:
    names: list[Any] = list(frame.columns)
    require_columns(names, "The DataFrame")
    cells = zip(*(frame.iloc[:, position] for position in range(len(names))), strict=True)
    return (Record(index=index, values=dict(zip(names, row, strict=True)), origin=origin) for index, row in enumerate(cells))


def _element_records(elements: Iterable[Any]) -> Iterator[Record | Problem]:
    for index, element in enumerate(elements):
        if is_dict(element):
            yield Record(index=index, values=element, origin=FROM_PYTHON)
        elif _is_trace(element):
            yield Record(index=index, values={"trace": element}, origin=FROM_PYTHON)
        else:
            yield _converted_element(element, index)


def _converted_element(element: Any, index: int) -> Record | Problem:
    try:
        values = fields_of(element)
    except Exception as error:  # noqa: BLE001 - a class of the user's may raise anything while it is converted; the row's problem tells it
        return Problem(row=index, message=f"it is a {type(element).__name__} that cannot be converted: {shortened(str(error), 200)}")
    if values is None:
        return Problem(
            row=index, message=f"it is of type {type(element).__name__}; a row is a dict such as {{'inputs': {{'question': '…'}}}}"
        )
    return Record(index=index, values=values, origin=FROM_PYTHON)


def _is_trace(element: Any) -> bool:
    """A trace of ours, or an object that reads like one: MLflow's own."""
    return isinstance(element, Trace) or (
        not is_mapping(element) and hasattr(element, "info") and hasattr(element, "data") and callable(getattr(element, "to_json", None))
    )
