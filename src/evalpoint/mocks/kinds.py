"""What a kind of endpoint is: what its requests must have, what its answers look like, whole and as a stream."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from evalpoint.mocks.answers import Answer, MockSpan, Usage, tokens
from evalpoint.mocks.clock import Ids
from evalpoint.mocks.exchange import Response, error_response, is_list, members

__all__ = [
    "LARGE",
    "SERVING_FIELDS",
    "SMALL",
    "Kind",
    "as_text",
    "estimated_usage",
    "incompatible",
    "message_text",
    "pieces",
    "prompt_usage",
    "unknown_field",
]

SERVING_FIELDS = frozenset({"client_request_id", "usage_context"})
"""What the serving layer itself understands, in front of every kind."""
SMALL, LARGE = 4 * 1024 * 1024, 16 * 1024 * 1024
"""The largest requests, in bytes: of agents, foundation and external models, and of custom models."""


class Kind(ABC):
    """One kind of endpoint. A new kind is a new subclass; nothing else knows them apart."""

    task: ClassVar[str | None] = None
    endpoint_type: ClassVar[str | None] = None
    entity_type: ClassVar[str] = "UC_MODEL"
    traces: ClassVar[bool] = True
    """Whether `databricks_options` is understood, so that a trace can come back."""
    fields: ClassVar[frozenset[str] | None] = None
    """The only top-level fields that are accepted; None for any."""
    asked: ClassVar[str] = "question"
    """What a function with one parameter of any name is given."""
    largest: ClassVar[int] = SMALL
    """Bytes that a request may have."""
    streams: ClassVar[bool] = True
    together: ClassVar[str] = ""
    """Where kinds that are asked many records at once have the answers in the body."""

    def problem(self, body: Any) -> Response | None:
        """Why the request is refused, if it is."""
        if not isinstance(body, dict):
            return error_response(400, "BAD_REQUEST", "Bad request: the body is not a JSON object.")
        given = members(cast("object", body))
        unknown = None if self.fields is None else next((name for name in given if name not in self.fields), None)
        if unknown is not None:
            return self.unknown(unknown)
        if not isinstance(given.get("stream", False), bool):
            return incompatible("stream should be true or false")
        if given.get("stream") and not self.streams:
            return error_response(400, "BAD_REQUEST", "This endpoint does not stream; send the request without 'stream'.")
        return self.schema_problem(given)

    def unknown(self, name: str) -> Response:
        """How a top-level field is refused that the kind does not know."""
        return unknown_field(name)

    @abstractmethod
    def schema_problem(self, body: Mapping[str, Any]) -> Response | None:
        """Why this body does not fit the endpoint's schema, if it does not."""

    @abstractmethod
    def question(self, body: Mapping[str, Any]) -> str:
        """The text of the question."""

    def records(self, body: Mapping[str, Any]) -> list[Any] | None:
        """The records that are each answered by themselves; None where a request is one question."""
        return None

    def record_text(self, record: Any) -> str:
        """A record as a question."""
        return record if isinstance(record, str) else json.dumps(record, ensure_ascii=False)

    def collected(self, given: list[Any], records: list[Any], usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        """The body for the answers to many records."""
        return {self.together: given}

    @abstractmethod
    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        """The body for an answer."""

    def events(self, reply: Mapping[str, Any], body: Mapping[str, Any], *, words: int = 1) -> list[Any]:
        """The same body as the events of a stream, with that many words in each; a body of any other shape is one event."""
        return [dict(reply)]

    @abstractmethod
    def root_span(self, body: Mapping[str, Any], reply: Any, answer: Answer, usage: Usage, *, model: str) -> MockSpan:
        """The trace's outermost step, with plausible steps inside where the answer brings none."""


def unknown_field(name: str) -> Response:
    """How the foundation-model gateway refuses a top-level field that it does not know."""
    return error_response(400, "BAD_REQUEST", f'Bad request: json: unknown field "{name}"\n')


def incompatible(why: str) -> Response:
    """How the scoring server refuses a request that does not fit the model's schema."""
    return error_response(
        400,
        "BAD_REQUEST",
        "Encountered an unexpected error while evaluating the model. Verify that the input is compatible with the model for inference. "
        f"Error '{why}'",
    )


def message_text(message: Any) -> str:
    """A message's text, whether its content is a text or a list of parts."""
    content: Any = members(message).get("content", message)
    if is_list(content):
        return "\n".join(str(part["text"]) for part in map(members, content) if "text" in part)
    return content if isinstance(content, str) else ""


def last_user_text(messages: Sequence[Any]) -> str:
    """What the user said last."""
    users = [message for message in messages if members(message).get("role", "user") == "user"]
    return message_text(users[-1]) if users else ""


def pieces(text: str, words: int) -> list[str]:
    """A text cut as a model streams it: after every so many words. Put together they are the text again."""
    found: list[str] = re.findall(r"\s*\S+|\s+", text)
    return ["".join(found[start : start + words]) for start in range(0, len(found), max(words, 1))]


def prompt_usage(usage: Usage) -> dict[str, int]:
    """Usage in the words of chat completions."""
    return {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens, "total_tokens": usage.total_tokens}


def as_text(value: Any) -> str:
    """A text as it is; anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def estimated_usage(body: Mapping[str, Any], answer: Answer) -> Usage:
    """The answer's usage, or an estimate from the lengths of what went in and came out."""
    return answer.usage or Usage(tokens(json.dumps(body, ensure_ascii=False)), tokens(answer.text or ""))
