"""The kinds that are asked with messages: chat models, foundation and external models, and the three dialects of agents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, cast

from evalpoint.mocks.answers import Answer, MockSpan, Usage
from evalpoint.mocks.clock import Ids
from evalpoint.mocks.exchange import Response, is_list, json_response, members
from evalpoint.mocks.kinds import LARGE, SERVING_FIELDS, SMALL, Kind, as_text, incompatible, last_user_text, pieces, prompt_usage

__all__ = ["CHAT", "CHAT_AGENT", "CHAT_COMPLETION", "FOUNDATION", "FOUNDATION_RESPONSES", "RESPONSES", "External", "provider_error"]

CHAT_FIELDS = frozenset(
    (
        *("messages", "model", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "n", "stream"),
        *("stream_options", "tools", "tool_choice", "response_format", "logprobs", "top_logprobs", "reasoning_effort", "thinking"),
        *("seed", "presence_penalty", "frequency_penalty", "user"),
    )
)
RESPONSES_FIELDS = frozenset(
    (
        *("input", "model", "instructions", "max_output_tokens", "temperature", "top_p", "stream", "tools", "tool_choice", "text"),
        *("reasoning", "metadata", "parallel_tool_calls", "previous_response_id", "store", "truncation", "include", "user"),
    )
)
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


class _Messages(Kind):
    """What the kinds that are asked with a list of messages have in common."""

    key: ClassVar[str] = "messages"

    def schema_problem(self, body: Mapping[str, Any]) -> Response | None:
        messages = body.get(self.key)
        if not is_list(messages) or not messages:
            return self.misfit(f"Model is missing inputs ['{self.key}']: it should be a list with at least one message.")
        for number, message in enumerate(messages):
            wrong = self.wrong_with(message)
            if wrong is not None:
                return self.misfit(f"{self.key}[{number}] {wrong}")
        return None

    def misfit(self, why: str) -> Response:
        """How a request is refused that does not fit the schema."""
        return incompatible(why)

    def wrong_with(self, message: Any) -> str | None:
        """What is wrong with one message."""
        if not isinstance(message, dict):
            return "is no object"
        given = members(cast("object", message))
        if given.get("role") not in ROLES:
            return f"has the role {given.get('role')!r}; it should be one of {', '.join(sorted(ROLES))}"
        content = given.get("content")
        if content is None and not given.get("tool_calls"):
            return "has no content"
        return None if content is None or isinstance(content, (str, list)) else "has a content that is neither a text nor a list of parts"

    def question(self, body: Mapping[str, Any]) -> str:
        return last_user_text(cast("list[Any]", body[self.key]))

    def asked_messages(self, body: Mapping[str, Any]) -> list[Any]:
        return [message for message in cast("list[Any]", body[self.key]) if isinstance(message, dict)]


class _Chat(_Messages):
    """A chat model: one completion, one CHAT_MODEL span."""

    task = "llm/v1/chat"
    largest = LARGE

    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.tool_calls:
            message["tool_calls"] = [_function_call(call.name, call.arguments, f"call_{ids.hex(12)}") for call in answer.tool_calls]
        reason = "tool_calls" if answer.tool_calls and answer.text is None else "stop"
        return {
            "id": f"chatcmpl_{ids.hex(24)}",
            "object": "chat.completion",
            "created": int(now),
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": prompt_usage(usage),
        }

    def events(self, reply: Mapping[str, Any], body: Mapping[str, Any], *, words: int = 1) -> list[Any]:
        choices = reply.get("choices")
        if not is_list(choices) or not choices:
            return [dict(reply)]
        choice = members(choices[0])
        message = members(choice.get("message"))
        deltas = _chat_deltas(message, words)
        head = {key: reply[key] for key in ("id", "created", "model") if key in reply} | {"object": "chat.completion.chunk"}
        found: list[Any] = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        found[-1]["choices"][0]["finish_reason"] = choice.get("finish_reason")
        if members(body.get("stream_options")).get("include_usage") is True:
            found.append({**head, "choices": []})
        found[-1] |= {key: reply[key] for key in ("usage", "custom_outputs") if key in reply}
        return found

    def root_span(self, body: Mapping[str, Any], reply: Any, answer: Answer, usage: Usage, *, model: str) -> MockSpan:
        if answer.spans:
            return MockSpan(name="predict", span_type="CHAT_MODEL", inputs=body, outputs=reply, children=answer.spans)
        return MockSpan(name="predict", span_type="CHAT_MODEL", inputs=body, outputs=reply, usage=usage, model=model)


def _chat_deltas(message: Mapping[str, Any], words: int) -> list[dict[str, Any]]:
    content = message.get("content")
    deltas: list[dict[str, Any]]
    if isinstance(content, str):
        deltas = [{"content": piece} for piece in pieces(content, words)]
    else:
        deltas = [] if content is None else [{"content": content}]
    calls = message.get("tool_calls")
    deltas += [{"tool_calls": [{"index": number, **members(call)}]} for number, call in enumerate(calls if is_list(calls) else [])]
    deltas = deltas or [{"content": ""}]
    deltas[0] = {"role": "assistant", **deltas[0]}
    return deltas


class _Foundation(_Chat):
    """A foundation model: decodes the request into a fixed struct, and returns no traces."""

    endpoint_type = "FOUNDATION_MODEL_API"
    entity_type = "FOUNDATION_MODEL"
    traces = False
    fields = CHAT_FIELDS | SERVING_FIELDS
    largest = SMALL


class External(_Chat):
    """Another provider's model behind the workspace: what the provider refuses comes back wrapped."""

    endpoint_type = "EXTERNAL_MODEL"
    entity_type = "EXTERNAL_MODEL"
    traces = False
    fields = CHAT_FIELDS | SERVING_FIELDS
    largest = SMALL

    def __init__(self, provider: str) -> None:
        self.provider = provider

    def unknown(self, name: str) -> Response:
        return provider_error(self.provider, 400, f"Unrecognized request argument supplied: {name}")

    def misfit(self, why: str) -> Response:
        return provider_error(self.provider, 400, why)


