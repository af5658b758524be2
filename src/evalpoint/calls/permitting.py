"""Permits: how many calls to one endpoint with one identity are under way, and how many may be.

They are process-wide, because they are about the endpoint and not about a run. Rate limits and shared cool-downs belong here too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Condition, Lock

from evalpoint.errors import CallTimeout

__all__ = ["Permits", "permits"]

_GLANCE = 0.5
"""The longest sleep at a stretch while waiting, in seconds, so that Ctrl-C gets through on every platform."""


class Permits:
    """The permits of one key. Without a limit they only count."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._changed = Condition(Lock())
        self._limit: int | None = None
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return self._in_flight

    @property
    def limit(self) -> int | None:
        """Calls that may be under way at once; None for any number."""
        return self._limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"a limit of {limit} calls at once would let no call through")
        with self._changed:
            self._limit = limit
            self._changed.notify_all()

    @contextmanager
    def hold(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> Generator[None]:
        """Waits for a permit and holds it.

        Args:
            seconds: How long to wait at most.
            clock: Monotonic seconds.

        Raises:
            CallTimeout: There was none in time; nothing has been sent.
        """
        deadline = clock() + seconds
        with self._changed:
            while self._limit is not None and self._in_flight >= self._limit:
                left = deadline - clock()
                if left <= 0:
                    raise CallTimeout(
                        f"Nothing was sent: {self._in_flight} calls to {self.key} are under way, {self._limit} may be at once, and none "
                        f"ended within {seconds:.0f} s. Run fewer workers, or allow the call more time."
                    )
                self._changed.wait(min(left, _GLANCE))
            self._in_flight += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                if self._limit is not None:
                    self._changed.notify()


_registry: dict[str, Permits] = {}
_registering = Lock()


def permits(key: str) -> Permits:
    """The permits of this key, the same object everywhere in the process."""
    with _registering:
        found = _registry.get(key)
        if found is None:
            found = _registry[key] = Permits(key)
        return found
