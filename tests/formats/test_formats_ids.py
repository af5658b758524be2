"""Ids: made new, and read from every dialect."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalpoint.formats.ids import (
    base64_id,
    new_assessment_id,
    new_span_id,
    new_trace_id,
    read_span_id,
    read_trace_hex,
    trace_hex,
)

SPAN = "8eae9238fe8b16e9"
TRACE = "f5be331ece86ac6e5d8115b9f4654825"


@pytest.mark.parametrize(
    ("make", "form"),
    [(new_trace_id, "tr-[0-9a-f]{32}"), (new_span_id, "[0-9a-f]{16}"), (new_assessment_id, "a-[0-9a-f]{32}")],
    ids=["trace", "span", "assessment"],
)
def test_new_ids(make, form):
    """New ids have MLflow's form, differ, and come from the randomness that is given."""
    made = {make() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(form, one) for one in made)
    assert make(lambda size: b"\x01" * size) == make(lambda size: b"\x01" * size)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SPAN, SPAN),
        (SPAN.upper(), SPAN),
        ("0x" + SPAN, SPAN),
        ("0xfe8b16e9", "00000000fe8b16e9"),
        ("jq6SOP6LFuk=", SPAN),
        ("0000000000000000", None),
        ("AAAAAAAAAAA=", None),
        ("", None),
        ("0x", None),
        ("jq6SOP6LFu", None),
        ("é=", None),
        ("====", None),
        (TRACE, None),
        ("span-1", None),
        (7, None),
        (None, None),
    ],
)
def test_read_span_id(text, expected):
    """Hex, hex after 0x and base64 give the same 16 digits; all else, and the id of zeros, gives None."""
    assert read_span_id(text) == expected


@pytest.mark.parametrize(
    "text", [TRACE, "tr-" + TRACE, "0x" + TRACE, "9b4zHs6GrG5dgRW59GVIJQ==", "trace:/main.agents.bot/" + TRACE, "tr-" + TRACE.upper()]
)
def test_read_trace_hex(text):
    """Every dialect of a trace id gives the same 32 digits."""
    assert read_trace_hex(text) == TRACE
    assert trace_hex(text) == TRACE


@given(st.text(max_size=60))
def test_trace_hex_of_anything(text):
    """Any text has 32 hex digits that are always the same."""
    assert re.fullmatch("[0-9a-f]{32}", trace_hex(text))
    assert trace_hex(text) == trace_hex(text)


@given(st.binary(min_size=8, max_size=8).filter(any))
def test_base64_round_trip(raw):
    """What is written in base64 is read back."""
    assert read_span_id(base64_id(raw.hex())) == raw.hex()
