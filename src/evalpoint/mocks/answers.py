"""What a mock endpoint answers: one text, a text per question, texts in order, or whatever a function makes of the request."""

from __future__ import annotations

import asyncio
import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from evalpoint.errors import ConfigurationError, EvalpointError
from evalpoint.mocks.exchange import RecordedRequest

__all__ = ["Answer", "Answers", "Ask", "MockSpan", "Script", "ToolCall", "Usage", "tokens"]

Answers = str | Mapping[str, Any] | Sequence[Any] | Callable[..., Any]
"""A text; a mapping of questions to answers; a list of answers in order; or a function with the parameters
`question` (the last user message's text), `record` (custom models: one record) or `request` (the `RecordedRequest`).
An answer is a text, an `Answer`, or a dict, which is the whole body; for custom models any JSON value is one prediction."""

PARAMETERS = ("question", "record", "request")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer."""

    input_tokens: int
    output_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def as_dict(self) -> dict[str, int]:
        return {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens, "total_tokens": self.total_tokens}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the endpoint called for its answer, with what the tool gave."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    output: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MockSpan:
    """One step of an endpoint's work, with the steps inside it. Times are made up from how long the whole took.

    `error` is the message of an exception that ended the step.
    """

    name: str
    span_type: str = "UNKNOWN"
    inputs: Any = None
    outputs: Any = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    usage: Usage | None = None
    model: str | None = None
    children: tuple[MockSpan, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with what came of making it.

    Args:
        text: The answer's text; None for an answer of tool calls only.
        spans: The steps below the trace's root; without them a plausible few are made up from the answer.
        usage: Tokens; without it they are estimated from the length of the texts.
        tool_calls: Tools called on the way, in order.
        latency: Seconds that this answer takes, in place of the endpoint's own latency.
        custom_outputs: An agent's `custom_outputs`.
    """

    text: str | None
    spans: tuple[MockSpan, ...] = field(default=(), kw_only=True)
    usage: Usage | None = field(default=None, kw_only=True)
    tool_calls: tuple[ToolCall, ...] = field(default=(), kw_only=True)
    latency: float | None = field(default=None, kw_only=True)
    custom_outputs: Mapping[str, Any] | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a call asks for: the question, for custom models one record, and the request around it."""

    question: str
    record: Any
    request: RecordedRequest


def tokens(text: str) -> int:
    """About how many tokens a text has: one for every four characters."""
    return (len(text) + 3) // 4


class Script:
    """Gives an endpoint's answers. Functions run in threads, so that a slow one holds up nobody else.

    Raises:
        ConfigurationError: The answers can never work, such as a function with an unknown parameter.
    """

    def __init__(self, endpoint: str, answers: Answers, *, main: str = "question") -> None:
        self._endpoint = endpoint
        self._answers = answers
        self._given = 0
        self._parameters: tuple[str, ...] = ()
        self._positional = False
        if callable(answers):
            self._parameters, self._positional = _parameters(endpoint, answers, main)
        elif not isinstance(answers, (str, Mapping, Sequence)):  # pyright: ignore[reportUnnecessaryIsInstance] - answers come from users, types or not
            raise ConfigurationError(
                f"The answers of mock endpoint {endpoint!r} are of type {type(answers).__name__}; give a text, a dict of questions to "
                "answers, a list of answers in order, or a function."
            )

    @property
    def wants_whole_request(self) -> bool:
        """Whether a function is asked once for a request of many records: it takes the request and nothing else."""
        return self._parameters == ("request",)

    async def next(self, ask: Ask, executor: Executor) -> Any:
        """The answer to this one; may raise whatever the user's function raises."""
        answers = self._answers
        if isinstance(answers, str):
            return answers
        if isinstance(answers, Mapping):
            return self._lookup(answers, ask.question)  # pyright: ignore[reportUnknownArgumentType] - a mapping of the user's
        if callable(answers):
            return await self._computed(answers, ask, executor)
        if self._given >= len(answers):
            raise EvalpointError(
                f"Mock endpoint {self._endpoint!r} has {len(answers)} scripted answers, and was asked once more: {ask.question!r}. "
                "Give more answers, or a function."
            )
        self._given += 1
        return answers[self._given - 1]

    def _lookup(self, answers: Mapping[str, Any], question: str) -> Any:
        try:
            return answers[question]  # by item, so that a defaultdict answers everything
        except KeyError:
            near = difflib.get_close_matches(question, list(answers), 1)
            hint = f" The nearest is {near[0]!r}." if near else ""
            raise EvalpointError(f"Mock endpoint {self._endpoint!r} has no answer to {question!r}.{hint}") from None

    async def _computed(self, function: Callable[..., Any], ask: Ask, executor: Executor) -> Any:
        values = {"question": ask.question, "record": ask.record, "request": ask.request}
        arguments: list[Any] = [values[self._parameters[0]]] if self._positional else []
        keywords = {} if self._positional else {name: values[name] for name in self._parameters}
        if inspect.iscoroutinefunction(function):
            return await function(*arguments, **keywords)
        result = await asyncio.get_running_loop().run_in_executor(executor, lambda: function(*arguments, **keywords))
        return await result if inspect.isawaitable(result) else result


def _parameters(endpoint: str, function: Callable[..., Any], main: str) -> tuple[tuple[str, ...], bool]:
    """What the function takes, and whether by position: a lone parameter of any other name is the main thing asked."""
    named = [p for p in inspect.signature(function).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    by_name = tuple(p.name for p in named if p.name in PARAMETERS and p.kind != p.POSITIONAL_ONLY)
    unknown = [p.name for p in named if p.name not in by_name and p.default is p.empty]
    if not unknown:
        return by_name, False
    if len(unknown) == 1 and not by_name:
        return (main,), True
    raise ConfigurationError(
        f"The function that answers for mock endpoint {endpoint!r} takes {', '.join(map(repr, unknown))}; "
        f"it may take any of {', '.join(PARAMETERS)}, or one argument of any name."
    )
