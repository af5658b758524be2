"""Messages that come in fragments: text is appended, tool calls and parts find the piece that they belong to. Pure.

A growing message holds `Pieces` where text is still coming; `settled` gives it with plain text in their place.
"""

from __future__ import annotations

from typing import Any

from evalpoint.formats import is_dict, is_list

__all__ = ["Pieces", "grow", "grow_message", "settled", "settled_message"]

_WHOLE = frozenset((
    "id", "type", "role", "name", "object", "model", "call_id", "tool_call_id", "item_id", "status", "finish_reason", "signature",
))  # fmt: skip
"""Texts under these names are sent whole: a second one takes the place of the first."""
_PARTS_THAT_GROW = ("text", "output_text", "reasoning", "thinking", "summary_text", "reasoning_text", "refusal")


class Pieces:
    """Text that is still coming."""

    __slots__ = ("parts",)

    def __init__(self, first: str = "") -> None:
        self.parts = [first]

    def text(self) -> str:
        return "".join(self.parts)


def grow_message(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """One more fragment of a message of the chat dialects."""
    for key, value in delta.items():
        if key == "content":
            _grow_content(message, value)
        elif key == "tool_calls" and is_list(value):
            calls: list[dict[str, Any]] = message.get("tool_calls") or []
            message["tool_calls"] = calls
            for fragment in value:
                if is_dict(fragment):
                    _grow_calls(calls, fragment)
        else:
            grow(message, {key: value})


def grow(known: dict[str, Any], more: dict[str, Any]) -> None:
    """Texts are appended, lists extended, maps grown; everything else takes the place of what was there, and null of nothing."""
    for key, value in more.items():
        old = known.get(key)
        if value is None:
            known.setdefault(key, None)
        elif isinstance(value, str) and key not in _WHOLE:
            if isinstance(old, Pieces):
                old.parts.append(value)
            else:
                known[key] = Pieces(value)
        elif is_dict(value):
            inner: dict[str, Any] = old if is_dict(old) else {}
            known[key] = inner
            grow(inner, value)
        elif is_list(value) and is_list(old):
            old.extend(value)
        else:
            known[key] = list(value) if is_list(value) else value


def settled(value: Any) -> Any:
    """The same with plain text in place of what has been growing."""
    if isinstance(value, Pieces):
        return value.text()
    if is_dict(value):
        return {key: settled(item) for key, item in value.items()}
    return [settled(item) for item in value] if is_list(value) else value


def settled_message(message: dict[str, Any]) -> dict[str, Any]:
    """A message as it is sent in one piece: `settled`, and its tool calls without the index that fragments find them by."""
    made: dict[str, Any] = settled(message)
    if is_list(calls := made.get("tool_calls")):
        made["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} if is_dict(call) else call for call in calls]
    return made


def _grow_content(message: dict[str, Any], content: Any) -> None:
    known = message.get("content")
    if content is None:
        message.setdefault("content", None)
    elif isinstance(content, str):
        if is_list(known):
            if content:
                _grow_parts(known, {"type": "text", "text": content})
        elif isinstance(known, Pieces):
            known.parts.append(content)
        else:
            message["content"] = Pieces(content)
    elif is_list(content):
        if not is_list(known):
            before = known.text() if isinstance(known, Pieces) else ""
            known = [{"type": "text", "text": Pieces(before)}] if before else []
            message["content"] = known
        for part in content:
            _grow_parts(known, part)
    else:
        message["content"] = content


def _grow_parts(parts: list[Any], part: Any) -> None:
    """A fragment of the last part where both are of a kind that grows; else one more part."""
    if not is_dict(part):
        parts.append(part)  # a text, most often
        return
    last: dict[str, Any] = parts[-1] if parts and is_dict(parts[-1]) else {}
    kind = part.get("type")
    if kind not in _PARTS_THAT_GROW or last.get("type") != kind:
        last = {}
        parts.append(last)
    for key, value in part.items():
        if key == "index":
            continue
        if key in ("summary", "content") and is_list(value):
            inner: list[Any] = last.setdefault(key, [])
            for each in value:
                _grow_parts(inner, each)
        else:
            grow(last, {key: value})


def _grow_calls(calls: list[dict[str, Any]], fragment: dict[str, Any]) -> None:
    """A fragment of the call with its index or id, or of the last one; a new id begins a new call even under a known index."""
    index, call_id = fragment.get("index"), fragment.get("id")
    if index is not None:
        known = next((call for call in reversed(calls) if call.get("index") == index), None)
    elif call_id:
        known = next((call for call in calls if call.get("id") == call_id), None)
    else:
        known = calls[-1] if calls else None
    if known is None or (call_id and known.get("id") not in (None, "", call_id)):
        begun: dict[str, Any] = {}
        calls.append(begun)
        known = begun
    if not call_id and known.get("id"):
        fragment = {key: value for key, value in fragment.items() if key != "id"}
    function = fragment.get("function")
    if is_dict(function):
        if index is None and call_id and function.get("name"):
            known.pop("function", None)  # a whole call, sent again
        elif not function.get("name"):
            fragment = {**fragment, "function": {key: value for key, value in function.items() if key != "name"}}
    grow(known, fragment)
