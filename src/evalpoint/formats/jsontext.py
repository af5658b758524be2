"""JSON from outside -> values that can be copied, stored and sent on: finite, bounded in depth, valid Unicode.

A NaN or an infinity becomes its name, an integer of more than 64 bits the text of its digits, half of a surrogate pair
the replacement character.
"""

from __future__ import annotations

import json
import math
from typing import Any

from evalpoint.formats.narrowing import is_dict, is_list, is_tuple
from evalpoint.formats.plain import bounded_number, mend_text

__all__ = ["MAX_DEPTH", "TooDeepError", "as_text", "decode", "encode", "safe"]

MAX_DEPTH = 100
"""Of values inside a trace; what `plain` takes is deeper, so that such a value may be wrapped again."""
_INT64 = 2**63


class TooDeepError(ValueError):
    """A value nests deeper than `MAX_DEPTH` levels."""


def _read_int(text: str) -> int | str:
    return int(text) if len(text) < 19 else _bounded(int(text)) if len(text) <= 30 else text


def _read_float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text[:100]


_decoder = json.JSONDecoder(parse_int=_read_int, parse_float=_read_float, parse_constant=str, strict=False)


def decode(text: str, *, whole: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        text: The JSON.
        whole: The text is a whole trace, whose values are looked through later: how deep it nests is not asked.

    Raises:
        ValueError: It is not JSON, or nests deeper than `MAX_DEPTH` levels.
    """
    if not text.isascii():
        text = mend_text(text)
    if text[:1] == '"' and "\\" not in text and text.find('"', 1) == len(text) - 1:  # a plain string: most attributes are
        return text[1:-1]
    try:
        value, end = _decoder.raw_decode(text)
    except json.JSONDecodeError:
        stripped = text.strip()
        if stripped == text:
            raise
        return decode(stripped, whole=whole)
    except RecursionError:
        raise TooDeepError(f"the JSON nests deeper than {MAX_DEPTH} levels") from None
    if end != len(text) and text[end:].strip():
        raise ValueError("the text goes on after the JSON")
    if whole or (len(text) <= MAX_DEPTH and "\\u" not in text):
        return value
    if text.count("[") + text.count("{") > MAX_DEPTH or "\\ud" in text or "\\uD" in text:
        return safe(value)
    return value


def encode(value: Any) -> str:
    """JSON text of any value; what JSON does not have is made safe first."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(safe(value), ensure_ascii=False, allow_nan=False)


def safe(value: object, depth: int = 0) -> Any:
    """A copy of a JSON-like value that can be copied, stored and sent on.

    Raises:
        TooDeepError: The value nests deeper than `MAX_DEPTH` levels, or contains itself.
    """
    if type(value) is str:
        return value if value.isascii() else mend_text(value)
    if value is None or type(value) is bool:
        return value
    if type(value) is int:
        return _bounded(value)
    if type(value) is float:
        return value if math.isfinite(value) else bounded_number(value)
    if depth >= MAX_DEPTH:
        raise TooDeepError(f"the value nests deeper than {MAX_DEPTH} levels, or contains itself")
    if is_dict(value):
        items = value.items()
        return {safe(key) if type(key) is str else as_text(key): safe(item, depth + 1) for key, item in items}
    if is_list(value) or is_tuple(value):
        return [safe(item, depth + 1) for item in value]
    return as_text(value)


def _bounded(number: int) -> int | str:
    return number if -_INT64 <= number < _INT64 else str(bounded_number(number))


def as_text(value: object) -> str:
    """`str` of anything, even of an object whose `__str__` fails."""
    try:
        return mend_text(str(value))
    except Exception:  # noqa: BLE001 - an object of the user's may raise anything from its __str__
        return f"<{type(value).__name__}>"
