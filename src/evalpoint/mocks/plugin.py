"""Fixtures for the tests of an agent's repository: `mock_workspace` and `mock_judge`. pytest loads them from the installed package.

    def test_support_bot(mock_workspace, mock_judge):
        mock_workspace.agent("bot", answers="Please send it back within 30 days.")
        mock_judge.says("no", when={"answer": "30 days"})
        result = my_evaluation("endpoints:/bot")
        assert result.verdict == "failed"

pytest imports this module wherever evalpoint is installed, so everything else is imported when a fixture is used.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from evalpoint.mocks.judge_door import JudgeDoor
    from evalpoint.mocks.workspace import MockWorkspace

__all__ = ["mock_judge", "mock_workspace"]

JUDGE = "judge"
CHOOSING = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID", "MLFLOW_GENAI_JUDGE_DEFAULT_MODEL")
"""Variables that would send results or judges elsewhere."""
_WORKSPACE = pytest.StashKey["MockWorkspace"]()
_SHOWN = pytest.StashKey[list[Exception]]()


@pytest.fixture
def mock_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[MockWorkspace]:
    """A mock workspace that runs, and that everything in this test finds by itself: evalpoint, the databricks-sdk, your agent.

    Add endpoints to it. Results go to a store in `tmp_path`. What a function given as `answers` raises fails the test.
    """
    from evalpoint.mocks.workspace import MockWorkspace
    from evalpoint.tracking import results_in

    for name in CHOOSING:
        monkeypatch.delenv(name, raising=False)
    _bypass_proxies(monkeypatch)
    workspace = MockWorkspace().start()
    request.node.stash[_WORKSPACE] = workspace
    shown: list[Exception] = []
    request.node.stash[_SHOWN] = shown
    try:
        with results_in(tmp_path / "evalpoint.db"), workspace.exported():
            yield workspace
    finally:
        _stop(workspace, shown)


@pytest.fixture
def mock_judge(mock_workspace: MockWorkspace, monkeypatch: pytest.MonkeyPatch) -> JudgeDoor:
    """The judge of every scorer that names no model: `endpoints:/judge` of the mock workspace.

    It goes by the rules that the test gives it, the latest first; without one it looks for the expected facts in the answer, and
    for rude words where it is given guidelines.
    """
    from evalpoint.mocks.judge_door import JudgeDoor

    door = JudgeDoor(mock_workspace, JUDGE)
    monkeypatch.setenv("MLFLOW_GENAI_JUDGE_DEFAULT_MODEL", door.model)
    return door


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """A test whose mock could not answer has not shown what it set out to: it fails, or says so where it has failed already."""
    outcome = yield
    workspace = item.stash.get(_WORKSPACE, None)
    if workspace is None:
        return
    errors = workspace.errors
    if not errors:
        return
    if outcome.excinfo is None and hasattr(outcome, "force_exception"):  # pluggy before 1.1 lacks it: the fixture's end raises then
        outcome.force_exception(errors[0])
    elif outcome.excinfo is not None:
        times = f"{len(errors)} calls, the first of them" if len(errors) > 1 else "a call"
        text = "".join(traceback.format_exception(type(errors[0]), errors[0], errors[0].__traceback__))
        item.add_report_section("call", "mock workspace", f"The mock workspace could not answer {times} because:\n{text}")
    else:
        return
    item.stash[_SHOWN].extend(errors)


def _stop(workspace: MockWorkspace, shown: list[Exception]) -> None:
    """Stops the workspace, and raises what its answers have raised unless the test has shown it."""
    try:
        workspace.stop()
    except Exception as error:  # whatever the user's own function has raised
        if not any(error is one for one in shown):
            raise


def _bypass_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment would be asked for 127.0.0.1 as well."""
    for name in ("NO_PROXY", "no_proxy"):
        before = os.environ.get(name, "")
        monkeypatch.setenv(name, ",".join(filter(None, (before, "127.0.0.1", "localhost"))))
