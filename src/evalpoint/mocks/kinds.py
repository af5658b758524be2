"""The kinds of endpoint: what each one's requests must have, what its answers look like, and how it describes itself."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from evalpoint.mocks.answers import Answer, MockSpan, Usage, tokens
from evalpoint.mocks.clock import Ids
from evalpoint.mocks.exchange import Response, error_response, is_list, members

__all__ = ["CHAT", "CHAT_AGENT", "CHAT_COMPLETION", "CUSTOM", "FOUNDATION", "RESPONSES", "Kind", "message_text"]

SERVING_FIELDS = frozenset({"client_request_id", "usage_context"})
CHAT_FIELDS = frozenset(
    (
        *("messages", "model", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "n", "stream"),
        *("stream_options", "tools", "tool_choice", "response_format", "logprobs", "top_logprobs", "reasoning_effort", "thinking"),
        *("seed", "presence_penalty", "frequency_penalty", "user"),
    )
)
RECORD_FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")


class Kind(ABC):
    """One kind of endpoint. A new kind is a new subclass; nothing else knows them apart."""

    task: ClassVar[str | None] = None
    endpoint_type: ClassVar[str | None] = None
    traces: ClassVar[bool] = True
    """Whether `databricks_options` is understood, so that a trace can come back."""
    fields: ClassVar[frozenset[str] | None] = None
    """The only top-level fields that are accepted; None for any."""
    asked: ClassVar[str] = "question"
    """What a function with one parameter of any name is given."""

    def problem(self, body: Any) -> Response | None:
        """Why the request is refused, if it is."""
        if not isinstance(body, dict):
            return error_response(400, "BAD_REQUEST", "Bad request: the body is not a JSON object.")
        given = members(cast("object", body))
        unknown = None if self.fields is None else next((name for name in given if name not in self.fields), None)
        return self.schema_problem(given) if unknown is None else unknown_field(unknown)

    @abstractmethod
    def schema_problem(self, body: Mapping[str, Any]) -> Response | None:
        """Why this body does not fit the endpoint's schema, if it does not."""

    @abstractmethod
    def question(self, body: Mapping[str, Any]) -> str:
        """The text of the question."""

    def records(self, body: Mapping[str, Any]) -> list[Any] | None:
        """The records that are each answered by themselves; None where a request is one question."""
        return None

    @abstractmethod
    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        """The body for an answer."""

    @abstractmethod
    def root_span(self, body: Mapping[str, Any], reply: Any, answer: Answer, usage: Usage, *, model: str) -> MockSpan:
        """The trace's outermost step, with plausible steps inside where the answer brings none."""


def unknown_field(name: str) -> Response:
    """How the foundation-model gateway refuses a top-level field that it does not know."""
    return error_response(400, "BAD_REQUEST", f'Bad request: json: unknown field "{name}"\n')


def _incompatible(why: str) -> Response:
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


def _last_user_text(messages: Sequence[Any]) -> str:
    users = [message for message in messages if members(message).get("role", "user") == "user"]
    return message_text(users[-1]) if users else ""


class _Messages(Kind):
    """What the kinds that are asked with a list of messages have in common."""

    key: ClassVar[str] = "messages"

    def schema_problem(self, body: Mapping[str, Any]) -> Response | None:
        messages = body.get(self.key)
        if isinstance(messages, list) and messages:
            return None
        return _incompatible(f"Model is missing inputs ['{self.key}']: it should be a list with at least one message.")

    def question(self, body: Mapping[str, Any]) -> str:
        return _last_user_text(cast("list[Any]", body[self.key]))

    def asked_messages(self, body: Mapping[str, Any]) -> list[Any]:
        return [message for message in cast("list[Any]", body[self.key]) if isinstance(message, dict)]


class _Chat(_Messages):
    """A chat model: one completion, one CHAT_MODEL span."""

    task = "llm/v1/chat"

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
            "usage": _prompt_usage(usage),
        }

    def root_span(self, body: Mapping[str, Any], reply: Any, answer: Answer, usage: Usage, *, model: str) -> MockSpan:
        if answer.spans:
            return MockSpan(name="predict", span_type="CHAT_MODEL", inputs=body, outputs=reply, children=answer.spans)
        return MockSpan(name="predict", span_type="CHAT_MODEL", inputs=body, outputs=reply, usage=usage, model=model)


class _Foundation(_Chat):
    """A foundation model: decodes the request into a fixed struct, and returns no traces."""

    endpoint_type = "FOUNDATION_MODEL_API"
    traces = False
    fields = CHAT_FIELDS | SERVING_FIELDS


class _Agent(_Messages):
    """An agent: its trace is AGENT → RETRIEVER, its tools, CHAT_MODEL."""

    def root_span(self, body: Mapping[str, Any], reply: Any, answer: Answer, usage: Usage, *, model: str) -> MockSpan:
        children = answer.spans or _agent_steps(self.question(body), self.asked_messages(body), answer, usage, model)
        return MockSpan(name="predict", span_type="AGENT", inputs=body, outputs=reply, children=children)


