"""`evaluate`: wires the rooms together. Rows are read and checked, predicted, scored, kept and summed up; every decision is a room's."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from threading import Event as Flag
from typing import Any

from evalpoint import calls, engine
from evalpoint.datasets import RunningDigest
from evalpoint.endpoints import EndpointFunction
from evalpoint.entities import Evaluation, Metric, Resumed, RowState
from evalpoint.errors import DataError, StoreError, UsageError
from evalpoint.intake import Intake
from evalpoint.interruption import Interruption
from evalpoint.progress import Counts, display
from evalpoint.protocols import Grader, Store
from evalpoint.result import EvaluationResult, run_metrics
from evalpoint.resumption import Hold, Resumable, find, say
from evalpoint.scorers import Scorer, check_scorers
from evalpoint.settings import Settings, from_environment
from evalpoint.summary import Summary, summarise
from evalpoint.tracing import Recorder, activate
from evalpoint.tracking import ActiveRun, active_run, current_store, start_run

__all__ = ["evaluate", "results_of"]

PROGRESS_INTERVAL = 0.1
"""Seconds between two updates of the display."""


def evaluate(
    data: object,
    scorers: Sequence[Scorer],
    predict_fn: Callable[..., Any] | None = None,
    model_id: str | None = None,
    *,
    run_name: str | None = None,
    resume: str | None = None,
    repeats: int = 1,
    min_valid: float = 0.95,
    progress: bool | None = None,
    cancel: Flag | None = None,
    dataset_name: str | None = None,
    tags: Mapping[str, Any] | None = None,
    max_workers: int | None = None,
    max_scorer_workers: int | None = None,
    async_timeout: float | None = None,
    max_retries: int | None = None,
    connect_timeout: float | None = None,
    attempt_timeout: float | None = None,
    call_timeout: float | None = None,
    scorer_timeout: float | None = None,
    row_timeout: float | None = None,
    scorer_tracing: bool | None = None,
    judge_model: str | None = None,
) -> EvaluationResult:
    """Evaluates a predict function, or answers that the data brings, and keeps everything in the store.

    Every row of the data ends in exactly one state, and `len(result)` is rows times repeats, whatever fails. A failed
    prediction is not scored; it is counted. The rows are checked before anything is spent.

    Args:
        data: Rows with `inputs` and, where nothing is to be predicted, `outputs` or `trace`; optionally `expectations`, `tags` and
            `request_id`. A list of dicts, a DataFrame, an iterator of dicts, a path to JSONL, JSON, CSV or Parquet, or a list of traces.
        scorers: Who grades; may be empty.
        predict_fn: Called once per row and repeat with the row's inputs as keyword arguments; sync or async. See `to_predict_fn`.
        model_id: The model that the traces belong to, noted on them.
        run_name: Of the run that is started; not with a run that is active already.
        resume: The run to go on with, by its id, the beginning of that, or its name; `"last"` for the newest of the active experiment
            that has an evaluation; `"auto"` for the newest that was not finished and had the same target, scorers, repeats and name of
            the data, or else a new one. Its last evaluation is continued: answers and verdicts that are there are not asked for
            again. The data may have changed since; `result.resumed` says what was found.
        repeats: How often each row is predicted and scored.
        min_valid: Below this share of rows with a value the result is inconclusive.
        progress: False for none; otherwise a bar in a terminal, a line every 30 s elsewhere.
        cancel: An event; once set, no further row is begun, and the rest ends as `cancelled`.
        dataset_name: How the data is called in the run.
        tags: For the run.
        max_workers: Rows at a time; `MLFLOW_GENAI_EVAL_MAX_WORKERS`, 10.
        max_scorer_workers: Scorers of one row at a time; `MLFLOW_GENAI_EVAL_MAX_SCORER_WORKERS`, 10.
        async_timeout: Seconds for an async function; `MLFLOW_GENAI_EVAL_ASYNC_TIMEOUT`, 300.
        max_retries: Of a call that failed and may be tried again; `MLFLOW_GENAI_EVAL_MAX_RETRIES`, 3.
        connect_timeout: Seconds until a connection stands; 10.
        attempt_timeout: Seconds for one attempt of a call; 310.
        call_timeout: Seconds for a call with all its attempts; 600.
        scorer_timeout: Seconds for a scorer's verdict on one row, where the scorer sets none; 300. Then it is abandoned.
        row_timeout: Seconds for a row's answer; 1800. Then it is abandoned, and the row ends as `timeout`.
        scorer_tracing: Keep a trace of every scorer's asking; `MLFLOW_GENAI_EVAL_ENABLE_SCORER_TRACING`, false.
        judge_model: The judge of scorers that name none; `MLFLOW_GENAI_JUDGE_DEFAULT_MODEL`.

    Raises:
        UsageError: An argument, a setting or a scorer does not fit; its kind `DataError` lists the rows that cannot be evaluated.
            Nothing has been spent.
    """
    settings = from_environment(
        os.environ,
        max_workers=max_workers, max_scorer_workers=max_scorer_workers, async_timeout=async_timeout, max_retries=max_retries,
        connect_timeout=connect_timeout, attempt_timeout=attempt_timeout, call_timeout=call_timeout,
        scorer_timeout=scorer_timeout, row_timeout=row_timeout,
        scorer_tracing=scorer_tracing, judge_model=judge_model,
    )  # fmt: skip
    _check_arguments(predict_fn, repeats=repeats, min_valid=min_valid)
    _check_labels(run_name=run_name, dataset_name=dataset_name, tags=tags, cancel=cancel)
    activate(os.environ)
    with calls.bind(settings):
        checked = check_scorers(scorers)
        graders = [scorer.prepare(settings) for scorer in checked]
        plan = _Plan(
            data=data,
            scorers=checked,
            graders=graders,
            predict_fn=predict_fn,
            model_id=model_id,
            repeats=repeats,
            min_valid=min_valid,
            dataset_name=dataset_name or _name_of_data(data),
            settings=settings,
        )
        found = find(resume, wanted=plan.evaluation(), run_name=run_name)
        all_tags = {**_run_tags(predict_fn, model_id), **{k: str(v) for k, v in (tags or {}).items()}}
        with _begun(plan, found, lambda: _run(run_name, all_tags, found.run.info.run_id if found else None)) as evaluating:
            return evaluating.result(progress=progress, cancel=cancel)


def _check_arguments(predict_fn: object, *, repeats: object, min_valid: object) -> None:
    if isinstance(predict_fn, str):
        raise UsageError(
            f"predict_fn is the text {predict_fn!r}; make a function of it: predict_fn=evalpoint.to_predict_fn({predict_fn!r})"
        )
    if predict_fn is not None and not callable(predict_fn):
        raise UsageError(f"predict_fn should be a function of keyword arguments, not {type(predict_fn).__name__}")
    if not isinstance(repeats, int) or isinstance(repeats, bool) or repeats < 1:
        raise UsageError(f"repeats is {repeats!r}; it should be a whole number, 1 or more")
    if not isinstance(min_valid, (int, float)) or isinstance(min_valid, bool) or not 0 <= min_valid <= 1:
        raise UsageError(f"min_valid is {min_valid!r}; it should be a share between 0 and 1")


def _check_labels(*, run_name: object, dataset_name: object, tags: object, cancel: object) -> None:
    for name, value in (("run_name", run_name), ("dataset_name", dataset_name)):
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise UsageError(f"{name} is {value!r}; it should be a text")
    if tags is not None and not isinstance(tags, Mapping):
        raise UsageError(f"tags should be a dict, not {type(tags).__name__}")
    if cancel is not None and not isinstance(cancel, Flag):
        raise UsageError(f"cancel should be a threading.Event, not {type(cancel).__name__}")


def _name_of_data(data: object) -> str:
    return os.path.basename(os.fspath(data)) if isinstance(data, (str, os.PathLike)) else "dataset"


def _name_of_target(predict_fn: Callable[..., Any]) -> str:
    return predict_fn.uri if isinstance(predict_fn, EndpointFunction) else str(getattr(predict_fn, "__name__", type(predict_fn).__name__))


def _run_tags(predict_fn: Callable[..., Any] | None, model_id: str | None) -> dict[str, str]:
    tags = {"mlflow.runType": "genai_evaluate", "mlflow.run.isEval": "true"}
    if predict_fn is not None:
        kind = "uri" if isinstance(predict_fn, EndpointFunction) else "function"
        tags[f"mlflow.genaiEvaluate.agent.{kind}"] = _name_of_target(predict_fn)
    if model_id is not None:
        tags["mlflow.modelId"] = str(model_id)
    return tags


@contextlib.contextmanager
def _run(run_name: str | None, tags: Mapping[str, str], continued: str | None) -> Generator[ActiveRun]:
    """The active run, joined, or one of our own that ends with the block: the one to be continued, or a new one."""
    joined = active_run()
    if joined is None:
        with start_run(run_id=continued, run_name=run_name, tags=tags) as run:
            try:
                yield run
            except DataError:
                if continued is None:
                    run.store.delete_run(run.info.run_id)  # nothing was run: a run that shows nothing would only be in the way
                raise
        return
    if run_name is not None and run_name != joined.info.run_name:
        raise UsageError(f"run_name={run_name!r}, but run {joined.info.run_name!r} is active and is joined; name it where it is started")
    joined.store.set_tags(joined.info.run_id, tags)
    yield joined


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What `evaluate` was asked to do, checked as far as it can be without reading the data."""

    data: object
    scorers: Sequence[Scorer]
    graders: Sequence[Grader]
    """The same, ready to be asked: with their models found and checked."""
    predict_fn: Callable[..., Any] | None
    model_id: str | None
    repeats: int
    min_valid: float
    dataset_name: str
    settings: Settings

    def evaluation(self) -> Evaluation:
        """The evaluation as it is to be, in a run still to be named."""
        return Evaluation(
            evaluation_id=uuid.uuid4().hex,
            run_id="",
            number=0,
            created=time.time_ns() // 1_000_000,
            scorers=tuple(scorer.spec() for scorer in self.scorers),
            repeats=self.repeats,
            min_valid=self.min_valid,
            target=None if self.predict_fn is None else _name_of_target(self.predict_fn),
            dataset_name=self.dataset_name,
        )


