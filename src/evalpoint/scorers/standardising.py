"""What a scorer returned -> checked feedback. Everything that is no score is refused here, as that row's error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Any

from evalpoint.entities import AssessmentSource, AssessmentSourceType, Feedback, Verdict
from evalpoint.errors import ScorerError
from evalpoint.formats import dump_json
from evalpoint.scorers.names import name_problem

__all__ = ["verdict_of"]

_DEFAULT_NAME = "feedback"
_DEFAULT_SOURCE = AssessmentSource(AssessmentSourceType.CODE)


def verdict_of(answer: Any, name: str, pass_if: Callable[[Any], Any] | None) -> Verdict:
    """The verdict that an answer stands for; None is a choice to skip the row.

    Args:
        answer: A number, bool, string, enum, numpy scalar, `Feedback`, a list of `Feedback`, or None.
        name: The scorer's name: for values, and for feedback that has none of its own.
        pass_if: Says of each value whether it passes.

    Raises:
        ScorerError: The answer is no score, or `pass_if` failed on it.
    """
    if answer is None:
        return Verdict()
    feedback = tuple(_named(item, name) for item in answer) if isinstance(answer, list) else (_one(answer, name),)  # pyright: ignore[reportUnknownVariableType] - the user's list
    names = [item.name for item in feedback]
    twice = sorted({item for item in names if names.count(item) > 1})
    if twice:
        raise ScorerError(f"scorer {name!r} returned several feedback named {', '.join(map(repr, twice))}; give each a name of its own")
    return Verdict(feedback=feedback, passed=tuple(_passed(item, name, pass_if) for item in feedback))


def _one(answer: Any, name: str) -> Feedback:
    if isinstance(answer, Feedback):
        return _named(answer, name)
    return Feedback(name=name, value=_score(answer, name), source=AssessmentSource(AssessmentSourceType.CODE, name))


def _named(item: Any, name: str) -> Feedback:
    """Feedback with a usable name, a source and a value that JSON can hold."""
    if not isinstance(item, Feedback):
        raise ScorerError(f"scorer {name!r} returned a list with {_described(item)} in it; a list should hold Feedback, each with a name")
    own_name = name if item.name == _DEFAULT_NAME else item.name
    problem = name_problem(own_name)
    if problem:
        raise ScorerError(f"scorer {name!r} returned feedback whose name {str(own_name)[:100]!r} {problem}")
    value: Any = item.value
    if isinstance(value, (dict, list)):
        try:
            dump_json(value)
        except ValueError:
            raise ScorerError(f"scorer {name!r} returned feedback {own_name!r} with NaN or an infinity inside its value") from None
    source = AssessmentSource(AssessmentSourceType.CODE, name) if item.source == _DEFAULT_SOURCE else item.source
    return replace(item, name=own_name, source=source)


def _score(answer: Any, name: str) -> bool | int | float | str:
    """The plain value of a primitive, an enum member or a numpy scalar."""
    value = answer
    if isinstance(value, Enum):
        value = value.value
    if not isinstance(value, (bool, int, float, str)) and getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        value = value.item()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            plain = kind(value)
            if isinstance(plain, float) and not math.isfinite(plain):
                raise ScorerError(f"scorer {name!r} returned {plain}; a score is a finite number. Return None to skip a row")
            return plain
    raise ScorerError(
        f"scorer {name!r} returned {_described(answer)}; a score is a number, a bool, a string, Feedback or a list of Feedback"
    )


def _described(answer: Any) -> str:
    kind = type(answer).__name__
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    hint = ": await it, or make the scorer async" if kind == "coroutine" else ""
    return f"{article} {kind}{hint}" if answer is not None else "None"


def _passed(item: Feedback, name: str, pass_if: Callable[[Any], Any] | None) -> bool | None:
    if pass_if is None or item.error is not None:
        return None
    try:
        answer = pass_if(item.value)
        if answer is not None:
            return bool(answer)
    except Exception as error:  # the user's own function may raise anything: it is this row's error, with its cause
        raise ScorerError(f"pass_if of scorer {name!r} failed on the value {item.value!r:.100}: {type(error).__name__}: {error}") from error
    raise ScorerError(f"pass_if of scorer {name!r} returned None for the value {item.value!r:.100}; it should return True or False")
