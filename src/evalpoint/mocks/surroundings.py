"""What an endpoint shares with its workspace: time, ids, threads for the user's functions, and what went wrong in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from evalpoint.mocks.clock import Ids
from evalpoint.mocks.exchange import Response, error_response

__all__ = ["Surroundings"]

THREADS = 128


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """Of one workspace."""

    clock: Callable[[], float]
    ids: Ids
    workspace_id: str
    executor: Executor = field(default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="evalpoint-mock"))
    errors: list[Exception] = field(default_factory=list[Exception])
    """What the user's functions have raised."""

    async def guarded(self, respond: Callable[[], Awaitable[Response]]) -> Response:
        """The response; an error of the user's function is noted, and answered as a crash."""
        try:
            return await respond()
        except Exception as error:  # noqa: BLE001 - answers are the user's code: its error is answered as a crash, and raised when the mock stops
            self.errors.append(error)
            return error_response(500, "INTERNAL_ERROR", f"The mock's answer raised {type(error).__name__}: {error}")

    def close(self) -> None:
        """Ends the threads, without waiting for functions that still run; new ones serve whoever comes next."""
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix="evalpoint-mock")
