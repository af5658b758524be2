"""`filter_string` and `order_by`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalpoint.entities import Run, RunStatus, Trace
from evalpoint.errors import UsageError
from evalpoint.stores import SqliteStore, open_store

MakeRun = Callable[..., Run]
MakeTrace = Callable[..., Trace]


@pytest.fixture
def runs(store: SqliteStore, make_run: MakeRun) -> SqliteStore:
    store.ensure_experiment("bot")
    store.create_run(
        make_run(
            "r1",
            name="nightly 1",
            start=1,
            metrics={"tone/mean": 0.95, "n": 3},
            params={"model": "a'b"},
            tags={"team.a": "x", "odd `": "1"},
        )
    )
    store.create_run(make_run("r2", name="Nightly 2", start=2, metrics={"tone/mean": 0.5}, params={"model": "gpt"}))
    store.create_run(make_run("r3", name="100%_[x]*", start=3))
    store.end_run("r1", RunStatus.FINISHED, 50)
    return store


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "r3 r2 r1"),
        ("   ", "r3 r2 r1"),
        ("attributes.status = 'FINISHED'", "r1"),
        ('status != "FINISHED"', "r3 r2"),
        ("status IN ('FINISHED', 'FAILED')", "r1"),
        ("metrics.`tone/mean` > 0.9", "r1"),
        ('metrics.tone/mean<=0.95 and metric."tone/mean" >= .5', "r2 r1"),
        ("metrics.n = 3", "r1"),
        ("metrics.n != 3", ""),
        ("metrics.`tone/mean` IN (0.5, 3e0)", "r2"),
        ("tags.mlflow.runName LIKE 'night%'", "r1"),
        ("run_name ILIKE 'night%'", "r2 r1"),
        ("`run name` LIKE '100%'", "r3"),
        ("run_name LIKE '%[x]*'", "r3"),
        ("run_name LIKE '1[0]0%'", ""),
        ("run_name LIKE '100*'", ""),
        ("run_name LIKE '_00%__x__'", "r3"),
        ("params.model = 'a''b'", "r1"),
        ('params.model = "a\'b"', "r1"),
        ("params.model IN ('gpt', 'a''b')", "r2 r1"),
        ("params.model != 'gpt'", "r1"),
        ("tags.team.a = 'x'", "r1"),
        ("tags.`team.a` = 'x' AND start_time < 2", "r1"),
        ("attr.start_time >= 2 AND end_time > 0", ""),
        ("run_id = 'r2'", "r2"),
        ("experiment_id = '1' AND start_time > -1", "r3 r2 r1"),
        ("params.model = 'x'' OR 1=1 --'", ""),
        ("params.`x' OR 1=1 --` = 'y'", ""),
        ("tags.missing = ''", ""),
    ],
    ids=lambda value: value if " " in value or len(value) > 8 else "-",
)
def test_runs_that_pass(runs: SqliteStore, text: str, found: str) -> None:
    """Comparisons joined by AND over attributes, metrics, params and tags; what has no value passes none."""
    assert " ".join(run.info.run_id for run in runs.search_runs(filter_string=text)) == found


@pytest.fixture
def traces(store: SqliteStore, make_trace: MakeTrace, make_run: MakeRun) -> SqliteStore:
    store.ensure_experiment("bot")
    store.create_run(make_run("run-1"))
    store.save_trace(
        make_trace("t1", request_time_ms=1, tags={"mlflow.traceName": "predict", "slice": "short"}), experiment_id="1", run_id="run-1"
    )
    store.save_trace(make_trace("t2", request_time_ms=2, state="ERROR", execution_duration_ms=900), experiment_id="1")
    store.save_trace(
        make_trace("t3", request_time_ms=3, trace_metadata={"mlflow.trace.user": "ann"}, execution_duration_ms=None), experiment_id="1"
    )
    return store


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("status = 'ERROR'", "t2"),
        ("trace.status = 'OK'", "t3 t1"),
        ("attributes.state IN ('OK')", "t3 t1"),
        ("timestamp_ms > 1 AND attributes.timestamp <= 2", "t2"),
        ("execution_time_ms >= 20", "t2 t1"),
        ("name = 'predict'", "t1"),
        ("trace.name LIKE 'step%'", "t3 t2"),
        ("tags.slice = 'short'", "t1"),
        ("tag.`mlflow.traceName` = 'predict'", "t1"),
        ("metadata.mlflow.trace.user = 'ann'", "t3"),
        ("request_metadata.`mlflow.sourceRun` = 'run-1'", "t1"),
        ("run_id = 'run-1'", "t1"),
        ("attribute.run_id IN ('run-1', 'run-2')", "t1"),
        ("run_id LIKE 'run%'", "t1"),
        ("trace_id != 't1'", "t3 t2"),
        ("client_request_id = 'x'", ""),
    ],
    ids=lambda value: value if " " in value or len(value) > 8 else "-",
)
def test_traces_that_pass(traces: SqliteStore, text: str, found: str) -> None:
    """Comparisons over attributes, tags, metadata, and the runs that a trace belongs to."""
    assert " ".join(t.info.trace_id for t in traces.search_traces(filter_string=text)) == found


def test_the_run_asked_for_and_the_filter_both_hold(traces: SqliteStore) -> None:
    """`run_id` beside a filter narrows it further, in its experiments only."""
    assert [t.info.trace_id for t in traces.search_traces(["1"], run_id="run-1", filter_string="status = 'OK'")] == ["t1"]
    assert traces.search_traces(["2"], run_id="run-1") == []


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ([], "r3 r2 r1"),
        (["attributes.start_time ASC"], "r1 r2 r3"),
        (["metrics.`tone/mean` DESC"], "r1 r2 r3"),
        (["metrics.`tone/mean`"], "r2 r1 r3"),
        (["params.model desc", "start_time"], "r2 r1 r3"),
        (["run_name"], "r3 r2 r1"),
    ],
    ids=["default", "time", "metric down", "metric up", "two", "name"],
)
def test_runs_in_order(runs: SqliteStore, order: list[str], found: str) -> None:
    """What has no value comes last, whichever way."""
    assert " ".join(run.info.run_id for run in runs.search_runs(order_by=order)) == found


def test_traces_in_order(traces: SqliteStore) -> None:
    """By any attribute, tag or metadata."""
    assert [t.info.trace_id for t in traces.search_traces(order_by=["timestamp_ms ASC"])] == ["t1", "t2", "t3"]
    assert [t.info.trace_id for t in traces.search_traces(order_by=["execution_time_ms DESC"])] == ["t2", "t1", "t3"]
    with pytest.raises(UsageError, match="several runs"):
        traces.search_traces(order_by=["run_id"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sttus = 'FINISHED'", "character 1: runs have no 'sttus'. Did you mean status?"),
        ("metrcs.x > 1", "Did you mean metrics.x?"),
        ("status = 'FINISHD'", "Did you mean 'FINISHED'?"),
        ("status > 'A'", "character 8: status is text and compares with = != LIKE ILIKE IN; found >"),
        ("metrics.x LIKE 'a'", "metrics.x is a number"),
        ("metrics.x > 'a'", "without quotes; found 'a'"),
        ("params.x = 3", "text in quotes, such as 'abc'; found 3"),
        ("params.x = abc", "found abc"),
        ("status = 'FINISHED' OR status = 'FAILED'", "character 21: expected AND or the end, and found OR"),
        ("status =", "character 9"),
        ("status", "found the end"),
        ("= 3", "expected what to compare"),
        ("params.x IN 'a'", "IN takes a list"),
        ("params.x IN ('a' 'b')", "expected a comma or a closing bracket"),
        ("params.x IN ()", "found )"),
        ("status = 'FINISHED' AND", "found the end"),
        ("status = 'open", 'character 10: "\'" is not understood'),
        ("metrics.x > 1; DROP TABLE runs", "';' is not understood"),
        ("tags.`` = 'x'", "needs a key after the dot"),
        ("(status = 'FINISHED')", "expected what to compare"),
        (" AND ".join(["run_id = 'x'"] * 101), "more than 100 comparisons"),
        (f"run_id IN ({','.join(repr(str(n)) for n in range(500))})", "500 values"),
        (f"run_id LIKE '{'%' * 6000}'", "5,000 characters"),
    ],
    ids=lambda value: value[:40] or "-",
)
def test_a_filter_that_cannot_be_read(runs: SqliteStore, text: str, says: str) -> None:
    """The error points at the place and says what is allowed there."""
    with pytest.raises(UsageError) as caught:
        runs.search_runs(filter_string=text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("search", "says"),
    [
        ({"order_by": ["start_time DOWN"]}, "expected ASC, DESC or the end"),
        ({"order_by": ["start_time, run_name"]}, "expected ASC, DESC or the end"),
        ({"order_by": "start_time"}, "square brackets"),
        ({"order_by": ["run_id"] * 21}, "at most 20"),
        ({"max_results": 0}, "max_results is 0"),
        ({"experiment_ids": [str(n) for n in range(500)]}, "at most 400"),
    ],
    ids=["direction", "comma", "a text", "too many", "none", "experiments"],
)
def test_a_search_that_makes_no_sense(runs: SqliteStore, search: dict[str, object], says: str) -> None:
    """Each part of a search is checked."""
    with pytest.raises(UsageError) as caught:
        runs.search_runs(**search)  # type: ignore[arg-type]  # wrong on purpose
    assert says in str(caught.value)


def test_the_largest_search_fits(runs: SqliteStore) -> None:
    """All bounds reached at once stay below the 999 values of old SQLite builds."""
    many = f"run_id IN ({','.join(repr(str(n)) for n in range(400))})"
    assert runs.search_runs([str(n) for n in range(400)], filter_string=many, order_by=["metrics.x"] * 20) == []


PIECES = st.sampled_from(
    ["status", "metrics.", "tags.`a`", "params.x", "name", " ", "=", "!=", "<", "LIKE", "IN", "(", ")", ",", "'", '"', "`", "''", "1",
     "-2.5e3", "AND", "'OK'", "'%'", "--", ";", "\0", "\ud800", "é", "*", ".", "timestamp_ms", "9" * 30, "1e999"]
)  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    path: Path = tmp_path_factory.mktemp("filters") / "s.db"
    store = open_store(path)
    store.ensure_experiment("bot")
    yield store
    store.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.lists(PIECES, max_size=12).map(" ".join) | st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=40))
def test_no_filter_is_an_sql_error(filled: SqliteStore, text: str) -> None:
    """Whatever the text, it is a filter or a UsageError; a StoreError would be SQL that did not run."""
    for search in (filled.search_runs, filled.search_traces):
        for arguments in ({"filter_string": text}, {"order_by": [text]}):
            try:
                search(**arguments)  # type: ignore[arg-type]  # either search takes either
            except UsageError:
                continue


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(max_size=20).filter(lambda text: "`" not in text), operator=st.sampled_from(["=", "LIKE"]))
def test_any_text_is_only_a_value(filled: SqliteStore, value: str, operator: str) -> None:
    """Quotes, wildcards and comments in a value or a key are found as themselves, and do nothing else."""
    quoted = value.replace("'", "''")
    key = f"`{value}`" if value else "x"
    filled.search_runs(filter_string=f"params.{key} {operator} '{quoted}' AND tags.{key} = '{quoted}'")
    assert [e.name for e in filled.experiments()] == ["bot"]
