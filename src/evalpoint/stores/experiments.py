"""Experiments and runs in the store. Every function works on a connection whose transaction is the caller's."""

from __future__ import annotations

import difflib
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from evalpoint.entities import Experiment, Metric, Run, RunData, RunInfo, RunStatus
from evalpoint.errors import NotFound, UsageError
from evalpoint.stores.filters import RUNS, Search, experiment_key, search_sql
from evalpoint.stores.text import as_integer, as_text, load

__all__ = [
    "create_run",
    "delete_run",
    "end_run",
    "ensure_experiment",
    "find_experiment",
    "find_run",
    "list_experiments",
    "log_metrics",
    "log_params",
    "search_runs",
    "set_tags",
]

T = TypeVar("T")
_BATCH = 500
"""Runs whose data is read by one statement: SQLite before 3.32 takes 999 values."""
_RUNS = "SELECT run_id, experiment_id, run_name, status, start_time, end_time FROM runs"
_EXPERIMENTS = "SELECT experiment_id, name, creation_time, tags FROM experiments"


def ensure_experiment(connection: sqlite3.Connection, name: str, now_ms: int) -> Experiment:
    """The experiment of this name, created when absent. Inside a write transaction two callers get the same one."""
    if not name.strip():
        raise UsageError("An experiment needs a name; it is empty.")
    connection.execute("INSERT OR IGNORE INTO experiments (name, creation_time) VALUES (?, ?)", (as_text(name), now_ms))
    return _experiment(connection.execute(_EXPERIMENTS + " WHERE name = ?", (as_text(name),)).fetchone())


def find_experiment(connection: sqlite3.Connection, experiment_id: str, store: str) -> Experiment:
    """The experiment with this id, or `NotFound` with what comes nearest."""
    number = experiment_key(experiment_id)
    row = connection.execute(_EXPERIMENTS + " WHERE experiment_id = ?", (number,)).fetchone()
    if row:
        return _experiment(row)
    known = list_experiments(connection)
    named = next((e for e in known if e.name == experiment_id), None)
    if named:
        hint = f" {experiment_id!r} is the name of experiment {named.experiment_id}; give that id."
    else:
        shown = {e.name: f"{e.experiment_id} ({e.name})" for e in known}
        hint = _did_you_mean(experiment_id, shown, list(shown.values()))
    raise NotFound(f"Experiment {experiment_id!r} does not exist in {store}.{hint}")


def list_experiments(connection: sqlite3.Connection) -> list[Experiment]:
    """All of them, in order of creation."""
    return [_experiment(row) for row in connection.execute(_EXPERIMENTS + " ORDER BY experiment_id")]


def _experiment(row: tuple[Any, ...]) -> Experiment:
    return Experiment(experiment_id=str(row[0]), name=row[1], creation_time=row[2], tags=load(row[3]))


def _did_you_mean(asked: str, names: Mapping[str, str], listed: Sequence[str]) -> str:
    """The nearest of what exists, or else the latest few of it. `names` gives for each name what to show."""
    near = difflib.get_close_matches(asked, list(names), n=3)
    if near:
        return " Did you mean " + " or ".join(names[name] for name in near) + "?"
    return " There are: " + ", ".join(listed[-5:]) + "." if listed else " It has none yet."


def create_run(connection: sqlite3.Connection, run: Run, store: str) -> None:
    info = run.info
    find_experiment(connection, info.experiment_id, store)
    if connection.execute("SELECT 1 FROM runs WHERE run_id = ?", (info.run_id,)).fetchone():
        raise UsageError(f"Run {info.run_id!r} exists already in {store}; a new run needs a new id.")
    connection.execute(
        "INSERT INTO runs (run_id, experiment_id, run_name, status, start_time, end_time) VALUES (?, ?, ?, ?, ?, ?)",
        (info.run_id, experiment_key(info.experiment_id), as_text(info.run_name), info.status.value, info.start_time, info.end_time),
    )
    log_params(connection, info.run_id, run.data.params, store)
    log_metrics(connection, info.run_id, (Metric(key=k, value=v, timestamp=info.start_time) for k, v in run.data.metrics.items()), store)
    set_tags(connection, info.run_id, run.data.tags, store)


def find_run(connection: sqlite3.Connection, asked: str, store: str) -> Run:
    """The run with this id, or with an id that begins so, or with this name; `NotFound` where none or several fit."""
    exact = connection.execute(_RUNS + " WHERE run_id = ?", (as_text(asked),)).fetchall()
    if exact:
        return next(_with_data(connection, exact))
    found = connection.execute(
        _RUNS + " WHERE substr(run_id, 1, ?) = ? OR run_name = ? ORDER BY start_time DESC, rowid DESC LIMIT 6",
        (len(asked) if len(asked) >= 4 else -1, as_text(asked), as_text(asked)),
    ).fetchall()
    named = [row for row in found if row[2] == asked]
    if len(found) == 1 or (named and len(named) == len(found)):  # of several runs of one name, such as nightly ones, the newest is meant
        return next(_with_data(connection, found[:1]))
    if found:
        which = ", ".join(f"{row[0]} ({row[2]})" for row in found[:5]) + (", …" if len(found) > 5 else "")
        raise NotFound(f"Several runs in {store} are called or begin with {asked!r}: {which}. Give the whole id.")
    rows = connection.execute("SELECT run_id, run_name FROM runs ORDER BY start_time DESC LIMIT 1000").fetchall()
    names = {name: f"{run_id} ({name})" for run_id, name in reversed(rows)}
    names.update({run_id: f"{run_id} ({name})" for run_id, name in rows})
    listed = [f"{run_id} ({name})" for run_id, name in reversed(rows)]
    raise NotFound(f"Run {asked!r} does not exist in {store}.{_did_you_mean(asked, names, listed)}")