def provider_error(provider: str, status: int, message: str, *, error_type: str = "invalid_request_error", code: Any = None) -> Response:
    """A provider's error, as the workspace wraps it."""
    error = {"error": {"message": message, "type": error_type, "code": code}}
    return json_response({"error": f"Received error from {provider}", "external_model_message": error}, status)


class _Agent(_Messages):
    """An agent: its trace is AGENT → RETRIEVER, its tools, CHAT_MODEL."""

    def schema_problem(self, body: Mapping[str, Any]) -> Response | None:
        for key in ("custom_inputs", "context"):
            if not isinstance(body.get(key, {}), (dict, type(None))):
                return incompatible(f"{key} should be an object")
        return super().schema_problem(body)

    def root_span(self, body: Mapping[str, Any], reply: Any, answer: Answer, usage: Usage, *, model: str) -> MockSpan:
        children = answer.spans or _agent_steps(self.question(body), self.asked_messages(body), answer, usage, model)
        return MockSpan(name="predict", span_type="AGENT", inputs=body, outputs=reply, children=children)


class _ChatCompletionAgent(_Agent):
    task = "agent/v1/chat"

    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        return {**CHAT.reply(answer, usage, model=model, ids=ids, now=now), "custom_outputs": dict(answer.custom_outputs or {})}

    def events(self, reply: Mapping[str, Any], body: Mapping[str, Any], *, words: int = 1) -> list[Any]:
        return CHAT.events(reply, body, words=words)


class _ChatAgent(_Agent):
    task = "agent/v2/chat"

    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        messages: list[dict[str, Any]] = []
        for call in answer.tool_calls:
            call_id = f"call_{ids.hex(12)}"
            messages += [
                {"role": "assistant", "content": "", "id": ids.uuid(), "tool_calls": [_function_call(call.name, call.arguments, call_id)]},
                {"role": "tool", "content": as_text(call.output), "name": call.name, "tool_call_id": call_id, "id": ids.uuid()},
            ]
        if answer.text is not None:
            messages.append({"role": "assistant", "content": answer.text, "id": ids.uuid()})
        custom_outputs = dict(answer.custom_outputs or {})
        return {"messages": messages, "finish_reason": "stop", "usage": prompt_usage(usage), "custom_outputs": custom_outputs}

    def events(self, reply: Mapping[str, Any], body: Mapping[str, Any], *, words: int = 1) -> list[Any]:
        messages = reply.get("messages")
        if not is_list(messages) or not messages:
            return [dict(reply)]
        found: list[Any] = [{"delta": delta} for message in messages for delta in _agent_deltas(members(message), words)]
        found[-1] |= {key: reply[key] for key in ("finish_reason", "usage", "custom_outputs") if key in reply}
        return found


