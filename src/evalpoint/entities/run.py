"""Experiments, runs and evaluations: where results live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = ["Evaluation", "Experiment", "Metric", "Run", "RunData", "RunInfo", "RunStatus", "ScorerSpec"]


class RunStatus(str, Enum):
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A named collection of runs and traces."""

    experiment_id: str
    name: str
    creation_time: int
    """Milliseconds since the epoch."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One measured value. `timestamp` is milliseconds since the epoch."""

    key: str
    value: float
    timestamp: int
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    run_id: str
    experiment_id: str
    run_name: str
    status: RunStatus
    start_time: int
    """Milliseconds since the epoch."""
    end_time: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of an experiment: what was tried, with what, and how it came out."""

    info: RunInfo
    data: RunData = RunData()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerSpec:
    """What of a scorer is needed to read its results without it."""

    name: str
    aggregations: tuple[str, ...] = ("mean",)
    """Names; a callable of the user's own by its `__name__`."""
    threshold: float | None = None
    has_pass_if: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One call of `evaluate` inside a run; a second call in the same run has the next number."""

    evaluation_id: str
    run_id: str
    number: int
    """From 1."""
    created: int
    """Milliseconds since the epoch."""
    scorers: tuple[ScorerSpec, ...]
    repeats: int = 1
    min_valid: float = 0.95
    target: str | None = None
    """What was evaluated: `endpoints:/chat`, a function's name, or None for an answer sheet."""
    dataset_name: str = "dataset"
    dataset_digest: str | None = None
    summary: Mapping[str, Any] | None = None
    """The final figures as plain JSON; None while it runs and after a kill."""
