"""What an endpoint shares with its workspace: time, ids, and threads for the user's functions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from evalpoint.mocks.clock import Ids

__all__ = ["Surroundings"]

THREADS = 128


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """Of one workspace."""

    clock: Callable[[], float]
    ids: Ids
    workspace_id: str
    executor: Executor = field(default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="evalpoint-mock"))

    def close(self) -> None:
        """Ends the threads, without waiting for functions that still run; new ones serve whoever comes next."""
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix="evalpoint-mock")
