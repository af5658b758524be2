"""A row of the data, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from evalpoint.entities.assessment import AssessmentError, AssessmentSource, Feedback
from evalpoint.entities.trace import Trace

__all__ = [
    "Event",
    "Failure",
    "Finished",
    "Given",
    "Predicted",
    "Prediction",
    "Reply",
    "Row",
    "RowKey",
    "RowState",
    "Scored",
    "Spent",
    "Verdict",
]


class RowState(str, Enum):
    """The one state in which a row ends; it names the first missing piece."""

    OK = "ok"
    JUDGE_ERROR = "judge_error"
    TARGET_ERROR = "target_error"
    TIMEOUT = "timeout"
    SKIPPED_BUDGET = "skipped_budget"
    CANCELLED = "cancelled"
    PENDING = "pending"


class RowKey(NamedTuple):
    """Which row of the data (from 0), and which repeat of it (from 0)."""

    row: int
    repeat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What calls have cost: tokens, US dollars where a price is known, and how many calls it took."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None

    def __add__(self, other: Spent) -> Spent:
        costs = [c for c in (self.cost, other.cost) if c is not None]
        return Spent(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost=sum(costs) if costs else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An answer that came with the data: the columns `outputs`, `trace` or both. Explicit outputs win over the trace's."""

    outputs: Any
    trace: Trace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: what the target returned, the trace of how it came about, and how long the call itself took."""

    outputs: Any
    trace: Trace
    latency_ms: float | None = None
    """The call's own time, without the queue's, the retries' or the waiting's; None for an answer that came with the data."""
    adopted: bool = False
    """The trace already lives in the store, in this experiment: it is linked, not written again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """No usable answer. `state` is `target_error` or `timeout`."""

    state: RowState
    error: AssessmentError
    trace: Trace | None = None
    latency_ms: float | None = None
    """Known only where a complete answer came and was unusable."""


Prediction: TypeAlias = Reply | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the data, made plain and checked. All shape-guessing is behind it."""

    key: RowKey
    inputs: Mapping[str, Any]
    """Keyword arguments for the predict function; JSON values with string keys."""
    expectations: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    request_id: str | None = None
    given: Given | None = None
    """The answer that came with the data, so that nothing is predicted."""
    digest: str = ""
    """Of the canonical JSON of `inputs`."""
    occurrence: int = 0
    """The how-manieth among rows with equal inputs, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one scorer said about one row: scores, a choice to skip (neither feedback nor error), or an error."""

    feedback: tuple[Feedback, ...] = ()
    passed: tuple[bool | None, ...] = ()
    """Per feedback, what the scorer's `pass_if` says; None without one."""
    error: AssessmentError | None = None
    source: AssessmentSource | None = None
    """Who failed; None for the scorer as code."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is known of a failure beside the error, such as what a judge's model said."""
    spent: Spent = Spent()

    @property
    def skipped(self) -> bool:
        return not self.feedback and self.error is None

    @property
    def failure(self) -> AssessmentError | None:
        """The scorer's error, or else the first that it returned as a feedback's."""
        return self.error or next((f.error for f in self.feedback if f.error is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """The target has answered, or failed to. Committed before the row's first scorer is asked."""

    key: RowKey
    prediction: Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One scorer has given its verdict on one row."""

    key: RowKey
    scorer: str
    verdict: Verdict
    trace: Trace | None = None
    """Of the asking itself, where scorer tracing is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The row has reached its state; nothing more comes for it."""

    key: RowKey
    state: RowState


Event: TypeAlias = Predicted | Scored | Finished