@contextlib.contextmanager
def _begun(plan: _Plan, found: Resumable | None, open_run: Callable[[], AbstractContextManager[ActiveRun]]) -> Generator[_Evaluating]:
    """An evaluation whose rows are read, checked and in the store: a new one, or the one found, with what is missing pending.

    Until the data has been checked a run that is resumed stays as it is. The lease is given back after the run has ended.
    """
    intake = Intake(data=plan.data, predict_fn=plan.predict_fn, repeats=plan.repeats, scorers=plan.scorers)
    wanted = plan.evaluation()
    with contextlib.ExitStack() as stack:
        hold = stack.enter_context(Hold())
        if found is not None:
            hold.take(found.store, found.run.info.run_id, alone=True)
        if found is None or found.evaluation is None:
            run = stack.enter_context(open_run())
            hold.take(run.store, run.info.run_id, alone=False)
            evaluation = run.store.create_evaluation(replace(wanted, run_id=run.info.run_id))
            total, resumed = _kept(run.store, evaluation, intake, hold), None
        else:
            old = found.evaluation
            evaluation = replace(wanted, evaluation_id=old.evaluation_id, run_id=old.run_id, number=old.number, created=old.created)
            staging = stack.enter_context(found.store.staging(old.evaluation_id))
            staging.add(hold.beating(intake.rows()))
            intake.check()
            run = stack.enter_context(open_run())
            resumed = staging.settle(evaluation)
            total = resumed.redone + resumed.rescored + resumed.added
            say(f"resuming run {run.info.run_name!r} ({run.info.run_id[:8]}): {resumed}")
        yield _Evaluating(plan=plan, run=run, hold=hold, evaluation=evaluation, total=total, digest=intake.digest, resumed=resumed)


