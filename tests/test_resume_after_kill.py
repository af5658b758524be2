"""`kill -9` in the middle of evaluations, in processes of their own: nothing is lost, and next to nothing is asked twice."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import evalpoint
from evalpoint.evaluation import results_of
from evalpoint.mocks import MockWorkspace
from evalpoint.mocks.endpoint import MockEndpoint

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the evaluations are forked from one process, which imports only once")

ROWS, WORKERS, KILLS = 60, 2, 10

# Forks an evaluation for every line that it reads, says its process id, and with which signal or code it ended.
SERVER = f"""
import os, sys, traceback
import databricks.sdk
import evalpoint
from evalpoint.evaluation import evaluate
from evalpoint.scorers import Correctness, scorer

@scorer
def short(text):
    return len(text) < 12

def work(resume):
    data = [{{"inputs": {{"question": f"q{{n}}"}}, "expectations": {{"expected_facts": [f"{{n % 3}}"]}}}} for n in range({ROWS})]
    evaluate(
        data, [short, Correctness(model="endpoints:/judge")], evalpoint.to_predict_fn("endpoints:/bot"),
        resume=resume or None, max_workers={WORKERS}, progress=False, dataset_name="questions",
    )

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.close(1)
        try:
            work(line.strip())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Evaluations:
    """Evaluations in processes of their own, one after the other, in the working directory's store."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def run(self, resume: str = "", kill_when: Callable[[], bool] | None = None) -> int:
        """Begins one, kills it once that is so unless it has ended, and gives its exit code."""
        stdin, stdout = self._server.stdin, self._server.stdout
        assert stdin is not None
        assert stdout is not None
        print(resume, file=stdin, flush=True)
        pid = int(stdout.readline())
        while kill_when is not None and not select.select([stdout], [], [], 0.001)[0]:
            if kill_when():
                os.kill(pid, signal.SIGKILL)
                break
        return int(stdout.readline())


@pytest.fixture
def workspace() -> Iterator[MockWorkspace]:
    with MockWorkspace() as mock, mock.exported():
        yield mock


@pytest.fixture
def evaluations(tmp_path: Path, workspace: MockWorkspace) -> Iterator[Evaluations]:
    with subprocess.Popen([sys.executable, "-c", SERVER], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield Evaluations(server)
        assert server.stdin is not None
        server.stdin.close()


def questions(endpoint: MockEndpoint) -> Counter[str]:
    return Counter(str(request.body) for request in endpoint.requests)


def moment(endpoint: MockEndpoint, rng: random.Random) -> Callable[[], bool]:
    """Some calls from now, and a little later."""
    calls, earliest = endpoint.calls + rng.randrange(6), time.monotonic() + rng.uniform(0.0, 0.08)
    return lambda: endpoint.calls >= calls and time.monotonic() >= earliest


def test_ten_kills_cost_only_the_calls_in_flight(workspace: MockWorkspace, evaluations: Evaluations) -> None:
    """Whenever it is killed, `resume="auto"` goes on; in the end metrics and rows are those of an undisturbed run."""
    rng = random.Random(20)
    bot = workspace.agent("bot", answers=lambda q: f"{q} {int(q[1:]) % 4}", latency=0.02)
    judge = workspace.judge("judge", latency=0.02)
    for _ in range(KILLS):
        due = moment(bot, rng)
        assert evaluations.run("auto", due) == -signal.SIGKILL
    left = [run for run in evalpoint.search_runs(output_format="list") if run.interrupted and results_of(run.info.run_id)]
    assert len(left) == 1
    assert evaluations.run("auto") == 0
    asked, judged = questions(bot), questions(judge)
    assert len(asked) == len(judged) == ROWS
    assert asked.total() <= ROWS + KILLS * WORKERS
    assert judged.total() <= ROWS + KILLS * WORKERS * 2
    assert evalpoint.get_run(left[0].info.run_id).info.status.value == "FINISHED"
    assert evaluations.run() == 0
    runs = [run for run in evalpoint.search_runs(output_format="list") if run.info.status.value == "FINISHED"]
    undisturbed, killed = (results_of(run.info.run_id)[0] for run in runs[:2])
    assert killed.run_id == left[0].info.run_id
    assert killed.metrics == undisturbed.metrics
    assert killed.states == undisturbed.states == {"ok": ROWS}
    columns = ["row", "inputs", "short/value", "correctness/value", "correctness/rationale"]
    assert killed.result_df[columns].to_dict("records") == undisturbed.result_df[columns].to_dict("records")
    assert len(evalpoint.search_traces(run_id=killed.run_id, return_type="list", max_results=1000)) == ROWS
