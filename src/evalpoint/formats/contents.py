"""What messages hold: text, parts, maps; read without ever raising."""

from __future__ import annotations

from typing import Any

from evalpoint.formats.jsontext import as_text, safe
from evalpoint.formats.narrowing import is_dict, is_list
from evalpoint.formats.plain import dump_json

__all__ = [
    "ASSISTANTS",
    "USERS",
    "compact",
    "content_text",
    "dicts",
    "is_content",
    "is_conversation",
    "last_said",
    "mapping",
    "some_text",
]

ASSISTANTS = ("assistant", "ai", "model")
USERS = ("user", "human")
_ITEM_TYPES = ("message", "function_call", "function_call_output", "reasoning", "ai", "human")
_TEXT_PARTS = (None, "text", "output_text", "input_text")


def content_text(content: object, joint: str = "") -> str:
    """The text of a message's content: a string, or its text parts joined. Reasoning, images and tool parts are left out."""
    if isinstance(content, str):
        return content
    parts: list[Any] = content if is_list(content) else [content]
    return joint.join(text for part in parts if (text := _part_text(part)))


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return part
    said = mapping(part)
    if said.get("type") == "refusal":
        return some_text(said.get("refusal"))
    if said.get("type") not in _TEXT_PARTS:
        return ""
    text = said.get("text")
    return text if isinstance(text, str) else some_text(mapping(text).get("value"))


def is_content(entries: list[Any]) -> bool:
    """Whether these are the parts of one message's content."""
    found = dicts(entries)
    texts = any(part.get("type") in ("text", "output_text", "input_text") and "text" in part for part in found)
    return texts and len(found) == len(entries) and not any("role" in part for part in found)


def is_conversation(entries: list[Any]) -> bool:
    """Whether these are chat messages or the items of a Responses answer."""
    return any("role" in entry or entry.get("type") in _ITEM_TYPES for entry in dicts(entries))


def last_said(messages: list[dict[str, Any]], roles: tuple[str, ...], joint: str = "") -> str:
    """The text of the last message of these roles that says something; a message without a role counts."""
    for message in reversed(messages):
        role = message.get("role") or (message.get("type") if message.get("type") in ("ai", "human") else None)
        if (role is None and "content" in message) or role in roles:
            text = content_text(message.get("content"), joint)
            if text.strip():
                return text
    return ""


def mapping(value: object) -> dict[str, Any]:
    """The value, or an empty map where it is none."""
    return value if is_dict(value) else {}


def dicts(value: object) -> list[dict[str, Any]]:
    """The maps in a list; none where it is no list."""
    entries = value if is_list(value) else []
    return [entry for entry in entries if is_dict(entry)]


def some_text(value: object) -> str:
    """The string, or "" where it is none."""
    return value if isinstance(value, str) else ""


def compact(value: object) -> str:
    """Compact JSON of anything; the `str` of what has no JSON."""
    if isinstance(value, str):
        return as_text(value)
    try:
        return dump_json(safe(value))
    except (TypeError, ValueError, RecursionError):  # nests too deep
        return as_text(value)
