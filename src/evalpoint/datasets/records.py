"""What every container is turned into first: one record per row, with where it stood and what its missing cells mean."""

from __future__ import annotations

import dataclasses
import json
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from evalpoint.errors import FormatError

__all__ = [
    "FROM_CSV",
    "FROM_JSON",
    "FROM_JSON_TABLE",
    "FROM_PYTHON",
    "FROM_TABLE",
    "Origin",
    "Record",
    "fields_of",
    "is_dict",
    "is_list",
    "is_mapping",
    "missing",
    "parse_json",
    "shortened",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the container says about the cells of its rows."""

    json_born: bool = False
    """The values come from JSON text: they are plain already and belong to nobody else."""
    table: bool = False
    """Every row has every column, and every struct every field: None there means "not given"."""
    text: bool = False
    """Every cell is text, as in CSV; an empty one is missing."""
    blank_outputs: bool = False
    """Rows without an answer have `{}` for outputs, as MLflow's EvaluationDataset writes them."""


FROM_PYTHON = Origin()
FROM_JSON = Origin(json_born=True)
FROM_JSON_TABLE = Origin(json_born=True, table=True)
FROM_TABLE = Origin(table=True)
FROM_CSV = Origin(table=True, text=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row as its container holds it, before any column has been looked at."""

    index: int
    values: Mapping[Any, Any]
    origin: Origin
    place: str = ""
    """Where a person finds it, such as "line 7"; empty where the row's number says it."""


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def missing(value: Any) -> bool:
    """Whether a cell stands for "not given": None, NaN of any kind, pandas' NA and NaT."""
    if value is None:
        return True
    if isinstance(value, (str, dict, list)):
        return False
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, numbers.Real) and bool(value != value)  # only NaN differs from itself


def fields_of(value: Any) -> Mapping[Any, Any] | None:
    """The fields of anything that has named ones: a mapping, a Spark Row, a named tuple, a pydantic model, a dataclass."""
    if is_mapping(value):
        return value
    if isinstance(value, (type, str, int, float, list)):
        return None
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if callable(getattr(value, "asDict", None)):  # Spark's Row, which is a tuple; True opens the rows within
        return _mapping(value.asDict(True))
    for method in ("_asdict", "model_dump", "to_dict"):
        convert = getattr(value, method, None)
        if callable(convert):
            return _mapping(convert())
    return None


def _mapping(value: Any) -> Mapping[Any, Any] | None:
    return value if is_mapping(value) else None


def parse_json(text: str) -> Any:
    """The value of JSON text.

    Raises:
        FormatError: It is no JSON, or nests too deep to be read.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"{error.msg} at character {error.pos + 1}") from error
    except ValueError as error:  # a number of more digits than Python converts
        raise FormatError(str(error)) from error
    except RecursionError:
        raise FormatError("it nests too deep") from None


def shortened(text: str, limit: int = 60) -> str:
    """The text as a person is shown it: on one line, and no longer than the limit."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
