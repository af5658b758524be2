"""Evaluations in the store, their rows and verdicts. Every function works on a connection whose transaction is the caller's."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalpoint.entities import (
    AssessmentError,
    Evaluation,
    Feedback,
    Given,
    Reply,
    Row,
    RowKey,
    RowState,
    ScorerSpec,
    Spent,
    Trace,
    Verdict,
)
from evalpoint.errors import DataError, NotFound, Problem, UsageError
from evalpoint.formats import digest
from evalpoint.protocols import RowRecord, VerdictRecord
from evalpoint.stores.assessments import READ as READ_ASSESSMENTS
from evalpoint.stores.assessments import SOURCE_RUN, brief_feedback, read_assessment, read_error
from evalpoint.stores.experiments import require_run
from evalpoint.stores.text import as_text, load, write_json
from evalpoint.stores.traces import find_traces

__all__ = [
    "add_rows",
    "create_evaluation",
    "discard_evaluation",
    "errors_of",
    "evaluations_of",
    "find_evaluation",
    "finish_evaluation",
    "first_tokens",
    "last_evaluations",
    "latencies",
    "pending_page",
    "reply_of",
    "row_content",
    "row_identity",
    "rows_page",
    "spent_per_scorer",
    "state_counts",
    "update_evaluation",
    "verdicts_page",
]

BEFORE_ALL = RowKey(-1, 0)
"""Where a walk over the rows begins."""

_EVALUATIONS = (
    "SELECT e.evaluation_id, e.run_id, e.number, e.created, e.scorers, e.repeats, e.min_valid, e.target, e.summary, d.name, d.digest"
    " FROM evaluations e LEFT JOIN datasets d ON d.evaluation_id = e.evaluation_id"
)
_LAST = """
SELECT e.evaluation_id, r.run_name,
    e.summary IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM rows w WHERE w.evaluation_id = e.evaluation_id AND w.state IN ('pending', 'cancelled'))
    AND (r.status <> 'RUNNING' OR NOT EXISTS (SELECT 1 FROM leases l WHERE l.run_id = r.run_id))
FROM evaluations e JOIN runs r ON r.run_id = e.run_id
WHERE r.experiment_id = ? AND e.number = (SELECT max(number) FROM evaluations l WHERE l.run_id = e.run_id)
ORDER BY r.start_time DESC, r.rowid DESC
"""
_ROWS = (
    "SELECT row, repeat, inputs, expectations, tags, request_id, digest, occurrence, given_outputs, given_trace,"
    " state, outputs, error, latency_ms, input_tokens, output_tokens, total_tokens, trace_id, first_token_ms, tokens_per_second"
    " FROM rows"
)
_VERDICTS = "SELECT row, repeat, scorer, error, calls, input_tokens, output_tokens, cost FROM verdicts"
_ADD_ROW = """
INSERT INTO rows (evaluation_id, row, repeat, request_id, identity, digest, occurrence, given_digest, expectations_digest,
    inputs, expectations, tags, given_outputs, given_trace)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def create_evaluation(connection: sqlite3.Connection, given: Evaluation, store: str) -> Evaluation:
    """The evaluation as written: with the next number of its run."""
    require_run(connection, given.run_id, store)
    if connection.execute("SELECT 1 FROM evaluations WHERE evaluation_id = ?", (given.evaluation_id,)).fetchone():
        raise UsageError(f"Evaluation {given.evaluation_id!r} exists already in {store}; a new one needs a new id.")
    (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM evaluations WHERE run_id = ?", (given.run_id,)).fetchone()
    evaluation = replace(given, number=last + 1)
    connection.execute(
        "INSERT INTO evaluations (evaluation_id, run_id, number, created, scorers, repeats, min_valid, target, summary)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            evaluation.evaluation_id,
            evaluation.run_id,
            evaluation.number,
            evaluation.created,
            _write_scorers(given.scorers),
            evaluation.repeats,
            evaluation.min_valid,
            as_text(evaluation.target),
            None if evaluation.summary is None else write_json(evaluation.summary),
        ),
    )
    connection.execute(
        "INSERT INTO datasets (run_id, evaluation_id, name, digest) VALUES (?, ?, ?, ?)",
        (evaluation.run_id, evaluation.evaluation_id, as_text(evaluation.dataset_name), evaluation.dataset_digest),
    )
    return evaluation


