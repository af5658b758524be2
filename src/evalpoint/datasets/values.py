"""A cell's value -> plain JSON that loses nothing unsaid, or sentences that name the path of what is wrong.

NaN, infinity, keys that are no strings, bytes that are no text and objects without a JSON form are problems. Halves of
a character (lone surrogates, left where somebody cut a text in the middle of an emoji) are mended: pairs are joined,
and a single half becomes U+FFFD.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

from evalpoint.datasets.records import is_dict, is_list, is_mapping, shortened
from evalpoint.formats import mend_text, plain

__all__ = ["settled"]

LISTED = 5
"""Problems listed for one cell; a list of a thousand NaNs needs no thousand sentences."""
LONGEST_NUMBER = 10**1000
"""Python itself refuses to write numbers of more than 4,300 digits."""
DEEPEST = 90
"""Levels of a value; a little less than a trace can hold, so that a payload may wrap it."""
_ADDRESS = re.compile(r"<.* at 0x[0-9a-fA-F]+", re.DOTALL)
"""The text of an object that says nothing but where it lies in memory."""


def settled(value: Any, name: str, *, json_born: bool, free_keys: bool = False) -> tuple[Any, list[str]]:
    """The value in plain JSON, a copy unless it was born of JSON; and what is wrong with it, in sentences.

    Args:
        value: Anything.
        name: What the paths in the sentences start with.
        json_born: The value comes from a JSON parser: only numbers, depth and text need a look.
        free_keys: Keys that are no strings are written as strings instead of being a problem.
    """
    wrong: list[str] = []
    if not json_born:
        try:
            made = plain(value)
        except Exception as error:  # noqa: BLE001 - a class of the user's may raise anything while it is converted; the row's problem tells it
            return None, [f"{name} cannot be written as JSON: {shortened(str(error) or type(error).__name__, 200)}"]
        if not _ordinary(value):
            wrong.extend(islice(_lossy(value, name, free_keys), LISTED))
        value = made
    if _sound(value, 0):
        return value, wrong
    wrong.extend(islice(_unsound(value, name, 0), LISTED))
    return (value if wrong else _mended(value)), wrong


def _sound(value: Any, depth: int) -> bool:
    """The quick look that nearly every value passes; it builds no paths."""
    if isinstance(value, str):
        return _whole_text(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < LONGEST_NUMBER
    if value is None:
        return True
    if depth >= DEEPEST:
        return False
    if is_dict(value):
        return all(map(_whole_text, value)) and all(_sound(item, depth + 1) for item in value.values())
    return all(_sound(item, depth + 1) for item in value)


def _ordinary(value: Any) -> bool:
    """Whether the value is made of JSON's own types with string keys, so that making it plain has lost nothing."""
    if value is None or isinstance(value, (str, int, float)):
        return True
    if is_dict(value):
        return all(isinstance(key, str) for key in value) and all(map(_ordinary, value.values()))
    return is_list(value) and all(map(_ordinary, value))


def _whole_text(text: str) -> bool:
    return text.isascii() or mend_text(text) is text


def _unsound(value: Any, path: str, depth: int) -> Iterator[str]:
    """Where plain values hold what JSON cannot: only asked when the quick look has found something."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is {'NaN' if math.isnan(value) else 'infinite'}, which JSON cannot hold; leave it out, or use None"
    elif isinstance(value, int) and abs(value) >= LONGEST_NUMBER:
        yield f"{path} is a number of more than a thousand digits; write it as text"
    elif isinstance(value, (dict, list)) and depth >= DEEPEST:
        yield f"{shortened(path)} nests deeper than {DEEPEST} levels"
    else:
        for step, item in _steps(value):
            yield from _unsound(item, path + step, depth + 1)


def _lossy(value: Any, path: str, free_keys: bool) -> Iterator[str]:
    """Where making the raw value plain has lost something: keys, bytes, objects. The value is known to end."""
    if isinstance(value, (str, int, float)) or value is None:
        return
    if is_mapping(value) and not free_keys:
        for key in value:
            if not isinstance(key, str):
                yield f"{path} has the key {shortened(repr(key))}, which is a {type(key).__name__} and no string"
    if is_mapping(value) or isinstance(value, (list, tuple)):
        for step, item in _steps(value):
            yield from _lossy(item, path + step, free_keys)
    elif isinstance(value, (bytes, bytearray)):
        try:
            value.decode()
        except UnicodeDecodeError:
            yield f"{path} holds bytes that are no UTF-8 text; encode them, for instance with base64"
    elif isinstance(value, type) or (isinstance(made := plain(value), str) and _ADDRESS.match(made)):
        yield f"{path} is {_described(value)}, which has no JSON form"


def _described(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__module__}.{type(value).__qualname__}"


def _steps(value: Any) -> Iterator[tuple[str, Any]]:
    """The members of a container, each with what it adds to the path."""
    if is_mapping(value):
        for key, item in value.items():
            plain_name = isinstance(key, str) and key.isidentifier()
            yield (f".{shortened(str(key))}" if plain_name else f"[{shortened(repr(key))}]"), item
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(cast("list[Any]", value)):
            yield f"[{index}]", item


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return mend_text(value)
    if is_dict(value):
        return {mend_text(key): _mended(item) for key, item in value.items()}
    if is_list(value):
        return [_mended(item) for item in value]
    return value
