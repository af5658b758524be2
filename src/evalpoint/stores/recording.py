"""What happened to the rows of an evaluation -> the store: predictions, verdicts and ends, in the caller's one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evalpoint.entities import (
    AssessmentSource,
    AssessmentSourceType,
    Event,
    Failure,
    Feedback,
    Finished,
    Predicted,
    Reply,
    RowKey,
    Scored,
    Spent,
    Trace,
)
from evalpoint.errors import StoreError
from evalpoint.stores.assessments import SOURCE_RUN, Placed, Stamp, expectations_for, insert_assessment, write_error
from evalpoint.stores.text import as_count, load, write_json
from evalpoint.stores.traces import change_trace_tags, has_trace, link_trace, write_trace

__all__ = ["record"]

EVAL_REQUEST_ID = "mlflow.eval.requestId"
SCORER_TRACE = "mlflow.assessment.scorerTraceId"
SOURCE_SCORER = "mlflow.trace.sourceScorer"

_VERDICT = """
INSERT INTO verdicts (evaluation_id, row, repeat, scorer, outcome, error, calls, input_tokens, output_tokens, cost)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an evaluation's results go."""

    evaluation_id: str
    run_id: str
    experiment_id: int


def record(connection: sqlite3.Connection, evaluation_id: str, events: Sequence[Event], stamp: Stamp) -> None:
    """Writes the events in their order.

    Raises:
        StoreError: An event is about a row that the evaluation does not have, or about an answer that was not committed.
    """
    found = connection.execute(
        "SELECT e.run_id, r.experiment_id FROM evaluations e JOIN runs r ON r.run_id = e.run_id WHERE e.evaluation_id = ?", (evaluation_id,)
    ).fetchone()
    if found is None:
        raise StoreError(f"Evaluation {evaluation_id!r} is not in the store: was it discarded, or the file replaced, while it ran?")
    place = _Place(evaluation_id, *found)
    for event in events:
        match event:
            case Predicted(key=key, prediction=prediction):
                if isinstance(prediction, Reply):
                    _write_reply(connection, place, key, prediction, stamp)
                else:
                    _write_failure(connection, place, key, prediction, stamp)
            case Scored():
                _write_verdict(connection, place, event, stamp)
            case Finished(key=key, state=state):
                sql = "UPDATE rows SET state = ? WHERE evaluation_id = ? AND row = ? AND repeat = ?"
                _one(connection.execute(sql, (state.value, evaluation_id, *key)), key)


def _one(cursor: sqlite3.Cursor, key: RowKey) -> None:
    if cursor.rowcount != 1:
        raise _unknown(key)


def _unknown(key: RowKey) -> StoreError:
    return StoreError(
        f"Row {key.row} (repeat {key.repeat}) is not among the rows that the evaluation began with; was the store's file replaced?"
    )


def _write_reply(connection: sqlite3.Connection, place: _Place, key: RowKey, reply: Reply, stamp: Stamp) -> None:
    _write_row_trace(connection, place, key, reply.trace, stamp, adopted=reply.adopted)
    usage: Mapping[str, Any] = reply.trace.info.token_usage or {}
    sql = (
        "UPDATE rows SET outputs = ?, error = NULL, trace_id = ?, latency_ms = ?, input_tokens = ?, output_tokens = ?, total_tokens = ?,"
        " first_token_ms = ?, tokens_per_second = ?"
        " WHERE evaluation_id = ? AND row = ? AND repeat = ?"
    )
    counts = (as_count(usage.get("input_tokens")), as_count(usage.get("output_tokens")), as_count(usage.get("total_tokens")))
    timing = reply.trace.info.timing
    times = (timing.get("first_token_ms"), timing.get("tokens_per_second"))
    values = (write_json(reply.outputs), reply.trace.info.trace_id, reply.latency_ms, *counts, *times)
    _one(connection.execute(sql, (*values, place.evaluation_id, *key)), key)


def _write_failure(connection: sqlite3.Connection, place: _Place, key: RowKey, failure: Failure, stamp: Stamp) -> None:
    if failure.trace:
        _write_row_trace(connection, place, key, failure.trace, stamp, adopted=False)
    sql = (
        "UPDATE rows SET outputs = NULL, error = ?, trace_id = ?, latency_ms = ?,"
        " input_tokens = NULL, output_tokens = NULL, total_tokens = NULL, first_token_ms = NULL, tokens_per_second = NULL"
        " WHERE evaluation_id = ? AND row = ? AND repeat = ?"
    )
    trace_id = failure.trace.info.trace_id if failure.trace else None
    _one(connection.execute(sql, (write_error(failure.error), trace_id, failure.latency_ms, place.evaluation_id, *key)), key)


