"""The scorers that people import: `@scorer` and `Scorer` for their own, `Correctness` and `Guidelines` for a model's judgement."""

from evalpoint.scorers.base import Scorer
from evalpoint.scorers.checking import check_scorers
from evalpoint.scorers.decorating import scorer
from evalpoint.scorers.judging import Correctness, Guidelines

__all__ = ["Correctness", "Guidelines", "Scorer", "check_scorers", "scorer"]
