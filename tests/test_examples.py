"""What is promised is run: every example, and every Python block of the README."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evalpoint.mocks import MockWorkspace

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def clean_environment(**values: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DATABRICKS_", "MLFLOW_", "OPENAI_", "EVALPOINT_"))}
    return {**kept, **values}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path: Path, tmp_path: Path) -> None:
    """It ends well and prints what its last comment says."""
    promised = path.read_text().split("# Output:\n")[1]
    expected = [line.removeprefix("# ").rstrip() for line in promised.splitlines()]
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:invalid escape sequence", str(path)],  # databricks-sdk before 0.31 has some
        cwd=tmp_path,
        env=clean_environment(HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert [line.rstrip() for line in ran.stdout.splitlines()] == expected


def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's example runs as it stands against a workspace that has such an endpoint."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    with MockWorkspace() as workspace:
        workspace.chat("chat", answers="MLflow is open source and manages the ML lifecycle.")
        workspace.judge("judge")
        environment = clean_environment(HOME=str(tmp_path), MLFLOW_GENAI_JUDGE_DEFAULT_MODEL="endpoints:/judge", **workspace.environ)
        ran = subprocess.run(
            [sys.executable, "-c", blocks[0]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
    assert ran.returncode == 0, ran.stderr
    assert "PASSED" in ran.stdout
    assert "correctness/mean" in ran.stdout


def test_readme_is_short() -> None:
    """A newcomer reads it in one go."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
