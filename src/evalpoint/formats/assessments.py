"""Assessments: MLflow's JSON of feedback and expectations, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from evalpoint.formats.jsontext import TooDeepError, as_text, decode, encode, safe
from evalpoint.formats.narrowing import is_dict, is_list
from evalpoint.formats.plain import mend_text
from evalpoint.formats.shapes import AssessmentFields, ErrorFields
from evalpoint.formats.times import read_ms, write_time

__all__ = ["location_texts", "read_assessment", "text_map", "write_assessment"]

Kind = Literal["feedback", "expectation", "issue"]

FEEDBACK: Kind = "feedback"
EXPECTATION: Kind = "expectation"
ISSUE: Kind = "issue"
UNSPECIFIED = "SOURCE_TYPE_UNSPECIFIED"
DEFAULT_SOURCE_ID = "default"
_SOURCE_TYPES = {"HUMAN": "HUMAN", "LLM_JUDGE": "LLM_JUDGE", "CODE": "CODE", "AI_JUDGE": "LLM_JUDGE"}
_UNREADABLE = object()


def read_assessment(data: object) -> AssessmentFields | None:
    """The assessment of MLflow's JSON, tolerantly; None where there is none in it: no name, or nothing that was said."""
    if not is_dict(data):
        return None
    said = data
    name = said.get("assessment_name", said.get("name"))
    if not isinstance(name, str) or not name:
        return None
    what = _said(said)
    if what is None:
        return None
    kind, value, error = what
    source_type, source_id = _source(said.get("source"))
    created, updated = said.get("create_time", said.get("create_time_ms")), said.get("last_update_time", said.get("last_update_time_ms"))
    create_time_ms = read_ms(created)
    return {
        "assessment_id": text_or_none(said.get("assessment_id")) or None,
        "kind": kind,
        "name": mend_text(name),
        "value": value,
        "error": error,
        "source_type": source_type,
        "source_id": source_id,
        "trace_id": text_or_none(said.get("trace_id")) or None,
        "span_id": text_or_none(said.get("span_id")) or None,
        "rationale": text_or_none(said.get("rationale")),
        "metadata": text_map(said.get("metadata")),
        "create_time_ms": create_time_ms,
        "last_update_time_ms": create_time_ms if type(updated) is str and updated == created else read_ms(updated),
        "overrides": text_or_none(said.get("overrides")) or None,
        "valid": said.get("valid") is not False,
    }


def write_assessment(fields: AssessmentFields) -> dict[str, Any]:
    """The JSON that MLflow's servers and clients read. Strict: every id, time and map value is a string, and no number is NaN."""
    written: dict[str, Any] = {
        "assessment_id": fields["assessment_id"],
        "assessment_name": fields["name"],
        "trace_id": fields["trace_id"],
        "span_id": fields["span_id"],
        "source": {"source_type": fields["source_type"], "source_id": fields["source_id"]},
    }
    created, updated = fields["create_time_ms"], fields["last_update_time_ms"]
    written["create_time"] = write_time(created) if created is not None else None
    written["last_update_time"] = write_time(updated) if updated is not None else None
    if fields["kind"] == "feedback":
        written["feedback"] = _feedback(fields)
    elif fields["kind"] == "expectation":
        value = safe(fields["value"])
        serialized = {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": encode(value)}}
        written["expectation"] = serialized if isinstance(value, (list, dict)) else {"value": value}
    else:
        written["issue"] = {"issue_name": str(fields["value"] or "")}
    written["rationale"] = fields["rationale"]
    written["metadata"] = text_map(fields["metadata"]) or None
    written["overrides"] = fields["overrides"]
    if fields["kind"] == "feedback" or not fields["valid"]:
        written["valid"] = fields["valid"]
    return {key: value for key, value in written.items() if value is not None}


def text_or_none(value: object) -> str | None:
    """The string that this is, or None."""
    if type(value) is not str:
        return None
    return value if value.isascii() else mend_text(value)


def text_map(value: object) -> dict[str, str]:
    """A map of string to string from a dict, or from the list of `{"key", "value"}` of older servers; other values as their JSON text."""
    if is_list(value):
        entries = [entry for entry in value if is_dict(entry)]
        value = {entry["key"]: entry.get("value") for entry in entries if isinstance(entry.get("key"), str)}
    if not is_dict(value):
        return {}
    texts: dict[str, str] = {}
    for key, text in value.items():
        if type(text) is not str:
            if text is None:
                continue
            text = _json_text(text)
        if type(key) is not str:
            key = as_text(key)
        texts[key if key.isascii() else mend_text(key)] = text if text.isascii() else mend_text(text)
    return texts


def location_texts(location: dict[str, Any]) -> dict[str, Any]:
    """A trace's location holds texts and maps of texts; a number in it would cut off what a server reads after it."""
    texts: dict[str, Any] = dict(text_map({key: value for key, value in location.items() if not is_dict(value)}))
    return texts | {as_text(key): text_map(value) for key, value in location.items() if is_dict(value)}


def _json_text(value: object) -> str:
    try:
        return encode(value)
    except TooDeepError:
        return "…"


def _feedback(fields: AssessmentFields) -> dict[str, Any]:
    feedback: dict[str, Any] = {"value": safe(fields["value"])}
    if error := fields["error"]:
        feedback["error"] = {key: text for key, text in error.items() if text is not None}
    return feedback


def _said(said: dict[str, Any]) -> tuple[Kind, Any, ErrorFields | None] | None:
    """Which of the three it is, the value and the error; None where nothing was said that can be kept."""
    error: ErrorFields | None = None
    if is_dict(feedback := said.get("feedback")):
        kind, value, error = FEEDBACK, _value(feedback), _error(feedback.get("error"))
    elif is_dict(expectation := said.get("expectation")):
        kind, value = EXPECTATION, _value(expectation)
    elif is_dict(issue := said.get("issue")):
        kind, value = ISSUE, text_or_none(issue.get("issue_name"))
    else:
        return None
    return None if value is _UNREADABLE else (kind, value, error)


def _value(said: Mapping[str, Any]) -> Any:
    """The value, decoded where it was serialized; `_UNREADABLE` for one that nests too deep to be kept."""
    serialized = said.get("serialized_value")
    text = serialized.get("value") if is_dict(serialized) else None
    try:
        if not is_dict(serialized):
            return safe(said.get("value"))
        return decode(text) if isinstance(text, str) else safe(text)
    except TooDeepError:
        return _UNREADABLE
    except ValueError:  # serialized by somebody else's rules: the text itself is the value
        return text_or_none(text)


def _error(error: object) -> ErrorFields | None:
    if isinstance(error, str) and error:
        return {"error_code": "ERROR", "error_message": mend_text(error), "stack_trace": None}
    if not is_dict(error) or not error:
        return None
    said = error
    return {
        "error_code": text_or_none(said.get("error_code")) or "ERROR",
        "error_message": text_or_none(said.get("error_message")),
        "stack_trace": text_or_none(said.get("stack_trace")),
    }


def _source(source: object) -> tuple[str, str]:
    said = source if is_dict(source) else {}
    source_type, source_id = said.get("source_type"), text_or_none(said.get("source_id"))
    known = _SOURCE_TYPES.get(source_type, UNSPECIFIED) if isinstance(source_type, str) else UNSPECIFIED
    return known, source_id or DEFAULT_SOURCE_ID
