"""The rows of the data beside those of an evaluation in the store: what stays, what is missing, and how one becomes the other.

They are compared by SQL in a temporary table, so that memory does not grow with the data. Until `settle` nothing of the store changes.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from evalpoint.entities import Evaluation, Resumed, Row
from evalpoint.stores.assessments import Stamp, expectations_for, insert_assessment
from evalpoint.stores.evaluations import find_evaluation, row_content, row_identity, update_evaluation
from evalpoint.stores.text import load
from evalpoint.stores.traces import change_trace_tags

__all__ = ["begin", "compare", "discard", "settle"]

_TEXT = (Path(__file__).parent / "resuming.sql").read_text(encoding="utf-8")
_SQL: Mapping[str, str] = dict(re.findall(r"^-- name: (\w+)\n(.*?;)$(?=\n\n|\n\Z)", _TEXT, re.MULTILINE | re.DOTALL))
_TABLES = ("incoming", "removed", "unlinking", "withdrawing", "asked")


def begin(connection: sqlite3.Connection) -> None:
    """Makes room beside the store for the rows to come."""
    discard(connection)
    connection.execute(_SQL["make_incoming"])


def discard(connection: sqlite3.Connection) -> None:
    for table in _TABLES:
        connection.execute(f"DROP TABLE IF EXISTS temp.{table}")


def compare(connection: sqlite3.Connection, evaluation_id: str, rows: Sequence[Row]) -> None:
    """Looks for each row among the evaluation's, and notes what has changed.

    Raises:
        DataError: A row holds what has no canonical JSON, such as NaN.
    """
    connection.executemany(_SQL["add_incoming"], [_compared(connection, evaluation_id, row) for row in rows])


def _compared(connection: sqlite3.Connection, evaluation_id: str, row: Row) -> tuple[object, ...]:
    identity = row_identity(row)
    _, repeat, _, known_as, digest, _, given, expected = identity
    old = connection.execute(_SQL["find_old"], (evaluation_id, known_as, repeat)).fetchone()
    if old is None:
        return (*identity, *row_content(row), None, None, None)
    change = "edited" if old[2:4] != (digest, given) else "expected" if old[4] != expected else None
    content = row_content(row) if change else (None,) * 5
    return (*identity, *content, old[0], old[1], change)


def settle(connection: sqlite3.Connection, evaluation: Evaluation, stamp: Stamp, store: str) -> Resumed:
    """Makes the evaluation and its rows what they are now to be: what is missing is pending, everything else is complete.

    Args:
        connection: In a write transaction, with all rows compared.
        evaluation: As it is to be: its scorers, target, repeats and data set.
        stamp: For the expectations of traces.
        store: How the store is called in errors.
    """
    before = find_evaluation(connection, evaluation.evaluation_id, store)
    fresh, dropped = _difference(before, evaluation)
    ids: Mapping[str, object] = {"evaluation": evaluation.evaluation_id, "run": evaluation.run_id, "scorers_added": bool(fresh)}

    def run(name: str) -> sqlite3.Cursor:
        return connection.execute(_SQL[name], ids)

    (were,) = run("count_rows").fetchone()
    changes = dict(run("count_changes"))
    matched = sum(changes.values())
    run("note_removed")
    run("note_unlinking")
    if were > matched or changes.keys() - {None}:
        _change_traces(connection, evaluation.run_id, stamp)
        for step in ("note_withdrawing", "keep_costs", "withdraw", "remove"):
            run(step)
    reordered = 0
    if run("has_moved").fetchone():
        (reordered,) = run("count_reordered").fetchone()
        run("move_away")
        run("move_back")
    run("make_asked")
    connection.executemany(_SQL["add_asked"], [(spec.name,) for spec in evaluation.scorers])
    for step in ("take_edited", "take_expected", "empty_unanswered", "name_missing"):
        run(step)
    missing = dict(run("count_missing"))
    added = run("add_rows").rowcount
    if run("has_unlinking").fetchone():
        run("unlink")
    update_evaluation(connection, before, evaluation)
    return Resumed(
        kept=matched - sum(missing.values()),
        redone=missing.get(1, 0),
        rescored=missing.get(0, 0),
        added=added,
        removed=were - matched,
        edited=changes.get("edited", 0),
        reordered=reordered,
        scorers_added=fresh,
        scorers_removed=dropped,
        target_before=before.target,
        target=evaluation.target,
    )


def _difference(before: Evaluation, now: Evaluation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The scorers that are new, and those that are left out."""
    were, are = ([spec.name for spec in evaluation.scorers] for evaluation in (before, now))
    return tuple(name for name in are if name not in were), tuple(name for name in were if name not in are)


def _change_traces(connection: sqlite3.Connection, run_id: str, stamp: Stamp) -> None:
    """Where only expectations or tags have changed, the row's trace gets the new ones in the place of the old ones."""
    for trace_id, old_tags, new_tags, expectations in connection.execute(_SQL["changed_traces"]):
        before: Mapping[str, str] = load(old_tags)
        after: Mapping[str, str] = load(new_tags)
        if before != after:
            change_trace_tags(connection, trace_id, after, without=[key for key in before if key not in after])
        connection.execute("DELETE FROM assessments WHERE trace_id = ? AND kind = 'expectation' AND run_id = ?", (trace_id, run_id))
        present = connection.execute("SELECT name, value FROM assessments WHERE trace_id = ? AND kind = 'expectation'", (trace_id,))
        for expectation in expectations_for(load(expectations), {(name, value) for name, value in present}, run_id):
            insert_assessment(connection, trace_id, expectation, stamp, run_id=run_id)
