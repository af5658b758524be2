"""Whether a failed attempt is repeated, and when."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint import errors
from evalpoint.calls import GiveUp, Policy, RetryAfter, decide
from evalpoint.errors import AccessDenied, Broken, CallError, CallTimeout, Rejected, Throttled, Unreachable, UnusableReply

POLICY = Policy(max_retries=3, first_wait=1.0, longest_wait=8.0)
CALL_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CallError)]


def half() -> float:
    return 0.5


@pytest.mark.parametrize(
    ("attempt", "error", "remaining", "expected"),
    [
        pytest.param(1, Unreachable("x"), 60, RetryAfter(0.5), id="unreachable: half of the first wait"),
        pytest.param(2, Broken("x"), 60, RetryAfter(1.0), id="broken: doubled"),
        pytest.param(3, Throttled("x"), 60, RetryAfter(2.0), id="throttled: doubled again"),
        pytest.param(4, Throttled("x"), 60, GiveUp("the limit of retries, 3, is reached"), id="no retries left"),
        pytest.param(1, Throttled("x", retry_after=7.0), 60, RetryAfter(7.5), id="Retry-After in full, jitter on top"),
        pytest.param(1, Throttled("x", retry_after=0.0), 60, RetryAfter(0.5), id="Retry-After of nothing"),
        pytest.param(
            1,
            Throttled("x", retry_after=90.0),
            60,
            GiveUp("the next attempt (the server asked for 90 s) would begin after the call's deadline"),
            id="Retry-After past the deadline",
        ),
        pytest.param(3, Broken("x"), 2.0, GiveUp("the next attempt would begin after the call's deadline"), id="wait past the deadline"),
        pytest.param(1, Broken("x"), -1.0, GiveUp("the next attempt would begin after the call's deadline"), id="deadline passed"),
    ],
)
def test_table(attempt: int, error: CallError, remaining: float, expected: object) -> None:
    """Waits double with jitter, Retry-After is honoured, and nothing begins after the deadline."""
    assert decide(attempt, error, policy=POLICY, remaining=remaining, rng=half) == expected


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_only_retryable_classes(kind: type[CallError]) -> None:
    """The class alone says whether a failure may pass: throttled, unreachable and broken."""
    decision = decide(1, kind("x"), policy=POLICY, remaining=60, rng=half)
    assert isinstance(decision, RetryAfter) == kind.retryable == (kind in (Throttled, Unreachable, Broken))


@pytest.mark.parametrize("kind", [AccessDenied, CallTimeout, Rejected, UnusableReply])
def test_retry_after_does_not_make_retryable(kind: type[CallError]) -> None:
    """A Retry-After on a failure that is final changes nothing."""
    assert isinstance(decide(1, kind("x", retry_after=0.1), policy=POLICY, remaining=60, rng=half), GiveUp)


def test_no_retries_at_all() -> None:
    """`max_retries=0` gives up at once and says so."""
    assert decide(1, Broken("x"), policy=Policy(max_retries=0), remaining=60, rng=half) == GiveUp("no retries are allowed")


@settings(max_examples=100, deadline=None)
@given(
    attempt=st.integers(1, 10_000),
    retry_after=st.none() | st.floats(0, 1000),
    remaining=st.floats(-10, 1000),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_wait_is_bounded(attempt: int, retry_after: float | None, remaining: float, chance: float) -> None:
    """A wait is at least what the server asked for, at most that plus the longest wait, and ends before the deadline."""
    policy = Policy(max_retries=10_000)
    decision = decide(attempt, Throttled("x", retry_after=retry_after), policy=policy, remaining=remaining, rng=lambda: chance)
    if isinstance(decision, RetryAfter):
        assert (retry_after or 0) <= decision.seconds <= (retry_after or 0) + policy.longest_wait
        assert decision.seconds < remaining
    else:
        assert (retry_after or 0) + policy.longest_wait >= remaining
