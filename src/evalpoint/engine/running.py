"""Rows -> events: two pipelined pools, a bounded number of rows between them, and one generator that tells what happened."""

from __future__ import annotations

import contextvars
import functools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event as Flag

from evalpoint.engine.asking import Target, ask_scorer, predict
from evalpoint.engine.loop import AsyncLoop
from evalpoint.engine.workers import Pool
from evalpoint.entities import Event, Failure, Finished, Predicted, Reply, Row, RowKey, RowState, Scored
from evalpoint.protocols import Grader, Recorder, Subject
from evalpoint.settings import Settings

__all__ = ["run"]

TICK = 0.25
"""Seconds after which an empty batch tells the caller that nothing has happened yet."""
BETWEEN = 2
"""Times the workers: how many rows may be predicted and not yet scored."""


def run(
    rows: Iterable[Row],
    *,
    target: Target,
    graders: Sequence[Grader],
    recorder: Recorder,
    settings: Settings,
    cancel: Flag | None = None,
) -> Generator[Sequence[Event], None, None]:
    """Predicts and scores the rows, and yields what happened in batches, on the caller's thread.

    Asking for the next batch acknowledges the last: a row's scorers are asked only after the batch with its `Predicted`
    has been taken care of. An empty batch is a heartbeat. Closing the generator ends the workers. Every row that was
    taken from `rows` ends with one `Finished`, unless the generator is closed or `cancel` is set before.

    Args:
        rows: Read as they are needed, on the caller's thread.
        target: Who answers.
        graders: Who scores; none is fine.
        recorder: Opens a recording around every call.
        settings: Workers and time limits.
        cancel: Once set, no further row is begun; those in work are finished.
    """
    engine = _Engine(target=target, graders=tuple(graders), recorder=recorder, settings=settings)
    try:
        yield from engine.events(iter(rows), cancel or Flag())
    finally:
        engine.close()


@dataclass(slots=True)
class _InWork:
    """A row whose answer is being scored: the scorers not yet begun, and how many have yet to answer."""

    subject: Subject
    waiting: deque[Grader]
    unanswered: int
    failed: bool = False


@dataclass(slots=True)
class _Engine:
    target: Target
    graders: tuple[Grader, ...]
    recorder: Recorder
    settings: Settings
    inbox: SimpleQueue[Predicted | Scored | BaseException] = field(default_factory=SimpleQueue[Predicted | Scored | BaseException])
    loop: AsyncLoop = field(default_factory=AsyncLoop)
    predicting: dict[RowKey, Row] = field(default_factory=dict[RowKey, Row])
    scoring: dict[RowKey, _InWork] = field(default_factory=dict[RowKey, _InWork])
    predictors: Pool = field(init=False)
    scorers: Pool = field(init=False)

    def __post_init__(self) -> None:
        self.predictors = Pool("predict", self.settings.max_workers)
        self.scorers = Pool("score", self.settings.max_workers * self._lanes())

    def _lanes(self) -> int:
        """Scorers of one row at a time."""
        return max(1, min(self.settings.max_scorer_workers, len(self.graders)))

    def close(self) -> None:
        self.predictors.close()
        self.scorers.close()
        self.loop.__exit__(None, None, None)

    def events(self, rows: Iterator[Row], cancel: Flag) -> Iterator[Sequence[Event]]:
        more = True
        while True:
            while more and self._has_room():
                row = None if cancel.is_set() else next(rows, None)
                if row is None:
                    more = False
                else:
                    self.predicting[row.key] = row
                    self._start(self.predictors, functools.partial(self._predict, row))
            if not (self.predicting or self.scoring):
                return
            arrived = self._arrived()
            yield [event for item in arrived for event in self._with_ends(item)]
            for item in arrived:
                if isinstance(item, Predicted) and item.key in self.scoring:
                    self._score(item.key, self.scoring[item.key])

    def _has_room(self) -> bool:
        workers = self.settings.max_workers
        return len(self.predicting) < workers and len(self.scoring) < BETWEEN * workers

    def _arrived(self) -> list[Predicted | Scored]:
        """Whatever has happened, at once: under load one batch, and so one transaction, serves many rows."""
        arrived: list[Predicted | Scored] = []
        try:
            item = self.inbox.get(timeout=TICK)
            while True:
                if isinstance(item, BaseException):
                    raise item
                arrived.append(item)
                item = self.inbox.get_nowait()
        except Empty:
            return arrived

    def _with_ends(self, item: Predicted | Scored) -> Iterator[Event]:
        """The event itself, and the row's end where this is it."""
        yield item
        if isinstance(item, Predicted):
            row = self.predicting.pop(item.key)
            match item.prediction:
                case Failure(state=state):
                    yield Finished(key=item.key, state=state)
                case Reply() if not self.graders:
                    yield Finished(key=item.key, state=RowState.OK)
                case Reply(outputs=outputs, trace=trace):
                    subject = Subject(inputs=row.inputs, outputs=outputs, expectations=row.expectations, trace=trace)
                    self.scoring[item.key] = _InWork(subject, deque(self.graders), len(self.graders))
        else:
            work = self.scoring[item.key]
            work.unanswered -= 1
            work.failed = work.failed or item.verdict.failure is not None
            if not work.unanswered:
                del self.scoring[item.key]
                yield Finished(key=item.key, state=RowState.JUDGE_ERROR if work.failed else RowState.OK)

    def _score(self, key: RowKey, work: _InWork) -> None:
        for _ in range(self._lanes()):
            self._start(self.scorers, functools.partial(self._score_lane, key, work))

    def _start(self, pool: Pool, job: Callable[[], None]) -> None:
        """Each call in a copy of the caller's context of its own."""
        context = contextvars.copy_context()
        pool.submit(lambda: context.run(self._guarded, job))

    def _guarded(self, job: Callable[[], None]) -> None:
        """A defect of our own must stop the run: a row that silently never ends would hang it."""
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread and raised there
            self.inbox.put(error)

    def _predict(self, row: Row) -> None:
        prediction = predict(row, self.target, recorder=self.recorder, loop=self.loop, async_timeout=self.settings.async_timeout)
        self.inbox.put(Predicted(key=row.key, prediction=prediction))

    def _score_lane(self, key: RowKey, work: _InWork) -> None:
        """Asks the row's scorers one after the other, beside the row's other lanes."""
        while True:
            try:
                grader = work.waiting.popleft()
            except IndexError:
                return
            verdict, trace = ask_scorer(
                grader,
                work.subject,
                key=key,
                recorder=self.recorder,
                loop=self.loop,
                async_timeout=self.settings.async_timeout,
                keep_trace=self.settings.scorer_tracing,
            )
            self.inbox.put(Scored(key=key, scorer=grader.name, verdict=verdict, trace=trace))
