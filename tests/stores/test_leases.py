"""Leases: a run has one writer, a dead one is noticed, and a late one is stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evalpoint.entities import Evaluation, Failure, Finished, Predicted, Row, RowKey, RowState, Run, RunStatus
from evalpoint.entities.assessment import AssessmentError
from evalpoint.errors import NotFound, StoreError, UsageError
from evalpoint.stores import SqliteStore, open_store
from evalpoint.stores.leases import LASTING_MS, Process, this_process

ME = this_process()
ELSEWHERE = Process(owner="other", pid=4711, host="elsewhere", pid_space="1")


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path: Path, clock: Clock, make_run: Callable[..., Run]) -> Iterator[Callable[[Process], SqliteStore]]:
    """The same store, as different processes see it; it has a run."""
    stores: list[SqliteStore] = []

    def opened_by(process: Process) -> SqliteStore:
        stores.append(open_store(tmp_path / "e.db", clock=clock, process=lambda: process))
        return stores[-1]

    first = opened_by(ME)
    first.create_run(make_run("run-1", first.ensure_experiment("bot").experiment_id))
    yield opened_by
    for store in stores:
        store.close()


Opened = Callable[[Process], SqliteStore]


def test_a_live_lease_is_respected(opened: Opened, clock: Clock) -> None:
    """Another process is refused, and told who works on the run and since when; after the release it is not."""
    mine, theirs = opened(ME), opened(ELSEWHERE)
    lease = theirs.take_lease("run-1", alone=True)
    clock.pass_by(20)
    for alone in (True, False):
        with pytest.raises(UsageError, match=r"process 4711 on 'elsewhere', since 2027-01-15 08:00:00 UTC"):
            mine.take_lease("run-1", alone=alone)
    theirs.release_lease(lease)
    assert mine.take_lease("run-1", alone=True).pid == os.getpid()


def test_one_process_may_have_several(opened: Opened) -> None:
    """Two evaluations of one process work side by side in one run; who wants it alone is refused by its own process too."""
    mine = opened(ME)
    mine.take_lease("run-1", alone=False)
    mine.take_lease("run-1", alone=False)
    with pytest.raises(UsageError, match="one writer"):
        mine.take_lease("run-1", alone=True)


@pytest.mark.parametrize(("renewed", "refused"), [(True, True), (False, False)], ids=["renewed", "silent"])
def test_a_lease_expires_unless_it_is_renewed(opened: Opened, clock: Clock, renewed: bool, refused: bool) -> None:
    """Thirty seconds after the last word of its process the run is free."""
    mine, theirs = opened(ME), opened(ELSEWHERE)
    lease = theirs.take_lease("run-1", alone=True)
    clock.pass_by(25)
    if renewed:
        theirs.renew_lease(lease)
    assert not mine.run("run-1").interrupted
    clock.pass_by(LASTING_MS / 1000 - 25)
    assert mine.run("run-1").interrupted is not refused
    if refused:
        with pytest.raises(UsageError):
            mine.take_lease("run-1", alone=True)
    else:
        assert mine.take_lease("run-1", alone=True)


def test_a_process_that_was_silent_is_stopped_once_another_has_taken_over(
    opened: Opened, clock: Clock, make_row: Callable[..., Row]
) -> None:
    """Neither its heartbeat nor its results are taken, and nothing of a refused batch is written; unless taken over it goes on."""
    mine, theirs = opened(ME), opened(ELSEWHERE)
    lease = theirs.take_lease("run-1", alone=True)
    theirs.create_evaluation(Evaluation(evaluation_id="ev-1", run_id="run-1", number=1, created=1, scorers=()))
    theirs.add_rows("ev-1", [make_row(0), make_row(1)])

    def happened(row: int) -> list[Predicted | Finished]:
        failure = Failure(state=RowState.TIMEOUT, error=AssessmentError("T"))
        return [Predicted(key=RowKey(row), prediction=failure), Finished(key=RowKey(row), state=RowState.TIMEOUT)]

    clock.pass_by(100)
    theirs.renew_lease(lease)
    theirs.record("ev-1", happened(0), lease=lease)
    clock.pass_by(100)
    mine.take_lease("run-1", alone=True)
    with pytest.raises(StoreError, match="taken over"):
        theirs.renew_lease(lease)
    with pytest.raises(StoreError, match="taken over"):
        theirs.record("ev-1", happened(1), lease=lease)
    assert mine.state_counts("ev-1") == {RowState.TIMEOUT: 1, RowState.PENDING: 1}


def ended_pid() -> int:
    """Of a process that is no more."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the end of a process is noticed by the expiry alone")
@pytest.mark.parametrize(
    ("holder", "noticed"),
    [
        (lambda: replace(ME, owner="x", pid=ended_pid()), True),
        (lambda: replace(ME, owner="x"), True),
        (lambda: replace(ME, owner="x", pid=os.getppid()), False),
        (lambda: replace(ME, owner="x", pid=ended_pid(), pid_space="another container"), False),
        (lambda: replace(ME, owner="x", pid=ended_pid(), host="another host"), False),
    ],
    ids=["ended", "its pid is ours now", "lives", "container", "host"],
)
def test_the_end_of_a_process_is_noticed_at_once_where_it_can_be(opened: Opened, holder: Callable[[], Process], noticed: bool) -> None:
    """On the same machine nobody has to wait for the expiry; of other machines and containers a pid says nothing."""
    opened(holder()).take_lease("run-1", alone=True)
    mine = opened(ME)
    assert mine.run("run-1").interrupted is noticed
    assert [run.interrupted for run in mine.search_runs()] == [noticed]
    if noticed:
        mine.take_lease("run-1", alone=True)
        assert not mine.run("run-1").interrupted


def test_only_a_running_run_is_interrupted(opened: Opened, clock: Clock) -> None:
    """One that has its end has it, whatever was left behind; and one that nobody evaluates is not interrupted."""
    mine = opened(ME)
    assert not mine.run("run-1").interrupted
    opened(ELSEWHERE).take_lease("run-1", alone=True)
    clock.pass_by(60)
    assert mine.run("run-1").interrupted
    mine.end_run("run-1", RunStatus.FINISHED, 1)
    assert not mine.run("run-1").interrupted


def test_a_lease_is_of_a_run(opened: Opened) -> None:
    """Of one that exists, by its whole id."""
    with pytest.raises(NotFound):
        opened(ME).take_lease("run-2", alone=True)
