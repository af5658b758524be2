"""Whether inputs fit a predict function is found out without calling it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from evalpoint.datasets import call_checker, check_call
from evalpoint.entities import Row, RowKey
from evalpoint.errors import UsageError


def row(*keys: str, number: int = 0) -> Row:
    return Row(key=RowKey(number), inputs=dict.fromkeys(keys, 1))


def never(question: Any, k: int = 3) -> Any:
    raise AssertionError("called")


async def never_async(question: Any) -> Any:
    raise AssertionError("called")


class Agent:
    def answer(self, question: Any) -> Any:
        raise AssertionError("called")

    def __call__(self, question: Any, *, k: int = 3) -> Any:
        raise AssertionError("called")


def positional(question: Any, /) -> None: ...
def nothing() -> None: ...
def starred(*args: Any) -> None: ...
def anything(**inputs: Any) -> None: ...
def mixed(question: Any, **rest: Any) -> None: ...
def whole(inputs: Any) -> None: ...
def optional(question: Any = None, context: Any = None) -> None: ...


@pytest.mark.parametrize(
    ("function", "keys"),
    [
        (never, ["question"]),
        (never, ["k", "question"]),
        (never_async, ["question"]),
        (Agent().answer, ["question"]),
        (Agent(), ["question", "k"]),
        (functools.partial(never, k=5), ["question"]),
        (functools.wraps(never)(lambda *args, **kwargs: None), ["question"]),
        (anything, ["a", "b"]),
        (anything, ["self", "args", "not an identifier"]),
        (mixed, ["question", "b"]),
        (nothing, []),
        (optional, []),
        (dict.update, ["a"]),
    ],
    ids=[
        "plain",
        "order",
        "async",
        "method",
        "callable",
        "partial",
        "wrapped",
        "kwargs",
        "odd_names",
        "mixed",
        "no_inputs",
        "optional",
        "unreadable",
    ],
)
def test_fits(function: Callable[..., Any], keys: list[str]) -> None:
    """What can be called with these keywords passes, and so does a function whose signature cannot be read."""
    assert check_call(function, row(*keys)) is None


@pytest.mark.parametrize(
    ("function", "keys", "message"),
    [
        (
            never,
            ["qestion"],
            (
                "predict_fn takes (question, k=…) and inputs has 'qestion': 'question' is missing and 'qestion' is no parameter. "
                "Did you mean 'question' instead of 'qestion'?"
            ),
        ),
        (never, ["k"], "predict_fn takes (question, k=…) and inputs has 'k': 'question' is missing."),
        (
            never,
            ["question", "x", "y"],
            "predict_fn takes (question, k=…) and inputs has 'question', 'x', 'y': 'x', 'y' are no parameters.",
        ),
        (never, [], "predict_fn takes (question, k=…) and inputs is empty: 'question' is missing."),
        (
            positional,
            ["question"],
            (
                "predict_fn takes 'question' by position only, and inputs are passed as keyword arguments; "
                "remove the '/' from its signature (inputs has 'question')"
            ),
        ),
        (
            nothing,
            ["question"],
            ("predict_fn takes no arguments, and inputs has 'question'; name these as its parameters, or take them all with **inputs"),
        ),
        (
            starred,
            ["question"],
            (
                "predict_fn takes only arguments by position (*args), and inputs has 'question'; "
                "name these as its parameters, or take them all with **inputs"
            ),
        ),
        (
            whole,
            ["question", "k"],
            (
                "predict_fn takes (inputs) and inputs has 'question', 'k': 'inputs' is missing and 'question', 'k' are no parameters. "
                "It is called with keyword arguments, predict_fn(question=…, k=…); "
                "to receive the whole dict, declare it as predict_fn(**inputs)."
            ),
        ),
        (
            mixed,
            ["questions"],
            (
                "predict_fn takes (question, **) and inputs has 'questions': 'question' is missing. "
                "Did you mean 'question' instead of 'questions'?"
            ),
        ),
        (
            optional,
            ["ctx"],
            (
                "predict_fn takes (question=…, context=…) and inputs has 'ctx': 'ctx' is no parameter. "
                "Did you mean 'context' instead of 'ctx'?"
            ),
        ),
    ],
    ids=["misspelt", "missing", "surplus", "empty", "positional", "none", "starred", "whole", "mixed", "optional"],
)
def test_misfits(function: Callable[..., Any], keys: list[str], message: str) -> None:
    """What cannot is told with the function's parameters, the row's keys, and the nearest name."""
    problem = check_call(function, row(*keys, number=4))
    assert problem is not None
    assert (problem.message, problem.row) == (message, 4)


def test_many_rows() -> None:
    """One checker serves rows of different keys, and tells each row by its own number."""
    check = call_checker(never)
    found = [check(row(*keys, number=i)) for i, keys in enumerate([["question"], ["x"], ["question"], ["x"], ["question", "k"]])]
    assert [None if problem is None else problem.row for problem in found] == [None, 1, None, 3, None]


class CountingSignature(inspect.Signature):
    """Counts how often it is bound."""

    bound = 0

    def bind(self, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
        type(self).bound += 1
        return super().bind(*args, **kwargs)


def test_cost() -> None:
    """Each set of keys is bound once, not each row."""

    def counted(question: Any) -> None: ...

    counted.__signature__ = CountingSignature.from_callable(never)  # type: ignore[attr-defined] - what inspect.signature looks for
    check = call_checker(counted)
    found = [check(row("question", number=i)) for i in range(1000)] + [check(row("x", number=i)) for i in range(1000)]
    assert CountingSignature.bound == 2
    assert [problem.row for problem in found if problem is not None] == list(range(1000))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("endpoints:/chat", r"a str and no function; did you mean to_predict_fn\('endpoints:/chat'\)"),
        (3, "a int and no function"),
        (None, "a NoneType"),
    ],
    ids=["uri", "int", "none"],
)
def test_no_function(function: Any, says: str) -> None:
    """What is no function is the caller's mistake."""
    with pytest.raises(UsageError, match=says):
        call_checker(function)
