"""Ctrl-C and SIGTERM while an evaluation runs: the first ends it in good order, a second one at once.

Handlers are set only in the main thread, only where Python's own are in place, and put back after.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interruption"]

PATIENCE = 4.0
"""Seconds that calls under way have to end after the first signal."""


class Interruption:
    """Sets `cancel` at the first signal, and raises at the second.

    Args:
        cancel: Told to begin no further row.
        clock: Monotonic seconds.
    """

    def __init__(self, cancel: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self._cancel = cancel
        self._clock = clock
        self._signal: int | None = None
        self._at = 0.0
        self._before: dict[int, Any] = {}

    @property
    def over(self) -> bool:
        """Whether calls under way have had their time to end."""
        return self._signal is not None and self._clock() - self._at >= PATIENCE

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
                if signal.getsignal(number) == default:
                    self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def raise_if_received(self) -> None:
        """What the signal means to the caller, once everything finished is on disk.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
            SystemExit: It was SIGTERM; the code is 143, as shells expect.
        """
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self._signal is not None:
            raise SystemExit(128 + self._signal)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            signal.default_int_handler(number, frame)
        self._signal, self._at = number, self._clock()
        self._cancel.set()
        print("evalpoint: ending with what is under way; once more ends at once", file=sys.stderr, flush=True)
