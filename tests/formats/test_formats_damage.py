"""Damage of every kind, at every place: only `FormatError` may come out, and what is read is sound."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.entities import Trace
from evalpoint.errors import FormatError
from evalpoint.formats import read_trace, write_trace
from evalpoint.formats.shapes import TraceFields
from evalpoint.formats.times import MAX_MS, MAX_NS

SAMPLES = sorted((Path(__file__).parent.parent / "fixtures" / "traces").glob("*.json"))
HEX = set("0123456789abcdef")


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths(item, (*path, key))


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return value


LOOP: list[Any] = []
LOOP += [LOOP, LOOP]

DAMAGES: dict[str, Callable[[Any], Any]] = {
    "null": lambda value: None,
    "number": lambda value: 7,
    "negative": lambda value: -(10**400),
    "nan": lambda value: math.nan,
    "true": lambda value: True,
    "words": lambda value: "garbage \ud83d",
    "no-text": lambda value: "",
    "list": lambda value: [value, value],
    "nested": lambda value: {"x": value},
    "empty-map": lambda value: {},
    "empty-list": lambda value: [],
    "as-text": lambda value: json.dumps(value),
    "half": lambda value: value[: len(value) // 2] if isinstance(value, (str, list)) else value,
    "backwards": lambda value: value[::-1] if isinstance(value, (str, list)) else value,
    "deep": lambda value: nested(300),
    "deep-text": lambda value: "[" * 3000,
    "endless": lambda value: LOOP,
    "bytes": lambda value: b"\xff",
    "object": lambda value: object(),
}


def damaged(data: Any, path: tuple[Any, ...], damage: Callable[[Any], Any]) -> Any:
    """The data with other contents at one place; only what lies on the way there is copied."""
    if not path:
        return damage(data)
    copied = copy.copy(data)
    copied[path[0]] = damaged(data[path[0]], path[1:], damage)
    return copied


def dropped(data: Any, path: tuple[Any, ...]) -> Any:
    copied = copy.deepcopy(data)
    place = copied
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return copied


def check(data: Any) -> TraceFields | None:
    """Reads, and asks of whatever was read that it is sound and survives being written."""
    surprise = None
    try:
        fields = read_trace(data)
    except FormatError as error:
        surprise = error.__cause__
        fields = None
    assert surprise is None
    if fields is None:
        return None
    sound(fields)
    for dialect in ("v3", "rest"):
        written = write_trace(fields, dialect)  # type: ignore[arg-type]
        again = read_trace(json.loads(json.dumps(written)))
        assert (again["info"], again["spans"]) == (fields["info"], fields["spans"])
    Trace.from_fields(fields).to_dict()
    return fields


def sound(fields: TraceFields) -> None:
    json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()
    info, spans = fields["info"], fields["spans"]
    assert info["trace_id"]
    assert 0 <= info["request_time_ms"] <= MAX_MS
    assert info["execution_duration_ms"] is None or 0 <= info["execution_duration_ms"] <= MAX_MS
    assert info["state"] in ("OK", "ERROR", "IN_PROGRESS", "STATE_UNSPECIFIED")
    for texts in (info["tags"], info["trace_metadata"]):
        assert all(type(key) is str and type(text) is str for key, text in texts.items())
    ids = [span["span_id"] for span in spans]
    assert len(set(ids)) == len(ids)
    assert all(len(span_id) == 16 and set(span_id) <= HEX for span_id in ids)
    if spans:
        assert [span["parent_id"] is None for span in spans] == [True] + [False] * (len(spans) - 1)
        parents = {span["span_id"]: span["parent_id"] for span in spans}
        for span_id in ids:
            steps = 0
            at: str | None = span_id
            while at is not None:
                at = parents[at]
                steps += 1
                assert steps <= len(spans)
    for span in spans:
        assert type(span["name"]) is str
        assert 0 <= span["start_time_ns"] <= MAX_NS
        assert span["end_time_ns"] is None or span["start_time_ns"] <= span["end_time_ns"] <= MAX_NS
        assert span["status_code"] in ("OK", "ERROR", "UNSET")
    starts = [span["start_time_ns"] for span in spans[1:]]
    assert starts == sorted(starts)
    assert all(type(problem) is str and problem.endswith((".", "times)")) for problem in fields["problems"])
    assert len(fields["problems"]) < 30


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_damaged_values(sample, damage):
    """A value of any kind in place of any other costs at most what it holds.

    Every thirteenth place is tried, each kind of damage beginning at another.
    """
    data = json.loads(sample.read_text())
    places = list(paths(data))
    first = list(DAMAGES.values()).index(damage) % 13
    for path in places[first::13]:
        check(damaged(data, path, damage))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_dropped_values(sample):
    """Any key or entry may be missing; with spans left, the trace is read."""
    data = json.loads(sample.read_text())
    for path in [path for path in paths(data) if path][::3]:
        fields = check(dropped(data, path))
        if len(path) > 4 and "spans" in path:
            assert fields is not None
            assert fields["spans"]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_cut_off_text(sample):
    """JSON that ends in the middle is no trace, wherever it ends."""
    text = json.dumps(json.loads(sample.read_text()))
    for end in range(1, len(text), max(len(text) // 40, 1)):
        assert check(text[:end]) is None


def test_swapped_parts():
    """Two parts of a trace that have changed places do no harm."""
    data = json.loads(next(path for path in SAMPLES if "3.17.2" in path.stem and "to_dict" in path.stem).read_text())
    places = [path for path in paths(data) if path]
    for one, other in zip(places[::7], places[::-5], strict=False):
        copied = copy.deepcopy(data)
        first, second = at(data, one), at(data, other)
        for path, value in ((one, second), (other, first)):
            holder = at(copied, path[:-1])
            if isinstance(holder, dict) or (isinstance(holder, list) and isinstance(path[-1], int) and path[-1] < len(holder)):
                holder[path[-1]] = value
        check(copied)


def at(data: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):  # an earlier swap has taken the place away
            return {}
    return data


WORDS = """info data spans trace trace_info trace_id span_id parent_span_id parent_id context name attributes events links status code
start_time_unix_nano end_time_unix_nano start_time request_time state tags trace_metadata assessments feedback value key
assessment_name kvlist_value array_value values string_value int_value mlflow.traceRequestId"""
KEYS = st.sampled_from(WORDS.split())
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=6)
    | st.sampled_from(["OK", "tr-" + "a" * 32, "a" * 16, "jq6SOP6LFuk=", "0x1", "2026-11-23T17:46:34.224Z", '{"a": 1}', "STATUS_CODE_OK"])
)
INFO = {"trace_id": "x", "state": "OK"}
JUNK = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=30)


@settings(max_examples=150, deadline=None)
@given(
    JUNK
    | JUNK.map(lambda junk: {"info": {"trace_id": "x", "state": "OK"}, "data": {"spans": [junk, junk, {"name": "s", "attributes": junk}]}})
)
def test_junk(data):
    """Any JSON at all, even with the right words in it, is a sound trace or a FormatError."""
    check(data)
