"""Waking up: endpoints that are not ready, and endpoints that scale to zero."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from evalpoint.calls import account, bind, bound
from evalpoint.endpoints import connect
from evalpoint.endpoints.answers import Answer
from evalpoint.endpoints.waking import FirstCall, Patience
from evalpoint.errors import Broken, CallTimeout, ConfigurationError, Rejected, Throttled, UsageError
from evalpoint.settings import Settings

MESSAGES = {"messages": [{"role": "user", "content": "Why?"}]}
CHAT = {"choices": [{"message": {"role": "assistant", "content": "Because."}}]}
DESCRIBED = "/api/2.0/serving-endpoints/bot"
BOT = "/serving-endpoints/bot/invocations"


def description(ready: str = "READY", update: str = "NOT_UPDATING", *, sleeps: bool = False, message: str = "") -> dict[str, Any]:
    entity = {"name": "bot-1", "scale_to_zero_enabled": sleeps, "state": {"deployment_state_message": message}}
    return {
        "name": "bot",
        "task": "llm/v1/chat",
        "state": {"ready": ready, "config_update": update},
        "config": {"served_entities": [entity]},
    }


@pytest.mark.usefixtures("hurried")
def test_an_endpoint_that_is_updated_is_waited_for(host: Any) -> None:
    """Described again until it is ready; whoever watches gets two lines."""
    bodies = [description("NOT_READY", "IN_PROGRESS")] * 3 + [description()]
    host.on("GET", DESCRIBED, lambda _: bodies.pop(0) if len(bodies) > 1 else bodies[0])
    told: list[str] = []
    assert connect("endpoints:/bot", tell=told.append).name == "bot"
    assert len(told) == 2
    assert "'bot'" in told[0]
    assert "is being updated; waiting up to 600 s" in told[0]
    assert "was ready after" in told[1]


@pytest.mark.usefixtures("hurried")
def test_waiting_has_a_deadline(host: Any) -> None:
    """After it the error says for how long; with `wait=0` it comes at once."""
    host.on("GET", DESCRIBED, description("NOT_READY"))
    with pytest.raises(ConfigurationError, match=r"was not ready within 0 s: it is starting or stopped"):
        connect("endpoints:/bot", wait=0.05)
    before = len(host.sent(DESCRIBED, "GET"))
    with pytest.raises(ConfigurationError, match="Wait until its state is READY"):
        connect("endpoints:/bot", wait=0)
    assert len(host.sent(DESCRIBED, "GET")) == before + 1


@pytest.mark.usefixtures("hurried")
def test_a_deployment_that_fails_while_it_is_waited_for(host: Any) -> None:
    """It is told at once, in the platform's words."""
    failed = description("NOT_READY", message="out of memory")
    failed["config"]["served_entities"][0]["state"]["deployment"] = "DEPLOYMENT_FAILED"
    bodies = [description("NOT_READY", "IN_PROGRESS"), failed]
    host.on("GET", DESCRIBED, lambda _: bodies.pop(0) if len(bodies) > 1 else bodies[0])
    with pytest.raises(ConfigurationError, match="out of memory"):
        connect("endpoints:/bot", tell=lambda _: None)


def test_an_old_version_that_serves_is_mentioned(host: Any) -> None:
    """READY and updating at once: one line says that answers may come from either version."""
    host.on("GET", DESCRIBED, description("READY", "IN_PROGRESS"))
    told: list[str] = []
    connect("endpoints:/bot", tell=told.append)
    assert ["may come from either" in line for line in told] == [True]


@pytest.mark.usefixtures("hurried")
def test_an_endpoint_that_is_asleep(host: Any) -> None:
    """It is refused until it has started, and woken up by one call that no latency counts; the answer says how long it took."""
    host.on("GET", DESCRIBED, description(sleeps=True, message="Scaled to zero"))
    starting = {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "starting"}
    replies: list[Any] = [(503, starting)] * 6 + [CHAT] * 9
    host.on("POST", BOT, lambda _: replies.pop(0))
    told: list[str] = []
    door = connect("endpoints:/bot", tell=told.append)
    with bind(Settings(max_retries=0)):
        first, second = door.invoke(MESSAGES), door.invoke(MESSAGES)
    assert (first.warm_up_ms or 0) > 50
    assert second.warm_up_ms is None
    assert len(host.sent(BOT)) == 6 + 1 + 2
    assert "is scaled to zero" in told[0]
    assert "has woken up after" in told[-1]


def test_no_call_is_wasted_on_an_endpoint_that_is_awake(host: Any) -> None:
    """N rows are N calls, and nobody is told anything."""
    host.on("GET", DESCRIBED, description(sleeps=True))
    host.on("POST", BOT, CHAT)
    told: list[str] = []
    door = connect("endpoints:/bot", tell=told.append)
    for _ in range(3):
        assert door.invoke(MESSAGES).warm_up_ms is None
    assert (len(host.sent(BOT)), told) == (3, [])


