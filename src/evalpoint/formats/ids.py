"""Ids: making new ones, and reading those of every dialect to lower-case hex."""

from __future__ import annotations

import hashlib
import os
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable

__all__ = [
    "RandomBytes",
    "base64_id",
    "foreign_id",
    "new_assessment_id",
    "new_span_id",
    "new_trace_id",
    "read_span_id",
    "read_trace_hex",
    "trace_hex",
]

RandomBytes = Callable[[int], bytes]
"""So many random bytes. The default asks the operating system, so that ids stay unique after a fork."""

_HEX = frozenset("0123456789abcdef")
SPAN_BYTES, TRACE_BYTES = 8, 16


def new_trace_id(random: RandomBytes = os.urandom) -> str:
    """`tr-` and 32 hex digits: an OpenTelemetry trace id as MLflow writes it."""
    return "tr-" + random(TRACE_BYTES).hex()


def new_span_id(random: RandomBytes = os.urandom) -> str:
    """16 hex digits."""
    return random(SPAN_BYTES).hex()


def new_assessment_id(random: RandomBytes = os.urandom) -> str:
    """`a-` and 32 hex digits."""
    return "a-" + random(TRACE_BYTES).hex()


def read_span_id(text: object) -> str | None:
    """The 16 hex digits of a span id in base64, in hex or in hex after `0x`; None for anything else and for the id of zeros."""
    return _read(text, SPAN_BYTES) if type(text) is str else None


def read_trace_hex(text: object) -> str | None:
    """The 32 hex digits of a trace id in any dialect, `tr-…` and `trace:/catalog.schema/…` among them; None for anything else."""
    if type(text) is not str:
        return None
    if text.startswith("tr-"):
        text = text[3:]
    elif text.startswith("trace:/"):
        text = text.rpartition("/")[2]
    return _read(text, TRACE_BYTES)


def trace_hex(trace_id: str) -> str:
    """32 hex digits for any trace id: its own where it has them, otherwise always the same ones for the same id."""
    return read_trace_hex(trace_id) or foreign_id(trace_id, TRACE_BYTES)


def foreign_id(text: str, size: int = SPAN_BYTES) -> str:
    """Hex digits that stand for an id of an unknown form; equal ids get equal digits, so links between them survive."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[: 2 * size]


def base64_id(hexadecimal: str) -> str:
    """The id as MLflow's span JSON has it since 3.0."""
    return b2a_base64(bytes.fromhex(hexadecimal), newline=False).decode("ascii")


def _read(text: str, size: int) -> str | None:
    if text.endswith("="):
        return _from_base64(text, size)
    digits = text.lower()
    if digits.startswith("0x"):
        digits = digits[2:].zfill(2 * size)
    if len(digits) != 2 * size or not _HEX.issuperset(digits) or digits.count("0") == len(digits):
        return None
    return digits


def _from_base64(text: str, size: int) -> str | None:
    try:
        raw = a2b_base64(text)
    except (Base64Error, ValueError):  # ValueError: characters outside ASCII
        return None
    return raw.hex() if len(raw) == size and any(raw) else None
