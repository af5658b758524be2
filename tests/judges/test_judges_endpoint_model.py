"""A serving endpoint as a judge: its own payload, our parameters, its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from evalpoint.errors import Rejected
from evalpoint.judges import ChatModel
from evalpoint.judges.endpoint_model import EndpointModel
from evalpoint.judges.model_uri import ModelUri


@dataclass
class Reply:
    text: str = "ok"
    usage: Mapping[str, Any] | None = None
    model: str | None = "claude"
    finish_reason: str | None = "stop"


class Serving:
    """An endpoint that keeps its payloads and may refuse a parameter."""

    def __init__(self, reply: Reply, key: str = "messages", refuses: str = "") -> None:
        self.reply = reply
        self.key = key
        self.refuses = refuses
        self.payloads: list[Mapping[str, Any]] = []

    def chat_payload(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        return {self.key: messages}

    def invoke(self, payload: Mapping[str, Any], *, trace: bool = False) -> Reply:
        assert trace is False
        self.payloads.append(payload)
        if self.refuses and self.refuses in payload:
            raise Rejected(f"Endpoint 'judge' refused: unknown parameter {self.refuses}", status=400)
        return self.reply


MESSAGES = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object"}


def model_of(serving: Serving, name: str = "judge") -> EndpointModel:
    return EndpointModel(model_uri=ModelUri("endpoints", name), endpoint=serving)


def test_request_and_answer() -> None:
    """Messages, schema and parameters go out; text, tokens, model and ending come back."""
    serving = Serving(Reply(usage={"prompt_tokens": 12, "completion_tokens": 3}))
    model: ChatModel = model_of(serving)
    completion = model.complete(MESSAGES, schema=SCHEMA, params={"max_tokens": 5})
    assert serving.payloads == [
        {
            "messages": MESSAGES,
            "temperature": 0,
            "response_format": {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": SCHEMA}},
            "max_tokens": 5,
        }
    ]
    assert model.uri == "endpoints:/judge"
    assert (completion.text, completion.input_tokens, completion.output_tokens, completion.cost) == ("ok", 12, 3, None)
    assert (completion.model, completion.finish_reason) == ("claude", "stop")


def test_agent_gets_no_response_format() -> None:
    """An endpoint with another payload than chat messages is not held to a schema."""
    serving = Serving(Reply(usage={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}), key="input")
    completion = model_of(serving).complete(MESSAGES, schema=SCHEMA, params={})
    assert serving.payloads == [{"input": MESSAGES, "temperature": 0}]
    assert (completion.input_tokens, completion.output_tokens) == (1, 2)


def test_refusal_is_remembered() -> None:
    """What the endpoint refuses is dropped once, and left out from then on."""
    serving = Serving(Reply(), refuses="response_format")
    model = model_of(serving)
    model.complete(MESSAGES, schema=SCHEMA, params={})
    model.complete(MESSAGES, schema=SCHEMA, params={})
    assert ["response_format" in payload for payload in serving.payloads] == [True, False, False]


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "12"}, {"prompt_tokens": -1}, {"prompt_tokens": True}])
def test_uncounted(usage: Any) -> None:
    """Figures that are no counts are unknown."""
    completion = model_of(Serving(Reply(usage=usage))).complete(MESSAGES, schema=SCHEMA, params={})
    assert (completion.input_tokens, completion.output_tokens, completion.cost) == (None, None, None)
