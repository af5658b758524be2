"""Asking a model for a verdict: once, and once more with the reason when its answer is of no use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalpoint.calls import current_account
from evalpoint.entities import AssessmentSource, AssessmentSourceType, Feedback, Spent
from evalpoint.errors import JudgeError
from evalpoint.judges.models import ChatModel, Completion
from evalpoint.judges.prompts import VERDICT_SCHEMA, Prompt, again
from evalpoint.judges.verdicts import BinaryVerdict, Unusable, read_verdict, unusable_ending

__all__ = ["ask"]

INPUT_TOKENS = "mlflow.assessment.judgeInputTokens"
OUTPUT_TOKENS = "mlflow.assessment.judgeOutputTokens"
COST = "mlflow.assessment.judgeCost"
TRUNCATED = "evalpoint.truncated"
ASKS = "evalpoint.judgeAsks"
_RAW_LIMIT = 8_000
_QUOTE_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one question has cost over all its asks. A sum is None when any of its parts is unknown."""

    asks: int = 0
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    cost: float | None = 0.0

    def and_then(self, completion: Completion) -> _Asked:
        return _Asked(
            self.asks + 1,
            _sum(self.input_tokens, completion.input_tokens),
            _sum(self.output_tokens, completion.output_tokens),
            None if self.cost is None or completion.cost is None else self.cost + completion.cost,
        )

    def metadata(self) -> dict[str, str]:
        """The figures under MLflow's keys, as strings; what is unknown is left out."""
        figures = {INPUT_TOKENS: self.input_tokens, OUTPUT_TOKENS: self.output_tokens, COST: self.cost}
        figures[ASKS] = self.asks if self.asks > 1 else None
        return {key: repr(value) for key, value in figures.items() if value is not None}


def ask(model: ChatModel, prompt: Prompt, *, name: str, params: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> Feedback:
    """The model's verdict as feedback.

    Args:
        model: Who is asked.
        prompt: What is asked.
        name: The feedback's name.
        params: Inference parameters; they reach every request.
        metadata: To be kept on the feedback beside tokens and cost.

    Raises:
        JudgeError: The model gave no usable verdict, even when asked again with the reason.
        CallError: The model could not be asked.
    """
    completion = _complete(model, prompt, params)
    asked = _Asked().and_then(completion)
    verdict = _read(completion)
    if isinstance(verdict, Unusable):
        account = current_account()
        if account is not None:
            account.correct()
        second = Prompt(messages=again(prompt.messages, completion.text, verdict.reason))
        completion = _complete(model, second, params)
        asked = asked.and_then(completion)
        verdict = _read(completion)
    if isinstance(verdict, Unusable):
        raise _no_verdict(name, model.uri, verdict.reason, completion.text)
    flags = {TRUNCATED: ",".join(prompt.truncated)} if prompt.truncated else {}
    return Feedback(
        name=name,
        value=verdict.value,
        rationale=verdict.rationale,
        source=AssessmentSource(AssessmentSourceType.LLM_JUDGE, model.uri),
        metadata={**asked.metadata(), **flags, **(metadata or {})},
    )


def _complete(model: ChatModel, prompt: Prompt, params: Mapping[str, Any]) -> Completion:
    """One answer, its cost on the account of whoever is asking: an unusable answer has been paid for too."""
    completion = model.complete(prompt.messages, schema=VERDICT_SCHEMA, params=params)
    account = current_account()
    if account is not None:
        account.spend(
            Spent(
                calls=1,
                input_tokens=completion.input_tokens or 0,
                output_tokens=completion.output_tokens or 0,
                cost=completion.cost,
            )
        )
    return completion


def _read(completion: Completion) -> BinaryVerdict | Unusable:
    verdict = read_verdict(completion.text)
    if isinstance(verdict, Unusable):
        return unusable_ending(completion.finish_reason) or verdict
    return verdict


def _no_verdict(name: str, uri: str, reason: str, text: str) -> JudgeError:
    quoted = text if len(text) <= _QUOTE_LIMIT else text[:_QUOTE_LIMIT] + "…"
    said = f"Its last answer: {quoted!r}" if text.strip() else "Its last answer was empty."
    return JudgeError(
        f"The judge {name!r} ({uri}) gave no usable verdict, even when asked again: {reason}. {said}", raw_text=text[:_RAW_LIMIT]
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