def _write_scorers(scorers: Sequence[ScorerSpec]) -> str:
    return write_json(
        [{"name": s.name, "aggregations": list(s.aggregations), "threshold": s.threshold, "has_pass_if": s.has_pass_if} for s in scorers]
    )


def update_evaluation(connection: sqlite3.Connection, before: Evaluation, now: Evaluation) -> None:
    """The evaluation goes on, as this: its figures are open again, those of its metrics are taken back, and its run is RUNNING."""
    connection.execute(
        "UPDATE evaluations SET scorers = ?, repeats = ?, min_valid = ?, target = ?, summary = NULL WHERE evaluation_id = ?",
        (_write_scorers(now.scorers), now.repeats, now.min_valid, as_text(now.target), now.evaluation_id),
    )
    connection.execute(
        "UPDATE datasets SET name = ?, digest = NULL WHERE evaluation_id = ?", (as_text(now.dataset_name), now.evaluation_id)
    )
    figures: Mapping[str, Any] = (before.summary or {}).get("metrics", {})
    connection.executemany(
        "DELETE FROM metrics WHERE run_id = ? AND key = ? AND step = ?", [(before.run_id, as_text(key), before.number) for key in figures]
    )
    connection.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE run_id = ?", (before.run_id,))


def evaluations_of(connection: sqlite3.Connection, run_id: str) -> list[Evaluation]:
    return [_evaluation(row) for row in connection.execute(_EVALUATIONS + " WHERE e.run_id = ? ORDER BY e.number", (run_id,))]


def find_evaluation(connection: sqlite3.Connection, evaluation_id: str, store: str) -> Evaluation:
    row = connection.execute(_EVALUATIONS + " WHERE e.evaluation_id = ?", (evaluation_id,)).fetchone()
    if row is None:
        raise NotFound(f"Evaluation {evaluation_id!r} does not exist in {store}. The evaluations of a run are found by the run's id.")
    return _evaluation(row)


def last_evaluations(connection: sqlite3.Connection, experiment_id: int) -> Iterator[tuple[str, Evaluation, bool]]:
    """Of each run of the experiment that has any, the newest run first: its name, its last evaluation, and whether that is finished."""
    for evaluation_id, run_name, finished in connection.execute(_LAST, (experiment_id,)).fetchall():
        yield (
            run_name,
            _evaluation(connection.execute(_EVALUATIONS + " WHERE e.evaluation_id = ?", (evaluation_id,)).fetchone()),
            bool(finished),
        )


def _evaluation(row: tuple[Any, ...]) -> Evaluation:
    return Evaluation(
        evaluation_id=row[0],
        run_id=row[1],
        number=row[2],
        created=row[3],
        scorers=tuple(_scorer(spec) for spec in load(row[4])),
        repeats=row[5],
        min_valid=row[6],
        target=row[7],
        summary=None if row[8] is None else load(row[8]),
        dataset_name=row[9],
        dataset_digest=row[10],
    )


def _scorer(spec: Mapping[str, Any]) -> ScorerSpec:
    return ScorerSpec(
        name=spec["name"], aggregations=tuple(spec["aggregations"]), threshold=spec["threshold"], has_pass_if=spec["has_pass_if"]
    )


def discard_evaluation(connection: sqlite3.Connection, evaluation_id: str) -> None:
    """Removes the evaluation with its rows, verdicts and their feedback; the traces stay. The number is free again."""
    connection.execute("DELETE FROM evaluations WHERE evaluation_id = ?", (evaluation_id,))


