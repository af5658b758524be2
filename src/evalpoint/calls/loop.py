"""The one retry loop around every outgoing call of ours."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Generic, TypeVar

from tenacity import RetryCallState, Retrying

from evalpoint.calls.accounts import Account, current_account
from evalpoint.calls.binding import bound
from evalpoint.calls.decisions import GiveUp, Policy, decide
from evalpoint.calls.permitting import permits
from evalpoint.errors import CallError

__all__ = ["retrying"]

T = TypeVar("T")
_SHORTEST = 0.001
"""Seconds an attempt is given at least: sockets read 0 as "do not wait at all"."""


def retrying(
    attempt: Callable[[float], T],
    *,
    key: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    rng: Callable[[], float] = random.random,
    held: ExitStack | None = None,
) -> T:
    """Makes one call: waits for a permit, attempts, decides, waits, until an answer comes or the failure is final.

    Libraries that `attempt` uses must have their own retries off. The limits are those bound on this context.

    Args:
        attempt: One attempt; it gets the seconds that it may take. Only a `CallError` of a retryable class is tried again.
        key: Names the endpoint and the identity whose permits the call takes.
        clock: Monotonic seconds.
        sleep: Waits that many seconds.
        rng: Uniform numbers from 0 to below 1.
        held: Gets the permit of the attempt that succeeded, for a call that goes on after it; without, the permit is given back.

    Raises:
        CallError: The last attempt's, with the number of attempts in its message when there were several.
    """
    return _Call(attempt, key, clock, sleep, rng, held).run()


class _Call(Generic[T]):
    def __init__(
        self,
        attempt: Callable[[float], T],
        key: str,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        rng: Callable[[], float],
        held: ExitStack | None,
    ) -> None:
        limits = bound()
        self._attempt = attempt
        self._permits = permits(key)
        self._clock = clock
        self._sleep = sleep
        self._rng = rng
        self._held = held
        self._policy = Policy(max_retries=limits.max_retries)
        self._attempt_timeout = limits.attempt_timeout
        self._began = clock()
        self._deadline = self._began + limits.call_timeout
        self._wait = 0.0
        self._account = current_account() or Account()

    def run(self) -> T:
        # `_again` decides, so tenacity's own rules for stopping stay at "never", and an error that is final comes out as it is.
        return Retrying(retry=self._again, wait=lambda _: self._wait, sleep=self._pause)(self._once)

    def _once(self) -> T:
        asked = self._clock()
        try:
            with ExitStack() as permit:
                permit.enter_context(self._permits.hold(self._deadline - asked, self._clock))
                begun = self._clock()
                self._account.attempt()
                answer = self._attempt(max(_SHORTEST, min(self._attempt_timeout, self._deadline - begun)))
                if self._held is not None:
                    self._held.push(permit.pop_all())
        except BaseException:
            self._account.lose(self._clock() - asked)
            raise
        self._account.lose(begun - asked)
        return answer

    def _again(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, CallError):
            return False
        number = state.attempt_number
        decision = decide(number, error, policy=self._policy, remaining=self._deadline - self._clock(), rng=self._rng)
        if isinstance(decision, GiveUp):
            if number > 1:
                error.args = (f"{error} It was tried {number} times in {self._clock() - self._began:.1f} s; {decision.reason}.",)
            return False
        self._wait = decision.seconds
        self._account.retry()
        return True

    def _pause(self, seconds: float) -> None:
        begun = self._clock()
        try:
            self._sleep(seconds)
        finally:
            self._account.lose(self._clock() - begun)