def _kept(store: Store, evaluation: Evaluation, intake: Intake, hold: Hold) -> int:
    """Reads and checks all rows, and writes them as pending; how many there are."""
    try:
        total = store.add_rows(evaluation.evaluation_id, hold.beating(intake.rows()))
        intake.check()
    except BaseException:
        store.discard_evaluation(evaluation.evaluation_id)
        raise
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluating:
    """One evaluation in work."""

    plan: _Plan
    run: ActiveRun
    hold: Hold
    evaluation: Evaluation
    total: int
    """Rows that have something to be done."""
    digest: RunningDigest
    resumed: Resumed | None

    @property
    def store(self) -> Store:
        return self.run.store

    def result(self, *, progress: bool | None, cancel: Flag | None) -> EvaluationResult:
        try:
            self._work(progress=progress, cancel=cancel)
        except StoreError:
            raise  # what cannot be written cannot be summed up either
        except BaseException as error:
            self._finish(RowState.PENDING if isinstance(error, Exception) else RowState.CANCELLED)
            raise
        summary = self._finish(RowState.CANCELLED)
        return EvaluationResult(self.store, self.run.info, self.evaluation, summary, self.resumed)

    def _target(self, recorder: Recorder) -> engine.Target:
        predict_fn = self.plan.predict_fn
        if predict_fn is None:
            return engine.Sheet(reply=recorder.given)
        return engine.Live(name=str(getattr(predict_fn, "__name__", "predict")), call=predict_fn)

    def _recorder(self) -> Recorder:
        info = self.run.info
        metadata = {"mlflow.sourceRun": info.run_id}
        if self.plan.model_id is not None:
            metadata["mlflow.modelId"] = str(self.plan.model_id)
        return Recorder(
            experiment_id=info.experiment_id,
            run_id=info.run_id,
            metadata=metadata,
            tags={"evalpoint.run": info.run_id},
            lives_here=lambda trace_id: _lives_in(self.store, trace_id, info.experiment_id),
        )

    def _work(self, *, progress: bool | None, cancel: Flag | None) -> None:
        recorder = self._recorder()
        counts = Counts(self.total)
        stop = cancel or Flag()
        happening = engine.run(
            self.store.pending(self.evaluation.evaluation_id),
            target=self._target(recorder),
            graders=self.plan.graders,
            recorder=recorder,
            settings=self.plan.settings,
            cancel=stop,
        )
        shown = 0.0
        with contextlib.closing(happening), display(progress) as screen, Interruption(stop) as interruption:
            for events in happening:
                self.hold.beat()
                if events:
                    self.store.record(self.evaluation.evaluation_id, events, lease=self.hold.lease)
                    counts.count(events)
                if time.monotonic() - shown >= PROGRESS_INTERVAL:
                    screen.show(counts)
                    shown = time.monotonic()
                if interruption.over:
                    break
            interruption.raise_if_received()

    def _finish(self, unfinished: RowState) -> Summary:
        """Names the state of what was not reached, and sums up; also after Ctrl-C, but not where another process has taken over."""
        self.hold.renew()
        evaluation_id = self.evaluation.evaluation_id
        self.store.finish_evaluation(evaluation_id, unfinished=unfinished, dataset_digest=self.digest.value)
        summary = summarise(
            self.evaluation,
            self.store.state_counts(evaluation_id),
            self.hold.beating(self.store.verdicts(evaluation_id, brief=True)),
            aggregations={scorer.name: tuple(scorer.aggregations or ("mean",)) for scorer in self.plan.scorers},
        )
        self.store.finish_evaluation(evaluation_id, unfinished=unfinished, summary=summary.to_dict())
        now = time.time_ns() // 1_000_000
        metrics = {**summary.metrics, **run_metrics(self.store, self.evaluation)}
        self.store.log_metrics(
            self.run.info.run_id, [Metric(key=k, value=v, timestamp=now, step=self.evaluation.number) for k, v in metrics.items()]
        )
        worst = _worst_of(self.store, self.run.info.run_id)
        self.store.set_tags(self.run.info.run_id, {"evalpoint.verdict": worst.verdict, "evalpoint.reason": worst.reason})
        return summary


