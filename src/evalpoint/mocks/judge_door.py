"""A friendly door over a mock judge's rules, for tests: `mock_judge.says("no", when={"answer": "refund"})`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evalpoint.mocks.endpoint import MockEndpoint
from evalpoint.mocks.faults import Fault
from evalpoint.mocks.judge import JudgePrompt, JudgeRule, Rule, When, judge_prompt
from evalpoint.mocks.workspace import MockWorkspace

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["JudgeDoor"]


class JudgeDoor:
    """A judge of a mock workspace. Rules given later go before those given earlier.

    Args:
        workspace: Where the judge's endpoint is made.
        name: The endpoint's name.
    """

    def __init__(self, workspace: MockWorkspace, name: str = "judge") -> None:
        self._rules: tuple[JudgeRule, ...] = ()
        self.endpoint: MockEndpoint = workspace.judge(name, rules=[self._decide])

    @property
    def model(self) -> str:
        """Its address, for `Correctness(model=...)`."""
        return f"endpoints:/{self.endpoint.name}"

    def says(self, verdict: Any, *, when: When | None = None, rationale: str = "The test says so.") -> Self:
        """It gives this verdict.

        Args:
            verdict: "yes", "no", or whatever the judge is asked for.
            when: A judge's name, such as "tone"; texts that occur in fields of the prompt, such as `{"answer": "refund"}`
                (`question`, `answer`, `reference`, `guideline`, `text` for all of it); or a function of the `JudgePrompt`.
                Always, by default.
            rationale: Why.
        """
        return self.rule(Rule(_always if when is None else when, verdict, rationale))

    def answers(self, text: str, *, when: When | None = None) -> Self:
        """It answers with this text, such as one that is no verdict, to see what becomes of it."""
        return self.rule(Rule(_always if when is None else when, raw=text))

    def rule(self, *rules: JudgeRule) -> Self:
        """It goes by these rules before all others: each a `Rule`, or a function of the `JudgePrompt` that gives verdict and rationale,
        a text to answer with, or None where it does not fit."""
        self._rules = (*rules, *self._rules)
        return self

    def fails(self, *faults: Fault) -> Self:
        """Its next calls go wrong in this way, one after the other."""
        self.endpoint.fail(*faults)
        return self

    @property
    def calls(self) -> int:
        """How often it was asked."""
        return self.endpoint.calls

    @property
    def prompts(self) -> Sequence[JudgePrompt]:
        """What it was asked, in order, taken apart."""
        return [judge_prompt(request.body["messages"]) for request in self.endpoint.requests]

    def _decide(self, prompt: JudgePrompt) -> tuple[Any, str] | str | None:
        return next((decided for rule in self._rules if (decided := rule(prompt)) is not None), None)


def _always(prompt: JudgePrompt) -> bool:
    return True
