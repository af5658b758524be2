"""The limits and deadlines in force: those of the evaluation that runs on this context, else the defaults."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from evalpoint.settings import Settings

__all__ = ["bind", "bound"]

_DEFAULTS = Settings()
_bound: ContextVar[Settings] = ContextVar("evalpoint_limits", default=_DEFAULTS)


@contextmanager
def bind(settings: Settings) -> Generator[Settings]:
    """Calls on this context, and in threads that run in a copy of it, keep these limits and deadlines."""
    token = _bound.set(settings)
    try:
        yield settings
    finally:
        _bound.reset(token)


def bound() -> Settings:
    """The settings in force here."""
    return _bound.get()
