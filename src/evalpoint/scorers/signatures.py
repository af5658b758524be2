"""Which of a row's parts a scorer asks for, by the names of its parameters. Checked when it is declared."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection
from typing import Any

from evalpoint.errors import UsageError

__all__ = ["OFFERED", "did_you_mean", "wanted_parts"]

OFFERED = ("inputs", "outputs", "expectations", "trace", "text")
_OTHER_WORDS = {
    "answer": "text",
    "completion": "text",
    "context": "trace",
    "expected": "expectations",
    "ground_truth": "expectations",
    "labels": "expectations",
    "prediction": "outputs",
    "predictions": "outputs",
    "prompt": "inputs",
    "query": "inputs",
    "question": "inputs",
    "request": "inputs",
    "response": "outputs",
    "result": "outputs",
    "spans": "trace",
    "target": "expectations",
    "targets": "expectations",
}


def did_you_mean(word: str, known: Collection[str], other_words: dict[str, str] | None = None) -> str:
    """`; did you mean 'model'?`, or nothing when no known word is near."""
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6) or [w for w in [(other_words or {}).get(word.lower())] if w]
    return f"; did you mean {near[0]!r}?" if near else ""


def wanted_parts(function: Callable[..., Any], label: str, *, skip: int = 0) -> tuple[str, ...]:
    """The parts of a row that a scorer's function names; all of them for `**kwargs`.

    Args:
        function: The function.
        label: How messages call it: "scorer 'polite'".
        skip: Leading parameters to leave out: 1 for a method's `self`.

    Raises:
        UsageError: A parameter can never be filled.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
    except (TypeError, ValueError):  # some builtins do not tell
        raise UsageError(f"{label} has no signature that can be read; wrap it in a function that names what it needs") from None
    problems = [problem for parameter in parameters if (problem := _problem(parameter))]
    if problems:
        raise UsageError(f"{label} cannot be called: {'; '.join(problems)}. A scorer may name {', '.join(OFFERED)}")
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return OFFERED
    return tuple(parameter.name for parameter in parameters if parameter.name in OFFERED)


def _problem(parameter: inspect.Parameter) -> str | None:
    if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
        return None
    if parameter.name == "session":
        return "'session' asks for a whole conversation, which is not in this version"
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return f"{parameter.name!r} is positional-only, and scorers are called by name" if parameter.default is parameter.empty else None
    if parameter.name in OFFERED or parameter.default is not parameter.empty:
        return None
    return f"nothing is called {parameter.name!r}{did_you_mean(parameter.name, OFFERED, _OTHER_WORDS)}"
