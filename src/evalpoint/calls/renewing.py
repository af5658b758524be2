"""Requests whose repetition must not equal them: the body is made anew for every attempt on this context."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["renewal", "renewing"]

Renew = Callable[[Any], Any]

_bound: ContextVar[Renew | None] = ContextVar("evalpoint_renewal", default=None)


@contextmanager
def renewing(renew: Renew) -> Generator[None]:
    """Every attempt on this context sends what `renew` makes of its body; a body that is none of its own it returns as it is.

    Args:
        renew: Asked right before each attempt, with the JSON value of the body; it changes nothing in place. Bytes are never shown to it.
    """
    token = _bound.set(renew)
    try:
        yield
    finally:
        _bound.reset(token)


def renewal() -> Renew | None:
    """What is bound here."""
    return _bound.get()
