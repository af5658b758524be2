"""`@scorer`: a function as a scorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

from pydantic import Field, PrivateAttr

from evalpoint.errors import UsageError
from evalpoint.scorers.base import Aggregation, Scorer
from evalpoint.scorers.signatures import wanted_parts

__all__ = ["FunctionScorer", "scorer"]


class FunctionScorer(Scorer):
    """A decorated function. Calling it calls the function."""

    function: Callable[..., Any] = Field(repr=False)
    _parts: tuple[str, ...] = PrivateAttr(default=())

    def model_post_init(self, context: Any, /) -> None:
        """Reads what the function asks for, once."""
        self._parts = wanted_parts(self.function, f"scorer {self.name!r}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def wanted(self) -> tuple[str, ...]:
        """The parts of a row that the function names."""
        return self._parts


@overload
def scorer(function: Callable[..., Any], /) -> Scorer: ...


@overload
def scorer(
    *,
    name: str | None = None,
    description: str | None = None,
    aggregations: Sequence[Aggregation] | None = None,
    pass_if: Callable[[Any], Any] | None = None,
    threshold: float | None = None,
    timeout: float | None = None,
) -> Callable[[Callable[..., Any]], Scorer]: ...


def scorer(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    aggregations: Sequence[Aggregation] | None = None,
    pass_if: Callable[[Any], Any] | None = None,
    threshold: float | None = None,
    timeout: float | None = None,
) -> Scorer | Callable[[Callable[..., Any]], Scorer]:
    """Makes a scorer of a function, as `@scorer` or as `@scorer(name="short", aggregations=["mean", "p90"])`.

    The function names any of `inputs`, `outputs`, `expectations`, `trace` and `text` as parameters, and may be async.
    Calling the scorer calls the function.

    Args:
        function: The function.
        name: The function's own name by default.
        description: The first line of the function's docstring by default.
        aggregations: See `Scorer`, as for the arguments below.
        pass_if: Says of a value whether it passes.
        threshold: The least mean with which a run passes.
        timeout: Seconds for one row.

    Raises:
        UsageError: The function names something that a row does not have, or an argument is not what it should be.
    """

    def declare(decorated: Any) -> Scorer:
        if isinstance(decorated, Scorer):
            raise UsageError(f"{decorated.name!r} is a scorer already; @scorer is for functions")
        if isinstance(decorated, type) or not callable(decorated):
            raise UsageError(f"@scorer is for functions, not for {decorated!r:.100}; options have names, as in @scorer(name='short')")
        own_name = getattr(decorated, "__name__", type(decorated).__name__)
        if name is None and own_name == "<lambda>":
            raise UsageError("a lambda has no name; write scorer(name='…')(lambda outputs: …)")
        documentation = (getattr(decorated, "__doc__", None) or "").strip()
        return FunctionScorer(
            name=own_name if name is None else name,
            description=description if description is not None else (documentation.splitlines()[0] if documentation else None),
            aggregations=aggregations,
            pass_if=pass_if,
            threshold=threshold,
            timeout=timeout,
            function=decorated,
        )

    return declare if function is None else declare(function)
