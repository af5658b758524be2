"""One verdict per question: asked again once with the reason, then an error that keeps what the model said. Everything is paid for once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from evalpoint.calls import account
from evalpoint.entities import AssessmentSource
from evalpoint.errors import JudgeError, Throttled, UsageError
from evalpoint.judges import Completion, Message, is_correct, meets_guidelines

YES = '{"rationale": "All facts are there.", "verdict": "yes"}'
NO = '{"rationale": "One is missing.", "verdict": "no"}'


class Scripted:
    """A chat model that gives its answers in order and keeps what it was asked."""

    uri = "test:/scripted"

    def __init__(self, *answers: Completion | Exception | str) -> None:
        self.answers = list(answers)
        self.asked: list[list[Message]] = []
        self.params: list[Mapping[str, Any]] = []
        self.schemas: list[Mapping[str, Any]] = []

    def complete(self, messages: Sequence[Message], *, schema: Mapping[str, Any], params: Mapping[str, Any]) -> Completion:
        self.asked.append(list(messages))
        self.params.append(params)
        self.schemas.append(schema)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Completion(text=answer, input_tokens=100, output_tokens=10, cost=0.001) if isinstance(answer, str) else answer


def judged(model: Any, **arguments: Any) -> Any:
    return is_correct(request="What is MLflow?", response="A library.", expected_facts=["open source"], model=model, **arguments)


def test_feedback() -> None:
    """A verdict becomes feedback under MLflow's keys: source, rationale, tokens and cost as strings."""
    model = Scripted(NO)
    feedback = judged(model, inference_params={"max_tokens": 50})
    assert (feedback.name, feedback.value, feedback.rationale) == ("correctness", "no", "One is missing.")
    assert feedback.source == AssessmentSource("LLM_JUDGE", "test:/scripted")
    assert feedback.metadata == {
        "mlflow.assessment.judgeInputTokens": "100",
        "mlflow.assessment.judgeOutputTokens": "10",
        "mlflow.assessment.judgeCost": "0.001",
    }
    assert model.params == [{"max_tokens": 50}]
    assert list(model.schemas[0]["properties"]) == ["rationale", "verdict"]


def test_unknown_figures_are_left_out() -> None:
    """What nobody counted is no 0."""
    assert judged(Scripted(Completion(text=YES))).metadata is None


def test_asked_again_once() -> None:
    """An unusable answer is asked again with the answer and the reason; both asks are paid for and counted."""
    model = Scripted("I would say yes.", YES)
    with account() as used:
        feedback = judged(model)
    assert feedback.value == "yes"
    first, second = model.asked
    assert second[: len(first)] == first
    assert second[-2] == {"role": "assistant", "content": "I would say yes."}
    assert "there is no JSON object in the answer" in second[-1]["content"]
    assert feedback.metadata["mlflow.assessment.judgeInputTokens"] == "200"
    assert feedback.metadata["mlflow.assessment.judgeCost"] == "0.002"
    assert feedback.metadata["evalpoint.judgeAsks"] == "2"
    assert (used.spent.calls, used.spent.input_tokens, used.spent.output_tokens, used.spent.cost) == (2, 200, 20, 0.002)
    assert used.corrections == 1


def test_figures_with_a_gap_are_unknown() -> None:
    """When one of two asks was not counted, the sum is not known."""
    feedback = judged(Scripted(Completion(text="?", input_tokens=5), YES))
    assert feedback.metadata == {"mlflow.assessment.judgeInputTokens": "105", "evalpoint.judgeAsks": "2"}


def test_unusable_twice() -> None:
    """The second unusable answer is an error that says who, why and what the model said; its tokens are spent all the same."""
    model = Scripted("Well…", '{"verdict": "perhaps"}')
    with account() as used, pytest.raises(JudgeError) as failed:
        judged(model, name="facts")
    assert str(failed.value) == (
        "The judge 'facts' (test:/scripted) gave no usable verdict, even when asked again: "
        '"verdict" is "perhaps"; it should be "yes" or "no". Its last answer: \'{"verdict": "perhaps"}\''
    )
    assert failed.value.raw_text == '{"verdict": "perhaps"}'
    assert len(model.asked) == 2
    assert used.spent.calls == 2


def test_raw_text_is_bounded() -> None:
    """An endless answer does not fill the store."""
    with pytest.raises(JudgeError) as failed:
        judged(Scripted("x" * 100_000, "y" * 100_000))
    assert len(failed.value.raw_text) == 8_000
    assert len(str(failed.value)) < 1_500


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Completion(text='{"rationale": "On the one ha', finish_reason="length"), "cut off at the model's token limit"),
        (Completion(text="", finish_reason="content_filter"), "content filter withheld"),
        (Completion(text="I cannot help.", finish_reason="refusal"), "refused to judge"),
        (Completion(text=""), "Its last answer was empty."),
    ],
    ids=["cut off", "content filter", "refusal", "empty"],
)
def test_endings(answer: Completion, words: str) -> None:
    """An answer that was cut off, filtered or refused is called what it is."""
    with pytest.raises(JudgeError, match=words):
        judged(Scripted(answer, answer))


def test_cut_off_behind_the_verdict() -> None:
    """A whole verdict counts, even when the model went on until its limit."""
    assert judged(Scripted(Completion(text=YES + "\nAnd now for something", finish_reason="length"))).value == "yes"


