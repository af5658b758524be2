"""Answers of every shape of endpoint -> their text, their tool calls, what they used, why they ended. Nothing here raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evalpoint.formats.contents import (
    ASSISTANTS,
    USERS,
    compact,
    content_text,
    dicts,
    is_content,
    is_conversation,
    last_said,
    mapping,
    some_text,
)
from evalpoint.formats.error_bodies import error_text
from evalpoint.formats.jsontext import decode
from evalpoint.formats.narrowing import is_dict, is_list
from evalpoint.formats.plain import plain

__all__ = ["count_tokens", "error_text", "finish_reason", "question_of", "text_of", "tool_calls", "usage_of"]

ANSWER_KEYS = (
    "output_text",
    "text",
    "answer",
    "output",
    "response",
    "content",
    "result",
    "prediction",
    "predictions",
    "outputs",
    "generated_text",
    "completion",
    "message",
    "reply",
)
QUESTION_KEYS = ("question", "query", "prompt", "input", "user_input", "message", "text", "request", "inputs", "content")
_BESIDES = frozenset(("databricks_output", "usage", "custom_outputs", "metadata", "id", "object", "created", "model"))
"""Keys beside an answer, which leave its one string the answer."""
_LEVELS = 8
"""How deep an answer may be wrapped."""


def text_of(outputs: Any) -> str:
    """The answer's text.

    The last assistant message that says something; of a Responses answer all text parts of its last message; of
    predictions a single string, or what an obvious key such as `answer` holds; compact JSON of anything else. Reasoning
    is left out. None gives "", and so does an answer that only calls tools.
    """
    value = _plain(outputs)
    if value is None:
        return ""
    text = _answer(value, _LEVELS)
    return compact(_unwrapped(value)) if text is None else text


def _answer(value: Any, levels: int) -> str | None:
    """The text, or None where no shape is known."""
    if isinstance(value, str):
        return value
    if levels and is_list(value):
        return _answer_of_list(value, levels)
    return _answer_of_map(value, levels) if levels and is_dict(value) else None


def _answer_of_list(entries: list[Any], levels: int) -> str | None:
    if is_content(entries):
        return content_text(entries)
    if is_conversation(entries):
        return last_said(dicts(entries), ASSISTANTS)
    return _answer(entries[0], levels - 1) if len(entries) == 1 else None


def _answer_of_map(answer: dict[str, Any], levels: int) -> str | None:
    if is_list(choices := answer.get("choices")):
        return next((text for choice in dicts(choices) if (text := _choice_text(choice))), "")
    for key in ("messages", "output"):
        messages = answer.get(key)
        if is_list(messages) and (
            is_conversation(messages) or (not messages and (key == "messages" or answer.get("object") == "response"))
        ):
            return last_said(dicts(messages), ASSISTANTS)
    said = [answer[key] for key in ANSWER_KEYS if key in answer]
    for value in said:
        found = compact(value) if isinstance(value, (int, float)) else _answer(value, levels - 1)
        if found:
            return found
    rest = [value for key, value in answer.items() if key not in _BESIDES]
    return next((value for value in said or rest if isinstance(value, str)), None) if said or len(rest) == 1 else None


def _choice_text(choice: dict[str, Any]) -> str:
    message = mapping(choice.get("message"))
    return content_text(message.get("content")) or some_text(message.get("refusal")) or some_text(choice.get("text"))


def _unwrapped(value: Any) -> Any:
    """What is shown of an answer of no known shape: the predictions themselves, without the wrapping."""
    if not is_dict(value):
        return value
    kept = {key: item for key, item in value.items() if key != "databricks_output"}
    return kept[next(iter(kept))] if len(kept) == 1 and not kept.keys().isdisjoint(("predictions", "outputs")) else kept


def question_of(inputs: Any) -> str:
    """The user's question as text: the last user message, a question key's string, the only string there is; else compact JSON."""
    value = _plain(inputs)
    if value is None:
        return ""
    question = _question(value, _LEVELS)
    return compact(value) if question is None else question


def _question(value: Any, levels: int) -> str | None:
    if isinstance(value, str):
        return value
    if levels and is_list(value):
        return _question_of_list(value, levels)
    return _question_of_map(value, levels) if levels and is_dict(value) else None


def _question_of_list(entries: list[Any], levels: int) -> str | None:
    if is_content(entries):
        return content_text(entries, "\n")
    if is_conversation(entries):
        messages = dicts(entries)
        texts = (content_text(message.get("content"), "\n") for message in reversed(messages))
        return last_said(messages, USERS, "\n") or next((text for text in texts if text), None)
    return _question(entries[0], levels - 1) if len(entries) == 1 else None


def _question_of_map(asked: dict[str, Any], levels: int) -> str | None:
    for key in ("messages", "dataframe_records", "instances"):
        if is_list(entries := asked.get(key)) and (text := _question(entries, levels - 1)):
            return text
    if split := mapping(asked.get("dataframe_split")):
        return _question(_only_row(split), levels - 1)
    for key in QUESTION_KEYS:
        if text := _question(asked.get(key), levels - 1):
            return text
    texts = [value for value in asked.values() if isinstance(value, str)]
    return texts[0] if len(texts) == 1 and not any(isinstance(value, (dict, list)) for value in asked.values()) else None


def _only_row(split: dict[str, Any]) -> Any:
    columns, rows = split.get("columns"), split.get("data")
    if is_list(columns) and is_list(rows) and len(rows) == 1 and is_list(rows[0]):
        return dict(zip(map(str, columns), rows[0], strict=False))
    return rows


def tool_calls(outputs: Any) -> list[dict[str, Any]]:
    """The calls that the answer made or asks for: `{"name", "arguments", "id"}`, the arguments decoded where they are JSON."""
    calls: list[dict[str, Any]] = []
    for message in _messages(_plain(outputs), _LEVELS):
        if message.get("type") == "function_call":
            calls.append(_call(message.get("name"), message.get("arguments"), message.get("call_id") or message.get("id")))
        for call in dicts(message.get("tool_calls")):
            function = mapping(call.get("function")) or call
            arguments = function["arguments"] if "arguments" in function else function.get("args")
            calls.append(_call(function.get("name"), arguments, call.get("id")))
        for part in dicts(message.get("content")):
            if part.get("type") == "tool_use":
                calls.append(_call(part.get("name"), part.get("input"), part.get("id")))
    return calls


def _call(name: Any, arguments: Any, call_id: Any) -> dict[str, Any]:
    if isinstance(arguments, str):
        try:
            arguments = decode(arguments)
        except ValueError:  # a model wrote something that is not JSON: the text itself
            arguments = str(arguments)
    return {"name": some_text(name), "arguments": arguments, "id": call_id if isinstance(call_id, str) else None}


def _messages(value: Any, levels: int) -> Iterator[dict[str, Any]]:
    """The messages and items of an answer, wherever its shape has them."""
    if levels == 0:
        return
    if is_list(value):
        if is_conversation(value):
            yield from dicts(value)
        elif len(value) == 1:
            yield from _messages(value[0], levels - 1)
    elif is_dict(value):
        answer = value
        if choices := dicts(answer.get("choices")):
            yield mapping(choices[0].get("message"))
        elif "tool_calls" in answer or "role" in answer:
            yield answer
        else:
            for key in ("messages", "output", "predictions"):
                yield from _messages(answer.get(key), levels - 1)


def usage_of(outputs: Any) -> dict[str, int] | None:
    """Input, output and total tokens of an answer, and its cache counters, from either dialect; None when nobody counted."""
    for answer in _wrapped(_plain(outputs)):
        usage = mapping(answer.get("usage")) or mapping(answer.get("usage_metadata"))
        if usage and (counted := count_tokens(usage)):
            return counted
    return None


def count_tokens(usage: dict[str, Any]) -> dict[str, int] | None:
    """The counters of one usage object of either dialect; None where it holds none."""
    given = _first(usage, "input_tokens", "prompt_tokens")
    made = _first(usage, "output_tokens", "completion_tokens")
    total = _first(usage, "total_tokens")
    if given is None and made is None and total is None:
        return None
    if given is None:
        given = max((total or 0) - (made or 0), 0)
    if made is None:
        made = max((total or given) - given, 0)
    counted = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made if total is None else total}
    details = mapping(usage.get("prompt_tokens_details")) or mapping(usage.get("input_tokens_details"))
    read = _first(usage, "cache_read_input_tokens")
    for key, count in (
        ("cache_read_input_tokens", _first(details, "cached_tokens") if read is None else read),
        ("cache_creation_input_tokens", _first(usage, "cache_creation_input_tokens")),
    ):
        if count is not None:
            counted[key] = count
    return counted


def _first(counts: dict[str, Any], *keys: str) -> int | None:
    for key in keys:
        count = counts.get(key)
        if isinstance(count, float) and count.is_integer():
            count = int(count)
        if type(count) is int and 0 <= count < 2**53:
            return count
    return None


def finish_reason(outputs: Any) -> str | None:
    """Why the answer ended: `stop`, `length`, `tool_calls`, …; of a Responses answer its status, or why it is incomplete."""
    for answer in _wrapped(_plain(outputs)):
        choices = dicts(answer.get("choices"))
        reason = some_text((choices[0] if choices else answer).get("finish_reason"))
        reason = reason or some_text(mapping(answer.get("incomplete_details")).get("reason"))
        if answer.get("object") == "response" and not reason:
            reason = some_text(answer.get("status"))
        if reason:
            return reason
    return None


def _wrapped(value: Any) -> Iterator[dict[str, Any]]:
    """The answer and what is in its `predictions`, from outside in."""
    for _ in range(_LEVELS):
        if is_list(value) and len(value) == 1:
            value = value[0]
        if not is_dict(value):
            return
        yield value
        value = value.get("predictions")


def _plain(value: Any) -> Any:
    """The value made plain, or, where that cannot be, its text."""
    try:
        return plain(value)
    except Exception:  # noqa: BLE001 - an object of the user's may raise anything while it is looked at
        return compact(value)
