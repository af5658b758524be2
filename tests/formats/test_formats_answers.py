"""Answers of every shape of endpoint: text, tool calls, usage, finish reason; and the question of every shape of inputs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.formats import finish_reason, question_of, text_of, tool_calls, usage_of

ENDPOINT = Path(__file__).parent.parent / "fixtures" / "endpoint"
ANSWER = "MLflow is a platform."
QUESTION = "What is MLflow?"
USED = {"input_tokens": 21, "output_tokens": 9, "total_tokens": 30}


def recorded(name: str, part: str) -> Any:
    return json.loads((ENDPOINT / f"io-{name}.json").read_text())[part]


def said(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def chat(content: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": said(content, **more), "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("name", "text", "question", "usage", "reason", "calls"),
    [
        ("chat", ANSWER, QUESTION, USED, "stop", []),
        ("agent-v1-chat", ANSWER, QUESTION, USED, "stop", []),
        ("agent-v2-chat", ANSWER, QUESTION, USED, "stop", [{"name": "search", "arguments": {}, "id": "call_1"}]),
        ("agent-v1-responses", ANSWER, QUESTION, USED, None, [{"name": "search", "arguments": {"q": "mlflow"}, "id": "call_1"}]),
        (
            "chat-content-parts-and-tool-call",
            "",
            "Weather?",
            USED,
            "tool_calls",
            [{"name": "get_weather", "arguments": {"city": "Oslo"}, "id": "call_1"}],
        ),
        ("completions", "hi", "Say hi", USED, "stop", []),
        ("feature-spec", '[{"user_id":1,"age":33}]', '{"dataframe_records":[{"user_id":1}]}', None, None, []),
        ("pyfunc-dataframe_split", '["A","B"]', None, None, None, []),
        ("pyfunc-dataframe_records", '[{"answer":"A"},{"answer":"B"}]', None, None, None, []),
        ("pyfunc-inputs", "[0.1,0.9]", None, None, None, []),
        ("pyfunc-instances", "[0.1,0.9]", None, None, None, []),
        ("embeddings", None, None, {"input_tokens": 2, "output_tokens": 0, "total_tokens": 2}, None, []),
    ],
)
def test_recorded(name, text, question, usage, reason, calls):
    """Every recorded pair of request and response reads as what a person would say it says."""
    response = recorded(name, "response")
    assert text is None or text_of(response) == text
    assert question is None or question_of(recorded(name, "request")) == question
    assert usage_of(response) == usage
    assert finish_reason(response) == reason
    assert tool_calls(response) == calls


class Answer(pydantic.BaseModel):
    answer: str


PARTS = [
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hmm"}]},
    {"type": "text", "text": "a"},
    {"type": "text", "text": "b"},
]
TWO_MESSAGES = [
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "first"}]},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "last "}, {"type": "output_text", "text": "words"}],
    },
    {"type": "reasoning", "summary": []},
]

TEXTS: dict[str, tuple[Any, str]] = {
    "none": (None, ""),
    "string": ("hello", "hello"),
    "empty-string": ("", ""),
    "number": (0.5, "0.5"),
    "bool": (True, "true"),
    "chat-null": (chat(None), ""),
    "chat-parts": (chat(PARTS), "ab"),
    "chat-refusal": (chat(None, refusal="I cannot."), "I cannot."),
    "chat-second-choice": ({"choices": [{"message": said("")}, {"message": said("b")}]}, "b"),
    "chat-no-choices": ({"choices": [], "id": "x"}, ""),
    "chat-junk-choices": ({"choices": [None, 3, {"message": "x"}]}, ""),
    "agent-last-speaks": ({"messages": [said("a"), said("b"), {"role": "tool", "content": "t"}]}, "b"),
    "agent-last-is-silent": ({"messages": [said("a"), said("  "), said(None)]}, "a"),
    "agent-only-tools": ({"messages": [said("", tool_calls=[]), {"role": "tool", "content": "t"}]}, ""),
    "agent-no-messages": ({"messages": []}, ""),
    "langgraph": ({"messages": [{"type": "human", "content": "q"}, {"type": "ai", "content": "a"}]}, "a"),
    "responses-last-message": ({"object": "response", "output": TWO_MESSAGES}, "last words"),
    "responses-only-calls": ({"object": "response", "output": TWO_MESSAGES[1:2]}, ""),
    "responses-nothing": ({"object": "response", "output": []}, ""),
    "items-alone": (TWO_MESSAGES, "last words"),
    "one-message": (said("a"), "a"),
    "message-of-parts": (said(PARTS), "ab"),
    "parts-alone": (PARTS, "ab"),
    "predictions-string": ({"predictions": "a"}, "a"),
    "predictions-list": ({"predictions": ["a"]}, "a"),
    "predictions-strings": ({"predictions": ["a", "b"]}, '["a","b"]'),
    "predictions-number": ({"predictions": [0.5]}, "[0.5]"),
    "predictions-map": ({"predictions": [{"answer": "a", "sources": ["s"]}]}, "a"),
    "predictions-chat": ({"predictions": [chat("a")]}, "a"),
    "predictions-empty": ({"predictions": []}, "[]"),
    "own-json": ({"answer": "a", "sources": [1], "databricks_output": {"trace": {}}}, "a"),
    "own-json-nested": ({"result": {"response": "a"}, "id": "x"}, "a"),
    "own-json-empty-answer": ({"answer": "", "sources": []}, ""),
    "own-json-number": ({"answer": 42, "sources": []}, "42"),
    "own-json-one-string": ({"greeting": "hi", "usage": {}}, "hi"),
    "own-json-unknown": ({"a": "x", "b": 1, "databricks_output": {"t": 1}}, '{"a":"x","b":1}'),
    "text-goes-before-output": ({"output": "o", "text": "t"}, "t"),
    "empty-key-is-passed-over": ({"text": "", "answer": "a"}, "a"),
    "pydantic": (Answer(answer="a"), "a"),
    "pydantic-inside": ({"messages": [{"role": "assistant", "content": "a"}], "x": Answer(answer="b")}, "a"),
    "nan": ({"a": math.nan, "b": 2}, '{"a":"NaN","b":2}'),
    "half-character": ("\ud83d", "�"),
    "json-text-stays": ('{"answer": "a"}', '{"answer": "a"}'),
}


@pytest.mark.parametrize(("outputs", "text"), TEXTS.values(), ids=TEXTS)
def test_text_of(outputs, text):
    """The text is what the assistant said last; of other shapes an obvious string, or else compact JSON."""
    assert text_of(outputs) == text


QUESTIONS: dict[str, tuple[Any, str]] = {
    "none": (None, ""),
    "string": ("q", "q"),
    "last-user-message": ({"messages": [{"role": "user", "content": "a"}, said("b"), {"role": "user", "content": "c"}, said("d")]}, "c"),
    "messages-alone": ([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}], "q"),
    "parts": ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}, "b"]}]}, "a\nb"),
    "no-user": ({"messages": [{"role": "system", "content": "s"}]}, "s"),
    "responses": ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "q"}]}], "context": {}}, "q"),
    "input-string": ({"input": "q", "temperature": 0}, "q"),
    "question": ({"question": "q", "context": "long"}, "q"),
    "query": ({"query": "q", "k": 3}, "q"),
    "prompt": ({"prompt": "q", "max_tokens": 5}, "q"),
    "nested": ({"inputs": {"question": "q"}}, "q"),
    "records": ({"dataframe_records": [{"question": "q"}]}, "q"),
    "split": ({"dataframe_split": {"columns": ["question", "k"], "data": [["q", 1]]}}, "q"),
    "only-string": ({"topic": "q", "k": 3}, "q"),
    "two-strings": ({"a": "x", "b": "y"}, '{"a":"x","b":"y"}'),
    "string-beside-map": ({"a": "x", "b": {}}, '{"a":"x","b":{}}'),
    "numbers": ({"x": 1.0}, '{"x":1.0}'),
    "empty": ({}, "{}"),
}


@pytest.mark.parametrize(("inputs", "question"), QUESTIONS.values(), ids=QUESTIONS)
def test_question_of(inputs, question):
    """The question is what the user said last; of other shapes the obvious string, or else compact JSON."""
    assert question_of(inputs) == question


@pytest.mark.parametrize(
    ("outputs", "calls"),
    [
        (chat(None, tool_calls=[{"id": "1", "function": {"name": "f", "arguments": "not json"}}]), [("f", "not json", "1")]),
        (chat(None, tool_calls=[{"id": 5, "function": {"name": None, "arguments": {"a": 1}}}, "junk"]), [("", {"a": 1}, None)]),
        ({"messages": [{"type": "ai", "content": "", "tool_calls": [{"name": "f", "args": {"a": 1}, "id": "1"}]}]}, [("f", {"a": 1}, "1")]),
        (said([{"type": "tool_use", "name": "f", "input": {}, "id": "1"}]), [("f", {}, "1")]),
        (
            {"predictions": [{"messages": [said("", tool_calls=[{"id": "1", "function": {"name": "f", "arguments": "{}"}}])]}]},
            [("f", {}, "1")],
        ),
        ({"output": TWO_MESSAGES}, [("f", {}, "c")]),
        (said("", tool_calls=[{"id": "1", "function": {"name": "f", "arguments": "[" * 5000}}]), [("f", "[" * 5000, "1")]),
        ("text", []),
        (None, []),
    ],
    ids=["bad-arguments", "bad-fields", "langchain", "anthropic", "predictions", "responses", "deep-arguments", "text", "none"],
)
def test_tool_calls(outputs, calls):
    """Calls of every shape have a name, decoded arguments and an id."""
    assert [(call["name"], call["arguments"], call["id"]) for call in tool_calls(outputs)] == calls


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 2}, {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
        ({"input_tokens": 1, "output_tokens": 2, "total_tokens": 9}, {"input_tokens": 1, "output_tokens": 2, "total_tokens": 9}),
        (
            {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 5}},
            {"input_tokens": 8, "output_tokens": 2, "total_tokens": 10, "cache_read_input_tokens": 5},
        ),
        (
            {"input_tokens": 8, "output_tokens": 2, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 3},
            {
                "input_tokens": 8,
                "output_tokens": 2,
                "total_tokens": 10,
                "cache_read_input_tokens": 0,
                "cache_creation_input_tokens": 3,
            },
        ),
        ({"total_tokens": 7}, {"input_tokens": 7, "output_tokens": 0, "total_tokens": 7}),
        ({"prompt_tokens": 3.0, "completion_tokens": None}, {"input_tokens": 3, "output_tokens": 0, "total_tokens": 3}),
        ({"prompt_tokens": True, "completion_tokens": -1, "total_tokens": "3"}, None),
        ({"prompt_tokens": math.nan}, None),
        ({}, None),
        ([1], None),
        (None, None),
    ],
    ids=["prompt", "input", "details", "cache", "total", "float", "wrong-types", "nan", "empty", "list", "null"],
)
def test_usage_of(usage, expected):
    """Both dialects give MLflow's keys; what is no count is no count."""
    assert usage_of({"usage": usage}) == expected
    assert usage_of({"predictions": [{"usage": usage}]}) == expected


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({"object": "response", "status": "completed", "output": []}, "completed"),
        ({"object": "response", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "max_output_tokens"),
        ({"predictions": {"choices": [{"finish_reason": "length"}]}}, "length"),
        ({"choices": [{"finish_reason": None}]}, None),
        ("x", None),
    ],
    ids=["completed", "incomplete", "predictions", "null", "string"],
)
def test_finish_reason(outputs, reason):
    """Why an answer ended is found in every shape."""
    assert finish_reason(outputs) == reason


