"""Runs of agents on apps, as their servers tell of them: what a run is asked with, how it stands, and what it gave. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalpoint.endpoints.streaming import Streamed
from evalpoint.formats import is_dict

__all__ = ["as_invocation", "failed", "result_of", "run_of", "trace_id_of", "under_way"]

_ASIDE = ("id", "session_id", "background", "stream")
"""What an invocation says beside its input."""
_FIRST_STATES = frozenset(("queued", "pending", "in_progress", "running", "active"))
_LAST_STATES = frozenset(("completed", "succeeded", "incomplete", "failed", "error", "cancelled", "canceled"))
_FAILED = frozenset(("failed", "error", "cancelled", "canceled"))
_RUN_IDS = ("id", "invocation_id", "run_id")
_RESULTS = ("output", "response", "result")
_ANSWERS = ("messages", "choices")
_ACCEPTED = 202


def as_invocation(payload: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """The payload as the newest servers take it: an id of the caller's, and any JSON as `input`.

    A payload that is only an `input` gives that; anything else is the input itself.
    """
    aside = {key: payload[key] for key in _ASIDE if key in payload}
    rest = {key: value for key, value in payload.items() if key not in aside}
    return {"id": run_id, **aside, "input": rest["input"] if set(rest) == {"input"} else rest}


def run_of(answered: Streamed) -> str | None:
    """The id of a run that has only begun; None of an answer."""
    body = answered.body
    if not is_dict(body) or not (_state(body) in _FIRST_STATES or (answered.status == _ACCEPTED and _state(body) not in _LAST_STATES)):
        return None
    return next((str(body[key]) for key in _RUN_IDS if body.get(key)), None)


def under_way(body: object) -> bool:
    """Whether a run has not ended: it has a state, and none of the last ones."""
    return _state(body) not in ("", *_LAST_STATES)


def failed(body: object) -> str | None:
    """How the run failed; None when it did not."""
    state = _state(body)
    return state if state in _FAILED else None


def result_of(body: Any) -> Any:
    """The answer itself: servers that take an `input` of any kind put it inside the account of the run."""
    if not is_dict(body) or not _state(body) or any(key in body for key in _ANSWERS):
        return body
    return next((body[key] for key in _RESULTS if is_dict(body.get(key))), body)


def trace_id_of(answered: Streamed) -> str | None:
    """The id that a server returns where it was asked to: in the body's metadata, as an event of a stream, or as a header."""
    metadata: Any = answered.body.get("metadata") if is_dict(answered.body) else None
    inside: Any = metadata.get("trace_id") if is_dict(metadata) else None
    found = inside or answered.output.get("trace_id") or answered.headers.get("x-mlflow-trace-id")
    return found if isinstance(found, str) and found else None


def _state(body: object) -> str:
    return str(body.get("status") or "").lower() if is_dict(body) else ""
