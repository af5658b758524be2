"""What the documentation promises is run: every Python block, every configuration file, and the options of every command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pandas as pd  # noqa: F401 - see below
import pytest
import typer.main
import yaml

import evalpoint.evaluation
import evalpoint.judges.functions
import evalpoint.mocks.recorder
import evalpoint.scorers  # noqa: F401 - a run of pytest inside this process would forget what it imports first, and then it exists twice
from evalpoint.cli import app, main
from evalpoint.mocks import MockWorkspace
from evalpoint.mocks.configured import configured_workspace

pytest_plugins = ["pytester"]

DOCS = Path(__file__).resolve().parent.parent / "docs"


def blocks(language: str) -> list[Any]:
    found: list[Any] = []
    for path in sorted(DOCS.glob("*.md")):
        for match in re.finditer(rf"^```{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE):
            line = path.read_text()[: match.start()].count("\n") + 2
            found.append(pytest.param(match[1], id=f"{path.name}:{line}"))
    return found


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockWorkspace]:
    """The workspace that the documentation speaks of."""
    with MockWorkspace() as mock, mock.exported(mock.oauth_environ):
        says = "A platform. Send it back within 30 days."
        mock.agent("bot", answers=says, served=("bot-1", "bot-2"))
        mock.chat("chat", answers=says)
        mock.app("support", answers=says)
        mock.judge("judge")
        mock.route("POST", "/answer", lambda request: {"answer": says}, auth=False)
        monkeypatch.setenv("MLFLOW_GENAI_JUDGE_DEFAULT_MODEL", "endpoints:/judge")
        yield mock


@pytest.mark.parametrize("code", blocks("python"))
def test_python(code: str, workspace: MockWorkspace, request: pytest.FixtureRequest) -> None:
    """A block runs by itself; one of tests is run by pytest, and its tests pass."""
    if "def test_" in code:
        pytester: pytest.Pytester = request.getfixturevalue("pytester")  # not for every block: it forgets what is imported under it
        pytester.makepyfile(code)
        registered = any(point.name == "evalpoint" for point in entry_points(group="pytest11"))
        loaded = () if registered else ("-p", "evalpoint.mocks.plugin")
        outcome = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", *loaded)
        outcome.assert_outcomes(passed=code.count("def test_"))
        return
    exec(compile(code.replace("http://127.0.0.1:8080", workspace.url), "<docs>", "exec"), {"__name__": "docs"})  # noqa: S102 - our own text


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml(text: str, workspace: MockWorkspace, tmp_path: Path) -> None:
    """A file for `mock` describes a workspace, and one for `run` a run."""
    (tmp_path / "file.yaml").write_text(text)
    if "endpoints" in yaml.safe_load(text):
        assert configured_workspace("file.yaml", port=0).uris
        return
    (tmp_path / "questions.jsonl").write_text('{"inputs": {"question": "?"}, "expectations": {"expected_facts": ["a platform"]}}')
    with pytest.raises(SystemExit) as left:
        main(["run", "--config", "file.yaml", "--no-progress"])
    assert left.value.code == 0


@pytest.mark.parametrize("text", blocks("sh"))
def test_commands(text: str) -> None:
    """Every command exists, with the options that are shown."""
    commands = [line for line in text.splitlines() if line.startswith("evalpoint ")]
    assert commands
    group: Any = typer.main.get_command(app)
    for line in commands:
        _, name, *arguments = shlex.split(line.partition(" > ")[0])
        command = group.commands[name]
        command.make_context(name, arguments)


def test_every_command_is_documented() -> None:
    """The page of the command line names all of them."""
    page = (DOCS / "command-line.md").read_text()
    group: Any = typer.main.get_command(app)
    assert [name for name in group.commands if f"`evalpoint {name}" not in page] == []


def test_links() -> None:
    """Pages that are pointed to are there."""
    for path in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert target.startswith("https://") or (DOCS / target).exists(), f"{path.name}: {target}"