def _agent_deltas(message: dict[str, Any], words: int) -> list[dict[str, Any]]:
    """One message as deltas that bear its id; one of a tool, or with calls of tools, is whole."""
    content = message.get("content")
    if message.get("role") != "assistant" or message.get("tool_calls") or not isinstance(content, str) or not content:
        return [message]
    return [{**message, "content": piece} for piece in pieces(content, words)]


class _ResponsesAgent(_Agent):
    task: ClassVar[str | None] = "agent/v1/responses"
    key = "input"

    def wrong_with(self, message: Any) -> str | None:
        kind = members(message).get("type", "message")
        return super().wrong_with(message) if kind == "message" else None

    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        return {
            "id": f"resp_{ids.hex(24)}",
            "object": "response",
            "output": list(_items(answer, ids)),
            "custom_outputs": dict(answer.custom_outputs or {}),
            "usage": usage.as_dict(),
        }

    def events(self, reply: Mapping[str, Any], body: Mapping[str, Any], *, words: int = 1) -> list[Any]:
        items = reply.get("output")
        if not is_list(items):
            return [dict(reply)]
        found = [event for item in items for event in _item_events(members(item), words)]
        return [*found, {"type": "response.completed", "response": dict(reply)}]


def _items(answer: Answer, ids: Ids) -> Iterator[dict[str, Any]]:
    for call in answer.tool_calls:
        call_id = f"call_{ids.hex(12)}"
        arguments = json.dumps(dict(call.arguments))
        yield {"type": "function_call", "id": f"fc_{ids.hex(12)}", "call_id": call_id, "name": call.name, "arguments": arguments}
        yield {"type": "function_call_output", "call_id": call_id, "output": as_text(call.output)}
    if answer.text is not None:
        content = [{"type": "output_text", "text": answer.text, "annotations": list[Any]()}]
        yield {"type": "message", "id": f"msg_{ids.hex(24)}", "role": "assistant", "status": "completed", "content": content}


def _item_events(item: dict[str, Any], words: int) -> Iterator[dict[str, Any]]:
    """An item's texts as deltas, then the item itself."""
    content = item.get("content")
    for part in content if item.get("type") == "message" and is_list(content) else []:
        text = members(part).get("text")
        for piece in pieces(text, words) if isinstance(text, str) else []:
            yield {"type": "response.output_text.delta", "item_id": item.get("id"), "delta": piece}
    yield {"type": "response.output_item.done", "item": item}


class _FoundationResponses(_ResponsesAgent):
    """A foundation model at the address for responses: a text will do for input, and unknown fields are refused."""

    task = None
    traces = False
    fields = RESPONSES_FIELDS | SERVING_FIELDS

    def schema_problem(self, body: Mapping[str, Any]) -> Response | None:
        return None if isinstance(body.get("input"), str) else super().schema_problem(body)

    def question(self, body: Mapping[str, Any]) -> str:
        return body["input"] if isinstance(body["input"], str) else super().question(body)

    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        body = super().reply(answer, usage, model=model, ids=ids, now=now)
        del body["custom_outputs"]
        settings = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": list[Any](), "error": None, "incomplete_details": None}
        return {**body, "created_at": int(now), "model": model, "status": "completed", **settings}


def _agent_steps(question: str, messages: list[Any], answer: Answer, usage: Usage, model: str) -> tuple[MockSpan, ...]:
    if answer.text is None and not answer.tool_calls:
        return ()  # a whole body was given: nothing is known of how it came about
    found = [{"page_content": answer.text or "", "metadata": {"doc_uri": "mock/document-1", "score": 1.0}, "id": "document-1"}]
    retrieve = MockSpan(name="retrieve", span_type="RETRIEVER", inputs={"query": question}, outputs=found)
    tools = tuple(
        MockSpan(name=call.name, span_type="TOOL", inputs=dict(call.arguments), outputs=call.output) for call in answer.tool_calls
    )
    completion = {"choices": [{"index": 0, "message": {"role": "assistant", "content": answer.text}, "finish_reason": "stop"}]}
    ask = {"messages": messages, "model": model}
    return (retrieve, *tools, MockSpan(name="llm", span_type="CHAT_MODEL", inputs=ask, outputs=completion, usage=usage, model=model))


def _function_call(name: str, arguments: Mapping[str, Any], call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(dict(arguments))}}


CHAT = _Chat()
FOUNDATION = _Foundation()
FOUNDATION_RESPONSES = _FoundationResponses()
CHAT_COMPLETION = _ChatCompletionAgent()
CHAT_AGENT = _ChatAgent()
RESPONSES = _ResponsesAgent()
