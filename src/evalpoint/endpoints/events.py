"""Bytes of an event stream, cut anywhere -> its events. Pure: the same bytes give the same events, however they are cut.

Lines end with CRLF, LF or CR; comments are left out; several `data` lines make one event. Other than a browser, we keep the last
event even when the empty line after it is missing.
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from typing import Any

__all__ = ["MAX_EVENT", "Event", "EventReader"]

MAX_EVENT = 32 * 2**20
"""Characters of one event that are kept: a trace of many spans may be in it."""
DONE = "[DONE]"
_LINE_END = re.compile(r"[\r\n]")
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event with data."""

    value: Any = None
    """The JSON of its data; None where there is none."""
    name: str = ""
    """Its field `event`, where it has one."""
    done: bool = False
    """It is the marker of the end, `[DONE]`."""
    problem: str | None = None
    """Why its data is no JSON, with how it begins."""


class EventReader:
    """Takes pieces of a stream and gives the events that they complete."""

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max_event = max_event
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._begun = False
        self._after_cr = False
        self._line = _Bounded(max_event)
        self._data = _Bounded(max_event)
        self._has_data = False
        self._name = ""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that end in this piece."""
        return self._take(self._decode(piece))

    def close(self) -> list[Event]:
        """The stream has ended: the last event, where no empty line came after it."""
        events = self._take(self._decode(b"", True))
        self._end_line()
        return [*events, *self._end_event()]

    def _take(self, text: str) -> list[Event]:
        if text and not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        events: list[Event] = []
        begin = 0
        if text and self._after_cr:
            self._after_cr = False
            begin = 1 if text[0] == "\n" else 0
        while (found := _LINE_END.search(text, begin)) is not None:
            self._line.add(text[begin : found.start()])
            begin = found.end()
            if found.group() == "\r":
                if begin == len(text):
                    self._after_cr = True
                elif text[begin] == "\n":
                    begin += 1
            if self._line.size:
                self._end_line()
            else:
                events += self._end_event()
        self._line.add(text[begin:])
        return events

    def _end_line(self) -> None:
        """One field; a line without a colon is a field without a value, and one that begins with a colon is a comment."""
        too_long, line = self._line.overflowed, self._line.take()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.add("\n" + value if self._has_data else value)
            self._data.overflowed |= too_long
            self._has_data = True
        elif name == "event":
            self._name = value[:_SHOWN]

    def _end_event(self) -> list[Event]:
        too_long, data, name = self._data.overflowed, self._data.take(), self._name
        self._has_data, self._name = False, ""
        if too_long:
            return [Event(name=name, problem=f"an event of more than {self._max_event:,} characters, which begins {data[:_SHOWN]!r}")]
        if not data.strip():
            return []  # a sign of life, without data
        if data.strip() == DONE:
            return [Event(name=name, done=True)]
        try:
            return [Event(name=name, value=json.loads(data))]
        except (ValueError, RecursionError) as error:  # RecursionError: a hundred thousand brackets
            why = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
            return [Event(name=name, problem=f"an event that is no JSON ({why}): {data[:_SHOWN]!r}")]


class _Bounded:
    """Text that grows piece by piece up to a limit; what is over the limit is dropped, and `overflowed` says so."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[str] = []
        self.size = 0
        self.overflowed = False

    def add(self, text: str) -> None:
        if not text:
            return
        room = self._limit - self.size
        if len(text) > room:
            self.overflowed = True
            text = text[:room]
        self._parts.append(text)
        self.size += len(text)

    def take(self) -> str:
        """All of it; it is empty afterwards."""
        text = "".join(self._parts)
        self._parts, self.size, self.overflowed = [], 0, False
        return text
