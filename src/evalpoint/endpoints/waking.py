"""Endpoints that are not ready or asleep: waiting for them, with a deadline, so that no row's latency has the wait in it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from evalpoint.calls import Account, bind, bound, current_account
from evalpoint.endpoints.answers import Answer
from evalpoint.endpoints.description import Description, must_answer
from evalpoint.errors import CallError, CallTimeout, ConfigurationError, Throttled, UsageError

__all__ = ["FirstCall", "Patience", "until_ready"]

_log = logging.getLogger("evalpoint.endpoints")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_BEGUN = 200
"""The status of an error inside a stream: what has begun to answer is awake, and is not asked again."""
_AGAIN = 60.0
"""Seconds after which a wait is mentioned once more."""


def _say(sentence: str) -> None:
    """One line on standard error, where nobody has configured logging otherwise."""
    _log.warning("%s", sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long something that will answer soon is waited for, and who is told. Times are seconds."""

    wait: float = 600.0
    """0 waits for nothing."""
    slow: float = 5.0
    """A first call that takes longer was a cold start."""
    tell: Callable[[str], None] = _say
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def poll(self, missing: Callable[[], str | None], *, what: str) -> None:
        """Asks until nothing is missing any more.

        Args:
            missing: What is missing, as in "is being updated"; None when it is ready.
            what: What is waited for.

        Raises:
            ConfigurationError: It was not ready in time.
        """
        begun = mentioned = self.clock()
        doing = missing()
        if doing is None:
            return
        self.tell(f"{what} {doing}; waiting up to {self.wait:.0f} s until it is ready.")
        pause = _FIRST_PAUSE
        while doing is not None:
            now = self.clock()
            left = begun + self.wait - now
            if left <= 0:
                raise ConfigurationError(
                    f"{what} was not ready within {self.wait:.0f} s: it {doing}. Run again later, or wait longer (wait=)."
                )
            if now - mentioned >= _AGAIN:
                mentioned = now
                self.tell(f"{what} still {doing}, after {now - begun:.0f} s.")
            self.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            doing = missing()
        self.tell(f"{what} was ready after {self.clock() - begun:.0f} s.")


def until_ready(description: Description, describe: Callable[[], Description], host: str, patience: Patience) -> Description:
    """The description of the endpoint when it is ready.

    Args:
        description: The one at hand.
        describe: Gets another.
        host: The workspace.
        patience: For how long.

    Raises:
        ConfigurationError: It cannot become ready, or was not in time.
    """
    if description.ready or description.failure or patience.wait <= 0:
        must_answer(description, host)
        return description
    latest = description

    def missing() -> str | None:
        nonlocal latest
        with suppress(CallError):  # a description that is missed once comes with the next
            latest = describe()
        if latest.ready:
            return None
        if latest.failure:
            must_answer(latest, host)
        return "is being updated" if latest.updating else "is starting or stopped"

    patience.poll(missing, what=f"Endpoint {description.name!r} in workspace {host}")
    return latest


class FirstCall:
    """The first call of an endpoint that scales to zero: while it is under way, all others wait for it.

    Where the endpoint was asleep, this call has woken it up, and its latency says nothing about the endpoint: the request is sent once
    more, and that answer counts. An endpoint was asleep when its description said so, when it refused the call because it starts (503,
    timeouts; then the call is repeated until the deadline), or when the call took longer than `patience.slow`.
    An endpoint that is awake gets no call more than it has rows.
    """

    def __init__(self, title: str, *, asleep: bool, patience: Patience) -> None:
        self._title = title
        self._asleep = asleep
        self._patience = patience
        self._lock = threading.Lock()
        self._over = False

    def ask(self, ask: Callable[[], Answer]) -> Answer:
        """The answer to this request; the first request wakes the endpoint up.

        Raises:
            CallError: No usable answer, or none before the deadline.
        """
        if self._over:
            return ask()
        begun = self._patience.clock()
        with self._lock:
            _account().lose(self._patience.clock() - begun)
            if not self._over:
                try:
                    answer = self._first(ask)
                except UsageError:
                    raise  # nothing was sent: the next request is the first
                except BaseException:
                    self._over = True  # it has answered, or will not: the others have their own retries
                    raise
                self._over = True
                return answer
        return ask()

    def _first(self, ask: Callable[[], Answer]) -> Answer:
        patience = self._patience
        begun = patience.clock()
        if self._asleep:
            patience.tell(f"{self._title} is scaled to zero; the first call waits until it has started.")
        reminder = threading.Timer(
            patience.slow,
            patience.tell,
            [f"{self._title} has not answered for {patience.slow:g} s; it may be starting (it scales to zero)."],
        )
        reminder.daemon = True
        if not self._asleep:
            reminder.start()
        try:
            answer, refused = self._until_answered(ask, begun + patience.wait)
        finally:
            reminder.cancel()
        if not self._asleep and not refused and answer.latency_ms < patience.slow * 1000:
            return answer
        took = patience.clock() - begun
        patience.tell(f"{self._title} has woken up after {took:.1f} s; no latency has this in it.")
        _account().lose(answer.latency_ms / 1000)
        return replace(ask(), warm_up_ms=took * 1000)

    def _until_answered(self, ask: Callable[[], Answer], deadline: float) -> tuple[Answer, int]:
        """The answer, and how often the endpoint was not there yet. Whatever else may pass has the usual retries."""
        patience = self._patience
        pause, refused = _FIRST_PAUSE, 0
        while True:
            try:
                with bind(replace(bound(), max_retries=0)):
                    return ask(), refused
            except (Throttled, CallTimeout) as error:
                left = deadline - patience.clock()
                if error.status == _BEGUN:
                    raise
                if error.status == 429:
                    return ask(), refused
                if left <= 0:
                    raise
                refused += 1
                if refused == 1 and not self._asleep:
                    patience.tell(f"{self._title} does not answer yet ({error.status or 'timeout'}); waiting up to {left:.0f} s.")
                seconds = min(pause, left)
                _account().lose(seconds)
                patience.sleep(seconds)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            except CallError as error:
                if not error.retryable or error.status == _BEGUN:
                    raise
                return ask(), refused


def _account() -> Account:
    return current_account() or Account()
