"""A connection for every thread, reads and short writes on it, and an end to all of them."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from evalpoint.errors import StoreError
from evalpoint.stores.text import member
from evalpoint.stores.translation import translated

__all__ = ["Connections"]

BUSY_SECONDS = 30.0
"""How long a write waits for another process's."""


class _Local(threading.local):
    connection: sqlite3.Connection | None = None
    process: int = 0


class Connections:
    """The open connections to one file. Those of threads that have ended are closed when the next one is opened."""

    def __init__(self, path: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.path = path
        self._sleep = sleep
        self._local = _Local()
        self._lock = threading.Lock()
        self._open: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._closed = False
        self._process = os.getpid()

    def close(self) -> None:
        """Closes every thread's connection; later use is an error."""
        with self._lock:
            self._closed = True
            connections, self._open = self._open, []
        for _, connection in connections:
            connection.close()

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """This thread's connection; all statements in it see the store as it was at the first."""
        with translated(self.path):
            connection = self.mine()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection, None, None]:
        """This thread's connection inside one write transaction: everything in it happens, or nothing."""
        with translated(self.path):
            connection = self.mine()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def mine(self) -> sqlite3.Connection:
        """This thread's connection, opened when it has none."""
        if self._closed:
            raise StoreError(f"The store {str(self.path)!r} has been closed. Open it again.")
        local = self._local
        if local.connection is None or local.process != os.getpid():  # SQLite's connections must not be used after a fork
            local.connection = self._connect()
            local.process = os.getpid()
        return local.connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=200)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if self._closed:
                connection.close()
                raise StoreError(f"The store {str(self.path)!r} has been closed. Open it again.")
            if self._process != os.getpid():  # after a fork the others belong to the parent: closing them here would end its locks
                self._process, self._open = os.getpid(), []
            ended = [entry for entry in self._open if not entry[0].is_alive()]
            self._open = [entry for entry in self._open if entry[0].is_alive()]
            self._open.append((threading.current_thread(), connection))
        for _, left_over in ended:
            left_over.close()
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._enter_wal(connection)
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.create_function("member", 2, member, deterministic=True)

    def _enter_wal(self, connection: sqlite3.Connection) -> None:
        """Two processes that open a new file at once collide here; SQLite's busy timeout does not cover it, so the waiting is ours."""
        pause, waited = 0.005, 0.0
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or waited >= BUSY_SECONDS:
                    raise
            self._sleep(pause)
            waited += pause
            pause = min(2 * pause, 0.25)
