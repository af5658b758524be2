"""What a dataset is known by: one short digest of all its rows, the same in whatever order they come."""

from __future__ import annotations

import hashlib

from evalpoint.entities import Row
from evalpoint.formats.plain import digest

__all__ = ["RunningDigest"]

_MODULUS = 2**128


class RunningDigest:
    """Fed with the rows of a dataset one by one. Repeats of a row add nothing: how often to ask is no part of the data."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, row: Row) -> None:
        """Counts the row in: its inputs, what is expected, and the answer that came with it."""
        if row.key.repeat:
            return
        parts = [row.digest, digest(dict(row.expectations))]
        if row.given is not None:
            parts += [digest(row.given.outputs), row.given.trace.info.trace_id if row.given.trace else ""]
        hashed = hashlib.sha256("\n".join(parts).encode()).digest()
        self._sum = (self._sum + int.from_bytes(hashed[:16], "big")) % _MODULUS

    @property
    def value(self) -> str:
        """32 hex digits."""
        return hashlib.sha256(f"1:{self._sum}".encode()).hexdigest()[:32]
