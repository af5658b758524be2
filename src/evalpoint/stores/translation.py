"""sqlite3's errors as `StoreError`: one table of what happened and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from evalpoint.errors import StoreError

__all__ = ["FOREIGN", "store_error", "translated"]

FOREIGN: tuple[type[Exception], ...] = (sqlite3.Error, sqlite3.Warning)
"""Everything that sqlite3 raises on purpose."""

_BY_TEXT = (
    ("database or disk is full", "the disk is full. Free some space, or choose a store elsewhere; what was written is safe"),
    ("readonly", "it may be read but not written. Change its permissions, or choose a store in a folder of your own"),
    ("is locked", "another process has been writing for 30 seconds. End it, or choose another store"),
    ("file is not a database", "it is no SQLite database. Choose another file, or move this one away"),
    ("unable to open", "it cannot be opened. Check that its folder exists and that you may write there"),
    ("disk I/O error", "the disk does not answer as SQLite needs it to. Choose a store on a local disk, not on a network or cloud mount"),
    ("malformed", "it is damaged. Move it away and start a new one; SQLite's `.recover` may save what is in it"),
    ("no such table", "tables are missing from it. Move it away and start a new one"),
    ("no such column", "its tables are not as this version of evalpoint made them. Move it away and start a new one"),
    ("closed database", "it has been closed. Open it again"),
)
"""SQLite's own words, which are the same in every version and language, to ours. Python 3.10 has no error codes to go by."""

_BY_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (sqlite3.IntegrityError, "a rule of its schema was broken; this is a defect of evalpoint, please report it"),
    (sqlite3.ProgrammingError, "it was used after it was closed, or wrongly; if you did not close it, please report this"),
    (sqlite3.NotSupportedError, "this build of SQLite cannot do what is needed; SQLite 3.31 is the oldest that can"),
    (sqlite3.DataError, "a value does not fit into it"),
    (sqlite3.InterfaceError, "a value of a type that it does not know was given; please report this"),
    (sqlite3.InternalError, "SQLite reports an error of its own. Move the file away and start a new one"),
    (sqlite3.OperationalError, "SQLite could not do its work"),
    (sqlite3.DatabaseError, "SQLite could not do its work"),
    (sqlite3.Error, "SQLite could not do its work"),
    (sqlite3.Warning, "SQLite refused a statement; please report this"),
)


def store_error(error: Exception, path: Path) -> StoreError:
    """The error as a sentence: which store, what is the matter, what to do."""
    text = str(error)
    sentence = next((ours for theirs, ours in _BY_TEXT if theirs in text), None)
    if sentence is None:
        sentence = next(ours for kind, ours in _BY_CLASS if isinstance(error, kind))
    return StoreError(f"The store {str(path)!r} cannot be used: {sentence} ({text[:200]}).")


@contextmanager
def translated(path: Path) -> Generator[None, None, None]:
    """Inside, what sqlite3 raises becomes a `StoreError`."""
    try:
        yield
    except FOREIGN as error:
        raise store_error(error, path) from error
