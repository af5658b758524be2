"""What a judge asks: the shape of a chat model, what comes back, and a plain function in a model's place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from evalpoint.errors import JudgeError

__all__ = ["CallableModel", "ChatModel", "Completion", "Message", "count"]

Message: TypeAlias = Mapping[str, str]
"""`{"role": "system" | "user" | "assistant", "content": text}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One answer of a model. What nobody counted is None."""

    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    """US dollars, where a price is known; never 0 for unknown."""
    model: str | None = None
    """The model's own word for what answered."""
    finish_reason: str | None = None


@runtime_checkable
class ChatModel(Protocol):
    """Something that continues a conversation. May be asked from many threads."""

    @property
    def uri(self) -> str:
        """Names the model on every assessment that it makes."""
        ...

    def complete(self, messages: Sequence[Message], *, schema: Mapping[str, Any], params: Mapping[str, Any]) -> Completion:
        """The model's answer.

        Args:
            messages: The conversation so far.
            schema: JSON schema of the answer, for models that can be held to one.
            params: The caller's inference parameters; they always reach the model.

        Raises:
            CallError: There is none, after everything that may be tried again has been.
        """
        ...


@dataclass(frozen=True, slots=True)
class CallableModel:
    """A plain function as a model: `lambda messages, **params: text`. For tests, and for models that live in the same process."""

    function: Callable[..., Any]

    @property
    def uri(self) -> str:
        return f"python:/{getattr(self.function, '__name__', type(self.function).__name__)}"

    def complete(self, messages: Sequence[Message], *, schema: Mapping[str, Any], params: Mapping[str, Any]) -> Completion:
        wanted = {"temperature": 0, **params}
        accepted = _keywords(self.function)
        text = self.function(
            [dict(message) for message in messages], **{k: v for k, v in wanted.items() if accepted is None or k in accepted}
        )
        if not isinstance(text, str):
            raise JudgeError(f"the model {self.uri} returned {type(text).__name__}; a function used as a model returns the answer's text")
        return Completion(text=text)


def _keywords(function: Callable[..., Any]) -> frozenset[str] | None:
    """The keyword arguments that a function takes; None for any."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature: give them everything
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def count(value: Any) -> int | None:
    """A token count from outside: a whole number of 0 or more, or None."""
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12 else None