KEYS = st.sampled_from(
    [
        "choices",
        "message",
        "messages",
        "role",
        "content",
        "type",
        "text",
        "output",
        "predictions",
        "outputs",
        "usage",
        "tool_calls",
        "function",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=5)
    | st.sampled_from(["assistant", "user"])
)
JUNK = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=25)


@settings(max_examples=150, deadline=None)
@given(JUNK)
def test_never_raises(value):
    """Whatever an endpoint sends, each of these returns what it promises."""
    assert text_of(value).encode() is not None
    assert question_of(value).encode() is not None
    json.dumps(tool_calls(value), allow_nan=True)
    usage = usage_of(value)
    assert usage is None or all(type(count) is int and count >= 0 for count in usage.values())
    assert finish_reason(value) is None or isinstance(finish_reason(value), str)


def test_never_raises_for_odd_objects():
    """Not even for what contains itself, nests without end or refuses to be looked at."""

    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __str__(self) -> str:
            raise RuntimeError

    loop: dict[str, Any] = {}
    loop["messages"] = [loop]
    deep: Any = 1
    for _ in range(3000):
        deep = [deep]
    for value in (Hostile(), loop, deep, {"answer": Hostile()}):
        assert isinstance(text_of(value), str)
        assert isinstance(question_of(value), str)
        assert tool_calls(value) == []
        assert usage_of(value) is None
        assert finish_reason(value) is None
