"""The built-in scorers that ask a model: `Correctness` and `Guidelines`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, field_validator

from evalpoint import judges
from evalpoint.entities import AssessmentSource, AssessmentSourceType, Feedback, Row, Trace
from evalpoint.formats import question_of, text_of
from evalpoint.protocols import Subject
from evalpoint.scorers.base import Scorer
from evalpoint.settings import Settings

__all__ = ["Correctness", "Guidelines", "JudgeScorer"]


class JudgeScorer(Scorer):
    """What scorers that ask a model have in common.

    Args:
        model: Who judges: `endpoints:/NAME` or `databricks:/NAME` (a serving endpoint), `openai:/gpt-4.1-mini` and its kin
            (through litellm), a function `(messages, **params) -> text`, or None for the default.
        inference_params: Such as `{"max_tokens": 500}`; they always reach the model. Temperature is 0 unless they say otherwise;
            None leaves it out.
        workspace: A profile's name, a `Config` or a `WorkspaceClient`, for models behind serving endpoints.
    """

    model: Any = None
    inference_params: Mapping[str, Any] | None = Field(default=None, repr=False)
    workspace: Any = Field(default=None, repr=False)

    @field_validator("model")
    @classmethod
    def _check_model(cls, given: Any) -> Any:
        judges.check_model(given)
        return given

    @field_validator("inference_params")
    @classmethod
    def _check_inference_params(cls, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        judges.check_inference_params(given)
        return given

    @property
    def source(self) -> AssessmentSource:
        """The model that judges."""
        uri = self.model if isinstance(self.model, str) else getattr(self.model, "uri", None)
        return AssessmentSource(AssessmentSourceType.LLM_JUDGE, str(uri or "default"))

    def prepare(self, settings: Settings, environ: Mapping[str, str] | None = None) -> JudgeScorer:
        """The same judge with its model opened and checked.

        Raises:
            ConfigurationError: No model is configured, or its address, key or credentials do not fit.
            NotFound: There is no such endpoint.
        """
        model = judges.open_model(self.model, params=self.inference_params, workspace=self.workspace, settings=settings, environ=environ)
        return self.model_copy(update={"model": model})


_REFERENCES = ("expected_facts", "expected_response")


class Correctness(JudgeScorer):
    """Whether the answer says all that the row's reference says: `expected_facts` (a list of texts), `expected_response`, or both."""

    name: str = "correctness"

    def __call__(
        self, *, inputs: Any = None, outputs: Any = None, expectations: Mapping[str, Any] | None = None, trace: Trace | None = None
    ) -> Feedback:
        """The judge's feedback. What is not given is read from the trace.

        Raises:
            UsageError: There is no reference, or it is not what it should be.
            JudgeError: The model gave no usable verdict, even when asked again.
        """
        inputs, outputs = _from_trace(inputs, outputs, trace)
        if expectations is None and trace is not None:
            expectations = {item.name: item.value for item in trace.search_assessments(type="expectation")}
        reference = expectations or {}
        return judges.is_correct(
            request=inputs,
            response=outputs,
            expected_facts=reference.get("expected_facts"),
            expected_response=reference.get("expected_response"),
            name=self.name,
            model=self.model,
            inference_params=self.inference_params,
            workspace=self.workspace,
        )

    def ask(self, subject: Subject) -> Any:
        """The judge's feedback; None for a row without a reference."""
        return None if judges.no_reference(subject.expectations) else super().ask(subject)

    def missing(self, row: Row) -> str | None:
        """A row needs a reference."""
        if judges.no_reference(row.expectations):
            return f"{self.name!r} compares with expectations, and there is neither 'expected_facts' nor 'expected_response'"
        return None

    def problem(self, row: Row) -> str | None:
        """A reference that is misspelt, or not of its kind."""
        if judges.no_reference(row.expectations):
            for key in row.expectations:
                near = difflib.get_close_matches(key, _REFERENCES, n=1, cutoff=0.8)
                if near and key not in _REFERENCES:
                    return f"expectations have {key!r}; did you mean {near[0]!r}?"
            return None
        facts: Any = row.expectations.get("expected_facts")
        wanted = isinstance(facts, list) and all(isinstance(fact, str) and fact.strip() for fact in facts)  # pyright: ignore[reportUnknownVariableType] - JSON
        if facts is not None and not wanted:
            shown = str(row.expectations["expected_facts"])[:80]
            return f"expected_facts should be a list of texts, one fact each, none of them empty; it is {shown!r}"
        response = row.expectations.get("expected_response")
        if response is not None and not isinstance(response, str):
            return f"expected_response should be a text; it is {type(response).__name__}"
        return None


class Guidelines(JudgeScorer):
    """Whether the answer keeps to every guideline.

    Args:
        guidelines: One guideline, or several, in plain words: "The response must be professional."
    """

    name: str = "guidelines"
    guidelines: str | Sequence[str]

    @field_validator("guidelines", mode="before")
    @classmethod
    def _check_guidelines(cls, given: Any) -> Any:
        texts = judges.checked_guidelines(given)
        return given if isinstance(given, str) else texts

    def __call__(self, *, inputs: Any = None, outputs: Any = None, trace: Trace | None = None) -> Feedback:
        """The judge's feedback. What is not given is read from the trace.

        Raises:
            JudgeError: The model gave no usable verdict, even when asked again.
        """
        inputs, outputs = _from_trace(inputs, outputs, trace)
        return judges.meets_guidelines(
            guidelines=self.guidelines,
            context={"request": inputs if isinstance(inputs, str) else question_of(inputs), "response": text_of(outputs)},
            name=self.name,
            model=self.model,
            inference_params=self.inference_params,
            workspace=self.workspace,
        )


def _from_trace(inputs: Any, outputs: Any, trace: Trace | None) -> tuple[Any, Any]:
    """What was asked and answered: as given, else as the trace's root has it."""
    root = trace.root if trace is not None else None
    if root is None:
        return inputs, outputs
    return (root.inputs if inputs is None else inputs), (root.outputs if outputs is None else outputs)
