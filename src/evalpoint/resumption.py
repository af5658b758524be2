"""Which run an evaluation goes on with, and the right to write to it while it does."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from evalpoint.entities import Evaluation, Lease, RowState, Run
from evalpoint.errors import UsageError
from evalpoint.protocols import Store
from evalpoint.tracking import ActiveRun, active_run, current_experiment, current_store

__all__ = ["Hold", "Resumable", "find", "say"]

logger = logging.getLogger("evalpoint")

RENEWED_EVERY = 5.0
"""Seconds."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumable:
    """A run to go on with, and the evaluation in it; None in a run that was interrupted before it had any."""

    store: Store
    run: Run
    evaluation: Evaluation | None


def find(resume: object, *, wanted: Evaluation, run_name: str | None) -> Resumable | None:
    """What `resume` names; None where a new evaluation is to be made.

    Args:
        resume: A run's id, the beginning of one, or its name; `"last"`, `"auto"`, or None.
        wanted: What is to be evaluated, for `"auto"`.
        run_name: What the caller calls the run.

    Raises:
        UsageError: There is nothing to resume, or it is another run than the active one, or it is called otherwise.
    """
    if resume is None:
        return None
    if not isinstance(resume, str) or not resume.strip():
        raise UsageError(f'resume is {resume!r}; it should be a run\'s id or name, "last" or "auto"')
    joined = active_run()
    if joined is not None:
        found = _in_active_run(joined, resume, wanted)
    elif resume in ("last", "auto"):
        found = _in_experiment(resume, wanted, run_name)
    else:
        found = _resumable(current_store(), resume)
    if found is not None and run_name is not None and run_name != found.run.info.run_name:
        raise UsageError(f"run_name is {run_name!r}, but the run to resume is called {found.run.info.run_name!r}; leave run_name out")
    return found


def _in_active_run(joined: ActiveRun, resume: str, wanted: Evaluation) -> Resumable | None:
    store, mine = joined.store, joined.info
    if resume not in ("last", "auto"):
        meant = store.run(resume).info
        if meant.run_id != mine.run_id:
            raise UsageError(
                f"resume={resume!r} is run {meant.run_name!r}, but run {mine.run_name!r} is active; end that with evalpoint.end_run()"
            )
    found = _resumable(store, mine.run_id)
    if resume == "auto":
        last = found.evaluation
        return found if last is not None and last.fingerprint == wanted.fingerprint and _unfinished(store, last) else None
    if resume == "last" and found.evaluation is None:
        raise UsageError(f"the active run {mine.run_name!r} has no evaluation to resume yet; leave resume out")
    return found


def _unfinished(store: Store, evaluation: Evaluation) -> bool:
    states = store.state_counts(evaluation.evaluation_id)
    return evaluation.summary is None or RowState.PENDING in states or RowState.CANCELLED in states


def _in_experiment(resume: str, wanted: Evaluation, run_name: str | None) -> Resumable | None:
    store, experiment = current_store(), current_experiment()
    if resume == "auto":
        evaluation = store.last_evaluation(experiment.experiment_id, like=wanted, run_name=run_name)
    else:
        evaluation = store.last_evaluation(experiment.experiment_id)
        if evaluation is None:
            raise UsageError(f"no run of experiment {experiment.name!r} has an evaluation that could be resumed; leave resume out")
    return None if evaluation is None else Resumable(store=store, run=store.run(evaluation.run_id), evaluation=evaluation)


def _resumable(store: Store, asked: str) -> Resumable:
    run = store.run(asked)
    evaluations = store.evaluations(run.info.run_id)
    return Resumable(store=store, run=run, evaluation=evaluations[-1] if evaluations else None)


class Hold:
    """The lease on a run while an evaluation works: taken once, renewed as it goes on, given back at the end of the block.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._store: Store | None = None
        self.lease: Lease | None = None
        self._renewed = 0.0

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._store is not None and self.lease is not None:
            self._store.release_lease(self.lease)

    def take(self, store: Store, run_id: str, *, alone: bool) -> None:
        """Raises: UsageError: Somebody works on the run; the message says who."""
        if self.lease is None:
            self._store, self.lease = store, store.take_lease(run_id, alone=alone)
            self._renewed = self._clock()

    def beat(self) -> None:
        """Renews the lease when it is time to. Raises: StoreError: Another process has taken over."""
        if self._clock() - self._renewed >= RENEWED_EVERY:
            self.renew()

    def renew(self) -> None:
        if self._store is not None and self.lease is not None:
            self._store.renew_lease(self.lease)
            self._renewed = self._clock()

    def beating(self, items: Iterable[T]) -> Iterator[T]:
        """The same items; the lease is renewed as they are taken."""
        for item in items:
            self.beat()
            yield item


def say(sentence: str) -> None:
    """Tells people once: by the logger where it shows such lines, else on standard error."""
    if logger.isEnabledFor(logging.INFO) and logger.hasHandlers():
        logger.info("%s", sentence)
    else:
        print(f"evalpoint: {sentence}", file=sys.stderr, flush=True)
