"""A judge behind a serving endpoint of a workspace: `endpoints:/judge` and `databricks:/databricks-claude-sonnet-4`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evalpoint.judges.corrections import Request, send_corrected
from evalpoint.judges.model_uri import ModelUri
from evalpoint.judges.models import Completion, Message, count
from evalpoint.judges.prices import cost_of

__all__ = ["EndpointModel", "JudgeEndpoint", "JudgeReply"]


class JudgeReply(Protocol):
    """What a judge reads of an endpoint's reply."""

    @property
    def text(self) -> str: ...
    @property
    def usage(self) -> Mapping[str, Any] | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def finish_reason(self) -> str | None: ...


class JudgeEndpoint(Protocol):
    """What a judge needs of an endpoint: requests of its own shape, sent with retries, deadlines and fresh credentials."""

    def chat_payload(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """The conversation in the shape that this endpoint takes."""
        ...

    def invoke(self, payload: Mapping[str, Any], *, trace: bool = False) -> JudgeReply: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointModel:
    """A chat model behind a serving endpoint. Remembers which parameters of ours the endpoint refuses."""

    model_uri: ModelUri
    endpoint: JudgeEndpoint
    dropped: set[str] = field(default_factory=set[str])

    @property
    def uri(self) -> str:
        return str(self.model_uri)

    def complete(self, messages: Sequence[Message], *, schema: Mapping[str, Any], params: Mapping[str, Any]) -> Completion:
        """See `ChatModel.complete`."""
        payload = self.endpoint.chat_payload([dict(message) for message in messages])
        is_chat = "messages" in payload  # an agent's own protocol has no response_format
        request = Request.of(schema if is_chat else None, params)

        def send(body: Mapping[str, Any]) -> Completion:
            return self._completion(self.endpoint.invoke({**payload, **body}, trace=False))

        return send_corrected(request, self.dropped, send)

    def _completion(self, reply: JudgeReply) -> Completion:
        usage = reply.usage or {}
        spent = _tokens(usage, "input_tokens", "prompt_tokens"), _tokens(usage, "output_tokens", "completion_tokens")
        return Completion(
            text=reply.text,
            input_tokens=spent[0],
            output_tokens=spent[1],
            cost=cost_of(f"databricks/{self.model_uri.name}", *spent),
            model=reply.model,
            finish_reason=reply.finish_reason,
        )


def _tokens(usage: Mapping[str, Any], *names: str) -> int | None:
    return next((number for name in names if (number := count(usage.get(name))) is not None), None)
