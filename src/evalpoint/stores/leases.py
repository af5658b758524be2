"""Who may write to a run: one process at a time, for as long as it lives and says so. The transaction is the caller's."""

from __future__ import annotations

import os
import socket
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from evalpoint.entities import Lease
from evalpoint.errors import StoreError, UsageError

__all__ = ["LASTING_MS", "Process", "held", "interrupted", "release_lease", "renew_lease", "require_lease", "take_lease", "this_process"]

LASTING_MS = 30_000
"""How long a lease holds that is not renewed."""

_LEASES = "SELECT run_id, owner, pid, host, pid_space, since, expires FROM leases WHERE run_id "


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process as others can recognise it."""

    owner: str
    """Random, and its own: a pid is used again."""
    pid: int
    host: str
    pid_space: str
    """With the host: processes that see each other's pids."""

    def sees_the_end_of(self, other: Process) -> bool:
        """Whether the other is known to have ended; False where that cannot be known from here."""
        if other.owner == self.owner or (other.host, other.pid_space) != (self.host, self.pid_space):
            return False
        return other.pid == self.pid or not _runs(other.pid)


def _runs(pid: int) -> bool:
    if os.name != "posix":  # elsewhere asking is not harmless: signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


_owners: dict[int, str] = {}
"""By pid: after a fork the child is an owner of its own."""


def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    try:
        pid_space = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:  # not Linux: there is one such space per host
        pid_space = ""
    return Process(owner=_owners.setdefault(pid, uuid.uuid4().hex), pid=pid, host=socket.gethostname(), pid_space=pid_space)


def take_lease(connection: sqlite3.Connection, run_id: str, me: Process, now_ms: int, *, alone: bool) -> Lease:
    """A lease on the run; what is left there of processes that have ended is cleared away.

    Args:
        connection: In a write transaction: of two that want it, one gets it.
        run_id: A run that exists.
        me: Who takes it.
        now_ms: The time.
        alone: Refuse where anybody holds one; otherwise only where another process does.

    Raises:
        UsageError: The run is being worked on; the message says by whom.
    """
    for found in connection.execute(_LEASES + "= ?", (run_id,)).fetchall():
        holder = _process(found)
        if not _alive(found, me, now_ms):
            connection.execute("DELETE FROM leases WHERE run_id = ? AND owner = ?", (run_id, holder.owner))
        elif alone or holder.owner != me.owner:
            since = datetime.fromtimestamp(found[5] / 1000, timezone.utc)
            raise UsageError(
                f"Run {run_id!r} is being worked on by process {holder.pid} on {holder.host!r}, since {since:%Y-%m-%d %H:%M:%S} UTC: a run "
                f"has one writer. Wait for it to end, or end it; one that was killed elsewhere is noticed after {LASTING_MS // 1000} s."
            )
    lease = Lease(lease_id=uuid.uuid4().hex, run_id=run_id, pid=me.pid, host=me.host, since=now_ms, expires=now_ms + LASTING_MS)
    connection.execute(
        "INSERT INTO leases (lease_id, run_id, owner, pid, host, pid_space, since, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (lease.lease_id, run_id, me.owner, me.pid, me.host, me.pid_space, lease.since, lease.expires),
    )
    return lease


def renew_lease(connection: sqlite3.Connection, lease: Lease, now_ms: int) -> None:
    """Holds it for another while, even where it has expired and nobody has taken the run."""
    require_lease(connection, lease)
    connection.execute("UPDATE leases SET expires = ? WHERE lease_id = ?", (now_ms + LASTING_MS, lease.lease_id))


def require_lease(connection: sqlite3.Connection, lease: Lease) -> None:
    """Raises StoreError where another process has taken over: two writers would undo each other's work."""
    if not connection.execute("SELECT 1 FROM leases WHERE lease_id = ?", (lease.lease_id,)).fetchone():
        raise StoreError(
            f"Run {lease.run_id!r} has been taken over by another process, because this one had not been heard of for "
            f"{LASTING_MS // 1000} s. It goes on there; what this one had finished before is kept."
        )


def release_lease(connection: sqlite3.Connection, lease: Lease) -> None:
    connection.execute("DELETE FROM leases WHERE lease_id = ?", (lease.lease_id,))


def held(connection: sqlite3.Connection, run_id: str, me: Process, now_ms: int) -> bool:
    """Whether anybody works on the run."""
    return any(_alive(row, me, now_ms) for row in connection.execute(_LEASES + "= ?", (run_id,)))


def interrupted(connection: sqlite3.Connection, run_ids: Sequence[str], me: Process, now_ms: int) -> set[str]:
    """Of these runs, at most 500 of them, those whose every lease is left over from a process that has ended."""
    found = connection.execute(_LEASES + f"IN ({','.join('?' * len(run_ids))})", tuple(run_ids)).fetchall()
    return {row[0] for row in found} - {row[0] for row in found if _alive(row, me, now_ms)}


def _process(row: Sequence[str | int]) -> Process:
    return Process(owner=str(row[1]), pid=int(row[2]), host=str(row[3]), pid_space=str(row[4]))


def _alive(row: Sequence[str | int], me: Process, now_ms: int) -> bool:
    return int(row[6]) > now_ms and not me.sees_the_end_of(_process(row))
