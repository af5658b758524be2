"""The doors between rooms: shapes, no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from evalpoint.entities import (
    Assessment,
    AssessmentError,
    AssessmentSource,
    Evaluation,
    Event,
    Experiment,
    Feedback,
    Lease,
    Metric,
    Reply,
    Resumed,
    Row,
    RowKey,
    RowState,
    Run,
    RunStatus,
    Spent,
    Trace,
    Verdict,
)

__all__ = ["Clock", "Credentials", "Grader", "Recorder", "Recording", "RowRecord", "Staging", "Store", "Subject", "Task", "VerdictRecord"]

Clock = Callable[[], float]
"""Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a scorer may look at: one answered row."""

    inputs: Mapping[str, Any]
    outputs: Any
    expectations: Mapping[str, Any]
    trace: Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A row, and what of it is there already."""

    row: Row
    reply: Reply | None = None
    """The committed answer: nothing is predicted."""
    answered: frozenset[str] = frozenset()
    """The scorers whose verdicts stand."""


class Credentials(Protocol):
    """Who is calling. Asked at every request, from any thread, because tokens expire."""

    @property
    def key(self) -> str:
        """Names the identity without giving a secret away: limits are per (endpoint, key)."""
        ...

    def headers(self) -> Mapping[str, str]:
        """The headers that authenticate one request."""
        ...

    def refresh(self, rejected: Mapping[str, str]) -> None:
        """Makes fresh credentials after a 401; once for all callers whose rejected headers were the same."""
        ...


class Grader(Protocol):
    """A scorer as the engine sees it."""

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> AssessmentSource:
        """Whose verdict it is, for one that failed."""
        ...

    @property
    def timeout(self) -> float | None:
        """Seconds for one row; None for the default, 0 for no limit."""
        ...

    def ask(self, subject: Subject) -> Any:
        """The scorer's raw answer, or an awaitable of it. May raise anything."""
        ...

    def verdict(self, answer: Any) -> Verdict:
        """The answer as checked feedback.

        Raises:
            ScorerError: The answer is no score.
        """
        ...


class Recording(Protocol):
    """One call being recorded."""

    @property
    def linked(self) -> bool:
        """The call's trace lives in the experiment already."""
        ...

    def answered(self, outputs: Any) -> Trace:
        """The call has returned: its trace, with a root span made where the call emitted none."""
        ...

    def failed(self, error: BaseException) -> Trace:
        """The call has raised: its trace so far, in state ERROR."""
        ...


class Recorder(Protocol):
    """Opens a recording around a call: spans and traces that the call emits on this context go to it, and to nobody else."""

    def record(self, name: str, inputs: Mapping[str, Any], key: RowKey) -> AbstractContextManager[Recording]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRecord:
    """A row and what became of it, as the store has it."""

    row: Row
    state: RowState
    predicted: bool
    """Whether an answer has been committed; `outputs` is that answer, and None otherwise."""
    outputs: Any = None
    error: AssessmentError | None = None
    """Why there is no answer."""
    latency_ms: float | None = None
    first_token_ms: float | None = None
    """Only of a streamed answer, as the next."""
    tokens_per_second: float | None = None
    token_usage: Mapping[str, int] | None = None
    trace_id: str | None = None
    trace: Trace | None = None
    """Only where traces were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRecord:
    """What one scorer said about one row, as the store has it."""

    key: RowKey
    scorer: str
    verdict: Verdict


class Staging(Protocol):
    """The rows of the data beside those of an evaluation that is to be continued. Until `settle` nothing changes."""

    def add(self, rows: Iterable[Row]) -> int:
        """Compares rows as they come; how many there were."""
        ...

    def settle(self, evaluation: Evaluation) -> Resumed:
        """Makes the evaluation what it is now to be, in one transaction: its rows are those that were added, what is missing of them is
        pending, and its run is RUNNING."""
        ...


class Store(Protocol):
    """Where experiments, runs, rows, traces and assessments live. Every method may be called from any thread."""

    @property
    def uri(self) -> str: ...

    def close(self) -> None: ...

    # experiments and runs
    def ensure_experiment(self, name: str) -> Experiment: ...
    def experiment(self, experiment_id: str) -> Experiment: ...
    def experiments(self) -> list[Experiment]: ...
    def create_run(self, run: Run) -> None: ...
    def run(self, run_id: str) -> Run: ...
    def search_runs(
        self, experiment_ids: Sequence[str] | None, *, filter_string: str, max_results: int, order_by: Sequence[str]
    ) -> list[Run]: ...
    def end_run(self, run_id: str, status: RunStatus, end_time: int | None) -> None: ...
    def delete_run(self, run_id: str) -> None: ...
    def take_lease(self, run_id: str, *, alone: bool) -> Lease: ...
    def renew_lease(self, lease: Lease) -> None: ...
    def release_lease(self, lease: Lease) -> None: ...
    def log_params(self, run_id: str, params: Mapping[str, str]) -> None: ...
    def log_metrics(self, run_id: str, metrics: Iterable[Metric]) -> None: ...
    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None: ...

    # evaluations and their rows
    def create_evaluation(self, evaluation: Evaluation) -> Evaluation: ...
    def evaluations(self, run_id: str) -> list[Evaluation]: ...
    def last_evaluation(self, experiment_id: str, *, like: Evaluation | None = None, run_name: str | None = None) -> Evaluation | None: ...
    def add_rows(self, evaluation_id: str, rows: Iterable[Row]) -> int: ...
    def discard_evaluation(self, evaluation_id: str) -> None: ...
    def staging(self, evaluation_id: str) -> AbstractContextManager[Staging]: ...
    def pending(self, evaluation_id: str) -> Iterator[Task]: ...
    def record(self, evaluation_id: str, events: Sequence[Event], *, lease: Lease | None = None) -> None: ...
    def finish_evaluation(
        self, evaluation_id: str, *, unfinished: RowState, dataset_digest: str | None = None, summary: Mapping[str, Any] | None = None
    ) -> int: ...
    def state_counts(self, evaluation_id: str) -> Mapping[RowState, int]: ...
    def rows(self, evaluation_id: str, *, with_traces: bool = False) -> Iterator[RowRecord]: ...
    def verdicts(self, evaluation_id: str, *, brief: bool = False) -> Iterator[VerdictRecord]: ...
    def latencies(self, evaluation_id: str) -> list[float]: ...
    def first_tokens(self, evaluation_id: str) -> list[float]: ...
    def errors(self, evaluation_id: str) -> list[tuple[RowKey, str | None, AssessmentError]]: ...
    def spent(self, evaluation_id: str) -> Mapping[str, Spent]: ...

    # traces and assessments
    def save_trace(self, trace: Trace, *, experiment_id: str, run_id: str | None = None) -> None: ...
    def trace(self, trace_id: str) -> Trace | None: ...
    def search_traces(
        self,
        experiment_ids: Sequence[str] | None,
        *,
        run_id: str | None,
        filter_string: str,
        max_results: int,
        order_by: Sequence[str],
        include_spans: bool,
    ) -> list[Trace]: ...
    def add_assessment(self, trace_id: str, assessment: Assessment) -> Assessment: ...
    def override_feedback(self, trace_id: str, assessment_id: str, feedback: Feedback) -> Feedback: ...
