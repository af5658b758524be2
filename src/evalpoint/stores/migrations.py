"""The schema of a store, and how a file of an older version becomes one of this version. Each step happens once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from evalpoint.errors import StoreError

__all__ = ["APPLICATION_ID", "MIGRATIONS", "Migration", "bring_up_to_date"]

APPLICATION_ID = 0x65767074
"""The letters `evpt` in the file's header: how a store is told from other SQLite files."""

Migration = Callable[[sqlite3.Connection], None]
"""Turns a store of one version into one of the next. It runs inside the transaction that records it."""

MIGRATIONS: tuple[Migration, ...] = ()
"""In order: the first turns version 1 into version 2. `schema.sql` is always the newest; a new file needs none of them."""

SCHEMA = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")


def bring_up_to_date(
    connection: sqlite3.Connection, path: Path, *, schema: str = SCHEMA, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Makes the schema in an empty file, or applies the migrations that the file lacks, in one transaction.

    Raises:
        StoreError: The file belongs to another program, or to a newer evalpoint.
    """
    newest = 1 + len(migrations)
    if _version(connection, path, newest) == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path, newest)  # asked again: another process may have been faster
        if version == 0:
            for statement in _statements(schema):
                connection.execute(statement)
        else:
            for migrate in migrations[version - 1 :]:
                migrate(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
        connection.execute(f"PRAGMA user_version = {newest:d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """The schema version of the file; 0 for an empty one."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not application:
        return 0
    if application != APPLICATION_ID:
        raise StoreError(
            f"The file {str(path)!r} is a SQLite database of another program, not evalpoint's. Choose another file for the store; "
            "to use an MLflow database, start its server and give the server's address."
        )
    if version > newest:
        raise StoreError(
            f"The store {str(path)!r} was written by a newer evalpoint (schema {version}; this one knows {newest}). "
            "Upgrade evalpoint, or choose another store."
        )
    return int(version)


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one; sqlite3's `executescript` would commit before it begins."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
