"""One event loop in a thread of its own, for every async function of a run.

Shared by all rows, so that locks and clients made by one row work for the next; apart from the caller's thread, so that a
notebook's own running loop is no obstacle. A loop that a blocking `async def` silences is given up, and another takes its place.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import threading
import traceback
from collections.abc import Awaitable
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from evalpoint.errors import CallTimeout

__all__ = ["AsyncLoop"]

logger = logging.getLogger("evalpoint")

HEARTBEAT = 1.0
"""Seconds within which a loop that is asked must answer."""


@dataclass(frozen=True, slots=True)
class _Serving:
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread


class AsyncLoop:
    """Runs awaitables from any thread. The thread starts with the first one and ends with the block."""

    def __init__(self, heartbeat: float = HEARTBEAT) -> None:
        self._heartbeat = heartbeat
        self._lock = threading.Lock()
        self._serving: _Serving | None = None
        self._closed = False

    def __enter__(self) -> AsyncLoop:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._lock:
            self._closed = True
            serving, self._serving = self._serving, None
        if serving is not None:
            serving.loop.call_soon_threadsafe(serving.loop.stop)

    def finish(self, value: Any, timeout: float | None) -> Any:
        """The value itself, or, when it is awaitable, what it comes to.

        Args:
            value: What a function returned.
            timeout: Seconds that an awaitable may take; None or 0 for no limit.

        Raises:
            CallTimeout: It took longer; it has been cancelled.
        """
        if not inspect.isawaitable(value):
            return value
        try:
            serving = self._running()
        except CallTimeout:
            if inspect.iscoroutine(value):
                value.close()
            raise
        future = asyncio.run_coroutine_threadsafe(_awaited(value), serving.loop)
        try:
            return future.result(timeout or None)
        except FutureTimeout:
            if future.done():
                raise  # the function's own TimeoutError
            future.cancel()
            self._give_up_if_silent(serving)
            raise CallTimeout(
                f"The async function gave no result within {timeout:g} s and was cancelled; "
                "async_timeout= (MLFLOW_GENAI_EVAL_ASYNC_TIMEOUT), or the scorer's own timeout=, sets the limit."
            ) from None

    def _running(self) -> _Serving:
        with self._lock:
            if self._closed:
                raise CallTimeout("The run is over; what was still to be awaited is not begun.")
            if self._serving is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=_serve, args=(loop,), name="evalpoint-async", daemon=True)
                self._serving = _Serving(loop, thread)
                thread.start()
            return self._serving

    def _give_up_if_silent(self, serving: _Serving) -> None:
        """Takes a loop that does not answer out of service; what still runs on it times out in its turn."""
        alive = threading.Event()
        serving.loop.call_soon_threadsafe(alive.set)
        if alive.wait(self._heartbeat):
            return
        with self._lock:
            if self._serving is not serving:
                return  # another row has found out before
            self._serving = None
        serving.loop.call_soon_threadsafe(serving.loop.stop)  # once the function that blocks it has returned
        logger.warning(
            "An async function blocks the event loop at %s; the rows on it are given up, and a new loop serves the others. "
            "Await inside the function, or make it a plain function.",
            _line_of(serving.thread),
        )


def _line_of(thread: threading.Thread) -> str:
    """Where a thread is now: file and line of the innermost frame."""
    frame = sys._current_frames().get(thread.ident or -1)  # pyright: ignore[reportPrivateUsage] - the documented way to look at another thread
    if frame is None:
        return "an unknown line"
    innermost = traceback.extract_stack(frame)[-1]
    return f"{innermost.filename}:{innermost.lineno} ({innermost.name})"


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Runs the loop until it is stopped; then what is still pending is cancelled and awaited, so that nothing warns."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
