"""Events of a stream -> the answer that the same call would have given at once. Pure.

The dialect is told by the events themselves, one by one, because what an endpoint is said to be and what it sends may differ.
"""

from __future__ import annotations

from typing import Any, Protocol

from evalpoint.endpoints.description import Kind
from evalpoint.endpoints.growing import Pieces, grow, grow_message, settled, settled_message
from evalpoint.formats import is_dict, is_list, text_of

__all__ = ["Assembly", "error_in"]

ASIDE = "databricks_output"
_ERROR_TYPES = ("error", "response.error", "response.failed")
_ABOUT_ERRORS = frozenset((
    "error", "error_code", "error_message", "code", "message", "status", "status_code", "type", "detail", "details", "object", "id",
    "request_id", "trace_id", "external_model_message", "sequence_number", "choices", "delta", "response", "usage", "model", "created",
    ASIDE,
))  # fmt: skip
"""What may stand beside an error. Beside anything else `error` is a figure of somebody's answer."""


def error_in(event: Any) -> Any:
    """The error that an event tells of, for `error_text`; None where it tells of none."""
    if not is_dict(event):
        return None
    aside = event.get(ASIDE)
    if is_dict(aside) and aside.get("error"):
        return aside["error"]
    if event.get("type") in _ERROR_TYPES:
        response = event.get("response")
        return (response.get("error") if is_dict(response) else None) or event
    error = event.get("error")
    return event if error and isinstance(error, (str, dict)) and event.keys() <= _ABOUT_ERRORS else None


class _Dialect(Protocol):
    @property
    def empty(self) -> bool:
        """Nothing of an answer has come."""
        ...

    @property
    def complete(self) -> bool:
        """By its own signs there is nothing more to come."""
        ...

    @property
    def whole_pieces(self) -> bool:
        """Its last word repeats everything, so that an unreadable event before it takes nothing away."""
        ...

    def take(self, event: dict[str, Any], *, last: bool) -> bool:
        """Adds an event; whether text that people read is in it."""
        ...

    def body(self) -> Any: ...


