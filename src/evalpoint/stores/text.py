"""Values -> what a column holds, and back: JSON text, plain text without half characters, integers of 64 bits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from evalpoint.formats.plain import mend_text, plain

__all__ = ["as_count", "as_integer", "as_text", "load", "member", "write_json"]

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":")).encode
_load = json.JSONDecoder(strict=False).decode
TOO_DEEP = '"(not kept: the value nests too deeply)"'
"""JSON text in the place of a value that Python can neither write nor read back."""


def write_json(value: Any) -> str:
    """JSON text of any value. NaN and infinities are kept under Python's names for them: this store loses nothing that came."""
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        text = _write_odd(value)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: only an escape can hold it
        return _encode_ascii(json.loads(text))
    return text


def _write_odd(value: Any) -> str:
    try:
        return _encode(plain(value))
    except (ValueError, RecursionError):
        return TOO_DEEP


def load(text: str) -> Any:
    """The value of a JSON column."""
    try:
        return _load(text)
    except RecursionError:
        return _load(TOO_DEEP)


def as_text(text: str | None) -> str | None:
    """Text that SQLite can hold: half of a surrogate pair becomes the replacement character."""
    return text if text is None or text.isascii() else mend_text(text)


def as_integer(number: Any) -> int | None:
    """An integer of 64 bits; None for what is no number. Counts and times come from outside and may be anything."""
    if type(number) is int and -(2**63) <= number < 2**63:
        return number
    if isinstance(number, bool) or not isinstance(number, (int, float)) or (isinstance(number, float) and not math.isfinite(number)):
        return None
    return max(-(2**63), min(2**63 - 1, int(number)))


def as_count(number: Any) -> int | None:
    """A count that a million rows can be summed over within 64 bits."""
    whole = as_integer(number)
    return None if whole is None else max(0, min(10**12, whole))


def member(text: str | None, key: str) -> str | None:
    """The SQL function `member(json, key)`: a string of a JSON object of strings. SQLite's own JSON functions are not in every build."""
    found: Any = load(text) if text else None
    value: Any = found.get(key) if isinstance(found, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
    return value if value is None or isinstance(value, str) else write_json(value)
