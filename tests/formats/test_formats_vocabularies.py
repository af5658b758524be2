"""Others' span attributes in MLflow's words, and the tokens of a trace."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.formats import token_usage, translate
from evalpoint.formats.shapes import SpanFields

TYPE, INPUTS, OUTPUTS = "mlflow.spanType", "mlflow.spanInputs", "mlflow.spanOutputs"
USAGE, MODEL = "mlflow.chat.tokenUsage", "mlflow.llm.model"
USER = {"role": "user", "content": "q"}
ASSISTANT = {"role": "assistant", "content": "a"}

TABLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "otel-chat": (
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.response.model": "gpt-4o-2024-08-06",
            "gen_ai.usage.input_tokens": 3,
            "gen_ai.usage.output_tokens": 4,
            "gen_ai.usage.cache_read.input_tokens": 2,
            "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "q"}]}]),
            "gen_ai.output.messages": json.dumps(
                [{"role": "assistant", "parts": [{"type": "text", "content": "a"}], "finish_reason": "stop"}]
            ),
        },
        {
            TYPE: "CHAT_MODEL",
            INPUTS: {"messages": [USER]},
            OUTPUTS: {"messages": [ASSISTANT]},
            USAGE: {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "cache_read_input_tokens": 2},
            MODEL: "gpt-4o-2024-08-06",
        },
    ),
    "otel-tool-call": (
        {
            "gen_ai.system_instructions": [{"type": "text", "content": "s"}],
            "gen_ai.input.messages": [
                {"role": "assistant", "parts": [{"type": "tool_call", "id": "1", "name": "f", "arguments": {"x": 1}}]},
                {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "r"}]},
            ],
        },
        {
            INPUTS: {
                "messages": [
                    {"role": "system", "content": "s"},
                    {
                        "role": "assistant",
                        "content": "",
                        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}],
                    },
                    {"role": "tool", "content": "r"},
                ]
            }
        },
    ),
    "otel-tool": (
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.call.arguments": '{"x": 1}', "gen_ai.tool.call.result": "r"},
        {TYPE: "TOOL", INPUTS: {"x": 1}, OUTPUTS: "r"},
    ),
    "openinference-llm": (
        {
            "openinference.span.kind": "LLM",
            "input.value": '{"messages": []}',
            "input.mime_type": "application/json",
            "output.value": "plain words",
            "llm.model_name": "m",
            "llm.token_count.prompt": 1,
            "llm.token_count.completion": 2,
            "llm.token_count.total": 3,
        },
        {
            TYPE: "LLM",
            INPUTS: {"messages": []},
            OUTPUTS: "plain words",
            USAGE: {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            MODEL: "m",
        },
    ),
    "openinference-messages": (
        {
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": "q",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.content": "",
            "llm.output_messages.0.message.tool_calls.0.tool_call.id": "1",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "f",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "{}",
        },
        {
            INPUTS: {"messages": [USER]},
            OUTPUTS: {
                "messages": [
                    {
                        "role": "assistant",
                        "content": "",
                        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                    }
                ]
            },
        },
    ),
    "openinference-retriever": (
        {
            "openinference.span.kind": "RETRIEVER",
            "input.value": "q",
            "output.value": "ignored",
            "retrieval.documents.10.document.content": "last",
            "retrieval.documents.2.document.content": "first",
            "retrieval.documents.2.document.id": 7,
            "retrieval.documents.2.document.score": 0.5,
            "retrieval.documents.2.document.metadata": '{"doc_uri": "u"}',
        },
        {
            TYPE: "RETRIEVER",
            INPUTS: "q",
            OUTPUTS: [
                {"page_content": "first", "metadata": {"doc_uri": "u", "score": 0.5}, "id": "7"},
                {"page_content": "last", "metadata": {}},
            ],
        },
    ),
    "traceloop": (
        {
            "traceloop.span.kind": "workflow",
            "traceloop.entity.input": '{"inputs": {"q": 1}}',
            "traceloop.entity.output": '["a"]',
        },
        {TYPE: "WORKFLOW", INPUTS: {"inputs": {"q": 1}}, OUTPUTS: ["a"]},
    ),
    "traceloop-llm": (
        {
            "llm.request.type": "chat",
            "gen_ai.prompt.0.role": "user",
            "gen_ai.prompt.0.content": "q",
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": "a",
            "gen_ai.usage.prompt_tokens": 1,
            "gen_ai.usage.completion_tokens": 2,
            "llm.usage.total_tokens": 5,
        },
        {
            TYPE: "CHAT_MODEL",
            INPUTS: {"messages": [USER]},
            OUTPUTS: {"messages": [ASSISTANT]},
            USAGE: {"input_tokens": 1, "output_tokens": 2, "total_tokens": 5},
        },
    ),
    "empty-values": ({"input.value": "", "output.value": None}, {INPUTS: ""}),
}


@pytest.mark.parametrize(("attributes", "added"), TABLE.values(), ids=TABLE)
def test_translate(attributes, added):
    """Each vocabulary is said in MLflow's words; the originals stay."""
    before = json.dumps(attributes)
    assert translate(attributes) == {**attributes, **added}
    assert json.dumps(attributes) == before


