"""A list of scorers is checked as a whole, and every mistake in it is named with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from evalpoint.errors import UsageError
from evalpoint.scorers import Correctness, Guidelines, check_scorers, scorer


def plain(outputs: Any) -> bool:
    return True


def foreign(name: str, module: str) -> type:
    """A class that seems to come from another library."""
    return type(name, (), {"__module__": module, "__call__": lambda self: None})


def test_good() -> None:
    """Scorers come back in the order given; none at all is fine."""
    scorers = [Correctness(), Guidelines(name="tone", guidelines="Be kind."), scorer(plain)]
    assert check_scorers(scorers) == scorers
    assert check_scorers(tuple(scorers)) == scorers
    assert check_scorers([]) == []


@pytest.mark.parametrize(
    ("scorers", "words"),
    [
        (None, "it is None. To predict without grading, pass an empty list"),
        (Correctness(), "put the scorer into one: [Correctness(...)]"),
        ("correctness", "it is the text 'correctness'"),
        (plain, "it is the plain function 'plain'; decorate it with @scorer"),
        ({"a": 1}, "it is a dict"),
        (iter([]), "it is a list_iterator"),
        ([plain], "scorers[0] is the plain function 'plain'; decorate it with @scorer"),
        ([lambda outputs: 1], "is the plain function '<lambda>'"),
        ([len], "is the plain function 'len'"),
        ([Correctness], "scorers[0] is the class Correctness; make an object of it: Correctness(...)"),
        ([[Correctness()]], "scorers[0] is a list; unpack it with a star"),
        (["Be polite."], "pass a scorer object, such as Guidelines(guidelines='Be polite.')"),
        ([Correctness(), None], "scorers[1] is None"),
        ([3], "scorers[0] is an int; pass a scorer object"),
        ([int], "is the class int, which is no Scorer"),
        ([Correctness(), Correctness()], "2 scorers are called 'correctness'; give each a name of its own"),
        ([foreign("Correctness", "mlflow.genai.scorers.builtin_scorers")()], "is MLflow's Correctness; use evalpoint.scorers.Correctness"),
        ([foreign("Correctness", "mlflow.genai.scorers")], "is MLflow's Correctness; use evalpoint.scorers.Correctness"),
        ([foreign("CustomScorer", "mlflow.genai.scorers.base")()], "is MLflow's CustomScorer; decorate its function with"),
        ([foreign("EvaluationMetric", "mlflow.metrics.base")()], "a metric of MLflow 2; use a built-in scorer (Correctness, Guidelines)"),
        ([foreign("Thing", "acme")()], "is a callable Thing and no Scorer"),
    ],
)
def test_mistakes(scorers: object, words: str) -> None:
    """Each mistake has its sentence."""
    with pytest.raises(UsageError) as refused:
        check_scorers(scorers)
    assert words in str(refused.value)


def test_all_at_once() -> None:
    """Nothing is hidden behind the first mistake."""
    with pytest.raises(UsageError) as refused:
        check_scorers([plain, Correctness(), None, Correctness, Correctness()])
    said = str(refused.value)
    assert [part in said for part in ("scorers[0]", "scorers[2]", "scorers[3]", "2 scorers are called 'correctness'")] == [True] * 4