def require_run(connection: sqlite3.Connection, run_id: str, store: str) -> None:
    """Raises `NotFound` unless there is a run with exactly this id: writing goes to no run by its nickname."""
    if not connection.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)).fetchone():
        meant = find_run(connection, run_id, store).info.run_id
        raise NotFound(f"Run {run_id!r} does not exist in {store}; to write to {meant!r}, give its whole id.")


def end_run(connection: sqlite3.Connection, run_id: str, status: RunStatus, end_time: int | None, store: str) -> None:
    require_run(connection, run_id, store)
    connection.execute("UPDATE runs SET status = ?, end_time = ? WHERE run_id = ?", (status.value, end_time, run_id))


def delete_run(connection: sqlite3.Connection, run_id: str) -> None:
    connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))


def log_params(connection: sqlite3.Connection, run_id: str, params: Mapping[str, str], store: str) -> None:
    """Each parameter once: the same value again is fine, another one is a `UsageError`."""
    require_run(connection, run_id, store)
    logged = dict(connection.execute("SELECT key, value FROM params WHERE run_id = ?", (run_id,)))
    for key, value in params.items():
        text = as_text(str(value))
        before = logged.setdefault(as_text(key), text)
        if before != text:
            raise UsageError(
                f"Parameter {key!r} of run {run_id!r} is {before!r} and cannot become {value!r}: a parameter is written once. "
                "Use another name, or a tag, whose last value wins."
            )
    connection.executemany(
        "INSERT OR IGNORE INTO params (run_id, key, value) VALUES (?, ?, ?)", [(run_id, k, v) for k, v in logged.items()]
    )


def log_metrics(connection: sqlite3.Connection, run_id: str, metrics: Iterable[Metric], store: str) -> None:
    require_run(connection, run_id, store)
    connection.executemany(
        "INSERT INTO metrics (run_id, key, value, timestamp, step) VALUES (?, ?, ?, ?, ?)",
        ((run_id, as_text(m.key), float(m.value), as_integer(m.timestamp), as_integer(m.step)) for m in metrics),
    )


def set_tags(connection: sqlite3.Connection, run_id: str, tags: Mapping[str, str], store: str) -> None:
    require_run(connection, run_id, store)
    connection.executemany(
        "INSERT OR REPLACE INTO tags (run_id, key, value) VALUES (?, ?, ?)",
        [(run_id, as_text(key), as_text(str(value))) for key, value in tags.items()],
    )


def search_runs(connection: sqlite3.Connection, search: Search) -> list[Run]:
    """The runs of these experiments, or of all, that pass the filter; the latest first unless ordered otherwise."""
    return list(_with_data(connection, connection.execute(*search_sql(RUNS, _RUNS, search)).fetchall()))


def _with_data(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> Iterator[Run]:
    """The runs of these rows with their params, tags and latest metrics, a batch at a time."""
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        ids = [row[0] for row in batch]
        params = _by_run(connection, "SELECT run_id, key, value FROM params WHERE run_id IN ({})", ids, str)
        tags = _by_run(connection, "SELECT run_id, key, value FROM tags WHERE run_id IN ({})", ids, str)
        latest = "SELECT run_id, key, value FROM metrics WHERE run_id IN ({}) ORDER BY step, timestamp, metric_id"
        metrics = _by_run(connection, latest, ids, lambda value: math.nan if value is None else float(value))
        for run_id, experiment_id, name, status, start_time, end_time in batch:
            info = RunInfo(
                run_id=run_id,
                experiment_id=str(experiment_id),
                run_name=name,
                status=RunStatus(status),
                start_time=start_time,
                end_time=end_time,
            )
            yield Run(info=info, data=RunData(metrics=metrics[run_id], params=params[run_id], tags=tags[run_id]))


def _by_run(connection: sqlite3.Connection, sql: str, ids: Sequence[str], read: Callable[[Any], T]) -> dict[str, dict[str, T]]:
    """Key and value per run; of several for one key, the statement's last."""
    found: dict[str, dict[str, T]] = {run_id: {} for run_id in ids}
    for run_id, key, value in connection.execute(sql.format(",".join("?" * len(ids))), ids):
        found[run_id][key] = read(value)
    return found
