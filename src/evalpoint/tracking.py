"""Where results go, and what is in there: experiments, runs, traces and assessments, under the names that MLflow users know.

A run belongs to the code that started it: `with start_run()` carries it into whatever the block calls, threads of ours
included; a plain `start_run()` holds for the thread, until `end_run()`. The tracking URI and the experiment hold for the process.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from evalpoint.destination import current_store, get_tracking_uri, set_tracking_uri, stored_in
from evalpoint.entities import (
    Assessment,
    AssessmentSource,
    Expectation,
    Experiment,
    Feedback,
    Metric,
    Run,
    RunData,
    RunInfo,
    RunStatus,
    Trace,
)
from evalpoint.errors import ConfigurationError, NotFound, StoreError, UsageError
from evalpoint.frames import runs_frame, traces_frame
from evalpoint.protocols import Store
from evalpoint.tracing import (
    Gathered,
    deliver_to,
    get_current_active_span,
    start_span,
    to_trace,
    trace,
    update_current_trace,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ActiveRun",
    "active_run",
    "current_experiment",
    "current_store",
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
    "results_in",
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
]

logger = logging.getLogger("evalpoint")

DEFAULT_EXPERIMENT = "Default"
MAX_RESULTS = 100_000

_chosen_experiment: str | None = None
"""The name that `set_experiment` was given."""
_context_runs: ContextVar[tuple[ActiveRun, ...]] = ContextVar("evalpoint.runs", default=())


class _ThreadRuns(threading.local):
    """This thread's runs that were started and not ended, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[ActiveRun] = []


_thread_runs = _ThreadRuns()


# ---- experiments ---------------------------------------------------------------------------------------------------------


def set_experiment(experiment_name: str | None = None, experiment_id: str | None = None) -> Experiment:
    """Makes this the active experiment, for the process; it is created if need be.

    Args:
        experiment_name: Any text; in a workspace an absolute path such as `/Shared/support-bot`.
        experiment_id: Or the id of one that exists.
    """
    global _chosen_experiment
    if (experiment_name is None) == (experiment_id is None):
        raise UsageError("set_experiment takes either a name or an experiment_id")
    store = current_store()
    found = store.experiment(str(experiment_id)) if experiment_name is None else store.ensure_experiment(_checked_name(experiment_name))
    _chosen_experiment = found.name
    return found


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"an experiment's name is a text that is not empty, not {name!r}")
    return name


def current_experiment() -> Experiment:
    """The active experiment: what was set, else `MLFLOW_EXPERIMENT_NAME` or `MLFLOW_EXPERIMENT_ID`, else "Default"."""
    store = current_store()
    if _chosen_experiment is not None:
        return store.ensure_experiment(_chosen_experiment)
    name, by_id = os.environ.get("MLFLOW_EXPERIMENT_NAME"), os.environ.get("MLFLOW_EXPERIMENT_ID")
    if by_id and not name:
        return store.experiment(by_id)
    return store.ensure_experiment(name or DEFAULT_EXPERIMENT)


def get_experiment(experiment_id: str) -> Experiment:
    """The experiment of this id. Raises NotFound when there is none."""
    return current_store().experiment(str(experiment_id))


def get_experiment_by_name(name: str) -> Experiment | None:
    """The experiment of this name, or None."""
    return next((e for e in current_store().experiments() if e.name == name), None)


@contextmanager
def results_in(uri: str | os.PathLike[str]) -> Generator[None]:
    """Tracking of its own, for a test: results go to a fresh store, and nothing that is chosen or started inside is left afterwards."""
    global _chosen_experiment
    before, outer = _chosen_experiment, list(_thread_runs.stack)
    _chosen_experiment = None
    with stored_in(uri):
        try:
            yield
        finally:
            for run in [run for run in reversed(_thread_runs.stack) if run not in outer]:
                run.end()
            _chosen_experiment = before


# ---- runs ----------------------------------------------------------------------------------------------------------------


