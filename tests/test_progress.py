"""What a running evaluation shows."""

from __future__ import annotations

import io

import pytest

from evalpoint.entities import Finished, RowKey, RowState, Scored, Spent, Verdict
from evalpoint.mocks import FakeClock
from evalpoint.progress import Counts, display, duration


def counts(done: int, *, failed: int = 0, total: int = 400, cost: float | None = None, seconds: float = 10.0) -> Counts:
    clock = FakeClock()
    made = Counts(total, clock=clock)
    made.count([Finished(key=RowKey(n), state=RowState.OK if n >= failed else RowState.TARGET_ERROR) for n in range(done)])
    if cost is not None:
        made.count([Scored(key=RowKey(0), scorer="a", verdict=Verdict(spent=Spent(calls=1, cost=cost)))])
    clock.advance(seconds)
    return made


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (counts(0), "0 of 400 rows, 0 failed"),
        (counts(120, failed=3, cost=0.42), "120 of 400 rows, 3 failed, 12.0 rows/s, $0.4200, 0:23 left"),
        (counts(5, total=10, seconds=60), "5 of 10 rows, 0 failed, 5.0 rows/min, 1:00 left"),
        (counts(2000, total=10000, seconds=1), "2,000 of 10,000 rows, 0 failed, 2,000.0 rows/s, 0:04 left"),
        (counts(400), "400 of 400 rows, 0 failed, 40.0 rows/s"),
    ],
    ids=["nothing-yet", "in-the-middle", "slow", "fast", "done"],
)
def test_line(shown: Counts, line: str) -> None:
    """Rows done, failed, rate, cost where there is one, and the time left, in one line."""
    assert shown.line() == line


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (725, "12:05"), (3723, "1:02:03")], ids=str)
def test_duration(seconds: float, text: str) -> None:
    """Minutes and seconds, with hours where there are any."""
    assert duration(seconds) == text


def test_without_a_terminal_a_line_every_30_seconds() -> None:
    """The rhythm of a log: nothing for a short run, one plain line per half minute of a long one."""
    out, clock = io.StringIO(), FakeClock()
    made = Counts(100, clock=clock)
    with display(None, stream=out, clock=clock) as screen:
        for _ in range(65):
            clock.advance(1)
            made.count([Finished(key=RowKey(0), state=RowState.OK)])
            screen.show(made)
    assert out.getvalue().splitlines() == [
        "evalpoint: 30 of 100 rows, 0 failed, 1.0 rows/s, 1:10 left",
        "evalpoint: 60 of 100 rows, 0 failed, 1.0 rows/s, 0:40 left",
    ]


def test_on_a_terminal_a_bar() -> None:
    """It is drawn in place while the evaluation runs."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with display(True, stream=out) as screen:
        screen.show(counts(0))
        screen.show(counts(120, failed=3))
    assert "120/400" in out.getvalue()
    assert "3 failed" in out.getvalue()


def test_none_at_all() -> None:
    """With progress off nothing is written."""
    out = io.StringIO()
    with display(False, stream=out) as screen:
        screen.show(counts(100))
    assert out.getvalue() == ""
