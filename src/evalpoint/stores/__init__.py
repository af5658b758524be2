"""The embedded store: experiments, runs, rows, traces and assessments in one SQLite file."""

from evalpoint.stores.sqlite import SqliteStore, open_store

__all__ = ["SqliteStore", "open_store"]
