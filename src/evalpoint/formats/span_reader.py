"""Spans of every dialect -> one plain shape. What cannot be read is left out and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from evalpoint.formats.assessments import text_or_none
from evalpoint.formats.ids import RandomBytes, foreign_id, new_span_id, read_span_id, read_trace_hex
from evalpoint.formats.jsontext import TooDeepError, as_text, decode, safe
from evalpoint.formats.narrowing import is_dict, is_list
from evalpoint.formats.plain import mend_text
from evalpoint.formats.shapes import EventFields, LinkFields, SpanFields
from evalpoint.formats.times import read_ns
from evalpoint.formats.typed_values import read_pairs

__all__ = ["TRACE_REQUEST_ID", "read_span", "unique_ids"]

TRACE_REQUEST_ID = "mlflow.traceRequestId"
"""Every span's copy of the trace's id; it is written with the trace's own and not kept, so that it cannot go stale."""
UNNAMED = "unnamed"
_STATUS: Mapping[object, Literal["OK", "ERROR", "UNSET"]] = {
    "STATUS_CODE_OK": "OK",
    "STATUS_CODE_ERROR": "ERROR",
    "STATUS_CODE_UNSET": "UNSET",
    "OK": "OK",
    "ERROR": "ERROR",
    "UNSET": "UNSET",
    "": "UNSET",
    None: "UNSET",
    0: "UNSET",
    1: "OK",
    2: "ERROR",
}


def read_span(data: dict[str, Any], problems: Counter[str]) -> SpanFields | None:
    """The plain shape of one span; None when it has neither a name nor an id.

    A missing start is 0 and a missing id is "": whoever reads the whole trace repairs them.
    """
    context = data.get("context")
    if is_dict(context):  # MLflow 2
        raw_id, raw_parent = context.get("span_id"), data.get("parent_id")
        start, end = data.get("start_time"), data.get("end_time")
        code, message = data.get("status_code"), data.get("status_message")
    else:
        raw_id, raw_parent = data.get("span_id"), data.get("parent_span_id")
        start, end = data.get("start_time_unix_nano"), data.get("end_time_unix_nano")
        status = data.get("status")
        if is_dict(status):
            code, message = status.get("code"), status.get("message")
        else:
            code, message = status, None
    name = text_or_none(data.get("name"))
    span_id = _span_id(raw_id, problems)
    if name is None and not span_id:
        return None
    if name is None:
        problems[f"A span has no name; it was called {UNNAMED!r}."] += 1
    start_time_ns = read_ns(start) or 0
    end_time_ns = read_ns(end)
    if end_time_ns is None and end not in (None, 0, "0"):
        problems["A span's end is no time; it was left out."] += 1
    elif end_time_ns is not None and end_time_ns < start_time_ns:
        problems["A span ends before it starts; its end was set to its start."] += 1
        end_time_ns = start_time_ns
    return {
        "name": UNNAMED if name is None else name,
        "span_id": span_id,
        "parent_id": _span_id(raw_parent, problems) or None,
        "start_time_ns": start_time_ns,
        "end_time_ns": end_time_ns,
        "status_code": _status(code, problems),
        "status_message": text_or_none(message) or "",
        "attributes": _attributes(data.get("attributes"), problems),
        "events": _events(data["events"], start_time_ns, problems) if data.get("events") else [],
        "links": _links(data["links"], problems) if data.get("links") else [],
    }


def unique_ids(spans: list[SpanFields], random: RandomBytes, problems: Counter[str]) -> None:
    """Gives a new id to every span that has none, or one that an earlier span has."""
    seen: set[str] = set()
    for span in spans:
        if not span["span_id"] or span["span_id"] in seen:
            had = "its id is another span's" if span["span_id"] else "it had no readable id"
            problems[f"A span was given a new id, as {had}."] += 1
            while not span["span_id"] or span["span_id"] in seen:
                span["span_id"] = new_span_id(random)
        seen.add(span["span_id"])


