"""Bytes of an event stream -> events, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.endpoints.events import Event, EventReader

SAMPLES = Path(__file__).parent.parent / "fixtures" / "endpoint"


def events_of(*pieces: bytes, max_event: int = 1000) -> list[Event]:
    reader = EventReader(max_event)
    return [event for piece in pieces for event in reader.feed(piece)] + reader.close()


def values(*pieces: bytes) -> list[Any]:
    return ["[DONE]" if event.done else event.value for event in events_of(*pieces)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b'data: {"a": 1}\n\ndata: [DONE]\n\n', [{"a": 1}, "[DONE]"]),
        (b'data: {"a": 1}\r\n\r\ndata: 2\r\n\r\n', [{"a": 1}, 2]),
        (b'data: {"a": 1}\r\rdata: 2\r\r', [{"a": 1}, 2]),
        (b'data:{"a":1}\n\n', [{"a": 1}]),
        (b'data: {"a":\ndata: 1}\n\n', [{"a": 1}]),
        (b'data: {"a":\r\ndata: 1}\r\n\r\n', [{"a": 1}]),
        (b": hello\n\ndata: 1\n: between\n\n: bye\n\n", [1]),
        (b"\xef\xbb\xbfdata: 1\n\n", [1]),
        (b"data: 1\n\ndata: 2", [1, 2]),
        (b"data: 1\n\ndata: 2\n", [1, 2]),
        (b"data: 1\n\n\n\n\ndata: 2\n\n", [1, 2]),
        (b"data:\n\ndata: 1\n\n", [1]),
        (b"data\n\ndata: 1\n\n", [1]),
        (b"id: 7\nretry: 100\nfoo: bar\ndata: 1\n\n", [1]),
        (b"data:  [DONE]\n\n", ["[DONE]"]),
        (b"", []),
        ('data: "\u2028 \x85 ü 🎉"\n\n'.encode(), ["\u2028 \x85 ü 🎉"]),
    ],
    ids=["plain", "CRLF", "CR", "no space", "many lines", "many with CRLF", "comments", "BOM", "no end", "no empty line", "empty lines",
         "no data", "no colon", "other fields", "done with spaces", "nothing", "no line ends of Unicode"],
)  # fmt: skip
def test_events(stream: bytes, expected: list[Any]) -> None:
    """Every way of writing an event is read, in one piece and byte by byte."""
    assert values(stream) == expected
    assert values(*(bytes([byte]) for byte in stream)) == expected


def test_names() -> None:
    """An event's name is its own, and not the next one's."""
    assert [(e.name, e.value) for e in events_of(b"event: error\ndata: 1\n\ndata: 2\n\n")] == [("error", 1), ("", 2)]


def test_what_is_no_json_is_kept_as_a_problem() -> None:
    """The events around it are read; it says how it begins."""
    first, wrong, deep, last = events_of(b'data: 1\n\ndata: {"a": \n\ndata: ' + b"[" * 900 + b"\n\ndata: 2\n\n")
    assert (first.value, last.value) == (1, 2)
    assert "'{\"a\": '" in (wrong.problem or "")
    assert deep.problem


@pytest.mark.parametrize("text", [b"x" * 3000, b"x\ndata: " * 800], ids=["one line", "many lines"])
def test_an_event_without_end_is_dropped(text: bytes) -> None:
    """Of what is over the limit nothing is kept but its beginning, and the next event is read."""
    wrong, fine = events_of(b"data: " + text + b"\n\ndata: 2\n\n")
    assert "more than 1,000 characters" in (wrong.problem or "")
    assert len(wrong.problem or "") < 500
    assert fine.value == 2


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(ends)]


PIECES = st.sampled_from([
    b"data: 1", b"data:", b'{"a": "\xc3\xbc"}', b"\n", b"\r", b"\r\n", b"\n\n", b": c", b"data: [DONE]", b"event: e", b"\xef\xbb\xbf",
    b"\xf0\x9f", b"\xff", b"x" * 30,
])  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=12).map(b"".join) | st.binary(max_size=60), st.lists(st.integers(0, 200), max_size=8))
def test_any_cutting_gives_the_same_events(stream: bytes, places: list[int]) -> None:
    """Where the pieces end is of no importance: not in a character, a line end, a field or an event, nor for the limit."""
    assert events_of(*cut(stream, places), max_event=40) == events_of(stream, max_event=40)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("sse-*.txt")), ids=lambda path: path.stem)
def test_samples_cut_at_every_byte(path: Path) -> None:
    """The recorded streams give the same events in two pieces, wherever the cut."""
    stream = path.read_bytes()
    whole = events_of(stream)
    assert len(whole) >= 2
    assert not any(event.problem for event in whole)
    assert all(events_of(stream[:at], stream[at:]) == whole for at in range(len(stream)))
