"""Asking a scorer and reading its answer: copies in, checked feedback out, and every non-score is that row's error."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evalpoint.entities import AssessmentError, AssessmentSource, CategoricalRating, Feedback, Trace
from evalpoint.errors import ScorerError
from evalpoint.formats.shapes import TraceFields
from evalpoint.protocols import Grader, Subject
from evalpoint.scorers import Scorer, scorer

EMPTY: TraceFields = {
    "info": {
        "trace_id": "tr-" + "0" * 32,
        "client_request_id": None,
        "trace_location": {},
        "request_time_ms": 0,
        "execution_duration_ms": None,
        "state": "OK",
        "trace_metadata": {},
        "tags": {},
        "request_preview": None,
        "response_preview": None,
        "assessments": [],
    },
    "spans": [],
    "problems": [],
}
TRACE = Trace.from_fields(EMPTY)
OUTPUTS = {"choices": [{"message": {"role": "assistant", "content": "Hello."}}]}


def subject() -> Subject:
    return Subject(inputs={"q": ["a"]}, outputs=OUTPUTS, expectations={"e": {"f": 1}}, trace=TRACE)


def made(answer: Any, pass_if: Callable[[Any], Any] | None = None) -> Scorer:
    return scorer(name="s", pass_if=pass_if)(lambda: answer)


def test_only_what_is_named() -> None:
    """A scorer is given the parts that it names, the answer's text among them."""
    seen: dict[str, Any] = {}

    @scorer
    def watch(inputs: Any, outputs: Any, expectations: Any, trace: Any, text: Any) -> int:
        seen.update(inputs=inputs, outputs=outputs, expectations=expectations, trace=trace, text=text)
        return 1

    grader: Grader = watch
    grader.ask(subject())
    assert seen == {"inputs": {"q": ["a"]}, "outputs": OUTPUTS, "expectations": {"e": {"f": 1}}, "trace": TRACE, "text": "Hello."}


def test_copies() -> None:
    """What a scorer changes is its own: the row stays as it was."""

    @scorer
    def vandal(**parts: Any) -> int:
        parts["inputs"]["q"].append("b")
        parts["outputs"]["choices"].clear()
        parts["expectations"]["e"].clear()
        return 1

    row = subject()
    vandal.ask(row)
    assert row == subject()


def test_async() -> None:
    """An async scorer's answer is an awaitable, whether function or class."""

    @scorer
    async def slow(text: str) -> int:
        return len(text)

    class Slow(Scorer):
        name: str = "slow"

        async def __call__(self, *, text: str) -> int:
            return len(text)

    async def answer(grader: Scorer) -> Any:
        return await grader.ask(subject())

    assert asyncio.run(answer(slow)) == asyncio.run(answer(Slow())) == 6


class Grade(enum.Enum):
    GOOD = 3


class Wrapped(enum.Enum):
    ODD = ()


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (True, True),
        (0, 0),
        (0.5, 0.5),
        ("fine", "fine"),
        ("", ""),
        (np.bool_(True), True),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.25), 0.25),
        (np.str_("x"), "x"),
        (np.array(2), 2),
        (CategoricalRating.YES, "yes"),
        (Grade.GOOD, 3),
    ],
    ids=lambda value: f"{type(value).__name__}-{value!r}",
)
def test_scores(answer: Any, value: Any) -> None:
    """Numbers, bools, texts, numpy scalars and enum members are scores, of plain type and the scorer's name."""
    verdict = made(answer).verdict(answer)
    (feedback,) = verdict.feedback
    assert feedback.value == value
    assert type(feedback.value) is type(value)
    assert feedback.name == "s"
    assert feedback.source == AssessmentSource("CODE", "s")
    assert verdict.passed == (None,)


def test_none_skips() -> None:
    """None is a choice to skip, and so is an empty list."""
    assert made(None).verdict(None).skipped
    assert made([]).verdict([]).skipped


def test_feedback_keeps_what_is_its_own() -> None:
    """Default name and source become the scorer's; given ones, and everything else, stay."""
    judge = AssessmentSource("LLM_JUDGE", "openai:/x")
    answer = [
        Feedback(value=1, rationale="r", metadata={"a": 1}, span_id="0" * 16),
        Feedback(name="other", value="yes", source=judge),
        Feedback(name="broken", error="no answer"),
    ]
    first, second, third = made(answer).verdict(answer).feedback
    assert (first.name, first.source.source_id, first.rationale, first.metadata, first.span_id) == ("s", "s", "r", {"a": "1"}, "0" * 16)
    assert (second.name, second.source) == ("other", judge)
    assert third.error == AssessmentError("ERROR", "no answer")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (float("nan"), "returned nan; a score is a finite number"),
        (float("-inf"), "returned -inf"),
        (np.float32("nan"), "returned nan"),
        ({"a": 1}, "returned a dict; a score is a number, a bool, a string, Feedback or a list of Feedback"),
        ([1, 2], "a list with an int in it; a list should hold Feedback"),
        ([None], "a list with None in it"),
        ((1,), "returned a tuple"),
        (np.array([1.0]), "returned a ndarray"),
        (1j, "returned a complex"),
        (object(), "returned an object"),
        (Wrapped.ODD, "returned a Wrapped"),
        ([Feedback(value=1), Feedback(value=2)], "several feedback named 's'; give each a name of its own"),
        (Feedback(name="a#b", value=1), "feedback whose name 'a#b' has characters"),
        (Feedback(name="/x", value=1), "begins or ends with a slash"),
        (Feedback(name="m", value={"a": float("nan")}), "feedback 'm' with NaN or an infinity inside"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_scores(answer: Any, words: str) -> None:
    """What is no score is a sentence that names the scorer and says what would be one."""
    with pytest.raises(ScorerError) as refused:
        made(answer).verdict(answer)
    assert str(refused.value).startswith("scorer 's' returned ")
    assert words in str(refused.value)


def test_coroutine_in_place_of_a_score() -> None:
    """A coroutine that nobody awaited is called one."""

    async def never() -> int:
        return 1

    coroutine = never()
    with pytest.raises(ScorerError, match="a coroutine: await it"):
        made(coroutine).verdict(coroutine)
    coroutine.close()


def test_pass_if() -> None:
    """`pass_if` is asked per feedback; where there is an error there is nothing to ask about."""
    answer = [Feedback(name="a", value=0.9), Feedback(name="b", value=0.1), Feedback(name="c", error="x")]
    assert made(answer, lambda value: value > 0.5).verdict(answer).passed == (True, False, None)
    assert made(np.float32(1), lambda value: np.bool_(value)).verdict(np.float32(1)).passed == (True,)


@pytest.mark.parametrize(
    ("pass_if", "words"),
    [
        (lambda value: value > 0.5, "pass_if of scorer 's' failed on the value 'text': TypeError"),
        (lambda value: None, "pass_if of scorer 's' returned None for the value 'text'"),
        (lambda value: np.array([1, 2]), "failed on the value 'text': ValueError"),
    ],
    ids=["raises", "None", "no truth"],
)
def test_pass_if_that_cannot_say(pass_if: Callable[[Any], Any], words: str) -> None:
    """A `pass_if` that raises or says nothing is that row's error."""
    with pytest.raises(ScorerError) as failed:
        made("text", pass_if).verdict("text")
    assert words in str(failed.value)


def test_code_scorer_needs_no_preparation() -> None:
    """A code scorer is ready as it is, and can grade any row."""
    ready = made(1)
    assert ready.prepare(SimpleNamespace()) is ready  # type: ignore[arg-type]
    assert ready.missing(SimpleNamespace()) is None  # type: ignore[arg-type]