def _worst_of(store: Store, run_id: str) -> Summary:
    """Of a run's evaluations the one that a reader of the run must know: inconclusive before failed before passed before ungated."""
    rank = ("inconclusive", "failed", "passed", "ungated")
    summaries = [Summary.from_dict(e.summary) for e in store.evaluations(run_id) if e.summary is not None]
    return min(summaries, key=lambda summary: rank.index(summary.verdict))


def _lives_in(store: Store, trace_id: str, experiment_id: str) -> bool:
    trace = store.trace(trace_id)
    return trace is not None and trace.info.experiment_id == experiment_id


def results_of(run_id: str) -> list[EvaluationResult]:
    """The evaluations of a run, read back from the store; one that was killed is summed up as far as it came.

    Args:
        run_id: A run's id, an unambiguous beginning of one, or a unique name.

    Raises:
        NotFound: There is no such run.
    """
    store = current_store()
    run = store.run(run_id)
    results: list[EvaluationResult] = []
    for evaluation in store.evaluations(run.info.run_id):
        kept = evaluation.summary
        summary = (
            Summary.from_dict(kept)
            if kept is not None
            else summarise(evaluation, store.state_counts(evaluation.evaluation_id), store.verdicts(evaluation.evaluation_id, brief=True))
        )
        results.append(EvaluationResult(store, run.info, evaluation, summary))
    return results