class _ChatCompletionAgent(_Agent):
    task = "agent/v1/chat"

    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        return {**CHAT.reply(answer, usage, model=model, ids=ids, now=now), "custom_outputs": dict(answer.custom_outputs or {})}


class _ChatAgent(_Agent):
    task = "agent/v2/chat"

    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        messages: list[dict[str, Any]] = []
        for call in answer.tool_calls:
            call_id = f"call_{ids.hex(12)}"
            messages += [
                {"role": "assistant", "content": "", "id": ids.uuid(), "tool_calls": [_function_call(call.name, call.arguments, call_id)]},
                {"role": "tool", "content": _as_text(call.output), "name": call.name, "tool_call_id": call_id, "id": ids.uuid()},
            ]
        if answer.text is not None:
            messages.append({"role": "assistant", "content": answer.text, "id": ids.uuid()})
        custom_outputs = dict(answer.custom_outputs or {})
        return {"messages": messages, "finish_reason": "stop", "usage": _prompt_usage(usage), "custom_outputs": custom_outputs}


class _ResponsesAgent(_Agent):
    task = "agent/v1/responses"
    key = "input"

    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        items: list[dict[str, Any]] = []
        for call in answer.tool_calls:
            call_id = f"call_{ids.hex(12)}"
            arguments = json.dumps(dict(call.arguments))
            items += [
                {"type": "function_call", "id": f"fc_{ids.hex(12)}", "call_id": call_id, "name": call.name, "arguments": arguments},
                {"type": "function_call_output", "call_id": call_id, "output": _as_text(call.output)},
            ]
        if answer.text is not None:
            content = [{"type": "output_text", "text": answer.text, "annotations": list[Any]()}]
            items.append({"type": "message", "id": f"msg_{ids.hex(24)}", "role": "assistant", "status": "completed", "content": content})
        return {
            "id": f"resp_{ids.hex(24)}",
            "object": "response",
            "output": items,
            "custom_outputs": dict(answer.custom_outputs or {}),
            "usage": usage.as_dict(),
        }


class _Custom(Kind):
    """A custom model (pyfunc): records in one of four forms, one prediction for each."""

    asked = "record"

    def schema_problem(self, body: Mapping[str, Any]) -> Response | None:
        given = [form for form in RECORD_FORMS if form in body]
        if len(given) != 1:
            wanted, had = ", ".join(RECORD_FORMS), ", ".join(given) or "none of them"
            return error_response(400, "BAD_REQUEST", f"Invalid input. The input must contain exactly one of {wanted}; it has {had}.")
        try:
            self.records(body)
        except (KeyError, TypeError, ValueError) as error:
            return _incompatible(f"{type(error).__name__}: {given[0]} is not in its documented form")
        return None

    def records(self, body: Mapping[str, Any]) -> list[Any]:
        if "dataframe_split" in body:
            columns = list(body["dataframe_split"]["columns"])
            return [dict(zip(columns, line, strict=True)) for line in body["dataframe_split"]["data"]]
        if "dataframe_records" in body:
            return [dict(record) for record in body["dataframe_records"]]
        if "instances" in body:
            return list(body["instances"])
        inputs: Any = body["inputs"]
        if not isinstance(inputs, dict):
            return inputs if is_list(inputs) else [inputs]
        tensors = members(cast("object", inputs))
        if tensors and all(isinstance(values, list) for values in tensors.values()):
            return [dict(zip(tensors, line, strict=True)) for line in zip(*tensors.values(), strict=True)]
        return [tensors]

    def question(self, body: Mapping[str, Any]) -> str:
        records = self.records(body)
        return self.record_text(records[0]) if records else ""

    @staticmethod
    def record_text(record: Any) -> str:
        """The record as a question: a text, the only text in it, its last user message, or else its JSON."""
        if isinstance(record, str):
            return record
        if isinstance(record, dict):
            values = members(cast("object", record))
            if isinstance(values.get("messages"), list):
                return _last_user_text(cast("list[Any]", values["messages"]))
            for key in ("question", "query", "input", "prompt", "text"):
                if isinstance(values.get(key), str):
                    return str(values[key])
            texts = [value for value in values.values() if isinstance(value, str)]
            if len(texts) == 1:
                return texts[0]
        return json.dumps(record, ensure_ascii=False)

    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        return {"predictions": [answer.text]}

    def root_span(self, body: Mapping[str, Any], reply: Any, answer: Answer, usage: Usage, *, model: str) -> MockSpan:
        return MockSpan(name="predict", span_type="CHAIN", inputs=body, outputs=reply, children=answer.spans)


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


def _prompt_usage(usage: Usage) -> dict[str, int]:
    return {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens, "total_tokens": usage.total_tokens}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def estimated_usage(body: Mapping[str, Any], answer: Answer) -> Usage:
    """The answer's usage, or an estimate from the lengths of what went in and came out."""
    return answer.usage or Usage(tokens(json.dumps(body, ensure_ascii=False)), tokens(answer.text or ""))


CHAT = _Chat()
FOUNDATION = _Foundation()
CHAT_COMPLETION = _ChatCompletionAgent()
CHAT_AGENT = _ChatAgent()
RESPONSES = _ResponsesAgent()
CUSTOM = _Custom()
