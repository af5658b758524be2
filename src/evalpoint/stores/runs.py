"""The file of a store as a whole, and its upper half: experiments, runs, and who may write to them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from evalpoint.entities import Experiment, Lease, Metric, Run, RunStatus
from evalpoint.formats import new_assessment_id
from evalpoint.protocols import Clock
from evalpoint.stores import assessments, experiments, leases
from evalpoint.stores.connections import Connections
from evalpoint.stores.filters import Search

__all__ = ["Runs", "StoreFile"]

Own = TypeVar("Own", bound="StoreFile")


class StoreFile:
    """A file, the connections to it, and what its writers need: time, ids, and who they are."""

    def __init__(
        self,
        connections: Connections,
        *,
        clock: Clock = time.time,
        new_id: Callable[[], str] = new_assessment_id,
        process: Callable[[], leases.Process] = leases.this_process,
    ) -> None:
        self._process = process
        self._connections = connections
        self._clock = clock
        self._new_id = new_id

    @property
    def uri(self) -> str:
        return f"sqlite:///{self._connections.path}"

    @property
    def path(self) -> Path:
        return self._connections.path

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._connections.close()

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._connections.reading()

    def writing(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._connections.writing()

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def stamp(self) -> assessments.Stamp:
        return assessments.Stamp(now_ms=self._now_ms(), new_id=self._new_id)


class Runs(StoreFile):
    """Experiments and runs in a file."""

    def ensure_experiment(self, name: str) -> Experiment:
        """The experiment of this name, made when there is none."""
        with self.writing() as connection:
            return experiments.ensure_experiment(connection, name, self._now_ms())

    def experiment(self, experiment_id: str) -> Experiment:
        """Raises: NotFound: There is none of this id; the message names the nearest."""
        with self.reading() as connection:
            return experiments.find_experiment(connection, experiment_id, self.uri)

    def experiments(self) -> list[Experiment]:
        """All of them, in order of creation."""
        with self.reading() as connection:
            return experiments.list_experiments(connection)

    def create_run(self, run: Run) -> None:
        """Raises: NotFound: Its experiment does not exist. UsageError: A run of this id does."""
        with self.writing() as connection:
            experiments.create_run(connection, run, self.uri)

    def run(self, run_id: str) -> Run:
        """The run of this id, of an id that begins so (from four characters on), or of this name, when only one fits.

        Raises:
            NotFound: None fits, or several do; the message names the nearest.
        """
        with self.reading() as connection:
            return self._marked(connection, [experiments.find_run(connection, run_id, self.uri)])[0]

    def _marked(self, connection: sqlite3.Connection, runs: Sequence[Run]) -> list[Run]:
        """The runs, with those marked that a process left behind when it was killed."""
        running = [run.info.run_id for run in runs if run.info.status is RunStatus.RUNNING]
        left: set[str] = set()
        for start in range(0, len(running), 500):
            left |= leases.interrupted(connection, running[start : start + 500], self._process(), self._now_ms())
        return [replace(run, interrupted=True) if run.info.run_id in left else run for run in runs]

    def search_runs(
        self, experiment_ids: Sequence[str] | None = None, *, filter_string: str = "", max_results: int = 1000, order_by: Sequence[str] = ()
    ) -> list[Run]:
        """Runs of these experiments, or of all; the latest first unless ordered otherwise."""
        search = Search(experiment_ids=experiment_ids, filter_string=filter_string, max_results=max_results, order_by=order_by)
        with self.reading() as connection:
            return self._marked(connection, experiments.search_runs(connection, search))

    def end_run(self, run_id: str, status: RunStatus, end_time: int | None) -> None:
        with self.writing() as connection:
            experiments.end_run(connection, run_id, status, end_time, self.uri)

    def delete_run(self, run_id: str) -> None:
        """Removes a run with its evaluations, rows, metrics, parameters and tags; traces stay."""
        with self.writing() as connection:
            experiments.delete_run(connection, run_id)

    def take_lease(self, run_id: str, *, alone: bool) -> Lease:
        """The right to write to the run, for 30 s unless it is renewed; another process's that has ended is cleared away.

        Args:
            run_id: The run's whole id.
            alone: Nobody else may hold one, not even this process.

        Raises:
            UsageError: The run is being worked on; the message says by whom and since when.
        """
        with self.writing() as connection:
            experiments.require_run(connection, run_id, self.uri)
            return leases.take_lease(connection, run_id, self._process(), self._now_ms(), alone=alone)

    def held(self, connection: sqlite3.Connection, run_id: str) -> bool:
        """Whether anybody works on the run."""
        return leases.held(connection, run_id, self._process(), self._now_ms())

    def renew_lease(self, lease: Lease) -> None:
        """Raises: StoreError: Another process has taken over."""
        with self.writing() as connection:
            leases.renew_lease(connection, lease, self._now_ms())

    def release_lease(self, lease: Lease) -> None:
        with self.writing() as connection:
            leases.release_lease(connection, lease)

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Raises: UsageError: One is there already with another value; then none is written."""
        with self.writing() as connection:
            experiments.log_params(connection, run_id, params, self.uri)

    def log_metrics(self, run_id: str, metrics: Iterable[Metric]) -> None:
        """Adds to the metrics' histories."""
        given = list(metrics)
        with self.writing() as connection:
            experiments.log_metrics(connection, run_id, given, self.uri)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        with self.writing() as connection:
            experiments.set_tags(connection, run_id, tags, self.uri)
