"""Opening a store: addresses, versions, several processes, and everything that can be wrong with a file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from evalpoint.entities import Evaluation, Predicted, Reply, RowKey, Trace
from evalpoint.errors import ConfigurationError, StoreError
from evalpoint.protocols import Store
from evalpoint.stores import SqliteStore, open_store
from evalpoint.stores.connections import Connections
from evalpoint.stores.migrations import SCHEMA, bring_up_to_date
from evalpoint.stores.translation import FOREIGN, store_error


def test_the_store_is_a_store(store: SqliteStore) -> None:
    """It has every method of the protocol, by type and by name."""
    as_protocol: Store = store
    names = [name for name in vars(Store) if not name.startswith("_")]
    assert [name for name in names if not hasattr(as_protocol, name)] == []


@pytest.mark.parametrize("address", ["{}", "sqlite:///{}"], ids=["path", "uri"])
def test_a_store_is_opened_by_path_or_uri(tmp_path: Path, address: str) -> None:
    """Both name the same file, and the store's own `uri` opens it again."""
    path = tmp_path / "a store.db"
    with open_store(address.format(path)) as first:
        first.ensure_experiment("bot")
        assert first.path == path
        with open_store(first.uri) as second:
            assert [e.name for e in second.experiments()] == ["bot"]


def test_a_relative_address_is_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And stays there when the process moves on."""
    monkeypatch.chdir(tmp_path)
    with open_store("sqlite:///e.db") as store:
        assert store.path == tmp_path / "e.db"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("no/such/folder/e.db", "does not exist"),
        (".", "is a folder"),
        ("http://localhost", "no address of an embedded store"),
        ("sqlite://e.db", "no address"),
        (":memory:", "needs a file"),
        ("sqlite:///", "needs a file"),
        ("", "needs a file"),
        ("a\0b", "needs a file"),
    ],
    ids=["no folder", "folder", "server", "two slashes", "memory", "no file", "nothing", "nul"],
)
def test_an_address_that_is_none(address: str, says: str) -> None:
    """ConfigurationError says what to give instead."""
    with pytest.raises(ConfigurationError, match=says):
        open_store(address)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """StoreError, and the file is as it was."""
    path = tmp_path / "notes.txt"
    path.write_text("notes, not rows\n" * 100)
    with pytest.raises(StoreError, match="no SQLite database"):
        open_store(path)
    assert path.read_text() == "notes, not rows\n" * 100


def test_a_database_of_another_program(tmp_path: Path) -> None:
    """An MLflow database, say, is not touched."""
    path = tmp_path / "mlflow.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE alembic_version (version_num)")
    connection.close()
    with pytest.raises(StoreError, match="another program"):
        open_store(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("alembic_version",)]
    connection.close()


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    """The sentence says to upgrade."""
    path = tmp_path / "e.db"
    open_store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match=r"schema 99; this one knows \d.*Upgrade"):
        open_store(path)


@pytest.mark.parametrize(
    ("pragma", "says"), [("query_only = 1", "read but not written"), ("max_page_count = 1", "disk is full")], ids=["read-only", "full"]
)
def test_a_place_that_takes_no_writes(store: SqliteStore, make_evaluation: Callable[..., Evaluation], pragma: str, says: str) -> None:
    """The sentence says what to do, and what was written is there."""
    make_evaluation(rows=3)
    store._connections.mine().execute(f"PRAGMA {pragma}")
    many = {f"{number}": "x" * 10_000 for number in range(100)}
    with pytest.raises(StoreError, match=says):
        store.set_tags("run-1", many)
    assert len(list(store.rows("ev-1"))) == 3


def test_a_damaged_file(tmp_path: Path) -> None:
    """Never a bare error of sqlite3."""
    path = tmp_path / "e.db"
    with open_store(path) as store:
        for number in range(200):
            store.ensure_experiment(f"bot {number}")
    content = bytearray(path.read_bytes())
    content[5000 : len(content) // 2] = b"\xff" * (len(content) // 2 - 5000)
    path.write_bytes(content)
    with open_store(path) as store, pytest.raises(StoreError, match="damaged"):
        store.ensure_experiment("bot 150")


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    """On the thread that used it and on others; closing twice is fine."""
    store = open_store(tmp_path / "e.db")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="has been closed"):
        store.experiments()


def _classes(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(found for child in root.__subclasses__() for found in _classes(child))]


@pytest.mark.parametrize("kind", [kind for root in FOREIGN for kind in _classes(root)], ids=lambda kind: kind.__name__)
def test_every_error_of_sqlite3_is_translated(kind: type[Exception]) -> None:
    """Each class, its texts unknown, has a sentence of its own; no path is missing from it."""
    error = store_error(kind("something new"), Path("/data/e.db"))
    assert isinstance(error, StoreError)
    assert "'/data/e.db'" in str(error)
    assert "something new" in str(error)


def test_no_class_of_sqlite3_is_forgotten() -> None:
    """Everything that the module can raise descends from what is translated."""
    raised = [found for found in vars(sqlite3).values() if isinstance(found, type) and issubclass(found, Exception)]
    assert raised
    assert all(issubclass(kind, FOREIGN) for kind in raised)


def test_the_schema_is_prose() -> None:
    """Every table opens with what one row of it is."""
    before = SCHEMA.split("CREATE TABLE ")[:-1]
    assert len(before) >= 12
    for text in before:
        assert text.rstrip().splitlines()[-1].startswith("-- One row per")


def test_an_older_store_is_brought_up_to_date_once(tmp_path: Path) -> None:
    """Migrations run in order, each once, whichever connection comes first; a new file needs none."""
    path, applied = tmp_path / "e.db", []

    def first(connection: sqlite3.Connection) -> None:
        applied.append("first")
        connection.execute("ALTER TABLE runs ADD COLUMN owner TEXT")

    def second(connection: sqlite3.Connection) -> None:
        applied.append("second")
        connection.execute("UPDATE runs SET owner = 'nobody'")

    open_store(path).close()
    connections = Connections(path)
    bring_up_to_date(connections.mine(), path, migrations=(first,))
    bring_up_to_date(connections.mine(), path, migrations=(first, second))
    bring_up_to_date(connections.mine(), path, migrations=(first, second))
    assert applied == ["first", "second"]
    connections.close()
    with pytest.raises(StoreError, match="newer evalpoint"):
        open_store(path)


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """Its transaction is undone, version and all."""
    path = tmp_path / "e.db"

    def breaks(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE params")
        raise ValueError("half way")

    open_store(path).close()
    connections = Connections(path)
    with pytest.raises(ValueError, match="half way"):
        bring_up_to_date(connections.mine(), path, migrations=(breaks,))
    connections.close()
    with open_store(path) as store:
        assert store.search_runs(filter_string="params.x = 'y'") == []


def test_threads_open_one_new_file_together(tmp_path: Path) -> None:
    """Eight at once: the schema is made once, and all of them can use it."""
    path, opened = tmp_path / "e.db", []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        with open_store(path) as store:
            opened.append(store.ensure_experiment("bot").experiment_id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == ["1"] * 8


def test_opening_waits_for_who_is_writing(tmp_path: Path) -> None:
    """A new file in which another process is at work is waited for, where SQLite itself would not."""
    path = tmp_path / "e.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.1, other.execute, ["ROLLBACK"])
    release.start()
    with open_store(path) as store:
        assert store.experiments() == []
    release.join()
    other.close()


def test_waiting_for_a_writer_has_an_end(tmp_path: Path) -> None:
    """After thirty seconds of pauses the error says what to do."""
    path, pauses = tmp_path / "e.db", list[float]()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    connections = Connections(path, sleep=pauses.append)
    with pytest.raises(StoreError, match="another process has been writing"), connections.reading():
        pass
    assert 30 <= sum(pauses) < 31
    other.close()


def test_connections_of_ended_threads_do_not_pile_up(tmp_path: Path) -> None:
    """Fifty short threads leave as many connections open as are needed at a time; the others are closed."""
    with open_store(tmp_path / "e.db") as store:
        used: list[sqlite3.Connection] = []
        for _ in range(50):
            thread = threading.Thread(target=lambda: used.append(store._connections.mine()))
            thread.start()
            thread.join()
        assert store._connections.count <= 3
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            used[0].execute("SELECT 1")


def test_a_forked_process_has_a_connection_of_its_own(tmp_path: Path) -> None:
    """SQLite's connections do not survive a fork; the store does."""
    with open_store(tmp_path / "e.db") as store:
        store.ensure_experiment("before")
        ours = store._connections.mine()
        child = os.fork()
        if child == 0:
            try:
                store.ensure_experiment("in the child")
            finally:
                os._exit(7 if store._connections.mine() is ours else 0)
        assert os.waitpid(child, 0)[1] == 0
        assert [e.name for e in store.experiments()] == ["before", "in the child"]


