"""Evaluate deployed model-serving endpoints, above all Databricks Model Serving.

    import evalpoint
    from evalpoint.scorers import Correctness

    result = evalpoint.evaluate(
        data=[{"inputs": {"question": "What is MLflow?"}, "expectations": {"expected_facts": ["open source"]}}],
        predict_fn=evalpoint.to_predict_fn("endpoints:/chat"),
        scorers=[Correctness(threshold=0.9)],
    )
    result.check()

Names are loaded when they are first used, so that `import evalpoint` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalpoint.endpoints import to_predict_fn
    from evalpoint.entities import (
        AssessmentError,
        AssessmentSource,
        AssessmentSourceType,
        Expectation,
        Feedback,
        SpanType,
        Trace,
    )
    from evalpoint.errors import EvalpointError, GateFailed, Inconclusive
    from evalpoint.evaluation import evaluate
    from evalpoint.formats.answers import text_of
    from evalpoint.result import EvaluationResult
    from evalpoint.scorers import Scorer, scorer
    from evalpoint.tracking import (
        active_run,
        end_run,
        get_current_active_span,
        get_experiment,
        get_experiment_by_name,
        get_run,
        get_trace,
        get_tracking_uri,
        log_assessment,
        log_expectation,
        log_feedback,
        log_metric,
        log_metrics,
        log_param,
        log_params,
        override_feedback,
        search_runs,
        search_traces,
        set_experiment,
        set_tag,
        set_tags,
        set_tracking_uri,
        start_run,
        start_span,
        trace,
        update_current_trace,
    )

__version__ = "0.1.0"

_HOMES = {
    "evalpoint.endpoints": ("to_predict_fn",),
    "evalpoint.entities": (
        "AssessmentError",
        "AssessmentSource",
        "AssessmentSourceType",
        "Expectation",
        "Feedback",
        "SpanType",
        "Trace",
    ),
    "evalpoint.errors": ("EvalpointError", "GateFailed", "Inconclusive"),
    "evalpoint.evaluation": ("evaluate",),
    "evalpoint.formats.answers": ("text_of",),
    "evalpoint.result": ("EvaluationResult",),
    "evalpoint.scorers": ("Scorer", "scorer"),
    # What makes traces comes through `tracking`, which says where they go.
    "evalpoint.tracking": (
        "active_run",
        "end_run",
        "get_current_active_span",
        "get_experiment",
        "get_experiment_by_name",
        "get_run",
        "get_trace",
        "get_tracking_uri",
        "log_assessment",
        "log_expectation",
        "log_feedback",
        "log_metric",
        "log_metrics",
        "log_param",
        "log_params",
        "override_feedback",
        "search_runs",
        "search_traces",
        "set_experiment",
        "set_tag",
        "set_tags",
        "set_tracking_uri",
        "start_run",
        "start_span",
        "trace",
        "update_current_trace",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AssessmentError",
    "AssessmentSource",
    "AssessmentSourceType",
    "EvalpointError",
    "EvaluationResult",
    "Expectation",
    "Feedback",
    "GateFailed",
    "Inconclusive",
    "Scorer",
    "SpanType",
    "Trace",
    "active_run",
    "end_run",
    "evaluate",
    "get_current_active_span",
    "get_experiment",
    "get_experiment_by_name",
    "get_run",
    "get_trace",
    "get_tracking_uri",
    "log_assessment",
    "log_expectation",
    "log_feedback",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "override_feedback",
    "scorer",
    "search_runs",
    "search_traces",
    "set_experiment",
    "set_tag",
    "set_tags",
    "set_tracking_uri",
    "start_run",
    "start_span",
    "text_of",
    "to_predict_fn",
    "trace",
    "update_current_trace",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'evalpoint' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
