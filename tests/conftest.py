"""What every test may rely on: no workspace, no judge, no home of the machine's user, and a store of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

CHOOSING = ("DATABRICKS_", "MLFLOW_", "OPENAI_", "EVALPOINT_", "ARM_", "AZURE_")


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The machine's own settings play no part, and results go to this test's folder."""
    for name in list(os.environ):
        if name.startswith(CHOOSING):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "no-such-file"))
    monkeypatch.chdir(tmp_path)
    import evalpoint.destination
    import evalpoint.tracking

    monkeypatch.setattr(evalpoint.destination, "_chosen_uri", None)
    monkeypatch.setattr(evalpoint.tracking, "_chosen_experiment", None)
    yield
    for store in list(evalpoint.destination._stores.values()):
        store.close()
    evalpoint.destination._stores.clear()
