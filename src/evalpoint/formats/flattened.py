"""What others' vocabularies spread over many attributes, `llm.input_messages.0.message.role`, put together again."""

from __future__ import annotations

from typing import Any

from evalpoint.formats.contents import dicts, mapping, some_text
from evalpoint.formats.jsontext import decode
from evalpoint.formats.narrowing import is_dict, is_list

__all__ = ["documents", "loose_json", "messages_of_parts", "numbered_messages"]

_DEEPEST_KEY = 12


def loose_json(value: Any) -> Any:
    """The value of a text that holds a JSON object or list; any other value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return decode(value)
        except ValueError:  # words that begin with a bracket
            return value
    return value


def documents(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """OpenInference's retrieved documents in MLflow's form: `{"page_content", "metadata", "id"}`."""
    found: list[dict[str, Any]] = []
    for entry in _numbered(attributes, "retrieval.documents."):
        document = mapping(entry.get("document")) or entry
        metadata = loose_json(document.get("metadata"))
        metadata = dict(mapping(metadata)) if is_dict(metadata) else {} if metadata is None else {"metadata": metadata}
        if document.get("score") is not None:
            metadata.setdefault("score", document["score"])
        retrieved: dict[str, Any] = {"page_content": document.get("content"), "metadata": metadata}
        if document.get("id") is not None:
            retrieved["id"] = str(document["id"])
        found.append(retrieved)
    return found


def numbered_messages(attributes: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Chat messages from `<prefix>0.role` or `<prefix>0.message.role` and their kin."""
    messages: list[dict[str, Any]] = []
    for entry in _numbered(attributes, prefix):
        said = mapping(entry.get("message")) or entry
        message: dict[str, Any] = {"role": some_text(said.get("role")) or "user", "content": said.get("content")}
        contents = [mapping(part.get("message_content")) or part for part in _in_order(said.get("contents"))]
        if message["content"] is None and contents:
            message["content"] = contents
        calls = [_call(mapping(call.get("tool_call")) or call) for call in _in_order(said.get("tool_calls"))]
        if calls:
            message["tool_calls"] = calls
        for key in ("name", "tool_call_id"):
            if isinstance(said.get(key), str):
                message[key] = said[key]
        messages.append(message)
    return messages


def messages_of_parts(messages: Any, system: Any) -> list[dict[str, Any]]:
    """Chat messages from OpenTelemetry's `gen_ai.input.messages`, whose messages are lists of parts."""
    instructions = dicts(loose_json(system))
    said = [{"role": "system", "parts": instructions}] if instructions else []
    return [_of_parts(message) for message in said + dicts(loose_json(messages))]


def _of_parts(message: dict[str, Any]) -> dict[str, Any]:
    if not is_list(message.get("parts")):
        return message
    parts = dicts(message["parts"])
    texts = [some_text(part.get("content")) for part in parts if part.get("type") == "text"]
    answers = [part.get("response", part.get("result")) for part in parts if part.get("type") == "tool_call_response"]
    chat: dict[str, Any] = {"role": some_text(message.get("role")) or "user", "content": "".join(texts)}
    if not texts and answers:
        chat["content"] = answers[0] if len(answers) == 1 else answers
    calls = [_call(part) for part in parts if part.get("type") == "tool_call"]
    if calls:
        chat["tool_calls"] = calls
    return chat


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = mapping(call.get("function")) or call
    return {
        "id": call.get("id"),
        "type": "function",
        "function": {"name": function.get("name"), "arguments": function.get("arguments")},
    }


def _numbered(attributes: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
    """The entries of `<prefix>0.…`, `<prefix>1.…`, in order, each as nested maps."""
    tree: dict[str, Any] = {}
    for key, value in attributes.items():
        if not key.startswith(prefix):
            continue
        steps = key[len(prefix) :].split(".", _DEEPEST_KEY)
        if not _is_number(steps[0]) or len(steps) < 2:
            continue
        place = tree
        for step in steps[:-1]:
            below = place.setdefault(step, {})
            if not is_dict(below):
                break  # `a.b` beside `a`: the first one stands
            place = below
        else:
            place.setdefault(steps[-1], value)
    return _in_order(tree)


def _in_order(tree: Any) -> list[dict[str, Any]]:
    """The maps under numbers, in the order of the numbers; or the maps of a list, or of a list as JSON text."""
    value = loose_json(tree)
    if is_list(value):
        return dicts(value)
    entries = mapping(value)
    return dicts([entries[key] for key in sorted((key for key in entries if _is_number(key)), key=int)])


def _is_number(text: str) -> bool:
    return len(text) <= 6 and text.isascii() and text.isdigit()
