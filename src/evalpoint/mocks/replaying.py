"""A recording of calls to a real endpoint, answered again: one line of JSON for each call, as the recorder writes them.

    {"endpoint": "bot", "kind": "llm/v1/chat", "request": {...}, "response": {"status": 200, "headers": {...}, "body": ...}}

A call without an answer has the status null. A line may describe an endpoint instead: {"endpoint": "bot", "description": {...}}.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalpoint.errors import ConfigurationError, FormatError
from evalpoint.mocks.conversations import CHAT, CHAT_AGENT, CHAT_COMPLETION, FOUNDATION, RESPONSES, External
from evalpoint.mocks.exchange import EVENTS, JSON, NOTHING, Part, RecordedRequest, Response, error_response, is_list, json_response, members
from evalpoint.mocks.kinds import Kind
from evalpoint.mocks.records import (
    COMPLETIONS,
    CUSTOM,
    EMBEDDINGS,
    FEATURES,
    FOUNDATION_COMPLETIONS,
    FOUNDATION_EMBEDDINGS,
    ExternalCompletions,
    ExternalEmbeddings,
)
from evalpoint.mocks.streams import Streaming, stream_response, with_output

__all__ = ["Recording", "read_recording"]

OUTPUT = "databricks_output"
MARKS = ("client_request_id", "usage_context", "databricks_options", "stream")
"""What says who asks and how, and is no part of the question."""
KINDS: dict[tuple[str | None, str | None], Kind] = {
    (None, "llm/v1/chat"): CHAT,
    (None, "llm/v1/completions"): COMPLETIONS,
    (None, "llm/v1/embeddings"): EMBEDDINGS,
    (None, "agent/v1/chat"): CHAT_COMPLETION,
    (None, "agent/v2/chat"): CHAT_AGENT,
    (None, "agent/v1/responses"): RESPONSES,
    ("FOUNDATION_MODEL_API", "llm/v1/chat"): FOUNDATION,
    ("FOUNDATION_MODEL_API", "llm/v1/completions"): FOUNDATION_COMPLETIONS,
    ("FOUNDATION_MODEL_API", "llm/v1/embeddings"): FOUNDATION_EMBEDDINGS,
    ("EXTERNAL_MODEL", "llm/v1/chat"): External("openai"),
    ("EXTERNAL_MODEL", "llm/v1/completions"): ExternalCompletions("openai"),
    ("EXTERNAL_MODEL", "llm/v1/embeddings"): ExternalEmbeddings("openai"),
}
BY_NAME: dict[str, Kind] = {"custom": CUSTOM, "features": FEATURES}
"""What the recorder calls kinds that have no task."""
DROPPED = frozenset({"content-length", "content-encoding", "transfer-encoding", "connection", "date", "server", "keep-alive"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One answer: the response, and its body where that is an object that can be streamed, and had without its trace."""

    response: Response
    body: dict[str, Any] | None = None


@dataclass(slots=True, kw_only=True)
class Recording:
    """The calls to one endpoint."""

    endpoint: str
    ignore: tuple[str, ...] = ()
    description: dict[str, Any] | None = None
    task: str | None = None
    calls: dict[str, list[Recorded]] = field(default_factory=dict[str, list[Recorded]])
    """The responses to each request, in order; the last one is given again."""
    requests: list[Any] = field(default_factory=list[Any])

    def add(self, request: Any, recorded: Recorded) -> None:
        """Adds a call."""
        self.requests.append(request)
        self.calls.setdefault(self._key(request), []).append(recorded)

    def answer(self, request: RecordedRequest, kind: Kind, streaming: Streaming) -> Response:
        """The response to this request as it was recorded, or a 404 that names the nearest request.

        The trace comes with it only where the request asks for one; where it asks for a stream, it comes as one.
        """
        found = self.calls.get(self._key(request.body))
        if found is None:
            message = f"The recording of endpoint '{self.endpoint}' has no such request. {self._nearest(request.body)}"
            return error_response(404, "RESOURCE_DOES_NOT_EXIST", message)
        recorded = found.pop(0) if len(found) > 1 else found[0]
        if recorded.body is None:
            return recorded.response
        asked = members(request.body)
        body = {key: value for key, value in recorded.body.items() if key != OUTPUT}
        traced = members(asked.get("databricks_options")).get("return_trace") is True
        output = recorded.body.get(OUTPUT) if traced else None
        headers = recorded.response.headers
        if asked.get("stream") is True:
            others = {name: value for name, value in headers.items() if name != "content-type"}
            events = kind.events(body, asked, words=streaming.words)
            return stream_response(with_output(events, output, streaming.trace), streaming, request, headers=others)
        return json_response(body if output is None else {**body, OUTPUT: output}, headers=headers)

    def kind(self) -> Kind:
        """What the endpoint is, as described, or else by the form of its requests."""
        described = self.description or {}
        entities = members(described.get("config")).get("served_entities")
        if is_list(entities) and any(members(entity).get("type") == "FEATURE_SPEC" for entity in entities):
            return FEATURES
        known = KINDS.get((described.get("endpoint_type"), described.get("task", self.task)))
        return known or BY_NAME.get(self.task or "") or _by_form(members(self.requests[0]) if self.requests else {})

    def _key(self, request: Any) -> str:
        return _canonical(_without(request, (*MARKS, *self.ignore)))

    def _nearest(self, request: Any) -> str:
        if not self.requests:
            return "It has none at all."
        wanted = self._key(request)
        near = max(self.requests, key=lambda other: difflib.SequenceMatcher(None, wanted[:2000], self._key(other)[:2000]).ratio())
        has, had = members(request), members(near)
        keys = [key for key in sorted({*has, *had} - set(MARKS)) if has.get(key) != had.get(key)]
        return f"The nearest differs in {', '.join(keys) or 'its form'}: {self._key(near)[:1000]}"


