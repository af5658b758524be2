"""Traces and assessments outside an evaluation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evalpoint.entities import AssessmentSource, Expectation, Feedback, Run, Trace
from evalpoint.errors import NotFound, UsageError
from evalpoint.stores import SqliteStore

MakeTrace = Callable[..., Trace]
MakeRun = Callable[..., Run]
NOW_MS = 1_800_000_000_000
HUMAN = AssessmentSource("HUMAN", "ann@example.com")


@pytest.fixture
def traced(store: SqliteStore, make_trace: MakeTrace) -> SqliteStore:
    store.ensure_experiment("bot")
    store.save_trace(make_trace(), experiment_id="1")
    return store


def test_a_trace_comes_back_as_it_went_in(traced: SqliteStore, make_trace: MakeTrace) -> None:
    """Info, spans and what is said about it; its place is the store's experiment."""
    said = [Feedback("thumb", value=True, assessment_id="a-1", create_time_ms=3, last_update_time_ms=4, trace_id="tr-2"),
            Expectation("fact", {"a": [1]}, assessment_id="a-2", create_time_ms=3, last_update_time_ms=4, trace_id="tr-2")]  # fmt: skip
    given = make_trace("tr-2", tags={"a": "b"}, client_request_id="c", execution_duration_ms=None, state="IN_PROGRESS").with_assessments(
        said
    )
    traced.save_trace(given, experiment_id="1")
    found = traced.trace("tr-2")
    assert found is not None
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "1"}}
    expected = given.to_fields()
    expected["info"]["trace_location"] = place
    assert found.to_fields() == expected


def test_an_unknown_trace_is_none(traced: SqliteStore) -> None:
    """Not an error: the caller may look elsewhere."""
    assert traced.trace("tr-9") is None
    assert traced.trace("\ud800") is None


def test_saving_again_replaces_and_keeps_what_was_said(traced: SqliteStore, make_trace: MakeTrace) -> None:
    """A trace that was in progress is finished later."""
    traced.add_assessment("tr-1", Feedback("thumb", value=True))
    traced.save_trace(make_trace(spans=4, execution_duration_ms=99), experiment_id="1")
    found = traced.trace("tr-1")
    assert found is not None
    assert (len(found.data.spans), found.info.execution_duration, len(found.info.assessments)) == (4, 99, 1)


def test_a_trace_needs_its_experiment_and_run(store: SqliteStore, make_trace: MakeTrace) -> None:
    """Neither is made in passing."""
    with pytest.raises(NotFound):
        store.save_trace(make_trace(), experiment_id="1")
    store.ensure_experiment("bot")
    with pytest.raises(NotFound):
        store.save_trace(make_trace(), experiment_id="1", run_id="no")
    assert store.trace("tr-1") is None


def test_numbers_from_outside_do_not_overflow(traced: SqliteStore, make_trace: MakeTrace) -> None:
    """A time beyond 64 bits is cut, not refused."""
    traced.save_trace(make_trace("tr-2", request_time_ms=2**70, execution_duration_ms=-(2**70)), experiment_id="1")
    found = traced.search_traces(filter_string="trace_id = 'tr-2'")[0]
    assert (found.info.request_time, found.info.execution_duration) == (2**63 - 1, -(2**63))


def test_a_listing_has_no_spans(traced: SqliteStore) -> None:
    """Unless they are asked for; assessments are there either way."""
    traced.add_assessment("tr-1", Feedback("thumb", value=True))
    (listed,) = traced.search_traces(include_spans=False)
    (whole,) = traced.search_traces()
    assert (len(listed.data.spans), len(whole.data.spans)) == (0, 2)
    assert listed.info.assessments == whole.info.assessments != ()


def test_an_assessment_gets_its_trace_id_and_times(traced: SqliteStore) -> None:
    """What is returned is what is stored; times that were given stay."""
    first = traced.add_assessment("tr-1", Feedback("thumb", value=False, source=HUMAN, rationale="wrong"))
    second = traced.add_assessment("tr-1", Expectation("expected_response", "B", create_time_ms=7))
    assert (first.trace_id, first.create_time_ms, first.last_update_time_ms) == ("tr-1", NOW_MS, NOW_MS)
    assert second.create_time_ms == 7
    found = traced.trace("tr-1")
    assert found is not None
    assert found.info.assessments == (first, second)


def test_an_assessment_needs_its_trace_and_a_new_id(traced: SqliteStore) -> None:
    """An unknown trace is not found, a second assessment of one id refused."""
    with pytest.raises(NotFound, match="'tr-9'"):
        traced.add_assessment("tr-9", Feedback("thumb", value=True))
    traced.add_assessment("tr-1", Feedback("thumb", value=True, assessment_id="a-1"))
    with pytest.raises(UsageError, match="'a-1'"):
        traced.add_assessment("tr-1", Feedback("thumb", value=True, assessment_id="a-1"))


def test_an_override_replaces_and_keeps_the_old(traced: SqliteStore) -> None:
    """The new one has the old one's name and points at it; the old one is readable and no longer valid."""
    old = traced.add_assessment("tr-1", Feedback("tone", value="no", span_id="00000000000000aa"))
    new = traced.override_feedback("tr-1", old.assessment_id or "", Feedback(value="yes", source=HUMAN))
    assert (new.name, new.value, new.overrides, new.span_id, new.valid) == ("tone", "yes", old.assessment_id, "00000000000000aa", True)
    found = traced.trace("tr-1")
    assert found is not None
    assert found.search_assessments("tone") == [new]
    assert [(a.value, a.valid) for a in found.search_assessments("tone", all=True) if isinstance(a, Feedback)] == [
        ("no", False),
        ("yes", True),
    ]


def test_only_valid_feedback_is_overridden(traced: SqliteStore) -> None:
    """An unknown id, an expectation, and feedback that has been overridden: each says what to do instead."""
    old = traced.add_assessment("tr-1", Feedback("tone", value="no"))
    fact = traced.add_assessment("tr-1", Expectation("fact", 1))
    fresh = Feedback("tone", value="yes")
    with pytest.raises(NotFound, match=f"It has: {old.assessment_id}"):
        traced.override_feedback("tr-1", "a-9", fresh)
    with pytest.raises(NotFound, match="'tr-9'"):
        traced.override_feedback("tr-9", old.assessment_id or "", fresh)
    with pytest.raises(UsageError, match="expectation 'fact'"):
        traced.override_feedback("tr-1", fact.assessment_id or "", fresh)
    new = traced.override_feedback("tr-1", old.assessment_id or "", fresh)
    with pytest.raises(UsageError, match=f"override the newer '{new.assessment_id}'"):
        traced.override_feedback("tr-1", old.assessment_id or "", fresh)


def test_a_copied_trace_keeps_the_ids_of_what_was_said(traced: SqliteStore, make_trace: MakeTrace) -> None:
    """Two traces may hold assessments of one id; each has its own."""
    thumb = Feedback("thumb", value=True, assessment_id="a-1")
    for trace_id in ("tr-2", "tr-3"):
        traced.save_trace(make_trace(trace_id).with_assessments([thumb]), experiment_id="1")
    traced.override_feedback("tr-2", "a-1", Feedback(value=False))
    other = traced.trace("tr-3")
    assert other is not None
    assert [(a.assessment_id, a.value) for a in other.search_assessments("thumb")] == [("a-1", True)]