def add_rows(connection: sqlite3.Connection, evaluation_id: str, rows: Sequence[Row]) -> None:
    """Writes rows as pending.

    Raises:
        DataError: A row holds what has no canonical JSON, such as NaN.
    """
    connection.executemany(_ADD_ROW, [(evaluation_id, *row_identity(row), *row_content(row)) for row in rows])


def row_identity(row: Row) -> tuple[int, int, str | None, str, str, int, str | None, str | None]:
    """What a row is known by: number, repeat, request_id, identity, digest of the inputs, occurrence; and, so that a change of them is
    seen, the digests of the given answer, and of expectations and tags.

    Raises:
        DataError: It holds what has no canonical JSON, such as NaN.
    """
    given = row.given
    try:
        about = {"expectations": dict(row.expectations), "tags": dict(row.tags)} if row.expectations or row.tags else None
        expected = digest(about) if about else None
        answer = digest({"outputs": given.outputs, "trace": given.trace.info.trace_id if given.trace else None}) if given else None
        asked = row.digest or digest(dict(row.inputs))
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError([Problem(row=row.key.row, message=f"cannot be written as JSON: {error}")]) from error
    identity = f"{asked} {row.occurrence}" if row.request_id is None else f"id {as_text(row.request_id)}"
    return (row.key.row, row.key.repeat, as_text(row.request_id), identity, asked, row.occurrence, answer, expected)


def row_content(row: Row) -> tuple[str, str, str, str | None, str | None]:
    """Inputs, expectations, tags, given outputs and given trace, as their columns hold them."""
    given = row.given
    given_trace = write_json(given.trace.shared_fields()) if given and given.trace else None
    return (
        write_json(row.inputs),
        write_json(row.expectations) if row.expectations else "{}",
        write_json(row.tags) if row.tags else "{}",
        write_json(given.outputs) if given else None,
        given_trace,
    )


def pending_page(connection: sqlite3.Connection, evaluation_id: str, after: RowKey, limit: int) -> list[tuple[Row, bool]]:
    """The next rows that have no final state, and whether each has an answer."""
    sql = _ROWS + " WHERE evaluation_id = ? AND state = 'pending' AND (row, repeat) > (?, ?) ORDER BY row, repeat LIMIT ?"
    return [(_row(found), found[11] is not None) for found in connection.execute(sql, (evaluation_id, *after, limit))]


def reply_of(connection: sqlite3.Connection, evaluation_id: str, key: RowKey) -> tuple[Reply, frozenset[str]]:
    """The committed answer to a row, and the scorers whose verdicts on it stand.

    Its trace is as the target left it: without what this run has said about it since, so that scorers see what they would have seen.
    """
    sql = (
        "SELECT r.outputs, r.latency_ms, r.trace_id, e.run_id FROM rows r JOIN evaluations e ON e.evaluation_id = r.evaluation_id"
        " WHERE r.evaluation_id = ? AND r.row = ? AND r.repeat = ?"
    )
    outputs, latency_ms, trace_id, run_id = connection.execute(sql, (evaluation_id, *key)).fetchone()
    trace = find_traces(connection, [trace_id])[trace_id]
    said = tuple(a for a in trace.info.assessments if (a.metadata or {}).get(SOURCE_RUN) != run_id)
    answered = "SELECT scorer FROM verdicts WHERE evaluation_id = ? AND row = ? AND repeat = ? AND outcome <> 'failed'"
    reply = Reply(
        outputs=load(outputs), trace=replace(trace, info=replace(trace.info, assessments=said)), latency_ms=latency_ms, adopted=True
    )
    return reply, frozenset(scorer for (scorer,) in connection.execute(answered, (evaluation_id, *key)))


