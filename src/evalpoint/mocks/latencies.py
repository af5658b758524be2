"""How long calls take: a number of seconds, or a distribution that a seed makes the same every time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from evalpoint.errors import ConfigurationError
from evalpoint.mocks.exchange import RecordedRequest

__all__ = ["Distribution", "Latency", "drawn", "fixed", "lognormal", "seconds", "uniform"]

Latency = float | Callable[[RecordedRequest], float]
"""Seconds, a distribution, or a function of the request that gives seconds."""


@dataclass(slots=True)
class Distribution:
    """Seconds drawn anew for each call, in the order of the calls."""

    draw: Callable[[random.Random], float]
    rng: random.Random

    def __call__(self, request: RecordedRequest) -> float:
        return max(self.draw(self.rng), 0.0)


def drawn(draw: Callable[[random.Random], float], *, seed: int = 0) -> Distribution:
    """Seconds that a function of yours draws from the random numbers it is given."""
    return Distribution(draw, random.Random(seed))  # noqa: S311 - latencies of a mock guard nothing


def fixed(time: float) -> Distribution:
    """Always the same."""
    return drawn(lambda rng: time)


def uniform(low: float, high: float, *, seed: int = 0) -> Distribution:
    """Anything between two times, each as likely as the other."""
    if not 0 <= low <= high:
        raise ConfigurationError(f"uniform({low}, {high}) is no range of seconds; give the smaller one first, at least 0.")
    return drawn(lambda rng: rng.uniform(low, high), seed=seed)


def lognormal(median: float, p95: float, *, seed: int = 0, most: float = math.inf) -> Distribution:
    """What services do: most calls near the median, a few that take much longer.

    Args:
        median: Half of the calls are faster.
        p95: One in twenty is slower.
        seed: Decides the numbers.
        most: No call takes longer, so that a test ends.
    """
    if not 0 < median <= p95:
        raise ConfigurationError(f"lognormal({median}, {p95}) cannot be: the median is more than 0, and p95 is not below it.")
    sigma = math.log(p95 / median) / 1.6448536269514722
    return drawn(lambda rng: min(rng.lognormvariate(math.log(median), sigma), most), seed=seed)


def seconds(latency: Latency, request: RecordedRequest) -> float:
    """How long this call takes."""
    return latency(request) if callable(latency) else latency
