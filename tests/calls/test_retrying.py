"""The retry loop, its permits, and what it accounts for."""

from __future__ import annotations

import threading
import time
from contextvars import copy_context
from dataclasses import dataclass, field

import pytest

from evalpoint.calls import Account, account, bind, bound, current_account, permits, retrying
from evalpoint.entities import Spent
from evalpoint.errors import Broken, CallError, CallTimeout, Rejected, Throttled
from evalpoint.settings import Settings


@dataclass
class Time:
    """A clock that only sleeping and working move."""

    now: float = 100.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def call(script: list[object], when: Time, took: float = 1.0, allowed: list[float] | None = None) -> object:
    def attempt(seconds: float) -> object:
        if allowed is not None:
            allowed.append(seconds)
        when.now += took
        step = script.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step

    return retrying(attempt, key="test", clock=when.clock, sleep=when.sleep, rng=lambda: 0.5)


def test_retries_until_an_answer() -> None:
    """Failures that may pass are repeated after growing waits; what is not latency of the good attempt is lost time."""
    when = Time()
    with account() as used:
        assert call([Broken("a"), Throttled("b", retry_after=5.0), "answer"], when) == "answer"
    assert when.slept == [0.25, 5.5]
    assert (used.attempts, used.retries, used.corrections) == (3, 2, 0)
    assert used.lost_seconds == pytest.approx(1 + 0.25 + 1 + 5.5)


def test_last_error_tells_how_often() -> None:
    """The last error comes out as it was raised, and says how often and how long it was tried, and why no more."""
    when, last = Time(), Broken("The server broke.", status=500)
    with bind(Settings(max_retries=2)), account() as used, pytest.raises(Broken) as caught:
        call([Broken("1"), Broken("2"), last], when)
    assert caught.value is last
    assert str(last) == "The server broke. It was tried 3 times in 3.8 s; the limit of retries, 2, is reached."
    assert (used.attempts, used.retries) == (3, 2)
    assert used.lost_seconds == pytest.approx(3.75)


def test_final_errors_are_not_repeated() -> None:
    """A refusal is sent once and its message stays as it is."""
    when = Time()
    with pytest.raises(Rejected, match=r"^no$"):
        call([Rejected("no")], when)
    assert when.slept == []


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt()], ids=["a bug", "Ctrl-C"])
def test_other_exceptions_pass(error: BaseException) -> None:
    """What is no CallError goes straight through, and its permit is given back."""
    with account() as used, pytest.raises(type(error)):
        call([error], Time())
    assert permits("test").in_flight == 0
    assert used.lost_seconds == pytest.approx(1)


def test_attempt_gets_what_is_left() -> None:
    """An attempt may take the attempt's limit, or what is left of the call's deadline."""
    allowed: list[float] = []
    with bind(Settings(attempt_timeout=6.0, call_timeout=10.0)):
        call([Broken("a"), "ok"], Time(), took=5.0, allowed=allowed)
    assert allowed == [6.0, pytest.approx(10 - 5 - 0.25)]


def test_settings_hold_inside_bind_only() -> None:
    """Outside `bind` the defaults hold; inside, threads that run in a copy of the context keep the bound ones."""
    assert bound() == Settings()
    with bind(Settings(max_retries=9)):
        seen: list[int] = []
        thread = threading.Thread(target=copy_context().run, args=(lambda: seen.append(bound().max_retries),))
        thread.start()
        thread.join()
        assert seen == [9]
    assert bound() == Settings()


def test_accounts_nest() -> None:
    """An inner account counts its own calls only, and they count in the outer one too."""
    assert current_account() is None
    with account() as outer:
        call(["x"], Time())
        with account() as inner:
            assert current_account() is inner
            call([Broken("a"), "y"], Time())
            inner.correct()
            inner.spend(Spent(calls=1, input_tokens=10, output_tokens=2, cost=0.5))
        outer.spend(Spent(calls=1, cost=0.25))
    assert current_account() is None
    assert (inner.attempts, inner.retries, inner.corrections, inner.spent.cost) == (2, 1, 1, 0.5)
    assert (outer.attempts, outer.retries, outer.corrections) == (3, 1, 1)
    assert outer.spent == Spent(calls=2, input_tokens=10, output_tokens=2, cost=0.75)


def test_accounts_are_thread_safe() -> None:
    """Two hundred threads lose no count."""
    outer = Account()
    inner = Account(outer)

    def work() -> None:
        for _ in range(100):
            inner.attempt()
            inner.spend(Spent(calls=1))

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inner.attempts == outer.attempts == inner.spent.calls == outer.spent.calls == 2000


def test_permits_are_shared_and_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One key has one set of permits; a limit holds calls back, who ends lets the next one in, and the wait counts as lost time."""
    monkeypatch.setattr("evalpoint.calls.permitting._GLANCE", 5.0)
    begun = time.monotonic()
    gate = permits("limited")
    assert permits("limited") is gate
    gate.limit = 2
    most, busy, lock = 0, 0, threading.Lock()

    def attempt(_: float) -> None:
        nonlocal most, busy
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.01)
        with lock:
            busy -= 1

    with account() as used:
        threads = [threading.Thread(target=copy_context().run, args=(lambda: retrying(attempt, key="limited"),)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    gate.limit = None
    assert most == 2
    assert time.monotonic() - begun < 4
    assert gate.in_flight == 0
    assert used.attempts == 8
    assert used.lost_seconds > 0.03


def test_no_permit_in_time() -> None:
    """A call that gets no permit before its deadline is not sent, and says why."""
    gate = permits("full")
    gate.limit = 1
    with gate.hold(1), bind(Settings(call_timeout=0.05)), account() as used, pytest.raises(CallTimeout, match="Nothing was sent: 1 calls"):
        retrying(lambda _: None, key="full")
    assert used.attempts == 0
    assert used.lost_seconds >= 0.05
    assert gate.in_flight == 0


def test_waiting_does_not_hold_a_permit() -> None:
    """Between attempts the permit is free for others."""
    in_flight: list[int] = []
    steps: list[CallError | None] = [Broken("a"), None]

    def attempt(_: float) -> None:
        step = steps.pop(0)
        if step:
            raise step

    retrying(attempt, key="free", sleep=lambda _: in_flight.append(permits("free").in_flight), rng=lambda: 0.1)
    assert in_flight == [0]


def test_raised_limit_lets_waiters_through() -> None:
    """A limit that is lifted wakes who waits for a permit."""
    gate = permits("lifted")
    gate.limit = 1
    done = threading.Event()

    def late() -> None:
        with gate.hold(10):
            done.set()

    with gate.hold(1):
        threading.Thread(target=late, daemon=True).start()
        assert not done.wait(0.05)
        gate.limit = None
        assert done.wait(0.4)


def test_a_limit_must_let_something_through() -> None:
    """A limit below one is refused."""
    with pytest.raises(ValueError, match="let no call through"):
        permits("none").limit = 0
