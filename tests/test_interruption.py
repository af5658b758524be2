"""Ctrl-C and SIGTERM in the middle of an evaluation, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evalpoint import search_runs
from evalpoint.evaluation import results_of

SCRIPT = """
import sys, time
import evalpoint

def predict(n):
    sys.stdout.write(f"row {n}\\n")  # in one piece: two threads write at once
    sys.stdout.flush()
    time.sleep(float(sys.argv[1]) if n > 5 else 0.01)
    return n

try:
    evalpoint.evaluate([{"inputs": {"n": n}} for n in range(200)], [], predict, max_workers=2, progress=False)
finally:
    print("restored", __import__("signal").getsignal(__import__("signal").SIGINT).__name__, flush=True)
"""


def interrupted(tmp_path: Path, seconds: float, *signals: signal.Signals) -> tuple[int, str, float]:
    """Runs the script, sends the signals once the sixth row is under way, and gives exit code, output, and how long it took to end."""
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "script.py", str(seconds)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("row 7"):
            break
    began = time.monotonic()
    for number in signals:
        process.send_signal(number)
        time.sleep(0.3)
    out, err = process.communicate(timeout=30)
    return process.returncode, out + err, time.monotonic() - began


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -2), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"])
def test_the_first_signal_ends_in_good_order(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """What is under way is finished and kept, the rest is cancelled, the run is KILLED, and the handlers are put back."""
    returned, output, _ = interrupted(tmp_path, 0.5, number)
    assert returned in (code, 128 + number, 1)
    assert "once more ends at once" in output
    assert "restored default_int_handler" in output
    (run,) = search_runs(output_format="list")
    assert run.info.status.value == "KILLED"
    (result,) = results_of(run.info.run_id)
    assert set(result.states) == {"ok", "cancelled"}
    assert result.states["ok"] == 8
    assert len(result) == 200


def test_calls_that_do_not_end_are_not_waited_for(tmp_path: Path) -> None:
    """After the patience everything that was finished is on disk, and the process is gone within 5 s and its interpreter's own end."""
    _, _, seconds = interrupted(tmp_path, 60, signal.SIGINT)
    assert seconds < 8
    (run,) = search_runs(output_format="list")
    (result,) = results_of(run.info.run_id)
    assert result.states == {"ok": 6, "cancelled": 194}


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """Nobody has to wait who does not want to."""
    _, _, seconds = interrupted(tmp_path, 60, signal.SIGINT, signal.SIGINT)
    assert seconds < 4
    (run,) = search_runs(output_format="list")
    assert run.info.status.value == "KILLED"