class ActiveRun:
    """A run in work. As a context manager it ends with the block: FINISHED, or FAILED when the block raises."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store = store
        self._run = run
        self._token: Token[tuple[ActiveRun, ...]] | None = None

    @property
    def info(self) -> RunInfo:
        return self._run.info

    @property
    def data(self) -> RunData:
        """What has been logged up to now."""
        return self._store.run(self._run.info.run_id).data

    @property
    def store(self) -> Store:
        return self._store

    def __enter__(self) -> ActiveRun:
        self._token = _context_runs.set((*_context_runs.get(), self))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
        status = RunStatus.FINISHED if error is None else RunStatus.KILLED if interrupted else RunStatus.FAILED
        self.end(status)

    def end(self, status: RunStatus = RunStatus.FINISHED) -> None:
        if self._token is not None:
            _context_runs.reset(self._token)
            self._token = None
        if self in _thread_runs.stack:
            _thread_runs.stack.remove(self)
        with contextlib.suppress(NotFound):  # a run that was taken back has no end
            self._store.end_run(self._run.info.run_id, status, _now_ms())


def start_run(
    run_id: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    *,
    nested: bool = False,
) -> ActiveRun:
    """Begins a run, or continues one; `evaluate` joins it.

    Args:
        run_id: A run to continue; by default `MLFLOW_RUN_ID`, and otherwise a new run.
        experiment_id: Where a new run goes; the active experiment by default.
        run_name: The run's name; two words and a number by default.
        tags: Written as strings.
        description: A note that people read.
        nested: Allow a run inside the active one, as its child.

    Raises:
        UsageError: A run is active already, and `nested` is not set.
        NotFound: There is no run `run_id`.
    """
    outer = active_run()
    if outer is not None and not nested:
        raise UsageError(
            f"run {outer.info.run_name!r} ({outer.info.run_id}) is active; "
            "end it with evalpoint.end_run(), or start this one with nested=True"
        )
    store = current_store()
    continued = run_id or (os.environ.get("MLFLOW_RUN_ID") if outer is None else None)
    all_tags = {str(k): str(v) for k, v in (tags or {}).items()}
    if description:
        all_tags["mlflow.note.content"] = description
    if continued:
        run = store.run(continued)
        store.end_run(run.info.run_id, RunStatus.RUNNING, None)
        store.set_tags(run.info.run_id, {**all_tags, **({"mlflow.runName": run_name} if run_name else {})})
        active = ActiveRun(store, store.run(run.info.run_id))
    else:
        if outer is not None:
            all_tags["mlflow.parentRunId"] = outer.info.run_id
        experiment = store.experiment(str(experiment_id)) if experiment_id is not None else current_experiment()
        run = _new_run(experiment.experiment_id, run_name, all_tags)
        store.create_run(run)
        active = ActiveRun(store, run)
    _thread_runs.stack.append(active)
    return active


def _new_run(experiment_id: str, run_name: str | None, tags: Mapping[str, str]) -> Run:
    name = run_name or _random_name(random.Random())  # noqa: S311 - a name, no secret
    provenance = {
        "mlflow.runName": name,
        "mlflow.user": _user(),
        "mlflow.source.name": Path(sys.argv[0] or "python").name,
        "mlflow.source.type": "NOTEBOOK" if "ipykernel" in sys.modules else "LOCAL",
    }
    info = RunInfo(run_id=uuid.uuid4().hex, experiment_id=experiment_id, run_name=name, status=RunStatus.RUNNING, start_time=_now_ms())
    return Run(info=info, data=RunData(tags={**provenance, **tags}))


_FIRST = (
    "amber", "bold", "brisk", "calm", "clever", "crisp", "eager", "fair", "gentle", "keen",
    "lively", "merry", "nimble", "quiet", "ruby", "silver", "steady", "sunny", "swift", "wise",
)  # fmt: skip
_SECOND = (
    "badger", "comet", "cricket", "falcon", "finch", "gecko", "heron", "ibis", "lark", "lynx",
    "maple", "marten", "otter", "pine", "quail", "raven", "robin", "tern", "wren", "yew",
)  # fmt: skip


def _random_name(rng: random.Random) -> str:
    return f"{rng.choice(_FIRST)}-{rng.choice(_SECOND)}-{rng.randrange(1000)}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"  # a container may have no name for its user


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def active_run() -> ActiveRun | None:
    """The innermost run that is active here, or None."""
    in_context = _context_runs.get()
    if in_context:
        return in_context[-1]
    return _thread_runs.stack[-1] if _thread_runs.stack else None


def end_run(status: str = "FINISHED") -> None:
    """Ends the active run; without one, nothing happens.

    Args:
        status: `FINISHED`, `FAILED` or `KILLED`.
    """
    if status not in ("FINISHED", "FAILED", "KILLED"):
        raise UsageError(f'status {status!r} is none of "FINISHED", "FAILED" and "KILLED"')
    run = active_run()
    if run is not None:
        run.end(RunStatus(status))


def get_run(run_id: str) -> Run:
    """The run of this id, an unambiguous beginning of one, or a unique name. Raises NotFound when there is none."""
    return current_store().run(run_id)


def _run_to_log_to() -> ActiveRun:
    return active_run() or start_run()


def log_param(key: str, value: Any) -> Any:
    """Logs one parameter to the active run; one is started if need be. A parameter is written once. Returns the value."""
    log_params({key: value})
    return value


def log_params(params: Mapping[str, Any]) -> None:
    """Logs parameters to the active run; values are written as strings.

    Raises:
        UsageError: One of them is there already with another value.
    """
    run = _run_to_log_to()
    run.store.log_params(run.info.run_id, {str(k): str(v) for k, v in params.items()})


def log_metric(key: str, value: float, step: int = 0, timestamp: int | None = None) -> None:
    """Logs one measured value to the active run; logging a key again adds to its history."""
    log_metrics({key: value}, step=step, timestamp=timestamp)


def log_metrics(metrics: Mapping[str, float], step: int = 0, timestamp: int | None = None) -> None:
    """Logs measured values to the active run. `timestamp` is milliseconds since the epoch, now by default."""
    run = _run_to_log_to()
    at = _now_ms() if timestamp is None else timestamp
    run.store.log_metrics(run.info.run_id, [Metric(key=k, value=float(v), timestamp=at, step=step) for k, v in metrics.items()])


def set_tag(key: str, value: Any) -> None:
    """Sets one tag of the active run."""
    set_tags({key: value})


def set_tags(tags: Mapping[str, Any]) -> None:
    """Sets tags of the active run; values are written as strings."""
    run = _run_to_log_to()
    run.store.set_tags(run.info.run_id, {str(k): str(v) for k, v in tags.items()})


@overload
def search_runs(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str = "",
    max_results: int = MAX_RESULTS,
    order_by: Sequence[str] | None = None,
    output_format: Literal["pandas"] = "pandas",
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
) -> pd.DataFrame: ...
@overload
def search_runs(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str = "",
    max_results: int = MAX_RESULTS,
    order_by: Sequence[str] | None = None,
    *,
    output_format: Literal["list"],
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
) -> list[Run]: ...
def search_runs(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str = "",
    max_results: int = MAX_RESULTS,
    order_by: Sequence[str] | None = None,
    output_format: str = "pandas",
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
) -> Any:
    """The runs that match, the newest first.

    Args:
        experiment_ids: Where to look; the active experiment by default.
        filter_string: `AND` of comparisons, such as ``metrics.`correctness/mean` > 0.9 AND attributes.status = 'FINISHED'``.
        max_results: At most so many.
        order_by: Such as `["metrics.m DESC"]`.
        output_format: `"pandas"` for MLflow's columns, or `"list"` of `Run`.
        search_all_experiments: Look everywhere.
        experiment_names: Where to look, by name.

    Raises:
        UsageError: The filter cannot be read; the message points at the place.
    """
    if output_format not in ("pandas", "list"):
        raise UsageError(f'output_format {output_format!r} is neither "pandas" nor "list"')
    ids = None if search_all_experiments else _experiment_ids(experiment_ids, experiment_names)
    runs = current_store().search_runs(ids, filter_string=filter_string, max_results=max_results, order_by=order_by or [])
    return runs if output_format == "list" else runs_frame(runs)


def _experiment_ids(ids: Sequence[str] | None, names: Sequence[str] | None) -> list[str]:
    if isinstance(ids, str):
        raise UsageError(f"experiment_ids is a list of ids; write [{ids!r}]")
    if ids is not None and names is not None:
        raise UsageError("give experiment_ids or experiment_names, not both")
    if names is not None:
        known = {e.name: e.experiment_id for e in current_store().experiments()}
        missing = [name for name in names if name not in known]
        if missing:
            raise NotFound(f"there is no experiment {missing[0]!r}; the store has {', '.join(map(repr, list(known)[:10])) or 'none'}")
        return [known[name] for name in names]
    return [str(i) for i in ids] if ids is not None else [current_experiment().experiment_id]


# ---- traces and assessments ----------------------------------------------------------------------------------------------


def get_trace(trace_id: str) -> Trace | None:
    """The trace of this id with its spans and assessments, or None."""
    return current_store().trace(trace_id)


def search_traces(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str | None = None,
    max_results: int | None = None,
    order_by: Sequence[str] | None = None,
    run_id: str | None = None,
    return_type: str = "pandas",
    include_spans: bool = True,
    locations: Sequence[str] | None = None,
) -> Any:
    """The traces that match, the newest first.

    Args:
        experiment_ids: Where to look; the active experiment by default. `locations` is the same.
        filter_string: `AND` of comparisons, such as `status = 'OK' AND tags.topic = 'returns'`.
        max_results: At most so many; 100 by default.
        order_by: Such as `["timestamp_ms DESC"]`.
        run_id: Only the traces of this run.
        return_type: `"pandas"` for MLflow's columns, or `"list"` of `Trace`.
        include_spans: Without them a search over many traces is faster.
    """
    if return_type not in ("pandas", "list"):
        raise UsageError(f'return_type {return_type!r} is neither "pandas" nor "list"')
    store = current_store()
    within = experiment_ids if experiment_ids is not None else locations
    ids = None if run_id is not None and within is None else _experiment_ids(within, None)
    traces = store.search_traces(
        ids,
        run_id=store.run(run_id).info.run_id if run_id is not None else None,
        filter_string=filter_string or "",
        max_results=100 if max_results is None else max_results,
        order_by=order_by or [],
        include_spans=include_spans,
    )
    return traces if return_type == "list" else traces_frame(traces)


def log_assessment(trace_id: str, assessment: Assessment) -> Assessment:
    """Adds feedback or an expectation to a trace, and returns it with its id. Raises NotFound when there is no such trace."""
    if not isinstance(assessment, (Feedback, Expectation)):
        raise UsageError(f"an assessment is a Feedback or an Expectation, not {type(assessment).__name__}")
    return current_store().add_assessment(trace_id, assessment)


def log_feedback(
    *,
    trace_id: str,
    name: str = "feedback",
    value: Any = None,
    source: AssessmentSource | None = None,
    error: Any = None,
    rationale: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    span_id: str | None = None,
) -> Assessment:
    """Adds a judgement to a trace; see `Feedback` for the arguments. Raises NotFound when there is no such trace."""
    feedback = Feedback(
        name=name, value=value, error=error, source=source, trace_id=trace_id, metadata=metadata, span_id=span_id, rationale=rationale
    )
    return log_assessment(trace_id, feedback)


def log_expectation(
    *,
    trace_id: str,
    name: str,
    value: Any,
    source: AssessmentSource | None = None,
    metadata: Mapping[str, Any] | None = None,
    span_id: str | None = None,
) -> Assessment:
    """Adds what a good answer has to a trace; see `Expectation` for the arguments. Raises NotFound when there is no such trace."""
    expectation = Expectation(name=name, value=value, source=source, trace_id=trace_id, metadata=metadata, span_id=span_id)
    return log_assessment(trace_id, expectation)


def override_feedback(
    *,
    trace_id: str,
    assessment_id: str,
    value: Any,
    rationale: str | None = None,
    source: AssessmentSource | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Feedback:
    """Replaces a judgement, for instance a judge's by a person's. The old one is kept, and no longer valid.

    Raises:
        NotFound: There is no such trace, or no such feedback on it.
    """
    replacement = Feedback(
        value=value, rationale=rationale, source=source or AssessmentSource("HUMAN", _user()), metadata=metadata, overrides=assessment_id
    )
    return current_store().override_feedback(trace_id, assessment_id, replacement)


def _keep(gathered: Gathered) -> None:
    """A trace made outside of any evaluation goes to the active store; the traced function never fails because of it."""
    try:
        run = active_run()
        store = run.store if run else current_store()
        experiment_id = run.info.experiment_id if run else current_experiment().experiment_id
        metadata = {"mlflow.sourceRun": run.info.run_id} if run else {}
        made = to_trace(gathered, experiment_id=experiment_id, metadata=metadata)
        store.save_trace(made, experiment_id=experiment_id, run_id=run.info.run_id if run else None)
    except (StoreError, ConfigurationError, NotFound) as error:
        logger.warning("A trace could not be kept: %s", error)


deliver_to(_keep)
