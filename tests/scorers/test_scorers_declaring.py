"""Scorers are checked when they are declared: names, parameters, aggregations, limits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from evalpoint.entities import ScorerSpec
from evalpoint.errors import UsageError
from evalpoint.scorers import Correctness, Guidelines, Scorer, scorer
from evalpoint.scorers.names import name_problem


def spread(values: list[float]) -> float:
    return max(values) - min(values)


def test_decorated_function_is_a_scorer() -> None:
    """The name is the function's, the description its docstring's first line, and calling it calls the function."""

    @scorer
    def short(outputs: str, expectations: Any = None) -> bool:
        """Whether the answer is short.

        More.
        """
        return len(outputs) < 5

    assert isinstance(short, Scorer)
    assert (short.name, short.description) == ("short", "Whether the answer is short.")
    assert short(outputs="abc") is True
    assert short("abcdef") is False
    assert short.spec() == ScorerSpec(name="short")


def test_options() -> None:
    """Everything that the decorator takes is on the scorer and in its spec."""
    made = scorer(name="länge/answer", description="d", aggregations=["mean", "p90", spread], pass_if=bool, threshold=0.5, timeout=3)(
        lambda outputs: len(outputs)
    )
    assert (made.description, made.timeout, made.threshold) == ("d", 3, 0.5)
    assert made.spec() == ScorerSpec(name="länge/answer", aggregations=("mean", "p90", "spread"), threshold=0.5, has_pass_if=True)
    assert scorer(name="x", aggregations=[])(lambda: 1).spec().aggregations == ()


def test_class() -> None:
    """A subclass declares its arguments as fields; a misspelt or missing one is refused with the nearest name."""

    class Contains(Scorer):
        name: str = "contains"
        phrase: str
        weight: float = 1.0

        def __call__(self, *, text: str) -> bool:
            return self.phrase in text

    made = Contains(phrase="a")
    assert made(text="abc") is True
    assert made.wanted() == ("text",)
    with pytest.raises(UsageError, match="Contains has no argument 'phrse'; did you mean 'phrase'"):
        Contains(phrse="a")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="Contains needs 'phrase'"):
        Contains()  # type: ignore[call-arg]
    with pytest.raises(UsageError, match=r"Contains\(weight=…\)"):
        Contains(phrase="a", weight="heavy")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="frozen"):
        made.phrase = "b"  # type: ignore[misc]

    class Louder(Contains):
        name: str = "louder"

    assert Louder(phrase="a").wanted() == ("text",)


def test_class_without_call() -> None:
    """A subclass that forgot its `__call__` says so."""

    class Empty(Scorer):
        name: str = "empty"

    with pytest.raises(NotImplementedError, match="Empty has no __call__"):
        Empty()()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Correctness(modle="openai:/x"), "Correctness has no argument 'modle'; did you mean 'model'?"),
        (lambda: Guidelines(guideline="x"), "Guidelines has no argument 'guideline'; did you mean 'guidelines'?"),
        (lambda: Guidelines(), "Guidelines needs 'guidelines'"),
        (lambda: Guidelines(guidelines=""), "guidelines should be a text or a list of texts, none of them empty"),
        (lambda: Guidelines(guidelines=[]), "none of them empty"),
        (lambda: Guidelines(guidelines=["a", ""]), "none of them empty"),
        (lambda: Correctness(model="gpt-4"), "'gpt-4' is no model address"),
        (lambda: Correctness(model="openai://m"), "write 'openai:/m'"),
        (lambda: Correctness(model="foo"), "'foo' is no model address"),
        (lambda: Guidelines(guidelines="a", model="endpoints:///x"), "write 'endpoints:/x'"),
        (lambda: Correctness(model=3), "model is int"),
        (lambda: Correctness(inference_params={"messages": []}), "inference_params cannot set 'messages'"),
        (lambda: Correctness(inference_params="hot"), "Correctness(inference_params=…)"),
        (lambda: Correctness(timeout=-1), "Correctness(timeout=…): -1.0 should be 0 (no limit) or more seconds"),
        (lambda: Correctness(timeout=float("inf")), "0 (no limit) or more"),
        (lambda: Correctness(timeout="3"), "Correctness(timeout=…)"),
        (lambda: Correctness(threshold=float("nan")), "finite number"),
        (lambda: Correctness(threshold=True), "Correctness(threshold=…)"),
        (lambda: Correctness(pass_if=3), "Correctness(pass_if=…)"),
        (lambda: Correctness(name="../x"), "Correctness(name=…): '../x' reads as a path"),
    ],
)
def test_built_in_arguments(build: Callable[[], Any], words: str) -> None:
    """A wrong argument of a built-in scorer is refused when it is made, by name."""
    with pytest.raises(UsageError) as refused:
        build()
    assert words in str(refused.value)


def test_several_mistakes_at_once() -> None:
    """All wrong arguments are named together."""
    with pytest.raises(UsageError, match=r"(?s)timeout.*threshold|threshold.*timeout"):
        Correctness(timeout=-1, threshold=float("inf"))


@pytest.mark.parametrize(
    ("aggregations", "words"),
    [
        (["avg"], "'avg' is none of min, max, mean, median, variance, p90; did you mean 'mean'?"),
        (["p9"], "did you mean 'p90'?"),
        ("mean", "'mean' should be a list"),
        ([lambda values: 1.0], "a lambda has no name for its metric"),
        ([functools.partial(spread)], "has no usable name for its metric"),
        ([3], "3 should be one of"),
        (["mean", "mean"], "'mean' is there twice"),
        ([None], "None should be one of"),
    ],
    ids=["another word", "misspelt", "text", "lambda", "partial", "number", "twice", "None"],
)
def test_aggregations(aggregations: Any, words: str) -> None:
    """An aggregation that could not be logged is refused when it is declared."""
    with pytest.raises(UsageError) as refused:
        Correctness(aggregations=aggregations)
    assert words in str(refused.value)


async def later(values: list[float]) -> float:
    return 0.0


def test_async_helpers_are_refused() -> None:
    """An aggregation or `pass_if` that would only give a coroutine is refused."""
    with pytest.raises(UsageError, match="'later' should be an ordinary function"):
        Correctness(aggregations=[later])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="should be an ordinary function"):
        Correctness(pass_if=later)


def declare(parameters: str) -> Scorer:
    scope: dict[str, Any] = {}
    exec(f"def judge({parameters}): return 1", scope)  # noqa: S102 - a table of signatures
    return scorer(scope["judge"])


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ("", ()),
        ("outputs", ("outputs",)),
        ("*, inputs, text", ("inputs", "text")),
        ("outputs, tone='mild'", ("outputs",)),
        ("**everything", ("inputs", "outputs", "expectations", "trace", "text")),
        ("*rest, trace=None", ("trace",)),
    ],
)
def test_parameters(parameters: str, wanted: tuple[str, ...]) -> None:
    """A scorer gets what it names, everything for `**kwargs`, and keeps its own defaults."""
    assert declare(parameters).wanted() == wanted


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("output", "nothing is called 'output'; did you mean 'outputs'?"),
        ("prediction", "did you mean 'outputs'?"),
        ("outputs, targets", "did you mean 'expectations'?"),
        ("wibble", "nothing is called 'wibble'. A scorer may name inputs, outputs, expectations, trace, text"),
        ("session", "'session' asks for a whole conversation, which is not in this version"),
        ("session=None", "not in this version"),
        ("outputs, /", "'outputs' is positional-only"),
    ],
)
def test_impossible_parameters(parameters: str, words: str) -> None:
    """A parameter that nothing fills is refused at declaration, with the nearest one that exists."""
    with pytest.raises(UsageError) as refused:
        declare(parameters)
    assert words in str(refused.value)


def test_class_parameters_are_checked_too() -> None:
    """A class is checked when it is written, before any object is made."""
    with pytest.raises(UsageError, match="scorer class Bad cannot be called: nothing is called 'outptus'; did you mean 'outputs'"):

        class Bad(Scorer):
            name: str = "bad"

            def __call__(self, *, outptus: Any) -> bool:
                return True


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ("short", "options have names, as in"),
        (dict, "is for functions"),
        (Correctness(), "is a scorer already"),
        (lambda outputs: 1, "a lambda has no name"),
    ],
    ids=["text", "class", "scorer", "lambda"],
)
def test_only_functions(thing: Any, words: str) -> None:
    """The decorator is for functions with a name."""
    with pytest.raises(UsageError, match=words):
        scorer(thing)


@pytest.mark.parametrize("name", ["a", "größe", "a b", "a/b", "v1.2:x-y_z", "答え", "x" * 250, "a..b"])
def test_usable_names(name: str) -> None:
    """Letters of any script, digits and a few marks, up to 250 characters."""
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name",
    ["", " ", " a", "a ", "/a", "a/", "a#b", "a?b", "../x", "a/../b", "a//b", ".", "..", "./a", "a\nb", "a\tb", "x" * 251, 'a"b', None, 3],
)
def test_unusable_names(name: object) -> None:
    """What a store or a tracking server could not take is refused here."""
    assert name_problem(name) is not None


def test_secrets_stay_out_of_repr() -> None:
    """A scorer's text shows neither inference parameters nor the workspace."""
    made = Correctness(inference_params={"api_key": "sk-secret"}, workspace="prod-profile")
    assert "secret" not in repr(made)
    assert "prod-profile" not in repr(made)