def rows_page(connection: sqlite3.Connection, evaluation_id: str, after: RowKey, limit: int, *, with_traces: bool) -> list[RowRecord]:
    """The next rows and what became of them."""
    sql = _ROWS + " WHERE evaluation_id = ? AND (row, repeat) > (?, ?) ORDER BY row, repeat LIMIT ?"
    found = connection.execute(sql, (evaluation_id, *after, limit)).fetchall()
    traces = find_traces(connection, [row[17] for row in found if row[17]]) if with_traces else {}
    return [_row_record(row, traces) for row in found]


def _row(row: tuple[Any, ...]) -> Row:
    given = None
    if row[8] is not None:
        given = Given(outputs=load(row[8]), trace=Trace.from_fields(load(row[9])) if row[9] else None)
    return Row(
        key=RowKey(row[0], row[1]),
        inputs=load(row[2]),
        expectations=load(row[3]),
        tags=load(row[4]),
        request_id=row[5],
        digest=row[6],
        occurrence=row[7],
        given=given,
    )


def _row_record(row: tuple[Any, ...], traces: Mapping[str, Trace]) -> RowRecord:
    counts = zip(("input_tokens", "output_tokens", "total_tokens"), row[14:17], strict=True)
    usage = {name: count for name, count in counts if count is not None}
    return RowRecord(
        row=_row(row),
        state=RowState(row[10]),
        predicted=row[11] is not None,
        outputs=None if row[11] is None else load(row[11]),
        error=read_error(row[12]),
        latency_ms=row[13],
        first_token_ms=row[18],
        tokens_per_second=row[19],
        token_usage=usage or None,
        trace_id=row[17],
        trace=traces.get(row[17]),
    )


def verdicts_page(
    connection: sqlite3.Connection, evaluation_id: str, order: Mapping[str, int], after: RowKey, limit: int, *, brief: bool
) -> tuple[list[VerdictRecord], RowKey | None]:
    """The verdicts on the next so many rows, and the key of the last of these rows; None when there are no more rows.

    Only those of the scorers in `order` count: others are of scorers that a resume has left out.

    With `brief` the feedback has a name, a value or an error, and nothing else.
    """
    keys = connection.execute(
        "SELECT row, repeat FROM rows WHERE evaluation_id = ? AND (row, repeat) > (?, ?) ORDER BY row, repeat LIMIT ?",
        (evaluation_id, *after, limit),
    ).fetchall()
    if not keys:
        return [], None
    until = RowKey(*keys[-1])
    where = " WHERE evaluation_id = ? AND (row, repeat) > (?, ?) AND (row, repeat) <= (?, ?)"
    values = (evaluation_id, *after, *until)
    said: dict[tuple[int, int, str], list[tuple[Feedback, bool | None]]] = {}
    for row in connection.execute(READ_ASSESSMENTS + where + " AND position IS NOT NULL ORDER BY row, repeat, scorer, position", values):
        feedback = brief_feedback(row) if brief else read_assessment(row)
        if isinstance(feedback, Feedback):
            said.setdefault((row[16], row[17], row[18]), []).append((feedback, None if row[20] is None else bool(row[20])))
    verdicts = connection.execute(_VERDICTS + where, values)
    records = [_verdict(row, said.get(row[:3], [])) for row in verdicts if row[2] in order]
    records.sort(key=lambda record: (record.key, order[record.scorer]))
    return records, until


def latencies(connection: sqlite3.Connection, evaluation_id: str) -> list[float]:
    """Of the calls that were answered, in milliseconds, the shortest first."""
    sql = "SELECT latency_ms FROM rows WHERE evaluation_id = ? AND latency_ms IS NOT NULL AND outputs IS NOT NULL ORDER BY latency_ms"
    return [latency for (latency,) in connection.execute(sql, (evaluation_id,))]


