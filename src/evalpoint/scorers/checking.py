"""The list of scorers that somebody passed to `evaluate`, checked as a whole: every mistake is named, with what to write instead."""

from __future__ import annotations

import inspect
from typing import Any

from evalpoint.errors import UsageError
from evalpoint.scorers.base import Scorer
from evalpoint.scorers.judging import Correctness, Guidelines

__all__ = ["check_scorers"]

_BUILT_IN = {kind.__name__ for kind in (Correctness, Guidelines)}
_EXAMPLE = "scorers=[Correctness(), ...]"


def check_scorers(scorers: object) -> list[Scorer]:
    """The scorers, when every one of them is one.

    Raises:
        UsageError: Something is not; the message lists all that is wrong.
    """
    if not isinstance(scorers, (list, tuple)):
        raise UsageError(f"scorers should be a list, such as {_EXAMPLE}; {_not_a_list(scorers)}")
    problems: list[str] = []
    good: list[Scorer] = []
    for number, item in enumerate(scorers):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - the user's list
        if isinstance(item, Scorer):
            good.append(item)
        else:
            problems.append(f"scorers[{number}] {_not_a_scorer(item)}")
    names = [item.name for item in good]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            problems.append(f"{names.count(name)} scorers are called {name!r}; give each a name of its own with name='…'")
    if problems:
        raise UsageError("The scorers cannot be used: " + "; ".join(problems))
    return good


def _not_a_list(given: object) -> str:
    if given is None:
        return "it is None. To predict without grading, pass an empty list"
    if isinstance(given, Scorer):
        return f"put the scorer into one: [{type(given).__name__}(...)]"
    return f"it {_not_a_scorer(given)}"


def _not_a_scorer(item: Any) -> str:
    """What is wrong with one element, and what to write instead."""
    kind = type(item).__name__
    if item is None:
        return "is None"
    if isinstance(item, str):
        return f"is the text {item[:60]!r}; pass a scorer object, such as Guidelines(guidelines={item[:60]!r})"
    if isinstance(item, (list, tuple, set, frozenset)):
        return f"is a {kind}; unpack it with a star: [*these, ...]"
    if isinstance(item, type) and issubclass(item, Scorer):
        return f"is the class {item.__name__}; make an object of it: {item.__name__}(...)"
    foreign = _mlflow_class(item)
    if foreign:
        return foreign
    if isinstance(item, type):
        return f"is the class {item.__name__}, which is no Scorer"
    if inspect.isroutine(item):
        return f"is the plain function {getattr(item, '__name__', kind)!r}; decorate it with @scorer"
    if callable(item):
        return f"is a callable {kind} and no Scorer; wrap it in a function with @scorer, or subclass Scorer"
    return f"is {'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}; pass a scorer object"


def _mlflow_class(item: Any) -> str | None:
    """What to use in place of an object or a class of MLflow's."""
    kind = item if isinstance(item, type) else type(item)
    if not any(base.__module__.split(".")[0] == "mlflow" for base in kind.__mro__):
        return None
    said = f"is MLflow's {kind.__name__}"
    if kind.__name__ in _BUILT_IN:
        return f"{said}; use evalpoint.scorers.{kind.__name__}"
    built_in = f"a built-in scorer ({', '.join(sorted(_BUILT_IN))})"
    if kind.__module__.startswith("mlflow.metrics") or "Metric" in kind.__name__:
        return f"{said}, a metric of MLflow 2; use {built_in}, or write a function with evalpoint.scorers.scorer"
    return f"{said}; decorate its function with evalpoint.scorers.scorer instead, or use {built_in}"
