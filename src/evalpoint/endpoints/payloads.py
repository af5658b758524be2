"""A row's inputs -> the request's payload, by the endpoint's kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evalpoint.endpoints.description import Kind
from evalpoint.errors import UsageError

__all__ = ["REQUEST_KEYS", "Request", "payload_of"]

Request = Callable[[Mapping[str, Any]], Mapping[str, Any]]

REQUEST_KEYS = ("messages", "input", "prompt", "dataframe_split", "dataframe_records", "inputs", "instances")
"""Inputs with one of these are a request already and are sent as they are."""

_PARAMETERS = frozenset({
    "max_tokens", "max_output_tokens", "temperature", "top_p", "top_k", "stop", "n", "seed", "tools", "tool_choice", "response_format",
    "reasoning_effort", "custom_inputs", "context", "params", "databricks_options", "client_request_id", "usage_context", "background",
    "stream", "stream_options",
})  # fmt: skip
"""What a request may carry beside the question."""


def payload_of(inputs: Mapping[str, Any], kind: Kind, *, endpoint: str, request: Request | None = None) -> dict[str, Any]:
    """The payload for these inputs.

    Args:
        inputs: A row's inputs.
        kind: What the endpoint serves.
        endpoint: Its name, for messages.
        request: The caller's own way from inputs to payload; then nothing is guessed.

    Raises:
        UsageError: No payload can be made of them; the message says what would do.
    """
    if request is not None:
        made: Any = request(inputs)
        if not isinstance(made, Mapping):
            raise UsageError(f"request= returned {type(made).__name__}; it should return the payload as a dict")
        return {str(key): value for key, value in made.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON
    if kind is Kind.JSON:
        return dict(inputs)
    if any(key in inputs for key in REQUEST_KEYS):
        payload = dict(inputs)
        if kind is Kind.RESPONSES and isinstance(payload.get("input"), str):
            payload["input"] = [{"role": "user", "content": payload["input"]}]  # agents refuse a bare string
        return payload
    if kind in (Kind.CUSTOM, Kind.FEATURES):
        return {"dataframe_records": [dict(inputs)]}
    extra = {key: value for key, value in inputs.items() if key in _PARAMETERS}
    question = _question({key: value for key, value in inputs.items() if key not in _PARAMETERS}, kind, endpoint)
    if kind is Kind.RESPONSES:
        return {"input": [{"role": "user", "content": question}], **extra}
    if kind is Kind.COMPLETIONS:
        return {"prompt": question, **extra}
    if kind is Kind.EMBEDDINGS:
        return {"input": question, **extra}
    return {"messages": [{"role": "user", "content": question}], **extra}


def _question(rest: Mapping[str, Any], kind: Kind, endpoint: str) -> str:
    if len(rest) == 1:
        (value,) = rest.values()
        if isinstance(value, str):
            return value
    wanted = "input" if kind is Kind.RESPONSES else "prompt" if kind is Kind.COMPLETIONS else "messages"
    names = ", ".join(map(repr, rest)) or "nothing"
    raise UsageError(
        f"inputs have {names}, and endpoint {endpoint!r} ({kind.value}) wants a question. Give one text, or {wanted!r} as the endpoint "
        "takes it, or pass to_predict_fn(..., request=lambda inputs: {...}) that makes the payload."
    )
