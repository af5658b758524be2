"""Arithmetic over scores, and numbers shown so that they never lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["AGGREGATIONS", "Aggregation", "aggregate", "as_number", "exact", "interval", "percent", "shown"]

Aggregation = str | Callable[[list[float]], float]
"""One of the six names, or a function of the user's own, whose `__name__` is the metric's."""


def as_number(value: Any) -> float | None:
    """What a value counts in a mean: True and "yes" 1, False and "no" 0, a number itself; None for everything else."""
    if isinstance(value, str):
        return {"yes": 1.0, "no": 0.0}.get(value.strip().lower())
    if not isinstance(value, (bool, int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return number if math.isfinite(number) else None


def aggregate(values: Sequence[float], how: Aggregation) -> float | None:
    """One figure of finite values; None over nothing, and where the figure itself is not finite."""
    if not len(values):
        return None
    figure = float(AGGREGATIONS[how](values) if isinstance(how, str) else how(list(values)))
    return figure if math.isfinite(figure) else None


def _mean(values: Sequence[float]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)


def _variance(values: Sequence[float]) -> float:
    """Of the population, as `numpy.var`: the mean squared distance from the mean."""
    mean = _mean(values)
    try:
        return _mean([(value - mean) * (value - mean) for value in values])
    except OverflowError:
        return math.inf


def _percentile(values: Sequence[float], share: float) -> float:
    """Linear between the two nearest ranks, as numpy's default and with its rounding."""
    ordered = sorted(values)
    rank = share * (len(ordered) - 1)
    below = math.floor(rank)
    low, high, part = ordered[below], ordered[min(below + 1, len(ordered) - 1)], rank - below
    return high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part


AGGREGATIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": _mean,
    "min": min,
    "max": max,
    "median": lambda values: _percentile(values, 0.5),
    "variance": _variance,
    "p90": lambda values: _percentile(values, 0.9),
}
"""The names that a scorer may give, as in MLflow."""

_Z = 1.959963984540054  # the normal distribution's 97.5 % point


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean; None where there is too little for one.

    For values that are all 0 or 1, Wilson's score interval (Wilson 1927); otherwise mean ± t·s/√n, with Student's t.
    It takes the rows as independent: repeats of one row make it look narrower than it is.
    """
    count = len(values)
    if count and all(value in (0.0, 1.0) for value in values):
        share, spread = _mean(values), _Z * _Z / count
        middle = (share + spread / 2) / (1 + spread)
        half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
        return max(0.0, middle - half), min(1.0, middle + half)
    if count < 2:
        return None
    mean = _mean(values)
    half = _student(count - 1) * math.sqrt(_variance(values) / (count - 1))
    return (mean - half, mean + half) if math.isfinite(half) else None


def _student(freedom: int) -> float:
    """Student's t at 97.5 %: exact for one and two degrees of freedom, else Abramowitz and Stegun 26.7.5."""
    if freedom <= 2:
        return (12.706204736432095, 4.302652729911275)[freedom - 1]
    z, n = _Z, freedom
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / n + second / n**2 + third / n**3 + fourth / n**4


def shown(value: float, *against: float) -> str:
    """The value with two decimals, and more where it would look like 0, 1 or one of `against` without being it."""
    value += 0.0  # a negative zero is zero
    for digits in range(2, 17):
        text = f"{value:.{digits}f}"
        rounded = float(text)
        if all((rounded < other) == (value < other) and (rounded > other) == (value > other) for other in (0.0, 1.0, *against)):
            return text
    return repr(value)


def exact(value: float) -> str:
    """A number that somebody wrote, as they wrote it, with two decimals at least."""
    return next((text for digits in range(2, 17) if float(text := f"{value:.{digits}f}") == value), repr(value))


def percent(part: int, whole: int) -> str:
    """A share as text: "–" of nothing, and 0 % and 100 % only when none and all."""
    if not whole:
        return "–"
    if part in (0, whole):
        return "100 %" if part else "0 %"
    share = 100 * part / whole
    return f"{min(max(share, 0.1), 99.9):.1f} %" if share < 1 or share > 99 else f"{share:.0f} %"
