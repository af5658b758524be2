"""Experiments, runs and evaluations: where results live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = ["Evaluation", "Experiment", "Lease", "Metric", "Resumed", "Run", "RunData", "RunInfo", "RunStatus", "ScorerSpec"]


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
    interrupted: bool = False
    """Its status is RUNNING, but the process that worked on it is gone: it can be resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write to a run: one process has it, for as long as it renews it. Times are milliseconds since the epoch."""

    lease_id: str
    run_id: str
    pid: int
    host: str
    since: int
    expires: int


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

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """Equal for evaluations of the same thing: target, scorers by name, name of the data, repeats."""
        return (self.target, frozenset(scorer.name for scorer in self.scorers), self.dataset_name, self.repeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """How a resumed evaluation found its data. Counts are of rows times repeats; each row of the data is one of the first four."""

    kept: int = 0
    """Complete: nothing is asked."""
    redone: int = 0
    """There before, and predicted now: without an answer, or with other inputs or another given answer than before."""
    rescored: int = 0
    """With an answer that stays, and one or more scorers to ask."""
    added: int = 0
    """New in the data."""
    removed: int = 0
    """No longer in the data."""
    edited: int = 0
    """Of those redone: with other inputs or another given answer than before."""
    reordered: int = 0
    """Of those that were there before: at another place among each other."""
    scorers_added: tuple[str, ...] = ()
    scorers_removed: tuple[str, ...] = ()
    target_before: str | None = None
    target: str | None = None

    @property
    def target_changed(self) -> bool:
        return self.target_before != self.target

    def __str__(self) -> str:
        """All of it in one line, for people."""
        counts = [f"{count:,} {name}" for name in ("rescored", "added", "removed", "edited", "reordered") if (count := getattr(self, name))]
        said = [", ".join([f"{self.kept:,} rows kept", f"{self.redone:,} redone", *counts])]
        said += [f"scorers added: {', '.join(self.scorers_added)}"] if self.scorers_added else []
        said += [f"scorers removed: {', '.join(self.scorers_removed)}"] if self.scorers_removed else []
        if self.target_changed:
            said.append(f"the target was {self.target_before or 'an answer sheet'} and is now {self.target or 'an answer sheet'}")
        return "; ".join(said)
