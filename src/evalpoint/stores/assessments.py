"""Assessments in the store. Every function works on a connection whose transaction is the caller's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evalpoint.entities import Assessment, AssessmentError, AssessmentSource, AssessmentSourceType, Expectation, Feedback
from evalpoint.errors import NotFound, UsageError
from evalpoint.stores.text import as_integer, as_text, load, write_json

__all__ = [
    "SOURCE_RUN",
    "Placed",
    "Stamp",
    "add_assessment",
    "assessments_of",
    "brief_feedback",
    "insert_assessment",
    "override_feedback",
    "read_assessment",
]

SOURCE_RUN = "mlflow.assessment.sourceRunId"

_INSERT = """
INSERT INTO assessments (trace_id, assessment_id, kind, name, value, error, source_type, source_id, span_id, rationale, metadata,
    create_time_ms, last_update_time_ms, overrides, valid, run_id, evaluation_id, row, repeat, scorer, position, passed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (trace_id, assessment_id) DO NOTHING
"""
READ = (
    "SELECT trace_id, assessment_id, kind, name, value, error, source_type, source_id, span_id, rationale, metadata, create_time_ms,"
    " last_update_time_ms, overrides, valid, evaluation_id, row, repeat, scorer, position, passed FROM assessments"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What a new assessment is marked with: the time, and where ids come from."""

    now_ms: int
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The verdict that an assessment belongs to, and its place there; `position` is None where it only tells of a scorer's error."""

    evaluation_id: str
    row: int
    repeat: int
    scorer: str
    position: int | None
    passed: bool | None = None


def insert_assessment(
    connection: sqlite3.Connection,
    trace_id: str,
    given: Assessment,
    stamp: Stamp,
    *,
    run_id: str | None = None,
    placed: Placed | None = None,
) -> bool:
    """Writes the assessment with its own id and times where it has them; False when its trace has one of this id already."""
    feedback = given if isinstance(given, Feedback) else None
    created = as_integer(given.create_time_ms) or stamp.now_ms
    cursor = connection.execute(
        _INSERT,
        (
            trace_id,
            given.assessment_id or stamp.new_id(),
            "feedback" if feedback else "expectation",
            as_text(given.name),
            None if given.value is None else write_json(given.value),
            write_error(feedback.error) if feedback and feedback.error else None,
            given.source.source_type,
            as_text(given.source.source_id),
            as_text(given.span_id),
            as_text(feedback.rationale) if feedback else None,
            write_json(given.metadata) if given.metadata else "{}",
            created,
            as_integer(given.last_update_time_ms) or created,
            feedback.overrides if feedback else None,
            feedback.valid if feedback else True,
            run_id or (given.metadata or {}).get(SOURCE_RUN),
            *(
                (placed.evaluation_id, placed.row, placed.repeat, placed.scorer, placed.position, placed.passed)
                if placed
                else (None, None, None, None, None, None)
            ),
        ),
    )
    return cursor.rowcount > 0


def write_error(error: AssessmentError) -> str:
    return write_json({"error_code": error.error_code, "error_message": error.error_message, "stack_trace": error.stack_trace})


def read_error(text: str | None) -> AssessmentError | None:
    return AssessmentError(**load(text)) if text else None


_SOURCE = AssessmentSource(AssessmentSourceType.CODE)


def brief_feedback(row: Sequence[Any]) -> Feedback:
    """Of a feedback that `READ` selects, what a metric needs: its name, its value or its error."""
    return Feedback(row[3], None if row[4] is None else load(row[4]), read_error(row[5]), _SOURCE)


def read_assessment(row: Sequence[Any]) -> Assessment:
    """The assessment of a row that `READ` selects."""
    source = AssessmentSource(row[6], row[7])
    metadata: Mapping[str, str] | None = load(row[10]) or None
    if row[2] == "expectation":
        return Expectation(
            name=row[3],
            value=load(row[4]),
            source=source,
            trace_id=row[0],
            metadata=metadata,
            span_id=row[8],
            create_time_ms=row[11],
            last_update_time_ms=row[12],
            assessment_id=row[1],
        )
    return Feedback(
        name=row[3],
        value=None if row[4] is None else load(row[4]),
        error=read_error(row[5]),
        source=source,
        trace_id=row[0],
        metadata=metadata,
        span_id=row[8],
        create_time_ms=row[11],
        last_update_time_ms=row[12],
        rationale=row[9],
        overrides=row[13],
        valid=bool(row[14]),
        assessment_id=row[1],
    )


def assessments_of(connection: sqlite3.Connection, trace_ids: Sequence[str]) -> Mapping[str, list[Assessment]]:
    """Per trace, what is said about it, in the order in which it was said."""
    found: dict[str, list[Assessment]] = {trace_id: [] for trace_id in trace_ids}
    sql = READ + f" WHERE trace_id IN ({','.join('?' * len(trace_ids))}) ORDER BY rowid"
    for row in connection.execute(sql, tuple(trace_ids)):
        found[row[0]].append(read_assessment(row))
    return found


def add_assessment(connection: sqlite3.Connection, trace_id: str, given: Assessment, stamp: Stamp, store: str) -> Assessment:
    """The assessment as it has been written, with its trace, id and times."""
    require_trace(connection, trace_id, store)
    complete = replace(
        given,
        trace_id=trace_id,
        assessment_id=given.assessment_id or stamp.new_id(),
        create_time_ms=given.create_time_ms or stamp.now_ms,
        last_update_time_ms=given.last_update_time_ms or stamp.now_ms,
    )
    if not insert_assessment(connection, trace_id, complete, stamp):
        raise UsageError(f"Trace {trace_id!r} has an assessment {complete.assessment_id!r} already; a new one needs a new id, or none.")
    return complete


def override_feedback(
    connection: sqlite3.Connection, trace_id: str, assessment_id: str, given: Feedback, stamp: Stamp, store: str
) -> Feedback:
    """The new feedback, in the place of an old one, which stays readable and is no longer valid."""
    require_trace(connection, trace_id, store)
    row = connection.execute(READ + " WHERE trace_id = ? AND assessment_id = ?", (trace_id, assessment_id)).fetchone()
    if row is None:
        known = [
            f"{a.assessment_id} ({a.name})" for a in assessments_of(connection, [trace_id])[trace_id] if isinstance(a, Feedback) and a.valid
        ]
        hint = "It has: " + ", ".join(known[:20]) + "." if known else "It has no feedback yet; log some instead."
        raise NotFound(f"Trace {trace_id!r} in {store} has no assessment {assessment_id!r}. {hint}")
    old = read_assessment(row)
    if not isinstance(old, Feedback):
        raise UsageError(
            f"Assessment {assessment_id!r} is the expectation {old.name!r}, and only feedback can be overridden; log a new expectation."
        )
    if not old.valid:
        newer = connection.execute(
            "SELECT assessment_id FROM assessments WHERE trace_id = ? AND overrides = ?", (trace_id, assessment_id)
        ).fetchone()
        hint = f"; override the newer {newer[0]!r}" if newer else ""
        raise UsageError(f"Feedback {assessment_id!r} ({old.name}) has been overridden already{hint}.")
    connection.execute(
        "UPDATE assessments SET valid = 0, last_update_time_ms = ? WHERE trace_id = ? AND assessment_id = ?",
        (stamp.now_ms, trace_id, assessment_id),
    )
    fresh = replace(
        given,
        name=old.name,
        overrides=assessment_id,
        valid=True,
        span_id=given.span_id or old.span_id,
        assessment_id=None,
        create_time_ms=None,
    )
    written = add_assessment(connection, trace_id, replace(fresh, last_update_time_ms=None), stamp, store)
    return written if isinstance(written, Feedback) else fresh


def require_trace(connection: sqlite3.Connection, trace_id: str, store: str) -> None:
    if not connection.execute("SELECT 1 FROM traces WHERE trace_id = ?", (as_text(trace_id),)).fetchone():
        raise NotFound(
            f"Trace {trace_id!r} does not exist in {store}. Take an id from search_traces(), or from the result's trace_id column."
        )


def expectations_for(row_expectations: Mapping[str, Any], present: set[tuple[str, str]], run_id: str) -> list[Expectation]:
    """A row's expectations as assessments of its trace; those that the trace has already, and empty ones, are left out.

    Args:
        row_expectations: By name.
        present: Name and JSON value of those that the trace has.
        run_id: The run that they are noted for.
    """
    return [
        Expectation(name=name, value=value, metadata={SOURCE_RUN: run_id})
        for name, value in row_expectations.items()
        if value is not None and (as_text(name), write_json(value)) not in present
    ]
