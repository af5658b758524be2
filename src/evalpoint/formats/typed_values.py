"""OpenTelemetry's typed values, `{"string_value": …}` and its kin, both ways; camelCase as OTLP has it is read too."""

from __future__ import annotations

import math
from typing import Any

from evalpoint.formats.jsontext import MAX_DEPTH, TooDeepError, as_text, safe
from evalpoint.formats.narrowing import is_dict, is_list

__all__ = ["read_pairs", "read_value", "write_pairs", "write_value"]

_KINDS = {
    "string_value": "string",
    "stringValue": "string",
    "int_value": "int",
    "intValue": "int",
    "double_value": "double",
    "doubleValue": "double",
    "bool_value": "bool",
    "boolValue": "bool",
    "kvlist_value": "kvlist",
    "kvlistValue": "kvlist",
    "array_value": "array",
    "arrayValue": "array",
    "bytes_value": "string",
    "bytesValue": "string",
}
_INT64 = 2**63


def read_pairs(pairs: list[Any], depth: int = -1) -> dict[str, Any]:
    """The dict of a list of `{"key": …, "value": {typed}}`; entries of another form are left out.

    Raises:
        TooDeepError: A value nests deeper than a trace may hold.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        if is_dict(pair):
            entry = pair
            if isinstance(key := entry.get("key"), str):
                found[safe(key)] = read_value(entry.get("value"), depth + 1)
    return found


def read_value(value: object, depth: int = 0) -> Any:
    """The plain value of a typed one; an empty one is None, and one without a known type stays as it is.

    Raises:
        TooDeepError: The value nests deeper than a trace may hold.
    """
    if not is_dict(value) or len(value) != 1:
        return safe(value, depth) if value else None
    [(key, inner)] = value.items()
    kind = _KINDS.get(key) if isinstance(key, str) else None  # pyright: ignore[reportUnnecessaryIsInstance] - JSON of a stranger's
    if kind == "kvlist" or kind == "array":
        if depth >= MAX_DEPTH:
            raise TooDeepError(f"the value nests deeper than {MAX_DEPTH} levels")
        values = inner.get("values") if is_dict(inner) else inner
        items = values if is_list(values) else []
        return read_pairs(items, depth) if kind == "kvlist" else [read_value(item, depth + 1) for item in items]
    if kind == "int":
        return _read_int(inner)
    if kind == "double":
        return _read_double(inner)
    return safe(inner if kind else value, depth)


def write_pairs(values: dict[str, Any]) -> list[dict[str, Any]]:
    """A dict as the list of `{"key": …, "value": {typed}}`."""
    return [{"key": key, "value": write_value(value)} for key, value in values.items()]


def write_value(value: object) -> dict[str, Any]:
    """The typed form of a plain value: None is empty; integers beyond 64 bits and numbers that JSON lacks are strings."""
    if value is None:
        return {}
    if type(value) is str:
        return {"string_value": value}
    if type(value) is bool:
        return {"bool_value": value}
    if type(value) is int and -_INT64 <= value < _INT64:
        return {"int_value": value}
    if type(value) is float and math.isfinite(value):
        return {"double_value": value}
    if is_list(value):
        return {"array_value": {"values": [write_value(item) for item in value]}}
    if is_dict(value):
        return {"kvlist_value": {"values": write_pairs(value)}}
    made_safe = safe(value)
    return {"string_value": as_text(made_safe)} if isinstance(value, (int, float)) else write_value(made_safe)


def _read_int(inner: object) -> Any:
    if isinstance(inner, str) and len(inner) <= 20:
        try:
            return safe(int(inner))
        except ValueError:  # no number at all: kept as it came
            return safe(inner)
    return safe(inner)


def _read_double(inner: object) -> Any:
    """Protobuf writes whole doubles without a point, and those that JSON lacks as text."""
    if type(inner) is int and abs(inner) < 2**1000:
        return float(inner)
    return safe(inner)
