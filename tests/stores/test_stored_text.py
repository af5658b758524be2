"""Values in columns."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.stores.text import as_count, as_integer, load, member, write_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(alphabet=st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(value=JSON)
def test_what_is_written_can_be_read(value: Any) -> None:
    """Any JSON value survives, with infinities and half surrogates, in text that is UTF-8."""
    text = write_json(value)
    text.encode()
    assert load(text) == value


@pytest.mark.parametrize(
    ("value", "integer", "count"),
    [
        (5, 5, 5),
        (-3, -3, 0),
        (2.9, 2, 2),
        (10**400, 2**63 - 1, 10**12),
        (-(10**400), -(2**63), 0),
        (True, None, None),
        (math.nan, None, None),
        (math.inf, None, None),
        ("7", None, None),
        (None, None, None),
    ],
    ids=str,
)
def test_numbers_from_outside_fit(value: Any, integer: int | None, count: int | None) -> None:
    """An integer of 64 bits, a count that can be summed, or nothing."""
    assert (as_integer(value), as_count(value)) == (integer, count)


@pytest.mark.parametrize(
    ("text", "found"), [('{"a":"b"}', "b"), ('{"a":[1]}', "[1]"), ('{"b":"a"}', None), ("[]", None), (None, None)], ids=str
)
def test_a_member_of_an_object(text: str | None, found: str | None) -> None:
    """The SQL function gives text or NULL, whatever the column holds."""
    assert member(text, "a") == found


def test_a_value_that_nests_too_deeply_is_noted() -> None:
    """Neither writing nor reading it ends in an error."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert "not kept" in load(write_json(deep))
    assert "not kept" in load("[" * 100_000 + "]" * 100_000)
