"""The command line: what it prints, and with which code it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import evalpoint
from evalpoint.cli import main
from evalpoint.mocks import MockWorkspace, fault
from evalpoint.stores import open_store
from evalpoint.stores.leases import this_process


@pytest.fixture
def workspace() -> Iterator[MockWorkspace]:
    with MockWorkspace() as mock, mock.exported():
        mock.agent("bot", answers=lambda q: "It is blue.")
        mock.judge("judge")
        yield mock


@pytest.fixture
def data(tmp_path: Path) -> str:
    lines = [
        json.dumps({"inputs": {"question": f"q{n}"}, "expectations": {"expected_facts": ["blue" if n else "green"]}}) for n in range(5)
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    return "data.jsonl"


def cli(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


RUN = ("run", "--endpoint", "endpoints:/bot", "--judge-model", "endpoints:/judge", "--no-progress")


@pytest.mark.parametrize(("threshold", "code", "verdict"), [(None, 0, "UNGATED"), ("0.8", 0, "PASSED"), ("0.9", 1, "FAILED")], ids=str)
def test_run(
    workspace: MockWorkspace, data: str, capsys: pytest.CaptureFixture[str], threshold: str | None, code: int, verdict: str
) -> None:
    """The verdict is the exit code, and the table says why."""
    gate = ("--threshold", f"correctness={threshold}") if threshold else ()
    assert cli(*RUN, "--data", data, "--scorer", "correctness", "--run-name", "nightly", *gate) == code
    out = capsys.readouterr().out
    assert verdict in out
    assert "correctness/mean" in out
    assert "0.80" in out


def test_run_that_knows_too_little(workspace: MockWorkspace, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Inconclusive is 2, and names what failed."""
    workspace.chat("flaky", faults=[fault.status(400, message="no luck")] * 3)
    assert (
        cli(
            "run",
            "--endpoint",
            "endpoints:/flaky",
            "--data",
            data,
            "--scorer",
            "correctness",
            "--judge-model",
            "endpoints:/judge",
            "--no-progress",
        )
        == 2
    )
    out = capsys.readouterr().out
    assert "INCONCLUSIVE" in out
    assert "no luck" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run",), "--data"),
        (("run", "--data", "nowhere.jsonl"), "nowhere.jsonl"),
        (("run", "--data", "data.jsonl", "--scorer", "corectness"), "did you mean 'correctness'"),
        (("run", "--data", "data.jsonl", "--threshold", "correctness"), "SCORER=VALUE"),
        (("run", "--data", "data.jsonl", "--output", "rows.xls"), ".parquet"),
        (("run", "--data", "data.jsonl", "--output", "folder.csv"), "is a folder"),
        (("run", "--data", "data.jsonl", "--max-workers", "many"), "max-workers"),
        (("run", "--data", "data.jsonl", "--config", "nowhere.yaml"), "nowhere.yaml"),
        (("show", "nothing", "--store", "nowhere.db"), "nowhere.db"),
        (("dance",), "dance"),
    ],
    ids=["no-data", "no-file", "no-scorer", "threshold", "output", "folder", "number", "config", "store", "command"],
)
def test_could_not_run(data: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    """Everything that keeps it from running ends with 3, and one message without a traceback."""
    Path("folder.csv").mkdir()
    assert cli(*arguments) == 3
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_config_file(workspace: MockWorkspace, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A YAML file stands for the flags, scorers may have arguments there, and flags win."""
    (tmp_path / "own.py").write_text("from evalpoint import scorer\n\n@scorer\ndef short(text):\n    return len(text) < 50\n")
    (tmp_path / "run.yaml").write_text(
        "endpoint: endpoints:/bot\ndata: data.jsonl\njudge-model: endpoints:/judge\nrun_name: from file\n"
        "scorers:\n  - correctness\n  - own.py:short\n  - tone=guidelines: Be polite.\n"
        "  - {scorer: guidelines, name: brief, guidelines: [Be brief.], model: 'endpoints:/judge'}\n"
        "thresholds: {correctness: 0.5}\n"
    )  # fmt: skip
    assert cli("run", "--config", "run.yaml", "--run-name", "from flag", "--json", "--no-progress") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["run_name"] == "from flag"
    assert set(figures["metrics"]) == {"correctness/mean", "short/mean", "tone/mean", "brief/mean"}
    assert figures["verdict"] == "passed"
    (tmp_path / "bad.yaml").write_text("endpiont: x")
    assert cli("run", "--config", "bad.yaml") == 3
    assert "endpiont" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_output(workspace: MockWorkspace, data: str, tmp_path: Path, suffix: str) -> None:
    """Every row is written, in the format that the name says."""
    import pandas as pd

    assert cli(*RUN, "--data", data, "--scorer", "correctness", "--output", f"rows.{suffix}") == 0
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "jsonl": lambda path: pd.read_json(path, lines=True)}[suffix]
    assert len(read(tmp_path / f"rows.{suffix}")) == 5


def test_csv_cells_hold_json(workspace: MockWorkspace, data: str, tmp_path: Path) -> None:
    """What is no plain text or number can be read back, by the product's own reader too."""
    assert cli(*RUN, "--data", data, "--scorer", "correctness", "--output", "rows.csv") == 0
    lines = (tmp_path / "rows.csv").read_text()
    assert '{""question"":""q0""}' in lines


@pytest.mark.parametrize(
    "code", ["def f(:", "raise RuntimeError('boom')", "import no_such_module_at_all"], ids=["syntax", "raises", "import"]
)
def test_a_scorers_file_that_cannot_be_run(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str) -> None:
    """It could not run: that is 3, and not the 1 of a failed gate."""
    (tmp_path / "bad.py").write_text(code)
    assert cli("run", "--data", data, "--scorer", "bad.py:x") == 3
    err = capsys.readouterr().err
    assert "bad.py" in err
    assert "Traceback" not in err


def test_a_reader_that_leaves_does_not_change_the_code(tmp_path: Path) -> None:
    """`evalpoint run … | head -1` ends with the verdict's code."""
    (tmp_path / "sheet.jsonl").write_text("\n".join(json.dumps({"inputs": {"q": str(n)}, "outputs": "x"}) for n in range(300)))
    (tmp_path / "own.py").write_text("from evalpoint import scorer\n\n@scorer\ndef short(text):\n    return len(text) > 50\n")
    command = f"{sys.executable} -m evalpoint run --data sheet.jsonl --scorer own.py:short --threshold short=0.5 --no-progress"
    shell = ["/bin/bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"]
    ran = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "1"
    assert "Traceback" not in ran.stderr


def test_runs_and_show(workspace: MockWorkspace, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was run can be listed and shown, by name, by id, or by its beginning, from another process too."""
    cli(*RUN, "--data", data, "--scorer", "correctness", "--run-name", "nightly")
    capsys.readouterr()
    assert cli("runs") == 0
    listed = capsys.readouterr().out
    assert "nightly" in listed
    assert "FINISHED" in listed
    assert cli("show", "nightly") == 0
    shown = capsys.readouterr().out
    assert "correctness/mean" in shown
    assert "Worst rows" in shown
    run_id = evalpoint.get_run("nightly").info.run_id
    other = subprocess.run(
        [sys.executable, "-m", "evalpoint", "show", run_id[:8]], capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert other.returncode == 0
    assert "correctness/mean" in other.stdout
    assert cli("show", "mightly") == 3
    assert "nightly" in capsys.readouterr().err


def test_answer_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an endpoint the file's own outputs are graded."""
    (tmp_path / "sheet.csv").write_text('inputs.question,outputs\n"2+2?",4\n"3+3?",6\n')
    (tmp_path / "own.py").write_text("from evalpoint import scorer\n\n@scorer\ndef short(text):\n    return len(text) < 50\n")
    assert cli("run", "--data", "sheet.csv", "--scorer", "own.py:short", "--no-progress") == 0
    assert "short/mean" in capsys.readouterr().out


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures, worst rows and the store, with no workspace configured and whatever else is in the environment."""
    os.environ["DATABRICKS_HOST"] = "https://somewhere.else"
    try:
        assert cli("demo", "--rows", "12", "--store", "demo.db") == 0
    finally:
        del os.environ["DATABRICKS_HOST"]
    out = capsys.readouterr().out
    assert "correctness/mean" in out
    assert "tone/mean" in out
    assert str(tmp_path / "demo.db") in out.replace("\n", "")
    traces = evalpoint.search_traces(return_type="list")
    assert {span.span_type for trace in traces for span in trace.data.spans} == {"AGENT", "RETRIEVER", "CHAT_MODEL"}


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Both end with 0; help names every command."""
    assert cli("--help") == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("demo", "run", "runs", "show"))
    assert cli("--version") == 0
    assert evalpoint.__version__ in capsys.readouterr().out


def test_resume(workspace: MockWorkspace, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The flag and the config file's key go on with a run; what it found is told on standard error, the figures are those of the whole."""
    arguments = (*RUN, "--data", data, "--scorer", "correctness", "--json")
    assert cli(*arguments, "--run-name", "nightly") == 0
    first = json.loads(capsys.readouterr().out)
    calls = workspace.endpoint("bot").calls
    Path("evalpoint.yaml").write_text("resume: last\n")
    for resume in (("--resume", "nightly"), ("--resume", first["run_id"][:8]), ("--config", "evalpoint.yaml")):
        assert cli(*arguments, *resume) == 0
        out, err = capsys.readouterr()
        assert json.loads(out) == first
        assert "resuming run 'nightly'" in err
        assert "5 rows kept, 0 redone" in err
    assert workspace.endpoint("bot").calls == calls
    assert cli(*arguments, "--resume", "auto") == 0
    assert json.loads(capsys.readouterr().out)["run_id"] != first["run_id"]
    assert cli(*arguments, "--resume", "weekly") == 3
    assert "'weekly' does not exist" in capsys.readouterr().err


def test_interrupted_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose process was killed is shown as such, with what to do."""
    run = evalpoint.start_run(run_name="nightly")
    dead = replace(this_process(), owner="one that had our pid before us")
    with open_store("evalpoint.db", process=lambda: dead) as store:
        store.take_lease(run.info.run_id, alone=True)
    assert cli("runs") == 0
    assert "INTERRUPTED" in capsys.readouterr().out
    assert cli("show", "nightly") == 0
    assert f"evalpoint run --resume {run.info.run_id[:8]}" in capsys.readouterr().out
    evalpoint.end_run()
    assert cli("runs") == 0
    assert "FINISHED" in capsys.readouterr().out
