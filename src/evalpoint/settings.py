"""Environment + arguments -> one frozen Settings. Arguments win; the environment is read at each `evaluate`, and only there."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from evalpoint.errors import ConfigurationError

__all__ = ["Settings", "flag", "from_environment"]

logger = logging.getLogger("evalpoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an evaluation works: every limit and deadline, with its default. Times are seconds."""

    max_workers: int = 10
    """Rows predicted at a time, and rows scored at a time."""
    max_scorer_workers: int = 10
    """Scorers of one row at a time, at most the number of scorers."""
    async_timeout: float = 300.0
    """For an async predict function or scorer."""
    max_retries: int = 3
    """How often an unreachable or broken endpoint is tried again."""
    connect_timeout: float = 10.0
    attempt_timeout: float = 310.0
    """One attempt, from the request's first byte to the answer's last; the server's own limit is 297 s."""
    call_timeout: float = 600.0
    """One call with all its attempts and waits."""
    scorer_timeout: float = 300.0
    """A scorer's verdict on one row, for scorers that set no timeout of their own; then it is abandoned."""
    row_timeout: float = 1800.0
    """A row's answer, from the moment a worker begins with it; then it is abandoned."""
    scorer_tracing: bool = False
    """Keep a trace of every judge call."""
    judge_model: str | None = None
    """The judge of scorers that name none."""


def flag(text: str) -> bool:
    """`true`, `1`, `yes`, `on` and their opposites, in any case."""
    word = text.strip().lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off", ""):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


_NOT_YET = ("MLFLOW_GENAI_EVAL_PREDICT_RATE_LIMIT", "MLFLOW_GENAI_EVAL_SCORER_RATE_LIMIT")
_VARIABLES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "max_workers": ("MLFLOW_GENAI_EVAL_MAX_WORKERS", int),
    "max_scorer_workers": ("MLFLOW_GENAI_EVAL_MAX_SCORER_WORKERS", int),
    "async_timeout": ("MLFLOW_GENAI_EVAL_ASYNC_TIMEOUT", float),
    "max_retries": ("MLFLOW_GENAI_EVAL_MAX_RETRIES", int),
    "scorer_tracing": ("MLFLOW_GENAI_EVAL_ENABLE_SCORER_TRACING", flag),
    "judge_model": ("MLFLOW_GENAI_JUDGE_DEFAULT_MODEL", str),
}


def _whole(least: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def _text(value: object) -> bool:
    return isinstance(value, str)


def _truth(value: object) -> bool:
    return isinstance(value, bool)


_POSITIVE = ("async_timeout", "connect_timeout", "attempt_timeout", "call_timeout", "scorer_timeout", "row_timeout")
_RULES: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "max_workers": (_whole(1), "a whole number, 1 or more"),
    "max_scorer_workers": (_whole(1), "a whole number, 1 or more"),
    "max_retries": (_whole(0), "a whole number, 0 or more"),
    "scorer_tracing": (_truth, "True or False"),
    "judge_model": (_text, "a text such as 'endpoints:/judge'"),
    **dict.fromkeys(_POSITIVE, (_seconds, "a number of seconds, more than 0")),
}


def from_environment(environ: Mapping[str, str], **arguments: Any) -> Settings:
    """Settings from MLflow's environment variables under their own names, and from arguments; None means "not given".

    Raises:
        ConfigurationError: A value is not what it should be; all of them are named at once.
    """
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for variable in _NOT_YET:
        if environ.get(variable, "").strip().lower() not in ("", "0", "auto"):
            logger.warning("%s is not honoured by this version; max_workers bounds how much is asked at once.", variable)
    for name, (variable, convert) in _VARIABLES.items():
        text = environ.get(variable, "").strip()
        if text and arguments.get(name) is None:
            try:
                values[name] = convert(text)
            except ValueError:
                kind = "a whole number" if convert is int else "a number of seconds" if convert is float else "true or false"
                wrong.append(f"{variable}={text!r} should be {kind}")
    values.update({name: value for name, value in arguments.items() if value is not None})
    known = {field.name for field in fields(Settings)}
    wrong += [f"{name!r} is no setting" for name in values if name not in known]
    ruled = {name: value for name, value in values.items() if name in _RULES}
    wrong += [f"{name} is {value!r}; it should be {_RULES[name][1]}" for name, value in ruled.items() if not _RULES[name][0](value)]
    if wrong:
        raise ConfigurationError("; ".join(wrong))
    return Settings(**values)
