"""Endpoints that sleep: scaled to zero, they answer late or not at all until they are awake."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from evalpoint.mocks.exchange import Response, error_response

__all__ = ["ColdStart", "Waking", "unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """An endpoint that is scaled to zero until it is called.

    Args:
        calls: So many calls are answered 503 first.
        seconds: How long it then takes to wake up, from the next call on.
        refuse: Whether calls in that time are answered 503; else they wait.
    """

    calls: int = 0
    seconds: float = 0.0
    refuse: bool = False


class Waking:
    """Whether one endpoint is awake. Its time is the machine's: a fake clock does not wake anybody."""

    def __init__(self, cold: ColdStart, *, now: Callable[[], float] = time.monotonic) -> None:
        self._cold = cold
        self._now = now
        self.sleep()

    def sleep(self) -> None:
        """Scales to zero again."""
        self._left = self._cold.calls
        self._since: float | None = None

    async def admit(self, path: str) -> Response | None:
        """Wakes the endpoint up: None when it is awake, after waiting for it where calls wait."""
        if self._left > 0:
            self._left -= 1
            return unavailable(path)
        if self._since is None:
            self._since = self._now()
        left = self._since + self._cold.seconds - self._now()
        if left <= 0:
            return None
        if self._cold.refuse:
            return unavailable(path)
        await asyncio.sleep(left)
        return None


def unavailable(path: str) -> Response:
    """What an endpoint that starts or is overloaded answers."""
    return error_response(503, "TEMPORARILY_UNAVAILABLE", f"The service at {path} is temporarily unavailable. Please try again later.")
