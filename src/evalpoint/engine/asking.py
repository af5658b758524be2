"""Asking the target for an answer, and a scorer for its verdict: the two places where foreign code runs, and may fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from evalpoint.calls import account, redact
from evalpoint.engine.loop import AsyncLoop
from evalpoint.entities import AssessmentError, Failure, Feedback, Prediction, Reply, Row, RowKey, RowState, Trace, Verdict
from evalpoint.errors import CallTimeout, JudgeError
from evalpoint.formats.plain import copy_plain, json_safe
from evalpoint.protocols import Grader, Recorder, Subject

__all__ = ["Live", "Sheet", "Target", "ask_scorer", "predict", "unanswered_prediction", "unanswered_verdict"]

SCORER_TRACE_ID = "mlflow.assessment.scorerTraceId"
RAW_TEXT = "evalpoint.raw_text"
"""On a judge's error: the answer of its model that could not be used."""
MAX_RAW_TEXT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A predict function, called with a row's inputs as keyword arguments; sync or async."""

    name: str
    call: Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Answers that came with the data."""

    reply: Callable[[Row], Reply]


Target: TypeAlias = Live | Sheet


def predict(row: Row, target: Target, *, recorder: Recorder, loop: AsyncLoop, async_timeout: float) -> Prediction:
    """The target's answer to one row, or why there is none. Never raises."""
    if isinstance(target, Sheet):
        return target.reply(row)
    inputs: Mapping[str, Any] = copy_plain(row.inputs)
    with account() as used, recorder.record(target.name, row.inputs, row.key) as recording:
        started = time.perf_counter()
        try:
            outputs = json_safe(loop.finish(target.call(**inputs), async_timeout))
        except BaseException as error:  # noqa: BLE001 - the user's function may raise anything, SystemExit too: it is this row's failure, and a worker that died of it would lose the row
            return Failure(
                state=RowState.TIMEOUT if isinstance(error, CallTimeout) else RowState.TARGET_ERROR,
                error=_told(error),
                trace=recording.failed(error),
            )
        return Reply(
            outputs=outputs,
            trace=recording.answered(outputs),
            latency_ms=_milliseconds(started, used.lost_seconds),
            adopted=recording.linked,
        )


def _milliseconds(started: float, lost_seconds: float) -> float:
    """The call's own time: without waiting for a permit, between attempts, or for attempts that failed."""
    return max(0.0, time.perf_counter() - started - lost_seconds) * 1000


def ask_scorer(
    grader: Grader, subject: Subject, *, key: RowKey, recorder: Recorder, loop: AsyncLoop, timeout: float, keep_trace: bool
) -> tuple[Verdict, Trace | None]:
    """One scorer's verdict on one row, and the trace of the asking where it is kept. Never raises."""
    with account() as used, recorder.record(grader.name, {"inputs": subject.inputs, "outputs": subject.outputs}, key) as recording:
        trace: Trace | None = None
        try:
            verdict = grader.verdict(loop.finish(grader.ask(subject), timeout))
        except BaseException as error:  # noqa: BLE001 - the user's scorer may raise anything: it is one missing verdict, and the others stand
            verdict = _failed_verdict(error, grader)
            trace = recording.failed(error) if keep_trace else None
        else:
            trace = recording.answered([feedback.value for feedback in verdict.feedback]) if keep_trace else None
    if trace is not None:
        verdict = replace(verdict, feedback=tuple(_naming(feedback, trace) for feedback in verdict.feedback))
    return replace(verdict, spent=used.spent), trace


def _told(error: BaseException, error_code: str | None = None) -> AssessmentError:
    """The error as it is kept: what the user's code says in its exceptions may hold a token."""
    told = AssessmentError.of(error, error_code)
    stack = redact(told.stack_trace) if told.stack_trace else None
    return replace(told, error_message=redact(told.error_message or ""), stack_trace=stack)


def _failed_verdict(error: BaseException, grader: Grader) -> Verdict:
    """What is kept of a scorer that raised: of a judge also what its model said."""
    if isinstance(error, JudgeError):
        said = {RAW_TEXT: redact(error.raw_text[:MAX_RAW_TEXT])} if error.raw_text else {}
        return Verdict(error=_told(error, "JUDGE_ERROR"), source=grader.source, metadata=said)
    code = "SCORER_TIMEOUT" if isinstance(error, CallTimeout) else "SCORER_ERROR"
    return Verdict(error=_told(error, code), source=grader.source)


def unanswered_prediction(row: Row, target: Target, seconds: float, *, recorder: Recorder) -> Failure:
    """What is told of a row whose prediction did not return by its deadline."""
    name = target.name if isinstance(target, Live) else "answer"
    error = CallTimeout(f"{name} did not return within {seconds:g} s and was abandoned; row_timeout= sets the limit.")
    with recorder.record(name, row.inputs, row.key) as recording:
        return Failure(state=RowState.TIMEOUT, error=AssessmentError.of(error), trace=recording.failed(error))


def unanswered_verdict(grader: Grader, seconds: float) -> Verdict:
    """What is told of a scorer that did not return by its deadline."""
    told = f"{grader.name} did not return within {seconds:g} s and was abandoned; its timeout=, or scorer_timeout=, sets the limit."
    return Verdict(error=AssessmentError("SCORER_TIMEOUT", told), source=grader.source)


def _naming(feedback: Feedback, trace: Trace) -> Feedback:
    """The same feedback, saying which trace shows how it came about."""
    return replace(feedback, metadata={**(feedback.metadata or {}), SCORER_TRACE_ID: trace.info.trace_id})
