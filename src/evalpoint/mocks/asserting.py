"""What a mock was asked, held against what a test expects; the answer is a sentence with the nearest request."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from evalpoint.mocks.exchange import RecordedRequest, is_list, members
from evalpoint.mocks.kinds import message_text

__all__ = ["Expected", "matches", "nearest", "question_of", "times"]

SHOWN = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a request should have: a question, headers, members of its body."""

    question: str | None
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    def __str__(self) -> str:
        said = [] if self.question is None else [f"question={self.question!r}"]
        said += [f"headers={dict(self.headers)!r}"] if self.headers else []
        return ", ".join([*said, *(f"{key}={value!r}" for key, value in self.body.items())]) or "anything"

    def misses(self, request: RecordedRequest, question: Callable[[Any], str]) -> list[str]:
        """What this request has otherwise, each as a phrase."""
        found: list[str] = []
        if self.question is not None and question(request.body) != self.question:
            found.append(f"its question is {question(request.body)!r}")
        for name, wanted in self.headers.items():
            had = request.headers.get(name.lower())
            if had != wanted:
                found.append(f"its header {name} is {had!r}")
        body = members(request.body)
        for key, wanted in self.body.items():
            if key not in body:
                found.append(f"it has no {key!r}")
            elif not matches(wanted, body[key]):
                found.append(f"its {key!r} is {_short(body[key])}")
        return found


def matches(wanted: Any, had: Any) -> bool:
    """Whether a value is as wanted; an object may have more members than are wanted of it."""
    if isinstance(wanted, dict):
        has = members(had)
        return isinstance(had, dict) and all(key in has and matches(value, has[key]) for key, value in members(wanted).items())
    if is_list(wanted):
        return is_list(had) and len(wanted) == len(had) and all(matches(w, h) for w, h in zip(wanted, had, strict=True))
    return bool(wanted == had)


def nearest(requests: Sequence[RecordedRequest], expected: Expected, question: Callable[[Any], str]) -> str:
    """The request that misses least, with what it misses, as sentences."""
    if not requests:
        return "It was not called at all."

    def distance(request: RecordedRequest) -> tuple[int, float]:
        wanted = json.dumps([expected.question, dict(expected.body)], ensure_ascii=False, default=str)
        had = json.dumps([question(request.body), request.body], ensure_ascii=False, default=str)
        return len(expected.misses(request, question)), -difflib.SequenceMatcher(None, wanted[:2000], had[:2000]).ratio()

    best = min(requests[-1000:], key=distance)
    return f"The nearest of {times(len(requests), 'request')}: {'; '.join(expected.misses(best, question))}. Its body: {_short(best.body)}"


def question_of(body: Any) -> str:
    """The question in any request, by guess: for what is no endpoint of a known kind."""
    given = members(body)
    for key in ("messages", "input", "prompt", "question", "query"):
        asked = given.get(key)
        if isinstance(asked, str):
            return asked
        if isinstance(asked, dict):
            return question_of(members(cast("object", asked)))
        if is_list(asked) and asked:
            return message_text(asked[-1])
    return next((value for value in given.values() if isinstance(value, str)), "")


def times(count: int, noun: str) -> str:
    """A number with its noun, such as "1 request"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
