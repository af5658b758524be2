"""Rows of the data on their way into an evaluation that is there already: compared a batch at a time, taken all at once."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from evalpoint.entities import Evaluation, Resumed, Row
from evalpoint.stores import resuming
from evalpoint.stores.runs import StoreFile

__all__ = ["Staged"]

COMPARED_AT_ONCE = 500
"""Rows compared without a pause in which others may write."""


class Staged:
    """Implements `protocols.Staging`, on the thread that makes it."""

    def __init__(self, file: StoreFile, evaluation_id: str) -> None:
        self._file = file
        self._evaluation_id = evaluation_id

    def __enter__(self) -> Staged:
        with self._file.reading() as connection:
            resuming.begin(connection)
        return self

    def __exit__(self, *raised: object) -> None:
        with self._file.reading() as connection:
            resuming.discard(connection)

    def add(self, rows: Iterable[Row]) -> int:
        source, count = iter(rows), 0
        while batch := list(islice(source, COMPARED_AT_ONCE)):
            with self._file.reading() as connection:
                resuming.compare(connection, self._evaluation_id, batch)
            count += len(batch)
        return count

    def settle(self, evaluation: Evaluation) -> Resumed:
        with self._file.writing() as connection:
            return resuming.settle(connection, evaluation, self._file.stamp(), self._file.uri)
