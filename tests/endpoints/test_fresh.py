"""State of agents: places of the payload that are filled anew, and ids that rows should not share."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.endpoints.fresh import Filling, Fresh, SharedIds
from evalpoint.errors import ConfigurationError, UsageError

PATH = "custom_inputs.thread_id"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "dict from paths"),
        ("uuid", "dict from paths"),
        ({"": "uuid"}, "should name a place"),
        ({"a..b": "uuid"}, "should name a place"),
        ({".a": "uuid"}, "should name a place"),
        ({"a. b": "uuid"}, "should name a place"),
        ({3: "uuid"}, "should name a place"),
        ({"messages": "uuid"}, "in the place of the question"),
        ({"a": "uuid", "a.b": "uuid"}, "'a' and, inside of it, 'a.b'"),
        ({"a": "guid"}, 'no such generator. Write "uuid"'),
        ({"a": 3}, "not int"),
        ({"a": lambda row: row}, "function without parameters"),
    ],
    ids=str,
)
def test_what_is_no_specification(spec: Any, message: str) -> None:
    """Wrong paths and generators are refused when the function is made, saying what would do."""
    with pytest.raises(ConfigurationError, match=message):
        Fresh(spec)


@pytest.mark.parametrize(
    ("path", "payload", "filled"),
    [
        (PATH, {"input": []}, {"input": [], "custom_inputs": {"thread_id": 0}}),
        (PATH, {"custom_inputs": {"thread_id": "old", "k": 1}}, {"custom_inputs": {"thread_id": 0, "k": 1}}),
        (PATH, {"custom_inputs": None}, {"custom_inputs": {"thread_id": 0}}),
        ("user", {}, {"user": 0}),
        ("dataframe_records.1.id", {"dataframe_records": [{}, {"id": 5}]}, {"dataframe_records": [{}, {"id": 0}]}),
    ],
    ids=["made", "replaced", "null", "top", "in a list"],
)
def test_filling(path: str, payload: dict[str, Any], filled: dict[str, Any]) -> None:
    """The place is made where it is missing; everything around it stays, and the row's own payload is not touched."""
    before = repr(payload)
    assert Filling(Fresh({path: itertools.count().__next__}), payload).payload == filled
    assert repr(payload) == before


@pytest.mark.parametrize(
    ("path", "payload", "message"),
    [
        (PATH, {"custom_inputs": "text"}, "'custom_inputs' is of type str"),
        ("dataframe_records.3.id", {"dataframe_records": [{}]}, "a list without that place"),
        ("dataframe_records.0.id", {}, "'dataframe_records' is missing"),
    ],
    ids=["text", "short list", "no list"],
)
def test_places_that_a_payload_has_not(path: str, payload: dict[str, Any], message: str) -> None:
    """It is said which part of the payload is in the way; the check says so without making a value."""
    made = itertools.count()
    fresh = Fresh({path: made.__next__})
    with pytest.raises(UsageError, match=message):
        fresh.check(payload)
    assert next(made) == 0
    with pytest.raises(UsageError, match=message):
        Filling(fresh, payload)


def test_every_attempt_has_its_own_value() -> None:
    """The first attempt sends what the payload has; every further one a new value, and the last one is remembered."""
    filling = Filling(Fresh({PATH: "uuid"}), {"input": "q"})
    dressed = {**filling.payload, "client_request_id": "r"}
    sent = [filling(dressed)["custom_inputs"]["thread_id"] for _ in range(4)]
    assert len(set(sent)) == 4
    assert dressed["custom_inputs"]["thread_id"] == sent[0]
    assert filling.payload == {"input": "q", "custom_inputs": {"thread_id": sent[-1]}}


@pytest.mark.parametrize("body", [{}, {"custom_inputs": {"thread_id": "another"}}, [], None, {"custom_inputs": 3}], ids=str)
def test_other_requests_are_left_alone(body: Any) -> None:
    """A request on the way that does not carry our value, such as that for a trace, is sent as it is."""
    filling = Filling(Fresh({PATH: "uuid"}), {"input": "q"})
    assert filling(body) is body


PAYLOADS = st.recursive(st.integers(), lambda x: st.dictionaries(st.sampled_from("abc"), x, max_size=3), max_leaves=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), st.dictionaries(st.sampled_from("abc"), PAYLOADS, max_size=3))
def test_a_place_is_filled_or_refused(steps: list[str], payload: Any) -> None:
    """Whatever the payload: afterwards the value is there, or a sentence says why it cannot be."""
    try:
        filled: Any = Filling(Fresh({".".join(steps): lambda: "new"}), payload).payload
    except UsageError as error:
        filled = None
        assert "of type int" in str(error)  # noqa: PT017 - either outcome is right
    for step in steps if filled is not None else ():
        filled = filled[step]
    assert filled in ("new", None)


def row(question: str, thread: str | None = None, **context: str) -> dict[str, Any]:
    return {"input": question, "custom_inputs": {"thread_id": thread}, "context": context}


def test_one_id_over_several_rows() -> None:
    """It is said once, with the path, the id, and what to do."""
    shared = SharedIds()
    assert shared.see(row("a", "t1")) is None
    assert shared.see(row("b", "t2")) is None
    warning = shared.see(row("c", "t1"))
    assert warning is not None
    assert "'t1'" in warning
    assert 'fresh={"custom_inputs.thread_id": "uuid"}' in warning
    assert shared.see(row("d", "t1")) is None


@pytest.mark.parametrize(
    ("rows", "filled"),
    [
        ([row("a", "t1"), row("a", "t1")], ()),
        ([row("a"), row("b")], ()),
        ([row("a", "t"), row("b", "u")], ()),
        ([row("a", "t"), row("b", "t")], (PATH,)),
        ([{"input": "a", "custom_inputs": "t"}, {"input": "b", "custom_inputs": "t"}], ()),
        ([row("a", "t"), {"custom_inputs": {"thread_id": "t"}, "input": float("nan")}], ()),
    ],
    ids=["the same row again", "no ids", "different ids", "filled anew", "another shape", "no JSON"],
)
def test_what_needs_no_warning(rows: list[Any], filled: tuple[str, ...]) -> None:
    """A second pass over the same rows shares nothing, nor do rows whose id is filled anew."""
    shared = SharedIds(filled)
    assert [shared.see(payload) for payload in rows] == [None] * len(rows)


def test_conversation_ids_too() -> None:
    """`context.conversation_id` is an id of the same kind."""
    shared = SharedIds((PATH,))
    assert shared.see(row("a", "t", conversation_id="c")) is None
    assert "context.conversation_id" in (shared.see(row("b", "t", conversation_id="c")) or "")


def test_one_warning_from_many_threads() -> None:
    """Rows that are seen at once give one warning together."""
    shared, said, gate = SharedIds(), list[str](), threading.Barrier(16)

    def see(n: int) -> None:
        gate.wait()
        for m in range(20):
            warning = shared.see(row(f"{n} {m}", "t"))
            if warning is not None:
                said.append(warning)

    threads = [threading.Thread(target=see, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 1
