"""What calls have taken: counted where they are made, read by whoever opened the account around them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

from evalpoint.entities import Spent

__all__ = ["Account", "account", "current_account"]


class Account:
    """Counts the calls made while it is bound. An account opened inside another adds to both. Thread-safe."""

    def __init__(self, outer: Account | None = None) -> None:
        self._outer = outer
        self._lock = Lock()
        self._attempts = 0
        self._retries = 0
        self._corrections = 0
        self._lost_seconds = 0.0
        self._spent = Spent()

    @property
    def attempts(self) -> int:
        """Requests sent, whatever became of them."""
        return self._attempts

    @property
    def retries(self) -> int:
        """Attempts made because the one before failed in a way that may pass."""
        return self._retries

    @property
    def corrections(self) -> int:
        """Requests changed and sent again: fresh credentials, an option dropped, a judge asked again."""
        return self._corrections

    @property
    def lost_seconds(self) -> float:
        """Time that is no latency of a successful call: waiting for a permit or between attempts, and attempts that failed."""
        return self._lost_seconds

    @property
    def spent(self) -> Spent:
        """Tokens and money, as far as callers have told."""
        return self._spent

    def attempt(self) -> None:
        """One more request is sent."""
        self._add(attempts=1)

    def retry(self) -> None:
        """A failed attempt will be repeated."""
        self._add(retries=1)

    def correct(self) -> None:
        """A request will be sent again, changed."""
        self._add(corrections=1)

    def lose(self, seconds: float) -> None:
        """These seconds are no latency of a successful call."""
        self._add(lost_seconds=max(0.0, seconds))

    def spend(self, spent: Spent) -> None:
        """A call has cost this."""
        self._add(spent=spent)

    def _add(
        self, *, attempts: int = 0, retries: int = 0, corrections: int = 0, lost_seconds: float = 0.0, spent: Spent | None = None
    ) -> None:
        each: Account | None = self
        while each is not None:
            with each._lock:
                each._attempts += attempts
                each._retries += retries
                each._corrections += corrections
                each._lost_seconds += lost_seconds
                if spent is not None:
                    each._spent += spent
            each = each._outer

    def __repr__(self) -> str:
        return (
            f"Account(attempts={self.attempts}, retries={self.retries}, corrections={self.corrections}, "
            f"lost_seconds={self.lost_seconds:.3f}, spent={self.spent})"
        )


_current: ContextVar[Account | None] = ContextVar("evalpoint_account", default=None)


@contextmanager
def account() -> Generator[Account]:
    """A fresh account for the calls of this context, and of threads that run in a copy of it."""
    fresh = Account(outer=_current.get())
    token = _current.set(fresh)
    try:
        yield fresh
    finally:
        _current.reset(token)


def current_account() -> Account | None:
    """The innermost account that is open on this context."""
    return _current.get()
