"""What a judge refuses before anything is spent. Needs no other room, so that declaring a judge loads nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from evalpoint.errors import ConfigurationError, UsageError
from evalpoint.judges.model_uri import parse_model_uri
from evalpoint.judges.models import ChatModel

__all__ = ["JudgeModel", "check_inference_params", "check_model", "checked_guidelines", "is_blank", "no_reference", "texts_in"]

JudgeModel: TypeAlias = str | ChatModel | Callable[..., str] | None
"""A model's address, a chat model, a function `(messages, **params) -> text`, or None for the default."""

_RESERVED = ("messages", "model", "stream", "n", "timeout", "num_retries", "max_retries", "drop_params", "databricks_options")


def check_model(model: object) -> None:
    """Refuses what cannot be a judge's model, without asking anybody.

    Raises:
        ConfigurationError: A text that is no model address, or a value of another kind.
    """
    if isinstance(model, str):
        parse_model_uri(model)
    elif model is not None and not isinstance(model, ChatModel) and (isinstance(model, type) or not callable(model)):
        raise ConfigurationError(
            f"model is {type(model).__name__}; use an address such as 'endpoints:/NAME', or a function (messages, **params) -> text"
        )


def check_inference_params(params: Mapping[str, Any] | None) -> None:
    """Refuses parameters that are the judge's own business.

    Raises:
        UsageError: One of them is set.
    """
    wrong = [name for name in params or {} if name in _RESERVED]
    if wrong:
        raise UsageError(
            f"inference_params cannot set {', '.join(map(repr, wrong))}: the judge does; name temperature, max_tokens and the like"
        )


def checked_guidelines(guidelines: object) -> tuple[str, ...]:
    """The guidelines as texts.

    Raises:
        UsageError: There are none, or one of them is empty or no text.
    """
    given: Any = [guidelines] if isinstance(guidelines, str) else guidelines
    texts = texts_in(given)
    if not texts:
        raise UsageError('guidelines should be a text or a list of texts, none of them empty, such as "The response must be polite."')
    return texts


def texts_in(given: Any) -> tuple[str, ...]:
    """A list of texts that say something, as it is; nothing in place of anything else."""
    items = cast("Sequence[Any]", given) if isinstance(given, (list, tuple)) else ()
    return tuple(items) if all(isinstance(item, str) and item.strip() for item in items) else ()


def no_reference(expectations: Mapping[str, Any]) -> bool:
    """Whether a row says nothing that an answer could be compared with."""
    return all(is_blank(expectations.get(key)) for key in ("expected_facts", "expected_response"))


def is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, (str, list, tuple, dict)) and not (value.strip() if isinstance(value, str) else value))
