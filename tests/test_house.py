"""The front door: what `import evalpoint` offers, and what it costs."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import evalpoint

HEAVY = (
    "pandas",
    "numpy",
    "pydantic",
    "requests",
    "databricks",
    "opentelemetry",
    "litellm",
    "rich",
    "typer",
    "sqlite3",
    "uvicorn",
    "yaml",
    "asyncio",
)

SAME_AS_MLFLOW = {
    "evalpoint": (
        "evaluate to_predict_fn scorer Scorer set_tracking_uri get_tracking_uri set_experiment get_experiment get_experiment_by_name "
        "start_run end_run active_run get_run search_runs search_traces get_trace log_feedback log_expectation log_assessment "
        "override_feedback log_param log_params log_metric log_metrics set_tag set_tags trace start_span get_current_active_span "
        "update_current_trace"
    ),
    "evalpoint.scorers": "scorer Scorer Correctness Guidelines",
    "evalpoint.judges": "is_correct meets_guidelines",
    "evalpoint.entities": (
        "Feedback Expectation Assessment AssessmentSource AssessmentSourceType AssessmentError Trace TraceInfo TraceData TraceState "
        "Span SpanType SpanEvent SpanStatus SpanStatusCode Run RunInfo RunData RunStatus Experiment Metric"
    ),
}


def modules() -> list[str]:
    return [m.name for m in pkgutil.walk_packages(evalpoint.__path__, "evalpoint.") if m.name != "evalpoint.__main__"]


def fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_no_name_is_hidden_by_a_module() -> None:
    """After every submodule has been imported, every name in `__all__` is still what it should be."""
    for name in modules():
        importlib.import_module(name)
    for name in evalpoint.__all__:
        assert not isinstance(getattr(evalpoint, name), type(sys)), name


@pytest.mark.parametrize("module", SAME_AS_MLFLOW, ids=str)
def test_names_that_mlflow_users_know(module: str) -> None:
    """What is called so in MLflow is called so here, one level higher."""
    found = importlib.import_module(module)
    assert [name for name in SAME_AS_MLFLOW[module].split() if not hasattr(found, name)] == []


def test_all_is_what_the_type_checkers_see() -> None:
    """The lazy table and `__all__` name the same things."""
    assert sorted(evalpoint.__all__) == sorted(evalpoint._HOME_OF)
    assert set(evalpoint.__all__) <= set(dir(evalpoint))
    with pytest.raises(AttributeError, match="evaluat"):
        evalpoint.evaluat  # noqa: B018 - asking is the test


def test_importing_costs_nothing() -> None:
    """`import evalpoint` loads no heavy library, and `import evalpoint.scorers` none that only a run needs."""
    loaded = json.loads(
        fresh("import json, sys; before = set(sys.modules); import evalpoint; print(json.dumps(sorted(set(sys.modules) - before)))")
    )
    assert [name for name in loaded if name.split(".")[0] in HEAVY] == []
    loaded = json.loads(fresh("import json, sys, evalpoint.scorers; print(json.dumps(sorted(sys.modules)))"))
    assert [name for name in loaded if name in ("pandas", "numpy", "litellm", "uvicorn", "databricks.sdk")] == []


def test_every_module_says_what_it_promises() -> None:
    """A module begins with a sentence about itself."""
    assert [name for name in modules() if not (importlib.import_module(name).__doc__ or "").strip()] == []