def _write_row_trace(connection: sqlite3.Connection, place: _Place, key: RowKey, trace: Trace, stamp: Stamp, *, adopted: bool) -> None:
    """Writes or links the row's trace; the row's tags become the trace's, and its expectations are said about the trace."""
    sql = "SELECT expectations, tags, request_id FROM rows WHERE evaluation_id = ? AND row = ? AND repeat = ?"
    row = connection.execute(sql, (place.evaluation_id, *key)).fetchone()
    if row is None:
        raise _unknown(key)
    trace_id = trace.info.trace_id
    tags: dict[str, str] = load(row[1])
    if row[2] is not None:
        tags[EVAL_REQUEST_ID] = row[2]
    if adopted and has_trace(connection, trace_id):
        link_trace(connection, trace_id, place.run_id)
        if tags:
            change_trace_tags(connection, trace_id, tags)
    else:
        write_trace(connection, trace, stamp, experiment_id=place.experiment_id, run_id=place.run_id, tags=tags)
    if row[0] != "{}":
        present = connection.execute("SELECT name, value FROM assessments WHERE trace_id = ? AND kind = 'expectation'", (trace_id,))
        for expectation in expectations_for(load(row[0]), {(name, value) for name, value in present}, place.run_id):
            insert_assessment(connection, trace_id, expectation, stamp, run_id=place.run_id)


def _write_verdict(connection: sqlite3.Connection, place: _Place, event: Scored, stamp: Stamp) -> None:
    key, verdict = event.key, event.verdict
    row = connection.execute(
        "SELECT r.trace_id, t.root_span_id, v.calls, v.input_tokens, v.output_tokens, v.cost"
        " FROM rows r JOIN traces t ON t.trace_id = r.trace_id"
        " LEFT JOIN verdicts v ON v.evaluation_id = r.evaluation_id AND v.row = r.row AND v.repeat = r.repeat AND v.scorer = ?"
        " WHERE r.evaluation_id = ? AND r.row = ? AND r.repeat = ?",
        (event.scorer, place.evaluation_id, *key),
    ).fetchone()
    if row is None:
        raise StoreError(f"Scorer {event.scorer!r} judged row {key.row} (repeat {key.repeat}), whose answer is not in the store.")
    trace_id, root_span_id, calls = row[:3]
    where = (place.evaluation_id, *key, event.scorer)
    spent = verdict.spent
    if calls is not None:  # asked again: the earlier verdict goes, with its feedback; what it cost stays spent
        spent += Spent(calls=calls, input_tokens=row[3], output_tokens=row[4], cost=row[5])
        connection.execute("DELETE FROM verdicts WHERE evaluation_id = ? AND row = ? AND repeat = ? AND scorer = ?", where)
    outcome = "failed" if verdict.failure else "scored" if verdict.feedback else "skipped"
    error = write_error(verdict.error) if verdict.error else None
    counts = (as_count(spent.calls) or 0, as_count(spent.input_tokens) or 0, as_count(spent.output_tokens) or 0)
    connection.execute(_VERDICT, (*where, outcome, error, *counts, spent.cost))
    added = {SOURCE_RUN: place.run_id}
    if event.trace:
        write_trace(connection, event.trace, stamp, experiment_id=place.experiment_id, tags={SOURCE_SCORER: event.scorer})
        added[SCORER_TRACE] = event.trace.info.trace_id
    said: list[tuple[int | None, Feedback, bool | None]] = [
        (position, feedback, verdict.passed[position] if position < len(verdict.passed) else None)
        for position, feedback in enumerate(verdict.feedback)
    ]
    if verdict.error:  # shown on the trace as MLflow shows it; the verdict itself has no feedback
        source = verdict.source or AssessmentSource(AssessmentSourceType.CODE, event.scorer)
        known = {**verdict.metadata, **(_judge_figures(verdict.spent) if verdict.spent.calls else {})}
        said.append((None, Feedback(event.scorer, error=verdict.error, source=source, metadata=known), None))
    for position, feedback, passed in said:
        whole = replace(
            feedback,
            assessment_id=None,
            overrides=None,
            valid=True,
            span_id=feedback.span_id or root_span_id,
            metadata={**(feedback.metadata or {}), **added},
            create_time_ms=None,
            last_update_time_ms=None,
        )
        placed = Placed(
            evaluation_id=place.evaluation_id, row=key.row, repeat=key.repeat, scorer=event.scorer, position=position, passed=passed
        )
        insert_assessment(connection, trace_id, whole, stamp, run_id=place.run_id, placed=placed)


def _judge_figures(spent: Spent) -> dict[str, str]:
    """What a judge that failed has cost, under MLflow's keys; an unknown cost is left out."""
    figures = {
        "mlflow.assessment.judgeInputTokens": str(spent.input_tokens),
        "mlflow.assessment.judgeOutputTokens": str(spent.output_tokens),
    }
    if spent.cost is not None:
        figures["mlflow.assessment.judgeCost"] = repr(spent.cost)
    return figures
