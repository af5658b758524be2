"""Span attributes of OpenTelemetry GenAI, OpenInference and Traceloop -> MLflow's, and the tokens of a whole trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalpoint.formats.answers import count_tokens
from evalpoint.formats.contents import mapping, some_text
from evalpoint.formats.flattened import documents, loose_json, messages_of_parts, numbered_messages
from evalpoint.formats.shapes import SpanFields

__all__ = ["token_usage", "translate"]

SPAN_TYPE = "mlflow.spanType"
SPAN_INPUTS = "mlflow.spanInputs"
SPAN_OUTPUTS = "mlflow.spanOutputs"
TOKEN_USAGE = "mlflow.chat.tokenUsage"  # noqa: S105 - a key, no secret
MODEL = "mlflow.llm.model"

_PREFIXES = ("gen_ai.", "llm.", "openinference.", "input.", "output.", "retrieval.", "traceloop.", "embedding.")
_TYPES = {
    "gen_ai.operation.name": {
        "chat": "CHAT_MODEL",
        "generate_content": "CHAT_MODEL",
        "text_completion": "LLM",
        "embeddings": "EMBEDDING",
        "create_agent": "AGENT",
        "invoke_agent": "AGENT",
        "execute_tool": "TOOL",
        "invoke_workflow": "WORKFLOW",
        "retrieval": "RETRIEVER",
    },
    "openinference.span.kind": {
        "llm": "LLM",
        "chain": "CHAIN",
        "agent": "AGENT",
        "tool": "TOOL",
        "retriever": "RETRIEVER",
        "embedding": "EMBEDDING",
        "reranker": "RERANKER",
        "guardrail": "GUARDRAIL",
        "evaluator": "EVALUATOR",
        "unknown": "UNKNOWN",
    },
    "traceloop.span.kind": {"workflow": "WORKFLOW", "task": "TASK", "agent": "AGENT", "tool": "TOOL"},
    "llm.request.type": {"chat": "CHAT_MODEL", "completion": "LLM", "embedding": "EMBEDDING", "rerank": "RERANKER"},
}
_MODELS = (
    "gen_ai.response.model",
    "gen_ai.request.model",
    "llm.model_name",
    "embedding.model_name",
    "llm.response.model",
    "llm.request.model",
)
_TOKENS = {
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "llm.usage.prompt_tokens"),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "llm.usage.completion_tokens",
    ),
    "total_tokens": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"),
    "cache_read_input_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    "cache_creation_input_tokens": (
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
}
_COUNTERS = ("input_tokens", "output_tokens", "total_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def translate(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes with MLflow's span type, inputs, outputs, token usage and model, where another vocabulary says them.

    MLflow's own attributes win and the originals stay. The same object comes back when there is nothing to add.
    """
    if not any(key.startswith(_PREFIXES) for key in attributes):
        return attributes
    added: dict[str, Any] = {}
    for key, found in (
        (SPAN_TYPE, _span_type),
        (SPAN_INPUTS, _inputs),
        (SPAN_OUTPUTS, _outputs),
        (TOKEN_USAGE, _usage),
        (MODEL, _model),
    ):
        if attributes.get(key) is None and (value := found(attributes)) is not None:
            added[key] = value
    return {**attributes, **added} if added else attributes


def _span_type(attributes: dict[str, Any]) -> str | None:
    for key, types in _TYPES.items():
        said = some_text(attributes.get(key)).lower()
        if said in types:
            return types[said]
    return None


def _inputs(attributes: dict[str, Any]) -> Any:
    if (given := _payload(attributes, "input.value", "traceloop.entity.input")) is not None:
        return given
    if messages := messages_of_parts(attributes.get("gen_ai.input.messages"), attributes.get("gen_ai.system_instructions")):
        return {"messages": messages}
    for prefix in ("llm.input_messages.", "gen_ai.prompt.", "llm.prompts."):
        if messages := numbered_messages(attributes, prefix):
            return {"messages": messages}
    return _payload(attributes, "gen_ai.tool.call.arguments", "gen_ai.prompt")


def _outputs(attributes: dict[str, Any]) -> Any:
    if found := documents(attributes):
        return found
    if (given := _payload(attributes, "output.value", "traceloop.entity.output")) is not None:
        return given
    if messages := messages_of_parts(attributes.get("gen_ai.output.messages"), None):
        return {"messages": messages}
    for prefix in ("llm.output_messages.", "gen_ai.completion.", "llm.completions."):
        if messages := numbered_messages(attributes, prefix):
            return {"messages": messages}
    return _payload(attributes, "gen_ai.tool.call.result", "gen_ai.completion")


def _payload(attributes: dict[str, Any], *keys: str) -> Any:
    return next((loose_json(attributes[key]) for key in keys if attributes.get(key) is not None), None)


def _usage(attributes: dict[str, Any]) -> dict[str, int] | None:
    usage = {name: next((attributes[key] for key in keys if key in attributes), None) for name, keys in _TOKENS.items()}
    return count_tokens(usage)


def _model(attributes: dict[str, Any]) -> str | None:
    return next((model for key in _MODELS if (model := some_text(attributes.get(key)))), None)


def token_usage(spans: Sequence[SpanFields]) -> dict[str, int] | None:
    """The tokens of a trace, or None when no span counted.

    A span's usage includes what its descendants used, as MLflow's servers take it: theirs is not added.
    """
    known = {span["span_id"] for span in spans}
    children: dict[str, list[SpanFields]] = {}
    level: list[SpanFields] = []
    for span in spans:
        if span["parent_id"] is None or span["parent_id"] not in known:
            level.append(span)
        else:
            children.setdefault(span["parent_id"], []).append(span)
    totals: dict[str, int] = {}
    while level:
        below: list[SpanFields] = []
        for span in level:
            usage = mapping(span["attributes"].get(TOKEN_USAGE))
            counted = count_tokens(usage) if usage else None
            if counted is None:
                below.extend(children.get(span["span_id"], ()))
                continue
            for key in _COUNTERS:
                if key in counted:
                    totals[key] = totals.get(key, 0) + counted[key]
        level = below
    return totals or None
