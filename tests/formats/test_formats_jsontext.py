"""JSON from outside: bounded, finite, valid Unicode."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.formats.jsontext import MAX_DEPTH, TooDeepError, decode, encode, safe

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec=None), max_size=4), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"AGENT"', "AGENT"),
        ("7", 7),
        (" [1, 2] ", [1, 2]),
        ("NaN", "NaN"),
        ("[-Infinity]", ["-Infinity"]),
        ("1e999", "1e999"),
        ("1" * 5000, "1" * 5000),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", "9223372036854775808"),
        ("-9223372036854775808", -(2**63)),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\ud83d"', "�"),
        ('"a\nb"', "a\nb"),
    ],
    ids=[
        "text",
        "int",
        "spaces",
        "nan",
        "infinity",
        "huge-float",
        "huge-int",
        "long-int",
        "int64",
        "uint64",
        "least-int64",
        "pair",
        "half",
        "newline",
    ],
)
def test_decode(text, expected):
    """JSON is read; numbers that JSON, Python or a database cannot hold are texts, and Unicode is whole."""
    assert decode(text) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "nope", "{", '{"a": 1} x', "[" * 100_000, "[" * 150 + "]" * 150], ids=lambda text: repr(text[:10])
)
def test_decode_refuses(text):
    """What is not JSON or nests too deep is a ValueError and nothing worse."""
    with pytest.raises(ValueError, match=r"."):
        decode(text)


def test_safe_self_containing():
    """A value that contains itself, even twice, ends quickly."""
    value: list[object] = []
    value += [value, value]
    with pytest.raises(TooDeepError):
        safe(value)


def test_safe_at_the_limit():
    """As many levels as allowed are kept, one more is refused."""
    value: object = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert safe(value) == value
    with pytest.raises(TooDeepError):
        safe([value])


@settings(max_examples=60, deadline=None)
@given(ANYTHING)
def test_safe_is_writable(value):
    """Whatever JSON-like value comes in, what comes out is JSON, is UTF-8, and stays as it is when made safe again."""
    made = safe(value)
    text = json.dumps(made, ensure_ascii=False, allow_nan=False)
    text.encode()
    assert safe(made) == made
    assert decode(encode(value)) == made


def test_safe_of_objects():
    """An object of no known kind is its text, and one whose text fails is its type."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    assert safe({"a": Broken(), "b": (1, math.nan), 3: {1}}) == {"a": "<Broken>", "b": [1, "NaN"], "3": "{1}"}
