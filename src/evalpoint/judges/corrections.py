"""A request refused over a parameter of ours is sent again without it: at most once per parameter and call, counted, and remembered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evalpoint.calls import current_account
from evalpoint.errors import Rejected
from evalpoint.judges.models import Completion

__all__ = ["Request", "send_corrected"]


@dataclass(frozen=True, slots=True)
class Request:
    """The parameters of one request: what the caller asked for, and what is ours to drop when a model refuses it."""

    required: Mapping[str, Any]
    optional: Mapping[str, Any]

    @classmethod
    def of(cls, schema: Mapping[str, Any] | None, params: Mapping[str, Any]) -> Request:
        """The caller's parameters; temperature 0 and the answer's schema unless they say otherwise. One that is None is left out."""
        optional: dict[str, Any] = {"temperature": 0}
        if schema is not None:
            optional["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "strict": True, "schema": dict(schema)},
            }
        return cls(
            {name: value for name, value in params.items() if value is not None},
            {name: value for name, value in optional.items() if name not in params},
        )


_NAMED = {
    "temperature": re.compile(r"\btemperature\b", re.IGNORECASE),
    "response_format": re.compile(r"response_?(format|schema)|json_?schema|structured[ _]outputs?|output_config", re.IGNORECASE),
}
_PARAMETER_STATUSES = (400, 422)


def send_corrected(request: Request, dropped: set[str], send: Callable[[Mapping[str, Any]], Completion]) -> Completion:
    """Sends a request; when it is refused over a parameter of ours, once more without that parameter.

    Args:
        request: The parameters.
        dropped: What the model is known to refuse; what it refuses now is added once it has answered without it.
        send: Sends one body and gives the answer, or raises `CallError`.
    """
    without: set[str] = set()
    while True:
        optional = {name: value for name, value in request.optional.items() if name not in dropped and name not in without}
        try:
            completion = send({**optional, **request.required})
        except Rejected as error:
            refused = _refused(error, optional)
            if not refused:
                raise
            without |= refused
            account = current_account()
            if account is not None:
                account.correct()
        else:
            dropped.update(without)
            return completion


def _refused(error: Rejected, optional: Mapping[str, Any]) -> set[str]:
    """The parameters that a refusal names. Nothing but the refusal's text can say it."""
    if error.status not in _PARAMETER_STATUSES:
        return set()
    return {name for name in optional if _NAMED[name].search(str(error))}
