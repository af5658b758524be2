"""The judges as functions: one question, one feedback. They work by themselves; the scorers of the same names use them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from evalpoint.entities import Feedback
from evalpoint.errors import UsageError
from evalpoint.formats import plain, question_of, text_of
from evalpoint.judges.asking import ask
from evalpoint.judges.checks import JudgeModel, check_inference_params, checked_guidelines, is_blank, no_reference, texts_in
from evalpoint.judges.opening import open_model
from evalpoint.judges.prompts import CORRECTNESS, GUIDELINES, Field, numbered, render

__all__ = ["is_correct", "meets_guidelines"]

_FIELD_NAME = re.compile(r"[\w.-]{1,100}")
_OUR_WORDS = {"request": "question", "response": "answer"}


def is_correct(
    *,
    request: Any,
    response: Any,
    expected_facts: Sequence[str] | None = None,
    expected_response: Any = None,
    name: str | None = None,
    model: JudgeModel = None,
    inference_params: Mapping[str, Any] | None = None,
    workspace: Any = None,
) -> Feedback:
    """Whether an answer says everything that a reference says.

    Args:
        request: The question, as text or as an endpoint's inputs.
        response: The answer, as text or as an endpoint's outputs.
        expected_facts: What the answer should say, one fact each.
        expected_response: A good answer. Both may be given: then both count.
        name: The feedback's name, `correctness` by default.
        model: Who judges: an address, a function `(messages, **params) -> text`, or None for the default.
        inference_params: Such as `{"max_tokens": 500}`; they always reach the model. Temperature is 0 unless they say otherwise;
            None leaves it out.
        workspace: A profile's name, a `Config` or a `WorkspaceClient`, for models behind serving endpoints.

    Returns:
        Feedback "yes" or "no" with its rationale, tokens and cost.

    Raises:
        UsageError: There is no reference, or it is not what it should be.
        JudgeError: The model gave no usable verdict, even when asked again.
    """
    reference = _reference(expected_facts, expected_response)
    check_inference_params(inference_params)
    fields = [Field("question", _question(request)), Field("answer", text_of(response)), Field("reference", reference)]
    name = name or "correctness"
    prompt = render(name, CORRECTNESS, fields)
    return ask(open_model(model, params=inference_params, workspace=workspace), prompt, name=name, params=inference_params or {})


def meets_guidelines(
    *,
    guidelines: str | Sequence[str],
    context: Mapping[str, Any],
    name: str | None = None,
    model: JudgeModel = None,
    inference_params: Mapping[str, Any] | None = None,
    workspace: Any = None,
) -> Feedback:
    """Whether named texts keep to every guideline.

    Args:
        guidelines: One guideline, or several.
        context: The texts that the guidelines are about, such as `{"request": …, "response": …}`; what is no text is shown as JSON.
        name: The feedback's name, `guidelines` by default.
        model: See `is_correct`, as for the arguments below.
        inference_params: Such as `{"max_tokens": 500}`.
        workspace: For models behind serving endpoints.

    Returns:
        Feedback "yes" or "no" with its rationale, tokens and cost; its metadata has the guidelines under `guideline`.

    Raises:
        UsageError: A guideline is empty, or a name in the context cannot be used.
        JudgeError: The model gave no usable verdict, even when asked again.
    """
    texts = checked_guidelines(guidelines)
    check_inference_params(inference_params)
    fields = [*_context_fields(context), Field("guideline", numbered(texts))]
    name = name or "guidelines"
    return ask(
        open_model(model, params=inference_params, workspace=workspace),
        render(name, GUIDELINES, fields),
        name=name,
        params=inference_params or {},
        metadata={"guideline": "\n".join(texts)},
    )


def _reference(facts: Any, answer: Any) -> str:
    if no_reference({"expected_facts": facts, "expected_response": answer}):
        raise UsageError("there is nothing to compare the answer with: give expected_facts (a list of texts), expected_response, or both")
    parts: list[str] = []
    if not is_blank(facts):
        if isinstance(facts, str):
            raise UsageError(f"expected_facts is a text; it should be a list of texts, one fact each: [{facts[:80]!r}]")
        texts = texts_in(facts)
        if not texts:
            raise UsageError(
                f"expected_facts should be a list of texts, none of them empty; it is {type(facts).__name__} {str(facts)[:80]!r}"
            )
        parts.append(numbered(texts))
    if not is_blank(answer):
        text = _as_text(answer)
        parts.append(f"Reference answer:\n{text}" if parts else text)
    return "\n\n".join(parts)


def _question(request: Any) -> str:
    return request if isinstance(request, str) else question_of(request)


def _context_fields(context: object) -> list[Field]:
    if not isinstance(context, Mapping) or not context:
        raise UsageError('context should be a dict of named texts, such as {"request": "…", "response": "…"}')
    fields: list[Field] = []
    given = cast("Any", context)
    for key, value in given.items():
        if not isinstance(key, str) or not _FIELD_NAME.fullmatch(key) or key == "guideline":
            raise UsageError(f"context has the name {key!r}; a name has letters, digits, '_', '-' and '.', and is not 'guideline'")
        fields.append(Field(_OUR_WORDS.get(key, key), _as_text(value)))
    if len({field.name for field in fields}) < len(fields):
        raise UsageError("context names one text twice: 'request' is the same as 'question', 'response' the same as 'answer'")
    return fields


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False, indent=2)
