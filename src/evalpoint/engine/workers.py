"""Our own daemon threads: started as work comes, replaced when a job does not return, never joined at the interpreter's exit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

__all__ = ["Job", "Pool"]


class Job:
    """Something to do, and the right to say what came of it: whoever claims it first has it."""

    def __init__(self, task: Callable[[Job], None]) -> None:
        self._task = task
        self._unclaimed = threading.Lock()
        self.began: float | None = None
        """By the pool's clock; None while it waits for a worker."""
        self.abandoned = False

    def claim(self) -> bool:
        """Whether nobody has claimed it before."""
        return self._unclaimed.acquire(blocking=False)

    def run(self) -> None:
        self._task(self)


class Pool:
    """At most `size` jobs at a time, in the order submitted. A job deals with its own errors.

    A job that was abandoned no longer counts: another worker takes the place of its own, which ends when the job does.
    After `close` nothing more is begun; a job that runs is left to end.
    """

    def __init__(self, name: str, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._size = size
        self._clock = clock
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0
        self._closed = False
        self._counting = threading.Lock()
        self._stuck = 0

    @property
    def stuck(self) -> int:
        """How many abandoned jobs still have not returned."""
        return self._stuck

    def submit(self, task: Callable[[Job], None]) -> Job:
        job = Job(task)
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and self._threads < self._size:
            self._start()
        return job

    def abandon(self, job: Job) -> None:
        """Gives up on a job that runs, and on its worker."""
        with self._counting:
            job.abandoned = True
            self._stuck += 1
        self._start()

    def close(self) -> None:
        self._closed = True
        for _ in range(self._threads):
            self._jobs.put(None)

    def _start(self) -> None:
        self._threads += 1
        threading.Thread(target=self._work, name=f"evalpoint-{self._name}-{self._threads}", daemon=True).start()

    def _work(self) -> None:
        while not self._closed:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                self._idle.release()
                job = self._jobs.get()
            if job is None or self._closed:
                return
            job.began = self._clock()
            job.run()
            with self._counting:
                if job.abandoned:
                    self._stuck -= 1
                    return
