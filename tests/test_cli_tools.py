"""The command line's tools: `doctor` and `mock`, with the codes that they end with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from evalpoint.cli import main
from evalpoint.mocks import MockWorkspace


@pytest.fixture
def workspace() -> Iterator[MockWorkspace]:
    with MockWorkspace() as mock, mock.exported():
        mock.judge("judge")
        yield mock


def cli(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


def test_doctor_that_finds_nothing(workspace: MockWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    """One line of versions, then one line for each check, and 0."""
    workspace.agent("bot", answers="Hello, I am a bot.")
    assert cli("doctor", "endpoints:/bot", "--judge", "endpoints:/judge", "--question", "Who are you?") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("evalpoint ")
    assert [line.split()[:2] for line in lines] == [["ok", name] for name in ("auth", "describe", "call", "trace", "judge", "tracking")]
    assert "'Hello, I am a bot.'" in lines[2]


def test_doctor_that_finds_something(workspace: MockWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    """A failed check is 1, and the line says what to do."""
    workspace.agent("bot", permission="CAN_VIEW")
    assert cli("doctor", "endpoints:/bot", "--judge", "endpoints:/judge") == 1
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.partition(" ")[0] for line in lines] == ["ok", "warn", "FAIL", "not", "ok", "ok"]
    assert "-> Ask its owner for CAN QUERY" in lines[1]


def test_doctor_that_cannot_begin(capsys: pytest.CaptureFixture[str]) -> None:
    """What names nothing is 3."""
    assert cli("doctor", "bot") == 3
    assert 'Did you mean "endpoints:/bot"?' in capsys.readouterr().err


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_mock(tmp_path: Path, end: signal.Signals) -> None:
    """It prints what a shell needs, serves until it is told to end, and ends well."""
    (tmp_path / "mock.yaml").write_text("token: a-token\nendpoints: [{name: bot, kind: chat, answers: Hello.}, {name: j, kind: judge}]")
    command = [sys.executable, "-m", "evalpoint", "mock", "mock.yaml"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(4)]
        assert lines[0] == "# A mock workspace with endpoints:/bot, endpoints:/j. Ctrl-C ends it."
        variables = dict(line.removeprefix("export ").split("=", 1) for line in lines[1:])
        assert variables["MLFLOW_GENAI_JUDGE_DEFAULT_MODEL"] == "endpoints:/j"
        reply = requests.post(
            f"{variables['DATABRICKS_HOST']}/serving-endpoints/bot/invocations",
            json={"messages": [{"role": "user", "content": "Hi"}]},
            headers={"Authorization": f"Bearer {variables['DATABRICKS_TOKEN']}"},
            timeout=10,
        )
        assert reply.json()["choices"][0]["message"]["content"] == "Hello."
        process.send_signal(end)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_mock_that_cannot_begin(tmp_path: Path, workspace: MockWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that describes nothing, and a port that is taken, are 3."""
    (tmp_path / "mock.yaml").write_text("endpoints: [{name: bot, kind: chatt}]")
    assert cli("mock", "mock.yaml") == 3
    assert "did you mean 'chat'?" in capsys.readouterr().err
    assert cli("mock", "--port", workspace.url.rpartition(":")[2]) == 3
    assert "--port" in capsys.readouterr().err


def test_help_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Help names both."""
    assert cli("--help") == 0
    out = capsys.readouterr().out
    assert "doctor" in out
    assert "mock" in out