WRITER = """
import sys, threading
from evalpoint.entities import *
from evalpoint.stores import open_store

process, path, each = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = open_store(path)
experiment = store.ensure_experiment("shared")

def work(thread):
    name = f"run-{process}-{thread}"
    info = RunInfo(run_id=name, experiment_id=experiment.experiment_id, run_name=name, status=RunStatus.RUNNING, start_time=1)
    store.create_run(Run(info=info))
    store.create_evaluation(Evaluation(evaluation_id=name, run_id=name, number=1, created=1, scorers=()))
    store.add_rows(name, (Row(key=RowKey(n), inputs={"q": n}, digest=f"d{n}") for n in range(each)))
    for n in range(each):
        failure = Failure(state=RowState.TIMEOUT, error=AssessmentError("T"))
        store.record(name, [Predicted(key=RowKey(n), prediction=failure), Finished(key=RowKey(n), state=RowState.TIMEOUT)])
        store.log_metrics(name, [Metric(key="n", value=n, timestamp=n)])

threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
store.close()
"""


def test_two_processes_of_four_threads_lose_nothing(tmp_path: Path) -> None:
    """They open a new file together and write together; every row and metric is there."""
    path, each = tmp_path / "e.db", 25
    children = [subprocess.Popen([sys.executable, "-c", WRITER, str(n), str(path), str(each)], stderr=subprocess.PIPE) for n in range(2)]
    assert [(child.communicate()[1].decode(), child.returncode) for child in children] == [("", 0), ("", 0)]
    with open_store(path) as store:
        runs = store.search_runs()
        assert len(runs) == 8
        assert len(store.experiments()) == 1
        for run in runs:
            assert {state.value: n for state, n in store.state_counts(run.info.run_id).items()} == {"timeout": each}
            assert run.data.metrics == {"n": each - 1}


def test_threads_record_into_one_evaluation(
    store: SqliteStore, make_evaluation: Callable[..., Evaluation], make_trace: Callable[..., Trace]
) -> None:
    """Eight threads, two hundred rows: each row has its own trace."""
    make_evaluation(rows=200)

    def work(first: int) -> None:
        for row in range(first, 200, 8):
            store.record("ev-1", [Predicted(key=RowKey(row), prediction=Reply(outputs=row, trace=make_trace(f"tr-{row}")))])

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(r.outputs, r.trace_id) for r in store.rows("ev-1")] == [(row, f"tr-{row}") for row in range(200)]