def test_mlflow_wins():
    """What is said in MLflow's own words is not said again."""
    attributes = {TYPE: "AGENT", INPUTS: {}, OUTPUTS: 0, USAGE: {}, MODEL: "", **TABLE["otel-chat"][0]}
    assert translate(attributes) is attributes


@pytest.mark.parametrize(
    "attributes", [{}, {"a": 1}, {TYPE: "TOOL"}, {"llm.unknown": 1}, {"openinference.span.kind": "SOMETHING"}], ids=str
)
def test_same_object(attributes):
    """With nothing to translate the very same object comes back."""
    assert translate(attributes) is attributes


PARTS = st.sampled_from(
    [
        "gen_ai",
        "llm",
        "retrieval",
        "documents",
        "document",
        "input_messages",
        "output_messages",
        "message",
        "role",
        "content",
        "tool_calls",
        "tool_call",
        "prompt",
        "completion",
        "0",
        "1",
        "x",
    ]
)
KEYS = st.lists(PARTS, min_size=1, max_size=6).map(".".join) | st.sampled_from(
    ["gen_ai.input.messages", "gen_ai.output.messages", "input.value", "gen_ai.usage.input_tokens", "openinference.span.kind"]
)
VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(['[{"role": "user"}]', "[", '{"parts": [1]}']),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["role", "parts", "type", "content"]), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=70, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=8))
def test_translate_anything(attributes):
    """Whatever the attributes hold, they come back whole, with nothing but MLflow's keys added, and a second time adds nothing."""
    translated = translate(attributes)
    assert {key: translated[key] for key in attributes} == attributes
    assert set(translated) - set(attributes) <= {TYPE, INPUTS, OUTPUTS, USAGE, MODEL}
    assert translate(translated) is translated


def span(span_id: str, parent_id: str | None = None, usage: Any = None) -> SpanFields:
    return {
        "name": span_id,
        "span_id": span_id,
        "parent_id": parent_id,
        "start_time_ns": 1,
        "end_time_ns": 2,
        "status_code": "OK",
        "status_message": "",
        "attributes": {} if usage is None else {USAGE: usage},
        "events": [],
        "links": [],
    }


def tokens(given_: int, made: int) -> dict[str, int]:
    return {"input_tokens": given_, "output_tokens": made, "total_tokens": given_ + made}


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], None),
        ([span("a"), span("b", "a")], None),
        ([span("a"), span("b", "a", tokens(1, 2)), span("c", "a", tokens(3, 4))], tokens(4, 6)),
        ([span("a", None, tokens(4, 6)), span("b", "a", tokens(1, 2)), span("c", "b", tokens(3, 4))], tokens(4, 6)),
        ([span("a"), span("b", "a", tokens(1, 1)), span("c", "b", tokens(1, 1)), span("d", "a", tokens(2, 2))], tokens(3, 3)),
        ([span("a", None, "junk"), span("b", "a", tokens(1, 2))], tokens(1, 2)),
        ([span("a", "gone", tokens(1, 2))], tokens(1, 2)),
        ([span("a", "b", tokens(1, 2)), span("b", "a")], None),
        (
            [
                span("a"),
                span("b", "a", {**tokens(1, 2), "cache_read_input_tokens": 1}),
                span("c", "a", {"input_tokens": 1, "output_tokens": 0}),
            ],
            {**tokens(2, 2), "cache_read_input_tokens": 1},
        ),
    ],
    ids=["none", "uncounted", "siblings", "cumulative-root", "cumulative-middle", "junk", "orphan", "cycle", "cache"],
)
def test_token_usage(spans, expected):
    """A span's usage includes its descendants', so that theirs is not added; siblings' is."""
    assert token_usage(spans) == expected
