"""What every mock that is called has in common: it counts, remembers, goes wrong when told to, and answers a test's questions."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from evalpoint.mocks import faults as fault
from evalpoint.mocks.asserting import Expected, nearest, question_of, times
from evalpoint.mocks.exchange import RecordedRequest, Response

__all__ = ["REMEMBERED", "MockTarget"]

REMEMBERED = 100_000


class MockTarget:
    """Something that is called: an endpoint, an app, a route. May be used from any thread.

    Attributes:
        name: What it is called by.
    """

    title = "Mock"
    """How sentences call it, before its name."""

    def __init__(self, name: str, faults: fault.Faults = ()) -> None:
        self.name = name
        self._faults: Iterator[fault.Fault] = fault.in_order(faults)
        self._lock = threading.Lock()
        self._requests: deque[RecordedRequest] = deque(maxlen=REMEMBERED)
        self._calls = 0
        self._running = 0
        self._peak = 0

    @property
    def requests(self) -> list[RecordedRequest]:
        """The calls that were received, in order of arrival, faulty and refused ones included; the last 100,000."""
        with self._lock:
            return list(self._requests)

    @property
    def calls(self) -> int:
        """How many calls were received."""
        with self._lock:
            return self._calls

    @property
    def peak(self) -> int:
        """The most calls that were under way at once."""
        with self._lock:
            return self._peak

    def fail(self, *faults: fault.Fault | fault.AtRate) -> None:
        """From now on: these faults in order, then normal answers. Replaces the faults that were left."""
        with self._lock:
            self._faults = fault.in_order(faults)

    def forget(self) -> None:
        """Forgets all calls so far."""
        with self._lock:
            self._requests.clear()
            self._calls = self._peak = 0

    # What a test asks of it.

    def assert_called(self, times: int | None = None) -> None:
        """It was called: so many times, or at least once.

        Raises:
            AssertionError: It was not; the sentence says how often it was.
        """
        if (self.calls != times) if times is not None else not self.calls:
            raise AssertionError(f"{self._titled} was to be called{_so_often(times)}; it was called {_count(self.calls)}.{self._last()}")

    def assert_not_called(self) -> None:
        """It was never called.

        Raises:
            AssertionError: It was; the sentence shows the last call.
        """
        self.assert_called(times=0)

    def assert_called_with(
        self, question: str | None = None, *, headers: Mapping[str, str] | None = None, times: int | None = None, **body: Any
    ) -> None:
        """It was called with such a request: so many times, or at least once.

        Args:
            question: The text of the last user message, or of the record.
            headers: Headers that the request had, among others.
            times: How many such requests there were.
            body: Members of the body; of an object, the members that matter.

        Raises:
            AssertionError: It was not; the sentence shows the nearest request.
        """
        expected = Expected(question=question, headers=headers or {}, body=body)
        requests = self.requests
        count = sum(not expected.misses(request, self.question) for request in requests)
        if (count != times) if times is not None else not count:
            near = f" {nearest(requests, expected, self.question)}" if not count else ""
            raise AssertionError(f"{self._titled} was to be called{_so_often(times)} with {expected}; it was {_count(count)}.{near}")

    def question(self, body: Any) -> str:
        """The question in a request's body; empty where there is none."""
        return question_of(body)

    @property
    def _titled(self) -> str:
        return f"{self.title} {self.name!r}"

    def _last(self) -> str:
        requests = self.requests
        return f" The last question was {self.question(requests[-1].body)!r}." if requests else ""

    # What its owner asks of it.

    def begin(self, request: RecordedRequest) -> fault.Fault | None:
        """Counts a call in, and gives what goes wrong with it."""
        with self._lock:
            self._requests.append(request)
            self._calls += 1
            self._running += 1
            self._peak = max(self._peak, self._running)
            return next(self._faults, None)

    def end(self) -> None:
        """Counts a call out."""
        with self._lock:
            self._running -= 1

    async def met(self, request: RecordedRequest, normal: fault.Normal) -> Response:
        """The response to a call, with what goes wrong with it."""
        chosen = self.begin(request)
        try:
            return await (normal() if chosen is None else chosen.respond(normal))
        finally:
            self.end()


def _so_often(count: int | None) -> str:
    return "" if count is None else f" {times(count, 'time')}"


def _count(count: int) -> str:
    return "never" if not count else times(count, "time")
