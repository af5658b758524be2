"""Time and chance for tests: a clock that moves when told to, and ids that a seed decides."""

from __future__ import annotations

import random
import threading
from uuid import UUID

__all__ = ["FakeClock", "Ids"]


class FakeClock:
    """A clock that stands still until `advance` or `sleep` moves it. Call it for the time in seconds since the epoch.

    Args:
        now: The time it starts with.
    """

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self._now = now
        self._slept: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Moves the time forward."""
        if seconds < 0:
            raise ValueError(f"time does not go backwards: advance({seconds})")
        with self._lock:
            self._now += seconds

    def sleep(self, seconds: float) -> None:
        """What `time.sleep` would do, without waiting: the time moves, and the wait is noted in `slept`."""
        self.advance(max(seconds, 0.0))
        with self._lock:
            self._slept.append(seconds)

    @property
    def slept(self) -> list[float]:
        """Every wait so far, in order."""
        with self._lock:
            return list(self._slept)


class Ids:
    """Random ids; with a seed, the same ones in the same order every time. May be shared by threads."""

    def __init__(self, seed: int | None = None) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - ids of a mock guard nothing
        self._lock = threading.Lock()

    def hex(self, digits: int) -> str:
        """That many lower-case hex digits; never all zeros, which tracing reads as "no id"."""
        with self._lock:
            return f"{self._rng.getrandbits(digits * 4) or 1:0{digits}x}"

    def uuid(self) -> str:
        """A UUID as text."""
        with self._lock:
            return str(UUID(int=self._rng.getrandbits(128), version=4))
