"""One pass over the data of an evaluation: rows for the store, and everything that is wrong with them for the caller."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalpoint.datasets import RunningDigest, call_checker, read
from evalpoint.endpoints import EndpointFunction
from evalpoint.entities import Row
from evalpoint.errors import DataError, Problem
from evalpoint.scorers import Scorer

__all__ = ["Intake"]


def _call_check(predict_fn: Callable[..., Any]) -> Callable[[Row], Problem | None]:
    """Whether a row's inputs can be given to the function: by binding, or, for an endpoint, by making the payload."""
    if not isinstance(predict_fn, EndpointFunction):
        return call_checker(predict_fn)

    def check(row: Row) -> Problem | None:
        why = predict_fn.check(row.inputs)
        return Problem(row=row.key.row, message=why) if why else None

    return check


@dataclass(slots=True, kw_only=True)
class Intake:
    """Reads once: first all of `rows()`, then `check()`."""

    data: object
    predict_fn: Callable[..., Any] | None
    repeats: int
    scorers: Sequence[Scorer]
    digest: RunningDigest = field(default_factory=RunningDigest)
    """Of the rows read so far."""
    problems: list[Problem] = field(default_factory=list[Problem])
    count: int = 0
    rows_seen: int = 0
    missing: dict[str, int] = field(default_factory=dict[str, int])
    """Per scorer, the rows that it cannot grade."""
    reasons: dict[str, str] = field(default_factory=dict[str, str])

    def rows(self) -> Generator[Row]:
        predict_fn = self.predict_fn
        check = _call_check(predict_fn) if predict_fn is not None else None
        for item in read(self.data, predicting=predict_fn is not None, repeats=self.repeats):
            if isinstance(item, Problem):
                self._note(item)
                continue
            problem = check(item) if item.key.repeat == 0 and check is not None else None
            told = [problem] if problem is not None else []
            if item.key.repeat == 0:
                told += [Problem(row=item.key.row, message=why) for why in self._scorers_problems(item)]
            for mistake in told:
                self._note(mistake)
            if not self.count:
                self._count_missing(item)
                self.digest.add(item)
                yield item

    def _scorers_problems(self, row: Row) -> list[str]:
        """What is wrong with the row in a scorer's eyes; told once where several say the same."""
        found = (scorer.problem(row) for scorer in self.scorers)
        return list(dict.fromkeys(why for why in found if why is not None))

    def _count_missing(self, row: Row) -> None:
        self.rows_seen += 1
        for scorer in self.scorers:
            why = scorer.missing(row)
            if why is not None:
                self.missing[scorer.name] = self.missing.get(scorer.name, 0) + 1
                self.reasons[scorer.name] = why

    def _note(self, problem: Problem) -> None:
        self.count += 1
        if len(self.problems) < DataError.LISTED:
            self.problems.append(problem)

    def check(self) -> None:
        """Raises what is wrong with the data as a whole, everything at once."""
        for name, count in self.missing.items():
            if count == self.rows_seen and not self.count:
                self._note(Problem(message=f"scorer {name!r} can grade none of the rows: {self.reasons[name]}"))
        if not self.rows_seen and not self.count:
            self._note(Problem(message="there are no rows"))
        if self.count:
            raise DataError(self.problems, self.count)
