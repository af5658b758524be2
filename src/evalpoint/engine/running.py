"""Rows -> events: two pipelined pools, a bounded number of rows between them, and one generator that tells what happened."""

from __future__ import annotations

import contextvars
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event as Flag

from evalpoint.engine.asking import Target, ask_scorer, predict, unanswered_prediction, unanswered_verdict
from evalpoint.engine.loop import AsyncLoop
from evalpoint.engine.workers import Job, Pool
from evalpoint.entities import Event, Failure, Finished, Predicted, Reply, Row, RowKey, RowState, Scored
from evalpoint.errors import Stalled
from evalpoint.protocols import Grader, Recorder, Subject, Task
from evalpoint.settings import Settings

__all__ = ["run"]

TICK = 0.25
"""Seconds after which an empty batch tells the caller that nothing has happened yet."""
BETWEEN = 2
"""Times the workers: how many rows may be predicted and not yet scored."""
ABANDONED = 2
"""Times the workers: how many abandoned calls may be out at once before the run stops."""


def run(
    tasks: Iterable[Task],
    *,
    target: Target,
    graders: Sequence[Grader],
    recorder: Recorder,
    settings: Settings,
    cancel: Flag | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[Sequence[Event], None, None]:
    """Predicts and scores what is missing of the rows, and yields what happened in batches, on the caller's thread.

    Asking for the next batch acknowledges the last: a row's scorers are asked only after the batch with its `Predicted`
    has been taken care of. An empty batch is a heartbeat. Closing the generator ends the workers. Every row that was
    taken from `tasks` ends with one `Finished`, unless the generator is closed or `cancel` is set before. One that comes with
    its answer goes straight to the scorers that have not given a verdict; the verdicts that stand are taken to be no failures.

    A call that is not back by its deadline is abandoned: its row goes on without it, and what it may still return is dropped.

    Args:
        tasks: Read as they are needed, on the caller's thread.
        target: Who answers.
        graders: Who scores; none is fine.
        recorder: Opens a recording around every call.
        settings: Workers and time limits.
        cancel: Once set, no further row is begun; those in work are finished.
        clock: Monotonic seconds.

    Raises:
        Stalled: Twice as many abandoned calls as there are workers have not returned.
    """
    engine = _Engine(target=target, graders=tuple(graders), recorder=recorder, settings=settings, clock=clock)
    try:
        yield from engine.events(iter(tasks), cancel or Flag())
    finally:
        engine.close()


Told = Predicted | Scored | Finished


@dataclass(slots=True)
class _InWork:
    """A row whose answer is being scored: the scorers not yet asked, and how many have yet to answer."""

    subject: Subject
    waiting: deque[Grader]
    unanswered: int
    failed: bool = False


def _in_work(row: Row, reply: Reply, missing: Sequence[Grader]) -> _InWork:
    subject = Subject(inputs=row.inputs, outputs=reply.outputs, expectations=row.expectations, trace=reply.trace)
    return _InWork(subject, deque(missing), len(missing))


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that is under way, or waits for a worker: until when, and what to tell when it is not back by then."""

    job: Job
    pool: Pool
    limit: float | None
    late: Callable[[float], Told]
    """Given the seconds it may take: what is told in its place."""


@dataclass(slots=True)
class _Engine:
    target: Target
    graders: tuple[Grader, ...]
    recorder: Recorder
    settings: Settings
    clock: Callable[[], float]
    inbox: SimpleQueue[Told | BaseException] = field(default_factory=SimpleQueue[Told | BaseException])
    loop: AsyncLoop = field(default_factory=AsyncLoop)
    predicting: dict[RowKey, Row] = field(default_factory=dict[RowKey, Row])
    scoring: dict[RowKey, _InWork] = field(default_factory=dict[RowKey, _InWork])
    calls: dict[tuple[RowKey, str | None], _Call] = field(default_factory=dict[tuple[RowKey, str | None], _Call])
    """By row and scorer; None for the prediction."""
    looked: float = 0.0
    """When deadlines were last looked at."""
    stalled: int = 0
    """How many calls have been abandoned, once these are too many."""
    predictors: Pool = field(init=False)
    scorers: Pool = field(init=False)

    def __post_init__(self) -> None:
        self.predictors = Pool("predict", self.settings.max_workers, self.clock)
        self.scorers = Pool("score", self.settings.max_workers * self._lanes(), self.clock)

    def _lanes(self) -> int:
        """Scorers of one row at a time."""
        return max(1, min(self.settings.max_scorer_workers, len(self.graders)))

    def close(self) -> None:
        self.predictors.close()
        self.scorers.close()
        self.loop.__exit__(None, None, None)

    def events(self, tasks: Iterator[Task], cancel: Flag) -> Iterator[Sequence[Event]]:
        more = True
        while True:
            while more and self._has_room():
                task = None if cancel.is_set() else next(tasks, None)
                if task is None:
                    more = False
                else:
                    self._begin(task)
            if not (self.predicting or self.scoring):
                return
            arrived = self._arrived()
            yield [event for item in arrived for event in self._with_ends(item)]
            for item in arrived:
                self._go_on(item)
            if self.stalled:
                raise Stalled(
                    f"{self.stalled} calls did not return by their deadline and still have not, twice the number of workers: the run was "
                    "stopped. What was finished is in the store. Look at what is called, or allow more time with row_timeout= and "
                    "scorer_timeout=."
                )
            self._abandon_overdue()

    def _has_room(self) -> bool:
        workers = self.settings.max_workers
        return len(self.predicting) < workers and len(self.scoring) < BETWEEN * workers

    def _arrived(self) -> list[Told]:
        """Whatever has happened, at once: under load one batch, and so one transaction, serves many rows."""
        arrived: list[Told] = []
        try:
            item = self.inbox.get(timeout=TICK)
            while True:
                if isinstance(item, BaseException):
                    raise item
                arrived.append(item)
                item = self.inbox.get_nowait()
        except Empty:
            return arrived

    def _with_ends(self, item: Told) -> Iterator[Event]:
        """The event itself, and the row's end where this is it."""
        yield item
        if isinstance(item, Predicted):
            del self.calls[item.key, None]
            row = self.predicting.pop(item.key)
            match item.prediction:
                case Failure(state=state):
                    yield Finished(key=item.key, state=state)
                case Reply() if not self.graders:
                    yield Finished(key=item.key, state=RowState.OK)
                case Reply() as reply:
                    self.scoring[item.key] = _in_work(row, reply, self.graders)
        elif isinstance(item, Scored):
            del self.calls[item.key, item.scorer]
            work = self.scoring[item.key]
            work.unanswered -= 1
            work.failed = work.failed or item.verdict.failure is not None
            if not work.unanswered:
                del self.scoring[item.key]
                yield Finished(key=item.key, state=RowState.JUDGE_ERROR if work.failed else RowState.OK)
        else:
            del self.scoring[item.key]

    def _go_on(self, item: Told) -> None:
        """What follows on an event that has been taken care of: the row's first scorers, or its next one."""
        work = self.scoring.get(item.key)
        if work is None:
            return
        self._ask_next(item.key, work, self._lanes() if isinstance(item, Predicted) else 1)

    def _ask_next(self, key: RowKey, work: _InWork, count: int) -> None:
        for _ in range(min(count, len(work.waiting))):
            self._ask(key, work.subject, work.waiting.popleft())

    def _begin(self, task: Task) -> None:
        if task.reply is None:
            self._predict(task.row)
            return
        missing = [grader for grader in self.graders if grader.name not in task.answered]
        work = self.scoring[task.row.key] = _in_work(task.row, task.reply, missing)
        if missing:
            self._ask_next(task.row.key, work, self._lanes())
        else:
            self.inbox.put(Finished(key=task.row.key, state=RowState.OK))

    def _predict(self, row: Row) -> None:
        self.predicting[row.key] = row

        def ask() -> Predicted:
            limit = self.settings.async_timeout
            prediction = predict(row, self.target, recorder=self.recorder, loop=self.loop, async_timeout=limit)
            return Predicted(key=row.key, prediction=prediction)

        def late(seconds: float) -> Predicted:
            return Predicted(key=row.key, prediction=unanswered_prediction(row, self.target, seconds, recorder=self.recorder))

        self._start(self.predictors, (row.key, None), ask, late, self.settings.row_timeout)

    def _ask(self, key: RowKey, subject: Subject, grader: Grader) -> None:
        limit = self.settings.scorer_timeout if grader.timeout is None else grader.timeout

        def ask() -> Scored:
            verdict, trace = ask_scorer(
                grader,
                subject,
                key=key,
                recorder=self.recorder,
                loop=self.loop,
                timeout=self.settings.async_timeout if grader.timeout is None else grader.timeout,
                keep_trace=self.settings.scorer_tracing,
            )
            return Scored(key=key, scorer=grader.name, verdict=verdict, trace=trace)

        def late(seconds: float) -> Scored:
            return Scored(key=key, scorer=grader.name, verdict=unanswered_verdict(grader, seconds))

        self._start(self.scorers, (key, grader.name), ask, late, limit)

    def _start(
        self, pool: Pool, name: tuple[RowKey, str | None], ask: Callable[[], Told], late: Callable[[float], Told], limit: float | None
    ) -> None:
        """Each call in a copy of the caller's context of its own."""
        context = contextvars.copy_context()

        def task(job: Job) -> None:
            told: Told | BaseException
            try:
                told = context.run(ask)
            except BaseException as error:  # noqa: BLE001 - a defect of our own: carried to the caller's thread, where it stops the run instead of hanging it
                told = error
            if job.claim():
                self.inbox.put(told)

        self.calls[name] = _Call(pool.submit(task), pool, limit or None, late)

    def _abandon_overdue(self) -> None:
        """Gives up the calls whose deadline has passed; what is told in their place arrives as any answer does."""
        now = self.clock()
        if now - self.looked < TICK:
            return
        self.looked = now
        for call in self.calls.values():
            began = call.job.began
            if call.limit is None or began is None or now - began < call.limit or not call.job.claim():
                continue
            call.pool.abandon(call.job)
            self.inbox.put(call.late(call.limit))
        stuck = self.predictors.stuck + self.scorers.stuck
        self.stalled = stuck if stuck >= ABANDONED * self.settings.max_workers else 0
