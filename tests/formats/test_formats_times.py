"""Times and durations of the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalpoint.formats.times import MAX_MS, MAX_NS, read_duration_ms, read_ms, read_ns, write_duration, write_time

MOMENT = 1795455994224


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T17:46:34.224Z", MOMENT),
        ("2026-11-23T17:46:34.224999999Z", MOMENT),
        ("2026-11-23T17:46:34.224123Z", MOMENT),
        ("2026-11-23T17:46:34.2Z", MOMENT - 24),
        ("2026-11-23T17:46:34Z", MOMENT - 224),
        ("2026-11-23 17:46:34.224", MOMENT),
        ("2026-11-23T19:46:34.224+02:00", MOMENT),
        ("2026-11-23T19:46:34.224+0200", MOMENT),
        ("2026-11-23T16:46:34.224-01:00", MOMENT),
        (MOMENT, MOMENT),
        (str(MOMENT), MOMENT),
        (float(MOMENT), MOMENT),
        (0, 0),
        ("2026-02-30T17:46:34.224Z", None),
        ("1960-01-01T00:00:00.000Z", None),
        ("9999-12-31T23:59:59.999Z", None),
        ("2026-11-23T17:46:34.22Zx", None),
        ("2026-11-23", None),
        ("yesterday", None),
        ("", None),
        (-1, None),
        (MAX_MS + 1, None),
        (10**400, None),
        (float("nan"), None),
        (1.5, None),
        (True, None),
        (None, None),
        ([], None),
    ],
    ids=str,
)
def test_read_ms(text, expected):
    """Any number of fraction digits, any offset, or plain milliseconds; what is no time within 64 bits of nanoseconds is None."""
    assert read_ms(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0s", 0), ("1s", 1000), ("1.938s", 1938), ("1.5s", 1500), ("0.000000001s", 0), (250, 250), ("250", 250)]
    + [(bad, None) for bad in ("1.5", "-1s", "s", "", "1,5s", None, {}, -3, "9" * 30 + "s", "999999999999999s")],
    ids=str,
)
def test_read_duration(text, expected):
    """Seconds with an s, or milliseconds as a number."""
    assert read_duration_ms(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        ("5", 5),
        (MAX_NS, MAX_NS),
        (0, None),
        ("0", None),
        (2**63, None),
        ("٣", None),
        ("1" * 5000, None),
        (True, None),
        (-5, None),
    ],
    ids=["int", "digits", "largest", "zero", "zero-text", "too-large", "arabic-digits", "long-text", "bool", "negative"],
)
def test_read_ns(value, expected):
    """Nanoseconds within 63 bits; zero means unset."""
    assert read_ns(value) == expected


@given(st.integers(0, MAX_MS))
def test_time_round_trip(ms):
    """Every time that can be held is read back as it was written."""
    assert read_ms(write_time(ms)) == ms


@given(st.integers(0, 10**12))
def test_duration_round_trip(ms):
    """Every duration is read back as it was written."""
    assert read_duration_ms(write_duration(ms)) == ms
