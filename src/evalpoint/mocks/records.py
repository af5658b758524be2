"""The kinds that are asked for many answers at once: custom models, feature specs, embeddings; and completions of prompts."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

from evalpoint.mocks.answers import Answer, MockSpan, Usage, tokens
from evalpoint.mocks.clock import Ids
from evalpoint.mocks.conversations import External
from evalpoint.mocks.exchange import Response, error_response, is_list, members
from evalpoint.mocks.kinds import LARGE, SERVING_FIELDS, SMALL, Kind, incompatible, last_user_text, pieces, prompt_usage

__all__ = [
    "COMPLETIONS",
    "CUSTOM",
    "EMBEDDINGS",
    "FEATURES",
    "FOUNDATION_COMPLETIONS",
    "FOUNDATION_EMBEDDINGS",
    "ExternalCompletions",
    "ExternalEmbeddings",
    "hashed_vector",
]

RECORD_FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
COMPLETION_FIELDS = frozenset(
    (
        *("prompt", "model", "max_tokens", "temperature", "top_p", "top_k", "stop", "n", "stream", "stream_options", "echo", "suffix"),
        *("logprobs", "best_of", "presence_penalty", "frequency_penalty", "seed", "user", "use_raw_prompt", "error_behavior"),
    )
)
EMBEDDING_FIELDS = frozenset({"input", "model", "instruction", "encoding_format", "dimensions", "user"})


class _Custom(Kind):
    """A custom model (pyfunc): records in one of four forms, one prediction for each."""

    asked = "record"
    largest = LARGE
    together = "predictions"

    def schema_problem(self, body: Mapping[str, Any]) -> Response | None:
        given = [form for form in RECORD_FORMS if form in body]
        if len(given) != 1:
            wanted, had = ", ".join(RECORD_FORMS), ", ".join(given) or "none of them"
            return error_response(400, "BAD_REQUEST", f"Invalid input. The input must contain exactly one of {wanted}; it has {had}.")
        if not isinstance(body.get("params", {}), (dict, type(None))):
            return incompatible("params should be an object")
        try:
            self.records(body)
        except (KeyError, TypeError, ValueError) as error:
            return incompatible(f"{type(error).__name__}: {given[0]} is not in its documented form")
        return None

    def records(self, body: Mapping[str, Any]) -> list[Any]:
        if "dataframe_split" in body:
            columns = list(body["dataframe_split"]["columns"])
            return [dict(zip(columns, line, strict=True)) for line in body["dataframe_split"]["data"]]
        if "dataframe_records" in body:
            return [dict(record) for record in body["dataframe_records"]]
        if "instances" in body:
            return list(body["instances"])
        inputs: Any = body["inputs"]
        if not isinstance(inputs, dict):
            return inputs if is_list(inputs) else [inputs]
        tensors = members(cast("object", inputs))
        if tensors and all(isinstance(values, list) for values in tensors.values()):
            return [dict(zip(tensors, line, strict=True)) for line in zip(*tensors.values(), strict=True)]
        return [tensors]

    def question(self, body: Mapping[str, Any]) -> str:
        records = self.records(body)
        return self.record_text(records[0]) if records else ""

    def record_text(self, record: Any) -> str:
        """The record as a question: a text, the only text in it, its last user message, or else its JSON."""
        if isinstance(record, str):
            return record
        if isinstance(record, dict):
            values = members(cast("object", record))
            if isinstance(values.get("messages"), list):
                return last_user_text(cast("list[Any]", values["messages"]))
            for key in ("question", "query", "input", "prompt", "text"):
                if isinstance(values.get(key), str):
                    return str(values[key])
            texts = [value for value in values.values() if isinstance(value, str)]
            if len(texts) == 1:
                return texts[0]
        return json.dumps(record, ensure_ascii=False)

    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        return {"predictions": [answer.text]}

    def events(self, reply: Mapping[str, Any], body: Mapping[str, Any], *, words: int = 1) -> list[Any]:
        """What a `predict_stream` gives: the pieces of a lone text, else one prediction after the other."""
        predictions = reply.get("predictions", dict(reply))
        predictions = predictions if is_list(predictions) else [predictions]
        if len(predictions) == 1 and isinstance(predictions[0], str):
            return list[Any](pieces(predictions[0], words)) or [""]
        return list(predictions)

    def root_span(self, body: Mapping[str, Any], reply: Any, answer: Answer, usage: Usage, *, model: str) -> MockSpan:
        return MockSpan(name="predict", span_type="CHAIN", inputs=body, outputs=reply, children=answer.spans)


class _Features(_Custom):
    """A feature spec: primary keys in, the same with their features out."""

    entity_type = "FEATURE_SPEC"
    traces = False
    streams = False
    together = "outputs"
    fields = frozenset({"dataframe_records"}) | SERVING_FIELDS

    def schema_problem(self, body: Mapping[str, Any]) -> Response | None:
        if not is_list(body.get("dataframe_records")):
            return error_response(400, "BAD_REQUEST", "Invalid input. The input must contain dataframe_records with the primary keys.")
        return super().schema_problem(body)

    def collected(self, given: list[Any], records: list[Any], usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        joined = [
            {**record, **(features if isinstance(features, dict) else {"value": features})}
            for record, features in zip(records, given, strict=True)
        ]
        return {"outputs": joined}


class _Embeddings(Kind):
    """A model that makes a vector of each text."""

    task = "llm/v1/embeddings"
    largest = LARGE
    streams = False
    together = "data"

    def schema_problem(self, body: Mapping[str, Any]) -> Response | None:
        given = body.get("input")
        if isinstance(given, str) or (is_list(given) and given and all(isinstance(text, str) for text in given)):
            return None
        return self.misfit("input should be a text, or a list with at least one text")

    def misfit(self, why: str) -> Response:
        """How a request is refused that does not fit the schema."""
        return incompatible(why)

    def records(self, body: Mapping[str, Any]) -> list[Any]:
        given: Any = body["input"]
        return [given] if isinstance(given, str) else list(given)

    def question(self, body: Mapping[str, Any]) -> str:
        return str(self.records(body)[0])

    def collected(self, given: list[Any], records: list[Any], usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        data = [{"object": "embedding", "index": number, "embedding": vector} for number, vector in enumerate(given)]
        used = sum(tokens(str(record)) for record in records)
        return {"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": used, "total_tokens": used}}

    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        return self.collected([answer.text], [""], usage, model=model, ids=ids, now=now)

    def root_span(self, body: Mapping[str, Any], reply: Any, answer: Answer, usage: Usage, *, model: str) -> MockSpan:
        return MockSpan(name="predict", span_type="EMBEDDING", inputs=body, outputs=reply, children=answer.spans, model=model)


class _FoundationEmbeddings(_Embeddings):
    endpoint_type = "FOUNDATION_MODEL_API"
    entity_type = "FOUNDATION_MODEL"
    traces = False
    fields = EMBEDDING_FIELDS | SERVING_FIELDS
    largest = SMALL


class _Completions(Kind):
    """A model that goes on where a prompt ends."""

    task = "llm/v1/completions"
    largest = LARGE
    together = "choices"
    span: ClassVar[str] = "LLM"

    def schema_problem(self, body: Mapping[str, Any]) -> Response | None:
        given = body.get("prompt")
        if isinstance(given, str) or (is_list(given) and given and all(isinstance(text, str) for text in given)):
            return None
        return self.misfit("prompt should be a text, or a list with at least one text")

    def misfit(self, why: str) -> Response:
        """How a request is refused that does not fit the schema."""
        return incompatible(why)

    def records(self, body: Mapping[str, Any]) -> list[Any] | None:
        return None if isinstance(body["prompt"], str) else list(body["prompt"])

    def question(self, body: Mapping[str, Any]) -> str:
        given: Any = body["prompt"]
        return given if isinstance(given, str) else str(given[0])

    def collected(self, given: list[Any], records: list[Any], usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        choices = [{"index": number, "text": text, "finish_reason": "stop"} for number, text in enumerate(given)]
        head = {"id": f"cmpl_{ids.hex(24)}", "object": "text_completion", "created": int(now), "model": model}
        return {**head, "choices": choices, "usage": prompt_usage(usage)}

    def reply(self, answer: Answer, usage: Usage, *, model: str, ids: Ids, now: float) -> dict[str, Any]:
        return self.collected([answer.text], [""], usage, model=model, ids=ids, now=now)

    def events(self, reply: Mapping[str, Any], body: Mapping[str, Any], *, words: int = 1) -> list[Any]:
        choices = reply.get("choices")
        if not is_list(choices) or not choices:
            return [dict(reply)]
        head = {key: reply[key] for key in ("id", "object", "created", "model") if key in reply}
        found: list[Any] = []
        for choice in map(members, choices):
            texts = pieces(str(choice.get("text") or ""), words) or [""]
            index = choice.get("index", 0)
            found += [{**head, "choices": [{"index": index, "text": text, "finish_reason": None}]} for text in texts]
            found[-1]["choices"][0]["finish_reason"] = choice.get("finish_reason")
        found[-1] |= {key: reply[key] for key in ("usage",) if key in reply}
        return found

    def root_span(self, body: Mapping[str, Any], reply: Any, answer: Answer, usage: Usage, *, model: str) -> MockSpan:
        span = MockSpan(name="predict", span_type=self.span, inputs=body, outputs=reply, children=answer.spans)
        return span if answer.spans else MockSpan(name="predict", span_type=self.span, inputs=body, outputs=reply, usage=usage, model=model)


class _FoundationCompletions(_Completions):
    endpoint_type = "FOUNDATION_MODEL_API"
    entity_type = "FOUNDATION_MODEL"
    traces = False
    fields = COMPLETION_FIELDS | SERVING_FIELDS
    largest = SMALL


class _FromProvider(Kind):
    """What external models have in common, whatever their task."""

    endpoint_type = "EXTERNAL_MODEL"
    entity_type = "EXTERNAL_MODEL"
    traces = False
    largest = SMALL

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self._refusing = External(provider)

    def unknown(self, name: str) -> Response:
        return self._refusing.unknown(name)

    def misfit(self, why: str) -> Response:
        """How a request is refused that does not fit the schema."""
        return self._refusing.misfit(why)


class ExternalCompletions(_FromProvider, _Completions):
    """Another provider's completions behind the workspace."""

    fields = COMPLETION_FIELDS | SERVING_FIELDS


class ExternalEmbeddings(_FromProvider, _Embeddings):
    """Another provider's embeddings behind the workspace."""

    fields = EMBEDDING_FIELDS | SERVING_FIELDS


def hashed_vector(dimensions: int) -> Callable[[str], list[float]]:
    """A function that gives each text a vector of length one, always the same one."""

    def vector(question: str) -> list[float]:
        digest = hashlib.shake_128(question.encode()).digest(2 * dimensions)
        raw = [int.from_bytes(digest[2 * n : 2 * n + 2], "big") / 32767.5 - 1 for n in range(dimensions)]
        length = math.sqrt(sum(value * value for value in raw)) or 1.0
        return [round(value / length, 6) for value in raw]

    return vector


CUSTOM = _Custom()
FEATURES = _Features()
EMBEDDINGS = _Embeddings()
COMPLETIONS = _Completions()
FOUNDATION_EMBEDDINGS = _FoundationEmbeddings()
FOUNDATION_COMPLETIONS = _FoundationCompletions()
