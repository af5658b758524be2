"""Times of the wire: RFC 3339 texts, durations such as `1.938s`, and integers, read within the years that 64 bits of nanoseconds hold."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

__all__ = ["MAX_MS", "MAX_NS", "read_duration_ms", "read_ms", "read_ns", "write_duration", "write_time"]

MAX_NS = 2**63 - 1
"""Some day in 2262; what a database and a protobuf can hold."""
MAX_MS = MAX_NS // 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,18}))?\s?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
_DURATION = re.compile(r"(\d{1,15})(?:\.(\d{1,18}))?s", re.ASCII)


def read_ns(value: object) -> int | None:
    """Nanoseconds since the epoch, from an integer, a whole float or digits; None for all else, and for 0, which means unset."""
    number = _integer(value)
    return number if number is not None and 0 < number <= MAX_NS else None


def read_ms(value: object) -> int | None:
    """Milliseconds since the epoch, from RFC 3339 text (a missing offset means UTC) or an integer; None for all else."""
    if type(value) is str and not value.isdigit():
        return _from_rfc3339(value)
    number = _integer(value)
    return number if number is not None and 0 <= number <= MAX_MS else None


def read_duration_ms(value: object) -> int | None:
    """Milliseconds, from an integer or from text such as `1.938s`; None for all else."""
    if type(value) is str and not value.isdigit():
        match = _DURATION.fullmatch(value)
        number = int(match[1]) * 1000 + int((match[2] or "0").ljust(3, "0")[:3]) if match else None
    else:
        number = _integer(value)
    return number if number is not None and 0 <= number <= MAX_MS else None


def write_time(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-11-23T17:46:34.224Z`."""
    moment = _EPOCH + timedelta(milliseconds=min(max(ms, 0), MAX_MS))
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def write_duration(ms: int) -> str:
    """Seconds as protobuf writes them: `1.938s`."""
    return f"{ms // 1000}.{ms % 1000:03d}s"


def _integer(value: object) -> int | None:
    if type(value) is int:
        return value
    if type(value) is str:
        return int(value) if len(value) <= 20 and value.isascii() and value.isdigit() else None
    return int(value) if type(value) is float and value.is_integer() else None


def _from_rfc3339(text: str) -> int | None:
    milliseconds = 0
    if len(text) == 24 and text[-1] == "Z":  # the form that MLflow writes
        iso = text[:-1] + "+00:00"
    else:
        match = _RFC3339.fullmatch(text.strip())
        if match is None:
            return None
        day, clock, fraction, offset = match.groups()
        offset = "+00:00" if offset is None or offset in "Zz" else offset
        iso = f"{day}T{clock}{offset if ':' in offset else offset[:3] + ':' + offset[3:]}"
        milliseconds = int((fraction or "0").ljust(3, "0")[:3])
    try:
        moment = datetime.fromisoformat(iso)
        ms = (moment - _EPOCH) // _MILLISECOND + milliseconds
    except (ValueError, TypeError, OverflowError):  # no such day; a text of that length without the form
        return None
    return ms if 0 <= ms <= MAX_MS else None
