"""Traces in the store. Every function works on a connection whose transaction is the caller's."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from evalpoint.entities import Trace
from evalpoint.formats import InfoFields
from evalpoint.stores.assessments import Stamp, assessments_of, insert_assessment
from evalpoint.stores.filters import TRACES, Search, search_sql
from evalpoint.stores.text import as_integer, as_text, load, write_json

__all__ = ["change_trace_tags", "find_traces", "has_trace", "link_trace", "search_traces", "write_trace"]

NAME_TAG = "mlflow.traceName"
RUN_METADATA = "mlflow.sourceRun"
_BATCH = 500

_WRITE = """
INSERT INTO traces (trace_id, experiment_id, request_time_ms, execution_duration_ms, state, name, client_request_id, root_span_id,
    request_preview, response_preview, tags, metadata, spans)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (trace_id) DO UPDATE SET
    experiment_id = excluded.experiment_id, request_time_ms = excluded.request_time_ms,
    execution_duration_ms = excluded.execution_duration_ms, state = excluded.state, name = excluded.name,
    client_request_id = excluded.client_request_id, root_span_id = excluded.root_span_id,
    request_preview = excluded.request_preview, response_preview = excluded.response_preview,
    tags = excluded.tags, metadata = excluded.metadata, spans = excluded.spans
"""
_LISTED = (
    "SELECT trace_id, experiment_id, request_time_ms, execution_duration_ms, state, client_request_id,"
    " request_preview, response_preview, tags, metadata, '[]' FROM traces"
)
_WHOLE = (
    "SELECT trace_id, experiment_id, request_time_ms, execution_duration_ms, state, client_request_id,"
    " request_preview, response_preview, tags, metadata, spans FROM traces"
)


def write_trace(
    connection: sqlite3.Connection,
    trace: Trace,
    stamp: Stamp,
    *,
    experiment_id: int,
    run_id: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Writes the trace and what is said about it, and links it to the run.

    One that is there already is replaced; what was said about it stays.
    """
    fields = trace.shared_fields()
    info, spans = fields["info"], fields["spans"]
    root = next((span for span in spans if span["parent_id"] is None), spans[0] if spans else None)
    all_tags = {**info["tags"], **(tags or {})}
    metadata = info["trace_metadata"] if run_id is None else {RUN_METADATA: run_id, **info["trace_metadata"]}
    trace_id = info["trace_id"]
    connection.execute(
        _WRITE,
        (
            trace_id,
            experiment_id,
            as_integer(info["request_time_ms"]) or 0,
            as_integer(info["execution_duration_ms"]),
            info["state"],
            as_text(all_tags.get(NAME_TAG) or (root["name"] if root else None)),
            as_text(info["client_request_id"]),
            root["span_id"] if root else None,
            as_text(info["request_preview"]),
            as_text(info["response_preview"]),
            write_json(all_tags),
            write_json(metadata),
            write_json(spans),
        ),
    )
    for assessment in trace.info.assessments:
        insert_assessment(connection, trace_id, assessment, stamp)
    if run_id is not None:
        link_trace(connection, trace_id, run_id)


def link_trace(connection: sqlite3.Connection, trace_id: str, run_id: str) -> None:
    connection.execute("INSERT INTO run_traces (run_id, trace_id) VALUES (?, ?) ON CONFLICT DO NOTHING", (run_id, trace_id))


def has_trace(connection: sqlite3.Connection, trace_id: str) -> bool:
    return connection.execute("SELECT 1 FROM traces WHERE trace_id = ?", (trace_id,)).fetchone() is not None


def change_trace_tags(connection: sqlite3.Connection, trace_id: str, tags: Mapping[str, str], without: Sequence[str] = ()) -> None:
    """Sets these tags beside those that the trace has, and takes others away."""
    (before,) = connection.execute("SELECT tags FROM traces WHERE trace_id = ?", (trace_id,)).fetchone()
    after = {**{key: value for key, value in load(before).items() if key not in without}, **tags}
    connection.execute(
        "UPDATE traces SET tags = ?, name = coalesce(?, name) WHERE trace_id = ?", (write_json(after), tags.get(NAME_TAG), trace_id)
    )


def find_traces(connection: sqlite3.Connection, trace_ids: Sequence[str]) -> dict[str, Trace]:
    """Those of these traces that exist, whole."""
    found: dict[str, Trace] = {}
    for start in range(0, len(trace_ids), _BATCH):
        batch = [as_text(trace_id) for trace_id in trace_ids[start : start + _BATCH]]
        rows = connection.execute(_WHOLE + f" WHERE trace_id IN ({','.join('?' * len(batch))})", batch).fetchall()
        found.update({trace.info.trace_id: trace for trace in _with_assessments(connection, rows)})
    return found


def search_traces(connection: sqlite3.Connection, search: Search, *, include_spans: bool) -> list[Trace]:
    """The traces that pass the filter; the latest first unless ordered otherwise."""
    sql, values = search_sql(TRACES, _WHOLE if include_spans else _LISTED, search)
    rows = connection.execute(sql, values).fetchall()
    return [trace for start in range(0, len(rows), _BATCH) for trace in _with_assessments(connection, rows[start : start + _BATCH])]


def _with_assessments(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> list[Trace]:
    said = assessments_of(connection, [row[0] for row in rows])
    return [_trace(row).with_assessments(said[row[0]]) for row in rows]


def _trace(row: tuple[Any, ...]) -> Trace:
    info: InfoFields = {
        "trace_id": row[0],
        "client_request_id": row[5],
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": str(row[1])}},
        "request_time_ms": row[2],
        "execution_duration_ms": row[3],
        "state": row[4],
        "trace_metadata": load(row[9]),
        "tags": load(row[8]),
        "request_preview": row[6],
        "response_preview": row[7],
        "assessments": [],
    }
    return Trace.from_fields({"info": info, "spans": load(row[10]), "problems": []})
