"""OpenTelemetry's typed values, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from evalpoint.formats.jsontext import MAX_DEPTH, TooDeepError
from evalpoint.formats.typed_values import read_pairs, read_value, write_pairs, write_value

TABLE: dict[str, tuple[Any, dict[str, Any]]] = {
    "none": (None, {}),
    "string": ("a", {"string_value": "a"}),
    "bool": (True, {"bool_value": True}),
    "int": (-7, {"int_value": -7}),
    "double": (0.5, {"double_value": 0.5}),
    "whole-double": (1.0, {"double_value": 1.0}),
    "list": ([1, None], {"array_value": {"values": [{"int_value": 1}, {}]}}),
    "map": ({"a": "b"}, {"kvlist_value": {"values": [{"key": "a", "value": {"string_value": "b"}}]}}),
    "empty-list": ([], {"array_value": {"values": []}}),
    "empty-map": ({}, {"kvlist_value": {"values": []}}),
}


@pytest.mark.parametrize(("value", "typed"), TABLE.values(), ids=TABLE)
def test_both_ways(value, typed):
    """Every plain value has one typed form and comes back as it was, type and all."""
    assert write_value(value) == typed
    assert read_value(typed) == value
    assert type(read_value(typed)) is type(value)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ({"intValue": "7"}, 7),
        ({"int_value": "many"}, "many"),
        ({"int_value": str(2**64)}, str(2**64)),
        ({"double_value": 1}, 1.0),
        ({"doubleValue": "NaN"}, "NaN"),
        ({"array_value": {}}, []),
        ({"kvlistValue": {}}, {}),
        ({"arrayValue": None}, []),
        ({"bytes_value": "AAE="}, "AAE="),
        ({"unknown_value": 1}, {"unknown_value": 1}),
        ({"string_value": "a", "int_value": 1}, {"string_value": "a", "int_value": 1}),
        ("raw", "raw"),
        (None, None),
    ],
    ids=str,
)
def test_tolerant(typed, value):
    """Camel case, protobuf's ways with numbers and empty lists, and what is not typed at all."""
    assert read_value(typed) == value
    assert type(read_value(typed)) is type(value)


def test_pairs():
    """Pairs without a string for a key are left out."""
    assert read_pairs([{"key": "a", "value": {"int_value": 1}}, {"key": 1}, "junk", {"value": {}}]) == {"a": 1}
    assert write_pairs({"a": 1}) == [{"key": "a", "value": {"int_value": 1}}]


def test_deepest():
    """As many levels as a trace may hold are read, one more is refused."""
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert read_value(write_value(value)) == value
    with pytest.raises(TooDeepError):
        read_value(write_value([value]))