def test_without_waiting_a_cold_endpoint_is_an_error(host: Any) -> None:
    """`wait=0`: the first refusal is the row's."""
    host.on("GET", DESCRIBED, description(sleeps=True, message="Scaled to zero"))
    host.on("POST", BOT, {}, 503)
    with bind(Settings(max_retries=0)), pytest.raises(Throttled):
        connect("endpoints:/bot", wait=0).invoke(MESSAGES)
    assert len(host.sent(BOT)) == 1


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def first_call(*, asleep: bool = False, wait: float = 60.0) -> tuple[FirstCall, Clock, list[str]]:
    clock, told = Clock(), []
    return (
        FirstCall("Endpoint 'x'", asleep=asleep, patience=Patience(wait=wait, tell=told.append, clock=clock, sleep=clock.sleep)),
        clock,
        told,
    )


@pytest.mark.parametrize(
    ("asleep", "latencies", "calls", "kept", "warm"),
    [
        (False, [50.0], 1, 50.0, False),
        (False, [4_999.0], 1, 4_999.0, False),
        (False, [5_000.0, 60.0], 2, 60.0, True),
        (True, [900.0, 60.0], 2, 60.0, True),
    ],
    ids=["awake", "slow", "cold", "asleep"],
)
def test_which_latency_counts(asleep: bool, latencies: list[float], calls: int, kept: float, warm: bool) -> None:
    """A cold start is sent once more, and its time is lost to the row; anything else counts as it is."""
    gate, _, _ = first_call(asleep=asleep)
    left = list(latencies)
    with account() as used:
        answer = gate.ask(lambda: Answer(body={}, latency_ms=left.pop(0)))
    assert (len(latencies) - len(left), answer.latency_ms, answer.warm_up_ms is not None) == (calls, kept, warm)
    assert used.lost_seconds == pytest.approx(latencies[0] / 1000 if warm else 0.0, abs=0.05)


def test_a_start_that_never_ends() -> None:
    """The deadline holds for the first call; the others have their own retries, and do not wait once more."""
    gate, clock, told = first_call(wait=60.0)
    calls = [0]

    def refused() -> Answer:
        calls[0] += 1
        raise Throttled("starting", status=503)

    with pytest.raises(Throttled):
        gate.ask(refused)
    assert 60.0 <= clock.now < 71.0
    assert len(told) == 1
    before = calls[0]
    with pytest.raises(Throttled):
        gate.ask(refused)
    assert calls[0] == before + 1


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (Throttled("busy", status=429), "asked again"),
        (Broken("crashed", status=500), "asked again"),
        (Rejected("bad", status=400), "raised"),
        (Throttled("starting", status=503), "waited for"),
        (CallTimeout("slow", status=504), "waited for"),
    ],
    ids=["429", "500", "400", "503", "504"],
)
def test_what_is_waited_for(error: Exception, becomes: str) -> None:
    """Only what an endpoint says that starts; other failures that may pass have the usual retries, and a bad request is the row's own."""
    gate, clock, _ = first_call()
    replies: list[Any] = [error, Answer(body={}, latency_ms=1.0), Answer(body={}, latency_ms=1.0)]
    retries: list[int] = []

    def ask() -> Answer:
        retries.append(bound().max_retries)
        reply = replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    if becomes == "raised":
        with pytest.raises(Rejected):
            gate.ask(ask)
    else:
        assert (gate.ask(ask).warm_up_ms is not None) is (becomes == "waited for")
        assert retries == ([0, 3] if becomes == "asked again" else [0, 0, 3])
    assert (clock.now > 0) is (becomes == "waited for")


def test_a_payload_that_was_not_sent_wakes_nobody() -> None:
    """The next request is the first."""
    gate, _, _ = first_call(asleep=True)

    def too_large() -> Answer:
        raise UsageError("too large")

    with pytest.raises(UsageError):
        gate.ask(too_large)
    assert gate.ask(lambda: Answer(body={}, latency_ms=1.0)).warm_up_ms is not None


def test_others_wait_for_the_first() -> None:
    """Of many threads one wakes the endpoint up; none of the others is asked before, and none measures the start."""
    gate = FirstCall("Endpoint 'x'", asleep=True, patience=Patience(tell=lambda _: None))
    under_way: list[int] = []
    answers: list[Answer] = []

    def ask() -> Answer:
        under_way.append(threading.get_ident())
        if len(under_way) == 1:
            time.sleep(0.05)
            assert len(under_way) == 1
        return Answer(body={}, latency_ms=1.0)

    threads = [threading.Thread(target=lambda: answers.append(gate.ask(ask))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(under_way) == 9
    assert sum(answer.warm_up_ms is not None for answer in answers) == 1
