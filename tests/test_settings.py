"""From environment and arguments to settings."""

from __future__ import annotations

from typing import Any

import pytest

from evalpoint.errors import ConfigurationError
from evalpoint.settings import Settings, from_environment


def test_defaults() -> None:
    """With nothing given the documented defaults hold."""
    assert from_environment({}) == Settings()
    assert (Settings().max_workers, Settings().max_scorer_workers, Settings().async_timeout, Settings().max_retries) == (10, 10, 300.0, 3)


def test_mlflows_variables_and_arguments_over_them() -> None:
    """The variables count under MLflow's names, an argument wins, None is no argument, and an empty variable is none."""
    environment = {
        "MLFLOW_GENAI_EVAL_MAX_WORKERS": "64",
        "MLFLOW_GENAI_EVAL_MAX_SCORER_WORKERS": " 3 ",
        "MLFLOW_GENAI_EVAL_ASYNC_TIMEOUT": "12.5",
        "MLFLOW_GENAI_EVAL_MAX_RETRIES": "0",
        "MLFLOW_GENAI_EVAL_ENABLE_SCORER_TRACING": "True",
        "MLFLOW_GENAI_JUDGE_DEFAULT_MODEL": "",
    }
    assert from_environment(environment, max_workers=2, judge_model=None) == Settings(
        max_workers=2, max_scorer_workers=3, async_timeout=12.5, max_retries=0, scorer_tracing=True
    )


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({"MLFLOW_GENAI_EVAL_MAX_WORKERS": "ten"}, {}, "MLFLOW_GENAI_EVAL_MAX_WORKERS='ten' should be a whole number"),
        ({"MLFLOW_GENAI_EVAL_ASYNC_TIMEOUT": "soon"}, {}, "a number of seconds"),
        ({"MLFLOW_GENAI_EVAL_ENABLE_SCORER_TRACING": "perhaps"}, {}, "true or false"),
        ({}, {"max_workers": 0}, "max_workers is 0"),
        ({}, {"attempt_timeout": -1}, "attempt_timeout is -1"),
        ({}, {"max_retries": -1}, "max_retries is -1"),
        ({}, {"max_worker": 3}, "'max_worker' is no setting"),
        ({}, {"max_workers": "8"}, "max_workers is '8'"),
        ({}, {"max_workers": 2.5}, "max_workers is 2.5"),
        ({}, {"max_workers": True}, "max_workers is True"),
        ({}, {"attempt_timeout": float("nan")}, "attempt_timeout is nan"),
        ({}, {"judge_model": 5}, "judge_model is 5"),
    ],
    ids=["number", "seconds", "flag", "zero", "negative", "retries", "unknown", "text", "half", "bool", "nan", "model"],
)
def test_values_that_do_not_fit(environment: dict[str, str], arguments: dict[str, Any], message: str) -> None:
    """Each says what it is and what it should be."""
    with pytest.raises(ConfigurationError, match=message):
        from_environment(environment, **arguments)


def test_everything_wrong_is_told_at_once() -> None:
    """Not the first only."""
    with pytest.raises(ConfigurationError, match="MAX_WORKERS.*max_retries"):
        from_environment({"MLFLOW_GENAI_EVAL_MAX_WORKERS": "x"}, max_retries=-1)


def test_a_variable_that_is_not_honoured_yet_is_not_ignored_silently(caplog: pytest.LogCaptureFixture) -> None:
    """It is told, unless it asks for nothing."""
    from_environment({"MLFLOW_GENAI_EVAL_PREDICT_RATE_LIMIT": "auto"})
    assert caplog.text == ""
    from_environment({"MLFLOW_GENAI_EVAL_PREDICT_RATE_LIMIT": "2"})
    assert "MLFLOW_GENAI_EVAL_PREDICT_RATE_LIMIT is not honoured" in caplog.text
