"""What a running evaluation shows: rows done, failed, rate, cost, time left. A bar in a terminal, a line every 30 s elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from evalpoint.entities import Event, Finished, RowState, Scored, Spent

__all__ = ["Counts", "Display", "display"]

PLAIN_INTERVAL = 30.0
"""Seconds between two lines where there is no terminal."""


@dataclass(slots=True)
class Counts:
    """How far an evaluation has come. `clock` gives seconds; only differences of it are used."""

    total: int
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    failed: int = 0
    spent: Spent = field(default_factory=Spent)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def count(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Finished):
                self.done += 1
                self.failed += event.state is not RowState.OK
            elif isinstance(event, Scored):
                self.spent += event.verdict.spent

    @property
    def seconds(self) -> float:
        return self.clock() - self.started

    @property
    def rate(self) -> float | None:
        """Rows a second; None before the first."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        return (self.total - self.done) / self.rate if self.rate else None

    def line(self) -> str:
        """All of it in one line: `120 of 400 rows, 3 failed, 12.1 rows/s, $0.42, 0:23 left`."""
        parts = [f"{self.done:,} of {self.total:,} rows", f"{self.failed:,} failed"]
        if self.rate is not None:
            parts.append(f"{self.rate:,.1f} rows/s" if self.rate >= 1 else f"{self.rate * 60:,.1f} rows/min")
        if self.spent.cost is not None:
            parts.append(f"${self.spent.cost:,.4f}")
        if self.seconds_left is not None and self.done < self.total:
            parts.append(f"{duration(self.seconds_left)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """`0:23`, `12:05`, `1:02:03`."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


class Display(Protocol):
    """Shows counts while it is entered."""

    def __enter__(self) -> Display: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None: ...
    def show(self, counts: Counts) -> None: ...


class _Silent:
    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Nothing was shown, so nothing is taken away."""

    def show(self, counts: Counts) -> None:
        """Nothing is shown."""


class _Plain(_Silent):
    """One line every 30 s: the rhythm of a log."""

    def __init__(self, stream: IO[str], clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._last = clock()

    def show(self, counts: Counts) -> None:
        if self._clock() - self._last >= PLAIN_INTERVAL:
            self._last = self._clock()
            print(f"evalpoint: {counts.line()}", file=self._stream, flush=True)


class _Bar(_Silent):
    """A bar that is redrawn in place, and gone when the table takes over."""

    def __init__(self, stream: IO[str]) -> None:
        self._bar = Progress(
            TextColumn("Evaluating"), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.fields[line]}"),
            console=Console(file=stream), transient=True,
        )  # fmt: skip
        self._task: TaskID | None = None

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._bar.stop()

    def show(self, counts: Counts) -> None:
        rest = counts.line().split(", ", 1)[1]
        if self._task is None:
            self._task = self._bar.add_task("rows", total=counts.total, line=rest)
        self._bar.update(self._task, completed=counts.done, line=rest)


def display(wanted: bool | None, *, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic) -> Display:
    """The display that fits.

    Args:
        wanted: True for a display, False for none, None for a display too: a bar on a terminal, lines elsewhere.
        stream: Where it goes; standard error by default, so that printed results stay clean.
        clock: Seconds.
    """
    if wanted is False:
        return _Silent()
    out = sys.stderr if stream is None else stream
    return _Bar(out) if out.isatty() else _Plain(out, clock)
