"""Our own daemon threads: started as work comes, never joined at the interpreter's exit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

__all__ = ["Pool"]

Job = Callable[[], None]


class Pool:
    """At most `size` jobs at a time, in the order submitted. A job deals with its own errors.

    After `close` nothing more is begun; a job that runs is left to end, and what it does with its result is its own affair.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0
        self._closed = False

    def submit(self, job: Job) -> None:
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and self._threads < self._size:
            self._threads += 1
            threading.Thread(target=self._work, name=f"evalpoint-{self._name}-{self._threads}", daemon=True).start()

    def close(self) -> None:
        self._closed = True
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while not self._closed:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                self._idle.release()
                job = self._jobs.get()
            if job is None:
                return
            if not self._closed:
                job()
