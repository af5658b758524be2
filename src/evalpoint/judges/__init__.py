"""Judges: asking a model for a verdict on an answer, and getting one that is typed, reasoned and paid for once.

Whatever asks a model is loaded when it is first used: declaring a judge needs neither HTTP nor a workspace.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from evalpoint.judges.checks import JudgeModel, check_inference_params, check_model, checked_guidelines, no_reference
from evalpoint.judges.models import ChatModel, Completion, Message

if TYPE_CHECKING:
    from evalpoint.judges.functions import is_correct, meets_guidelines
    from evalpoint.judges.opening import open_model

__all__ = [
    "ChatModel",
    "Completion",
    "JudgeModel",
    "Message",
    "check_inference_params",
    "check_model",
    "checked_guidelines",
    "is_correct",
    "meets_guidelines",
    "no_reference",
    "open_model",
]

_LAZY = {
    "is_correct": "evalpoint.judges.functions",
    "meets_guidelines": "evalpoint.judges.functions",
    "open_model": "evalpoint.judges.opening",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