class Assembly:
    """One answer in the making."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._dialect: _Dialect | None = None
        self._values: list[Any] = []
        self.output: dict[str, Any] = {}
        """`databricks_output` of all events, and the id of the trace that a server of agents told."""

    @property
    def empty(self) -> bool:
        return (self._dialect is None or self._dialect.empty) and not self._values

    @property
    def complete(self) -> bool:
        return self._dialect is not None and self._dialect.complete

    @property
    def has_signs(self) -> bool:
        """Whether answers of this dialect say that they are complete."""
        return self._dialect is not None

    @property
    def survives_losses(self) -> bool:
        """Whether the answer is whole although an event could not be read."""
        return self._dialect is not None and self._dialect.complete and self._dialect.whole_pieces

    def take(self, event: Any) -> bool:
        """Adds an event; whether text that people read is in it."""
        if not is_dict(event):
            self._values.append(event)
            return True
        rest = {key: value for key, value in event.items() if key != ASIDE}
        aside = event.get(ASIDE)
        traced = is_dict(aside) and self._put_aside(aside)
        if isinstance(rest.get("trace_id"), str) and not rest.keys() - {"trace_id", "id", "object"}:
            self.output["trace_id"] = rest["trace_id"]
            return False
        dialect = self._dialect or _dialect_of(rest)
        if dialect is not None:
            self._dialect = dialect
            return dialect.take(rest, last=traced or (is_dict(aside) and not rest))
        if rest or not is_dict(aside):
            self._values.append(rest)
        return bool(rest)

    def body(self) -> Any:
        """The answer so far, in the shape that it has without streaming."""
        if self._dialect is not None:
            return self._dialect.body()
        said = _joined(self._values)
        return {"predictions": said} if self._kind is Kind.CUSTOM and not (is_dict(said) and "predictions" in said) else said

    def text(self) -> str:
        """What people can read of it so far."""
        return "" if self.empty else text_of(self.body())

    def _put_aside(self, aside: dict[str, Any]) -> bool:
        """Merges; whether the trace is among it, which comes last."""
        self.output.update({key: value for key, value in aside.items() if value is not None or key not in self.output})
        return bool(aside.get("trace"))


def _dialect_of(event: dict[str, Any]) -> _Dialect | None:
    kind = event.get("type")
    if is_list(event.get("choices")):
        return _Choices()
    if is_dict(event.get("delta")) or (is_list(event.get("messages")) and kind is None):
        return _Messages()
    if (isinstance(kind, str) and kind.startswith("response.")) or event.get("object") == "response":
        return _Items()
    return None


def _joined(values: list[Any]) -> Any:
    """What came: texts as one text, predictions as one answer, everything else as a list."""
    if values and all(is_dict(value) and value.keys() == {"predictions"} for value in values):
        said = [value["predictions"] for value in values]
        if len(said) == 1:
            return values[0]
        lists = all(is_list(each) for each in said)
        return {"predictions": [item for each in said for item in each] if lists else _joined(said)}
    return "".join(values) if values and all(isinstance(value, str) for value in values) else list(values)


def _keep(known: dict[str, Any], event: dict[str, Any], besides: tuple[str, ...]) -> None:
    """What stands beside the answer: the last that is not null."""
    for key, value in event.items():
        if key not in besides and (value is not None or key not in known):
            known[key] = value


class _Choices:
    """Chunks of chat completions, and of completions."""

    whole_pieces = False

    def __init__(self) -> None:
        self._rest: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    @property
    def empty(self) -> bool:
        return not self._choices

    @property
    def complete(self) -> bool:
        return bool(self._choices) and all(choice.get("finish_reason") for choice in self._choices.values())

    def take(self, event: dict[str, Any], *, last: bool) -> bool:
        _keep(self._rest, event, ("choices",))
        found = event.get("choices")
        visible = False
        for position, fragment in enumerate(found if is_list(found) else ()):
            if is_dict(fragment):
                visible = self._take_choice(fragment, position) or visible
        return visible

    def _take_choice(self, fragment: dict[str, Any], position: int) -> bool:
        index = fragment.get("index")
        index = index if type(index) is int else position
        choice = self._choices.setdefault(index, {"index": index, "finish_reason": None})
        grow(choice, {key: value for key, value in fragment.items() if key not in ("index", "delta", "message", "finish_reason", "text")})
        if fragment.get("finish_reason") is not None:
            choice["finish_reason"] = fragment["finish_reason"]
        text, delta = fragment.get("text"), fragment.get("delta")
        if isinstance(text, str):
            grow(choice, {"text": text})
        if is_dict(whole := fragment.get("message")):
            choice["message"] = dict(whole)
            return bool(text_of([{"role": "assistant", **whole}]))
        if not is_dict(delta):
            return bool(text)
        grow_message(choice.setdefault("message", {"role": "assistant", "content": None}), delta)
        return bool(text) or _is_visible(delta)

    def body(self) -> Any:
        made: dict[str, Any] = settled({**self._rest, "choices": [self._choices[index] for index in sorted(self._choices)]})
        completion = any("text" in choice and "message" not in choice for choice in made["choices"])
        named = made.get("object")
        made["object"] = named.removesuffix(".chunk") if isinstance(named, str) else "text_completion" if completion else "chat.completion"
        if not completion:
            for choice in made["choices"]:
                choice["message"] = settled_message(choice.get("message") or {"role": "assistant", "content": None})
        return made


class _Messages:
    """The deltas of a ChatAgent: fragments with one id are one message."""

    whole_pieces = False

    def __init__(self) -> None:
        self._rest: dict[str, Any] = {}
        self._messages: list[dict[str, Any]] = []
        self._by_key: dict[tuple[str | None, ...], dict[str, Any]] = {}
        self._ended = False

    @property
    def empty(self) -> bool:
        return not self._messages

    @property
    def complete(self) -> bool:
        return bool(self._messages) and self._ended

    def take(self, event: dict[str, Any], *, last: bool) -> bool:
        _keep(self._rest, event, ("delta", "messages"))
        visible, said = False, False
        delta, whole = event.get("delta"), event.get("messages")
        if is_dict(delta):
            said = True
            grow_message(self._message(delta), delta)
            visible = _is_visible(delta) and delta.get("role", "assistant") == "assistant"
        if is_list(whole):
            said = True
            before = len(self._messages)  # some send all messages so far each time
            known = 0 if whole[:before] != settled(self._messages) else before
            self._messages += [dict(message) for message in whole[known:] if is_dict(message)]
            visible = visible or bool(text_of({"messages": whole}))
        if said or last or event.get("finish_reason"):
            self._ended = last or bool(event.get("finish_reason")) or is_list(whole)
        return visible

    def _message(self, delta: dict[str, Any]) -> dict[str, Any]:
        """The message that this is a fragment of: that of its id; without one the last, as long as the same speaks."""
        current = self._messages[-1] if self._messages else {}
        role = delta.get("role") or current.get("role")
        given, call = _name(delta.get("id")), _name(delta.get("tool_call_id"))
        if given is None and current and role == current.get("role") and call in (None, _name(current.get("tool_call_id"))):
            return current
        key = (given, _name(role), call)
        known = self._by_key.get(key) if given is not None else None
        if known is None:
            known = self._by_key[key] = {"role": role or "assistant"}
            self._messages.append(known)
        return known

    def body(self) -> Any:
        return {"messages": [settled_message(message) for message in self._messages], **self._rest}


_BESIDE_ITEMS = ("usage", "custom_outputs")
"""What an event may say of the whole answer."""


class _Items:
    """The events of a Responses answer. Items that are done are the answer; text that was sent in deltas repeats them."""

    whole_pieces = True

    def __init__(self) -> None:
        self._rest: dict[str, Any] = {}
        self._response: dict[str, Any] = {}
        self._items: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._texts: dict[str | None, Pieces] = {}
        self._final = False
        self._announced = False
        """The server has said that an answer begins; then it says when it ends, too."""
        self._said = False
        """The last that came is a message that is done: what stands behind a tool call is still to come."""

    @property
    def empty(self) -> bool:
        return not (self._items or self._final or any(pieces.text() for pieces in self._texts.values()))

    @property
    def complete(self) -> bool:
        return self._final or (self._said and not self._announced)

    def take(self, event: dict[str, Any], *, last: bool) -> bool:
        kind = event.get("type")
        item, response = event.get("item"), event.get("response")
        _keep(self._rest, {key: event[key] for key in _BESIDE_ITEMS if key in event}, ())
        if kind == "response.output_item.done" and is_dict(item):
            self._items[self._key(item)] = item
            self._said = item.get("type") == "message"
            return self._said and bool(text_of([item]))
        if kind in ("response.completed", "response.incomplete", "response.done") and is_dict(response):
            self._response, self._final = response, True
            return bool(text_of(response))
        if kind == "response.output_text.delta" and isinstance(event.get("delta"), str):
            self._said = False
            self._texts.setdefault(_name(event.get("item_id")), Pieces()).parts.append(event["delta"])
            return bool(event["delta"])
        if is_dict(response):  # response.created, response.in_progress: what the answer will be called
            self._announced = True
            self._response = {**response, **{k: v for k, v in self._response.items() if v is not None}}
        elif event.get("object") == "response" and is_list(event.get("output")):
            self._response, self._final = event, True
            return bool(text_of(event))
        elif kind == "response.output_item.added":
            self._said = False
        return False

    def _key(self, item: dict[str, Any]) -> tuple[Any, ...]:
        """The place of the item that this one repeats or completes, or a place of its own: agents use one id for several items."""
        key = (_name(item.get("type")), _name(item.get("id")), _name(item.get("call_id")))
        known = self._items.get(key)
        if key[1:] == (None, None) or (known is not None and not text_of([item]).startswith(text_of([known]))):
            return (len(self._items),)
        return key

    def body(self) -> Any:
        base = {key: value for key, value in self._response.items() if self._final or key not in ("status", "output")}
        given = base.get("output")
        output: list[Any] = given if is_list(given) and given else list(self._items.values())
        if not any(item.get("type") == "message" for item in output if is_dict(item)) and not self._final:
            output = [*output, *(_message(item_id, pieces.text()) for item_id, pieces in self._texts.items())]
        rest = {key: value for key, value in self._rest.items() if value is not None or key not in base}
        return {"object": "response", **base, "output": output, **rest}


def _message(item_id: str | None, text: str) -> dict[str, Any]:
    named = {"id": item_id} if item_id is not None else {}
    return {"type": "message", **named, "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": []}]}


def _name(value: Any) -> str | None:
    """An id, or whatever stands in its place, as a text."""
    return value if value is None or isinstance(value, str) else str(value)


def _is_visible(delta: dict[str, Any]) -> bool:
    """Whether text that people read is in it: neither reasoning nor arguments of a tool."""
    content = delta.get("content")
    return bool(content) and (isinstance(content, str) or bool(text_of([{"role": "assistant", "content": content}])))