def test_a_failed_call_is_not_asked_again() -> None:
    """Whoever calls has tried already: a call's error comes out as it is."""
    model = Scripted(Throttled("busy"))
    with pytest.raises(Throttled):
        judged(model)
    assert len(model.asked) == 1


def test_function_as_model() -> None:
    """A function is a model: it gets the messages and the parameters that it takes."""
    seen: list[Any] = []

    def model(messages: list[dict[str, str]], max_tokens: int = 0) -> str:
        seen.append((messages[0]["content"].splitlines()[0], max_tokens))
        return YES

    feedback = judged(model, inference_params={"max_tokens": 7, "top_p": 1})
    assert seen == [("Judge: correctness", 7)]
    assert feedback.source.source_id == "python:/model"
    everything: list[dict[str, Any]] = []
    assert judged(lambda messages, **kw: everything.append(kw) or YES).value == "yes"
    assert everything == [{"temperature": 0}]
    with pytest.raises(JudgeError, match="returned dict; a function used as a model returns the answer's text"):
        judged(lambda messages, **kw: {"verdict": "yes"})


def fields_of(model: Scripted) -> dict[str, str]:
    fences = re.findall(r'<data-([0-9a-f]{16}) name="([\w.-]+)">(.*?)</data-\1>', model.asked[0][1]["content"], re.DOTALL)
    return {name: text for _, name, text in fences}


@pytest.mark.parametrize(
    ("facts", "response", "reference"),
    [
        (["one", "two"], None, "1. one\n2. two"),
        (None, "An answer.", "An answer."),
        (["one"], "An answer.", "1. one\n\nReference answer:\nAn answer."),
        ([], "An answer.", "An answer."),
        (("one",), "", "1. one"),
        (None, 42, "42"),
        (None, {"total": 3}, '{\n  "total": 3\n}'),
    ],
    ids=["facts", "response", "both", "no facts", "blank response", "a number", "an object"],
)
def test_reference(facts: Any, response: Any, reference: str) -> None:
    """The reference has the facts, numbered, and the reference answer, whichever there are."""
    model = Scripted(YES)
    is_correct(
        request={"messages": [{"role": "user", "content": "Q?"}]},
        response={"choices": [{"message": {"role": "assistant", "content": "A."}}]},
        expected_facts=facts,
        expected_response=response,
        model=model,
    )
    assert fields_of(model) == {"question": "Q?", "answer": "A.", "reference": reference}


@pytest.mark.parametrize(
    ("facts", "response", "words"),
    [
        (None, None, "nothing to compare the answer with"),
        ([], " ", "nothing to compare the answer with"),
        ("open source", None, "expected_facts is a text; it should be a list of texts, one fact each: ['open source']"),
        (["one", 2], None, "expected_facts should be a list of texts"),
        (["one", " "], None, "none of them empty"),
        ({"a": 1}, None, "it is dict"),
    ],
    ids=["neither", "both blank", "facts as text", "a number among facts", "an empty fact", "a dict"],
)
def test_unusable_reference(facts: Any, response: Any, words: str) -> None:
    """A reference that is none is refused before a model is asked."""
    model = Scripted()
    with pytest.raises(UsageError) as refused:
        is_correct(request="q", response="a", expected_facts=facts, expected_response=response, model=model)
    assert words in str(refused.value)


def test_guidelines() -> None:
    """Guidelines are numbered, the context's texts are fields, and the feedback remembers the guidelines."""
    model = Scripted(YES)
    feedback = meets_guidelines(
        guidelines=["Be kind.", "Be short."], context={"request": "Q?", "response": "A.", "policy": {"days": 3}}, name="tone", model=model
    )
    assert fields_of(model) == {"question": "Q?", "answer": "A.", "policy": '{\n  "days": 3\n}', "guideline": "1. Be kind.\n2. Be short."}
    assert feedback.name == "tone"
    assert feedback.metadata is not None
    assert feedback.metadata["guideline"] == "Be kind.\nBe short."
    assert model.asked[0][0]["content"].startswith("Judge: tone\n")


@pytest.mark.parametrize(
    ("guidelines", "context", "words"),
    [
        ("", {"response": "a"}, "none of them empty"),
        ([], {"response": "a"}, "none of them empty"),
        (["a", " "], {"response": "a"}, "none of them empty"),
        (3, {"response": "a"}, "none of them empty"),
        ("a", {}, "a dict of named texts"),
        ("a", "text", "a dict of named texts"),
        ("a", {'x" y': "a"}, "a name has letters"),
        ("a", {"guideline": "a"}, "is not 'guideline'"),
        ("a", {"request": "a", "question": "b"}, "names one text twice"),
    ],
)
def test_unusable_guidelines(guidelines: Any, context: Any, words: str) -> None:
    """Guidelines that say nothing and names that could break a fence are refused before a model is asked."""
    with pytest.raises(UsageError) as refused:
        meets_guidelines(guidelines=guidelines, context=context, model=Scripted())
    assert words in str(refused.value)


def test_truncation_is_flagged() -> None:
    """A text that was too long to show whole is named on the feedback."""
    feedback = is_correct(request="q", response="x" * 100_001, expected_facts=["f"], model=Scripted(YES))
    assert feedback.metadata is not None
    assert feedback.metadata["evalpoint.truncated"] == "answer"


@pytest.mark.parametrize("name", ["messages", "model", "stream", "timeout"])
def test_reserved_parameters(name: str) -> None:
    """Parameters that are the judge's own business cannot be set."""
    with pytest.raises(UsageError, match=name):
        judged(Scripted(), inference_params={name: 1})
