"""`Scorer`: what every scorer is, from a decorated function to a judge. Mistakes show when it is declared, not after money is spent."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from evalpoint.entities import AssessmentSource, AssessmentSourceType, Row, ScorerSpec, Verdict
from evalpoint.errors import UsageError
from evalpoint.formats import copy_plain, text_of
from evalpoint.protocols import Grader, Subject
from evalpoint.scorers.names import name_problem
from evalpoint.scorers.signatures import did_you_mean, wanted_parts
from evalpoint.scorers.standardising import verdict_of
from evalpoint.settings import Settings

__all__ = ["AGGREGATIONS", "Aggregation", "Scorer"]

AGGREGATIONS = ("min", "max", "mean", "median", "variance", "p90")
Aggregation: TypeAlias = str | Callable[[list[float]], float]


class Scorer(BaseModel):
    """Grades one answered row. Subclass it, declare arguments as fields, and write `__call__` with the parts of a row that it needs.

    `__call__` names any of `inputs`, `outputs`, `expectations`, `trace` and `text` (the answer's text) as keyword parameters.
    It may be async. It returns a number, a bool, a string, `Feedback`, a list of `Feedback`, or None to skip the row.

    Args:
        name: What is graded; metrics are called `<name>/<aggregation>`.
        description: For people.
        aggregations: Names among min, max, mean, median, variance and p90, or functions from floats to a float; None for the mean.
        pass_if: Says of a value whether it passes.
        threshold: The least mean with which a run passes.
        timeout: Seconds for one row; None for the default, 0 for no limit.

    Raises:
        UsageError: An argument is unknown or not what it should be.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    name: str
    description: str | None = None
    aggregations: Sequence[Aggregation] | None = None
    pass_if: Callable[[Any], Any] | None = Field(default=None, repr=False)
    threshold: float | None = Field(default=None, strict=True)
    timeout: float | None = Field(default=None, strict=True)

    _wanted: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **arguments: Any) -> None:
        kind = type(self)
        known = [name for name in kind.model_fields if name != "function"]
        unknown = [name for name in arguments if name not in kind.model_fields]
        if unknown and kind.model_config.get("extra") == "forbid":
            raise UsageError("; ".join(f"{kind.__name__} has no argument {word!r}{did_you_mean(word, known)}" for word in unknown))
        try:
            super().__init__(**arguments)
        except ValidationError as error:
            raise UsageError(_sentences(kind.__name__, error)) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "__call__" in cls.__dict__:
            cls._wanted = wanted_parts(cls.__dict__["__call__"], f"scorer class {cls.__name__}", skip=1)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        problem = name_problem(name)
        if problem:
            raise ValueError(f"{name[:100]!r} {problem}")
        return name

    @field_validator("aggregations", mode="before")
    @classmethod
    def _check_aggregations(cls, given: Any) -> tuple[Any, ...] | None:
        if given is None:
            return None
        if not isinstance(given, (list, tuple)):
            raise ValueError(f"{given!r:.100} should be a list, such as ['mean', 'p90']")
        names = [_aggregation_name(item) for item in given]  # pyright: ignore[reportUnknownVariableType] - the user's list, checked one by one
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(map(repr, twice))} is there twice")
        return tuple(given)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - checked above

    @field_validator("pass_if")
    @classmethod
    def _check_pass_if(cls, given: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
        if inspect.iscoroutinefunction(given):
            raise ValueError("should be an ordinary function, not an async one")
        return given

    @field_validator("threshold")
    @classmethod
    def _check_threshold(cls, given: float | None) -> float | None:
        if given is not None and not math.isfinite(given):
            raise ValueError(f"{given} should be a finite number")
        return given

    @field_validator("timeout")
    @classmethod
    def _check_timeout(cls, given: float | None) -> float | None:
        if given is not None and not (math.isfinite(given) and given >= 0):
            raise ValueError(f"{given} should be 0 (no limit) or more seconds")
        return given

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Grades directly, as in a unit test: the raw answer comes back."""
        raise NotImplementedError(
            f"{type(self).__name__} has no __call__: write one that names any of inputs, outputs, expectations, trace, text"
        )

    def ask(self, subject: Subject) -> Any:
        """The raw answer about one row, or an awaitable of it. It is given copies, so that what it changes stays its own."""
        parts: Mapping[str, Callable[[], Any]] = {
            "inputs": lambda: copy_plain(dict(subject.inputs)),
            "outputs": lambda: copy_plain(subject.outputs),
            "expectations": lambda: copy_plain(dict(subject.expectations)),
            "trace": lambda: subject.trace,
            "text": lambda: text_of(subject.outputs),
        }
        return self(**{part: parts[part]() for part in self.wanted()})

    def wanted(self) -> tuple[str, ...]:
        """The parts of a row that this scorer names."""
        return type(self)._wanted

    def verdict(self, answer: Any) -> Verdict:
        """The answer as checked feedback.

        Raises:
            ScorerError: The answer is no score.
        """
        return verdict_of(answer, self.name, self.pass_if)

    def prepare(self, settings: Settings, environ: Mapping[str, str] | None = None) -> Grader:
        """The scorer ready to grade. Called once, on the main thread, before anything is spent; judges open their model here.

        Args:
            settings: Of the evaluation.
            environ: The environment; the process's own by default.
        """
        return self

    def missing(self, row: Row) -> str | None:
        """Why this scorer cannot grade this row, as a sentence; None when it can. Such a row is skipped."""
        return None

    @property
    def source(self) -> AssessmentSource:
        """Whose verdict it is."""
        return AssessmentSource(AssessmentSourceType.CODE, self.name)

    def problem(self, row: Row) -> str | None:
        """What is wrong with the row in this scorer's eyes, as a sentence: a mistake that is told before anything is spent."""
        return None

    def spec(self) -> ScorerSpec:
        """What of the scorer is needed to read its results without it."""
        chosen = ("mean",) if self.aggregations is None else self.aggregations
        return ScorerSpec(
            name=self.name,
            aggregations=tuple(item if isinstance(item, str) else item.__name__ for item in chosen),
            threshold=self.threshold,
            has_pass_if=self.pass_if is not None,
        )


def _aggregation_name(item: Any) -> str:
    """The name under which an aggregation appears in metrics; it must be usable as one."""
    if isinstance(item, str):
        if item not in AGGREGATIONS:
            raise ValueError(
                f"{item!r} is none of {', '.join(AGGREGATIONS)}{did_you_mean(item, AGGREGATIONS, {'average': 'mean', 'avg': 'mean'})}"
            )
        return item
    if not callable(item):
        raise ValueError(f"{item!r:.100} should be one of {', '.join(AGGREGATIONS)}, or a function from a list of floats to a float")
    name: Any = getattr(item, "__name__", None)
    if name == "<lambda>":
        raise ValueError("a lambda has no name for its metric; write a function with def")
    if name is None or name_problem(name):
        raise ValueError(f"the function {item!r:.100} has no usable name for its metric; write a function with def")
    if inspect.iscoroutinefunction(item):
        raise ValueError(f"{name!r} should be an ordinary function, not an async one")
    return str(name)


def _sentences(kind: str, error: ValidationError) -> str:
    """pydantic's findings as ours."""
    lines: list[str] = []
    for finding in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in finding["loc"])
        said = finding["msg"].removeprefix("Value error, ")
        lines.append(f"{kind} needs {where!r}" if finding["type"] == "missing" else f"{kind}({where}=…): {said}")
    return "; ".join(dict.fromkeys(lines))
