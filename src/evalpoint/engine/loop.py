"""One event loop in a thread of its own, for every async function of a run.

Shared by all rows, so that locks and clients made by one row work for the next; apart from the caller's thread, so that a
notebook's own running loop is no obstacle.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable
from concurrent.futures import TimeoutError as FutureTimeout
from types import TracebackType
from typing import Any

from evalpoint.errors import CallTimeout

__all__ = ["AsyncLoop"]


class AsyncLoop:
    """Runs awaitables from any thread. The thread starts with the first one and ends with the block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> AsyncLoop:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

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
        future = asyncio.run_coroutine_threadsafe(_awaited(value), self._running())
        try:
            return future.result(timeout or None)
        except FutureTimeout:
            if future.done():
                raise  # the function's own TimeoutError
            future.cancel()
            raise CallTimeout(
                f"The async function gave no result within {timeout:g} s and was cancelled; MLFLOW_GENAI_EVAL_ASYNC_TIMEOUT sets the limit."
            ) from None

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(self._loop,), name="evalpoint-async", daemon=True).start()
            return self._loop


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