def _span_id(raw: object, problems: Counter[str]) -> str:
    """16 hex digits, or "" for none. Ids of an unknown form get digits that are the same wherever the id comes up."""
    span_id = read_span_id(raw)
    if span_id is not None:
        return span_id
    if raw is None or raw == "":
        return ""
    if type(raw) is int and 0 < raw < 2**64:
        return f"{raw:016x}"
    if type(raw) is str:
        if not raw.strip("0xA="):  # the id of zeros, in hex or base64, means none
            return ""
        problems["A span id of an unknown form was replaced."] += 1
        return foreign_id(raw)
    problems["A span id is no text; it was left out."] += 1
    return ""


def _status(code: object, problems: Counter[str]) -> Literal["OK", "ERROR", "UNSET"]:
    if isinstance(code, str):
        known = _STATUS.get(code) or _STATUS.get(code.upper())
    else:
        known = _STATUS.get(code) if code is None or type(code) is int else None
    if known is None:
        problems["A span's status is unknown; it was taken as UNSET."] += 1
    return known or "UNSET"


def _attributes(data: object, problems: Counter[str]) -> dict[str, Any]:
    """Dicts have JSON texts for values, lists have typed ones. A text that is no JSON is kept as it is."""
    if is_dict(data):
        attributes: dict[str, Any] = {}
        for key, text in data.items():
            if type(key) is not str or not key.isascii():
                key = mend_text(as_text(key))
            if type(text) is str:
                try:
                    attributes[key] = decode(text)
                except ValueError:
                    attributes[key] = text if text.isascii() else mend_text(text)
            else:
                attributes[key] = _shallow(text, problems)
    elif is_list(data):
        attributes = _typed(data, problems)
    elif data is None:
        return {}
    else:
        problems["A span's attributes are no map; they were left out."] += 1
        return {}
    attributes.pop(TRACE_REQUEST_ID, None)
    return attributes


def _shallow(value: object, problems: Counter[str]) -> Any:
    try:
        return safe(value)
    except TooDeepError as error:
        problems["An attribute nests too deep; it was left out."] += 1
        return f"… ({error})"


def _typed(pairs: list[Any], problems: Counter[str]) -> dict[str, Any]:
    try:
        return read_pairs(pairs)
    except TooDeepError:
        attributes: dict[str, Any] = {}
        for pair in pairs:
            try:
                attributes.update(read_pairs([pair]))
            except TooDeepError:
                problems["An attribute nests too deep; it was left out."] += 1
        return attributes


def _plain_attributes(data: object, problems: Counter[str]) -> dict[str, Any]:
    """Attributes of events and links, whose values are as they are and not JSON texts."""
    if is_list(data):
        return _typed(data, problems)
    if not is_dict(data):
        return {}
    return {as_text(key): _shallow(value, problems) for key, value in data.items()}


def _events(data: object, start_time_ns: int, problems: Counter[str]) -> list[EventFields]:
    events: list[EventFields] = []
    for entry in _dicts(data, "An event", problems):
        timestamp_ns = read_ns(entry.get("time_unix_nano", entry.get("timestamp")))
        if timestamp_ns is None:
            problems["An event has no time; it was given its span's start."] += 1
        attributes = _plain_attributes(entry.get("attributes"), problems)
        name = text_or_none(entry.get("name"))
        events.append({"name": UNNAMED if name is None else name, "timestamp_ns": timestamp_ns or start_time_ns, "attributes": attributes})
    return events


def _links(data: object, problems: Counter[str]) -> list[LinkFields]:
    links: list[LinkFields] = []
    for entry in _dicts(data, "A link", problems):
        raw_trace, span_id = entry.get("trace_id"), read_span_id(entry.get("span_id"))
        hexadecimal = read_trace_hex(raw_trace)
        if span_id is None or hexadecimal is None:
            problems["A link leads nowhere; it was left out."] += 1
            continue
        located = isinstance(raw_trace, str) and raw_trace.startswith("trace:/")
        trace_id = str(raw_trace) if located else "tr-" + hexadecimal
        links.append({"trace_id": trace_id, "span_id": span_id, "attributes": _plain_attributes(entry.get("attributes"), problems)})
    return links


def _dicts(data: object, what: str, problems: Counter[str]) -> list[dict[str, Any]]:
    entries = data if is_list(data) else [data]
    found = [entry for entry in entries if is_dict(entry)]
    if len(found) < len(entries):
        problems[f"{what} is no object; it was left out."] += len(entries) - len(found)
    return found