def read_recording(path: str | Path, *, ignore: Sequence[str] = ()) -> list[Recording]:
    """The recordings in a file, one for each endpoint.

    Raises:
        ConfigurationError: There is no such file.
        FormatError: Lines of it are no recorded calls; they are named.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigurationError(f"There is no recording {str(path)!r}. Record one first, or check the path.")
    found: dict[str, Recording] = {}
    problems: list[str] = []
    for number, line in _lines(file):
        problem = _take(line, found, tuple(ignore))
        if problem is not None:
            problems.append(f"line {number} {problem}")
    if problems:
        raise FormatError(f"{str(path)!r} is no recording: {'; '.join(problems[:10])}{'; …' if len(problems) > 10 else ''}.")
    return list(found.values())


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, line


def _take(line: str, found: dict[str, Recording], ignore: tuple[str, ...]) -> str | None:
    """Adds what a line records; or says what is wrong with it."""
    try:
        entry = members(json.loads(line))
    except ValueError:
        return "is no JSON"
    name = entry.get("endpoint")
    if not isinstance(name, str) or not name:
        return "names no endpoint"
    recording = found.setdefault(name, Recording(endpoint=name, ignore=ignore))
    if "description" in entry:
        recording.description = members(entry["description"])
    if "response" not in entry:
        return None if "description" in entry else "has no response"
    response = members(entry["response"])
    status = response.get("status", 200)
    recording.task = entry["kind"] if isinstance(entry.get("kind"), str) else recording.task
    if status is None:
        recording.add(entry.get("request"), Recorded(response=Response(cut_after=NOTHING)))
        return None
    if not isinstance(status, int) or not 100 <= status < 600:
        return f"has the status {status!r}"
    recording.add(entry.get("request"), _recorded(status, members(response.get("headers")), response.get("body")))
    return None


def _recorded(status: int, given: dict[str, Any], body: Any) -> Recorded:
    headers = {str(name).lower(): str(value) for name, value in given.items() if str(name).lower() not in DROPPED}
    headers.setdefault("content-type", "text/plain; charset=utf-8" if isinstance(body, str) else JSON)
    content = body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()
    if headers["content-type"].startswith(EVENTS) and isinstance(body, str):
        parts = tuple(Part(block) for block in re.split(rb"(?<=\n\n)", content) if block)
        return Recorded(response=Response(status=status, headers=headers, parts=parts))
    headers["content-type"] = JSON if headers["content-type"].startswith(EVENTS) else headers["content-type"]
    whole = members(body) if status == 200 and isinstance(body, dict) else None  # pyright: ignore[reportUnknownArgumentType] - JSON
    return Recorded(response=Response(status=status, headers=headers, content=content), body=whole)


def _by_form(request: dict[str, Any]) -> Kind:
    if isinstance(request.get("input"), list) and request["input"] and isinstance(request["input"][0], dict):
        return RESPONSES
    if "input" in request:
        return EMBEDDINGS
    return COMPLETIONS if "prompt" in request else CHAT if "messages" in request else CUSTOM


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _without(value: Any, paths: Sequence[str]) -> Any:
    """The value without the members at these dotted paths."""
    if not isinstance(value, dict):
        return value
    kept = dict(members(value))  # pyright: ignore[reportUnknownArgumentType] - JSON
    for path in paths:
        first, _, rest = path.partition(".")
        if first in kept:
            if rest:
                kept[first] = _without(kept[first], (rest,))
            else:
                del kept[first]
    return kept