def first_tokens(connection: sqlite3.Connection, evaluation_id: str) -> list[float]:
    """Of the answers that were streamed, milliseconds to the first token, the shortest first."""
    sql = "SELECT first_token_ms FROM rows WHERE evaluation_id = ? AND first_token_ms IS NOT NULL ORDER BY first_token_ms"
    return [first for (first,) in connection.execute(sql, (evaluation_id,))]


def errors_of(
    connection: sqlite3.Connection, evaluation_id: str, scorers: Collection[str]
) -> list[tuple[RowKey, str | None, AssessmentError]]:
    """Everything that failed, in order of rows: the row, the scorer (None for the prediction), and what it said, without the stack."""
    sql = (
        "SELECT row, repeat, NULL, error FROM rows WHERE evaluation_id = ? AND error IS NOT NULL"
        " UNION ALL SELECT row, repeat, scorer, error FROM verdicts WHERE evaluation_id = ? AND error IS NOT NULL"
        " UNION ALL SELECT row, repeat, scorer, error FROM assessments"
        " WHERE evaluation_id = ? AND error IS NOT NULL AND position IS NOT NULL ORDER BY 1, 2, 3"
    )
    return [
        (RowKey(row, repeat), scorer, replace(AssessmentError(**load(error)), stack_trace=None))
        for row, repeat, scorer, error in connection.execute(sql, (evaluation_id,) * 3)
        if scorer is None or scorer in scorers
    ]


def _verdict(row: tuple[Any, ...], said: Sequence[tuple[Feedback, bool | None]]) -> VerdictRecord:
    verdict = Verdict(
        feedback=tuple(feedback for feedback, _ in said),
        passed=tuple(passed for _, passed in said),
        error=read_error(row[3]),
        spent=Spent(calls=row[4], input_tokens=row[5], output_tokens=row[6], cost=row[7]),
    )
    return VerdictRecord(key=RowKey(row[0], row[1]), scorer=row[2], verdict=verdict)


def finish_evaluation(
    connection: sqlite3.Connection, evaluation_id: str, unfinished: RowState, dataset_digest: str | None, summary: Mapping[str, Any] | None
) -> int:
    """Gives the rows that have no final state this one, and keeps the final figures; how many rows there were."""
    sql = "UPDATE rows SET state = ? WHERE evaluation_id = ? AND state = 'pending'"
    left = 0 if unfinished is RowState.PENDING else connection.execute(sql, (unfinished.value, evaluation_id)).rowcount
    if summary is not None:
        connection.execute("UPDATE evaluations SET summary = ? WHERE evaluation_id = ?", (write_json(summary), evaluation_id))
    if dataset_digest is not None:
        connection.execute("UPDATE datasets SET digest = ? WHERE evaluation_id = ?", (dataset_digest, evaluation_id))
    return left


def state_counts(connection: sqlite3.Connection, evaluation_id: str) -> dict[RowState, int]:
    """How many rows are in each state; only states that occur."""
    sql = "SELECT state, count(*) FROM rows WHERE evaluation_id = ? GROUP BY state"
    found = dict(connection.execute(sql, (evaluation_id,)).fetchall())
    return {state: found[state.value] for state in RowState if state.value in found}


def spent_per_scorer(connection: sqlite3.Connection, evaluation_id: str) -> dict[str, Spent]:
    """What each scorer's calls have cost, those for verdicts included that were taken back; None where no call of it had a price."""
    sql = (
        "SELECT scorer, sum(calls), sum(input_tokens), sum(output_tokens), sum(cost) FROM ("
        "SELECT scorer, calls, input_tokens, output_tokens, cost FROM verdicts WHERE evaluation_id = ? UNION ALL"
        " SELECT scorer, calls, input_tokens, output_tokens, cost FROM withdrawn WHERE evaluation_id = ?) GROUP BY scorer"
    )
    return {
        row[0]: Spent(calls=row[1], input_tokens=row[2], output_tokens=row[3], cost=row[4])
        for row in connection.execute(sql, (evaluation_id,) * 2)
    }
