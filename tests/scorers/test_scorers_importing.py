"""Importing the scorers is cheap: no HTTP, no workspace, no tracing, no data frames, no models."""

from __future__ import annotations

import subprocess
import sys

import evalpoint.judges as judges

HEAVY = ("databricks", "litellm", "numpy", "opentelemetry", "pandas", "requests", "tenacity", "uvicorn")


def test_nothing_heavy() -> None:
    """A fresh process that imports the scorers and declares some has loaded no heavy library."""
    program = (
        "import sys, evalpoint.scorers as s, evalpoint.judges\n"
        "s.Correctness(model='endpoints:/x'); s.Guidelines(guidelines='x')\n"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_lazy_door() -> None:
    """Every public name of the judges can be had, and no other."""
    assert all(callable(getattr(judges, name)) or name in ("JudgeModel", "Message") for name in judges.__all__)
    assert not hasattr(judges, "is_korrect")
