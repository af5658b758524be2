"""Whether a failed attempt is repeated, and when: decided purely; `loop` acts on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evalpoint.errors import CallError

__all__ = ["GiveUp", "Policy", "RetryAfter", "decide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How often and how patiently a call is tried again. Times are seconds."""

    max_retries: int = 3
    first_wait: float = 0.5
    """The longest wait before the first retry; it doubles with each further one."""
    longest_wait: float = 30.0


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Try again after this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The failure is final; `reason` completes the sentence "given up because …"."""

    reason: str


def decide(attempt: int, error: CallError, *, policy: Policy, remaining: float, rng: Callable[[], float]) -> RetryAfter | GiveUp:
    """What follows a failed attempt.

    Waits grow exponentially with full jitter: uniform between 0 and `first_wait * 2 ** (attempt - 1)`, so that callers that failed
    together do not return together. What a server asked for in Retry-After is waited in full, and the jitter on top.

    Args:
        attempt: The number of the attempt that failed, from 1.
        error: How it failed.
        policy: The limits.
        remaining: Seconds until the call's deadline.
        rng: Uniform numbers from 0 to below 1.
    """
    if not error.retryable:
        return GiveUp("the same call would fail again")
    if attempt > policy.max_retries:
        return GiveUp("no retries are allowed" if policy.max_retries == 0 else f"the limit of retries, {policy.max_retries}, is reached")
    doubled = policy.first_wait * 2.0 ** min(attempt - 1, 60)
    seconds = (error.retry_after or 0.0) + rng() * min(policy.longest_wait, doubled)
    if seconds >= remaining:
        asked = "" if error.retry_after is None else f" (the server asked for {error.retry_after:g} s)"
        return GiveUp(f"the next attempt{asked} would begin after the call's deadline")
    return RetryAfter(seconds)
