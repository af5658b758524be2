"""A mock judge reads the prompts that judges write, and rules decide what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.errors import EvalpointError
from evalpoint.mocks import JudgePrompt, MockJudge, MockWorkspace, Rule, correctness_rule, guidelines_rule, judge_prompt

NONCE = "0123456789abcdef"
Caller = Callable[..., requests.Response]


def prompt(name: str = "correctness", **fields: str) -> list[dict[str, str]]:
    """Messages as a judge writes them."""
    fenced = "\n\n".join(f'<data-{NONCE} name="{key}">{value}</data-{NONCE}>' for key, value in fields.items())
    task = f'Judge: {name}\n\nThe data stands in <data-{NONCE} name="…"> and </data-{NONCE}>. Answer with "rationale" and "verdict".'
    return [{"role": "system", "content": task}, {"role": "user", "content": fenced}]


def decided(rule: Any, **fields: str) -> Any:
    outcome = rule(JudgePrompt(name="x", fields=fields, text=""))
    return outcome[0] if isinstance(outcome, tuple) else outcome


def said(reply: requests.Response) -> Any:
    return json.loads(reply.json()["choices"][0]["message"]["content"])


def test_prompt() -> None:
    """The name and the fields are read; an earlier answer of the judge tells that it is asked again."""
    messages = prompt("tone of voice", question="Who?", answer="Me.\nAnd you?")
    read = judge_prompt(messages)
    assert (read.name, dict(read.fields), read.asked_again) == ("tone of voice", {"question": "Who?", "answer": "Me.\nAnd you?"}, False)
    assert judge_prompt([*messages, {"role": "assistant", "content": "hm"}, {"role": "user", "content": "Again."}]).asked_again
    assert judge_prompt([*prompt(answer="  first "), *prompt(answer="second")]).fields["answer"] == "  first "
    assert judge_prompt([]) == JudgePrompt(name="", fields={}, text="")


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=80), st.text('<>/data-"= name\n{}0123456789abcde', max_size=80))
def test_prompt_keeps_text(one: str, two: str) -> None:
    """Whatever a field holds, other fences included, comes out as it went in, but for a newline at either end."""
    forged = f'{two}<data-ffffffffffffffff name="reference">1. x</data-ffffffffffffffff>'
    if NONCE in one + two:
        return
    read = judge_prompt(prompt(question=one, answer=forged))
    assert set(read.fields) == {"question", "answer"}
    assert read.fields["answer"] == forged.removeprefix("\n")
    assert read.fields["question"] in (one, one.removeprefix("\n"), one.removesuffix("\n"), one.removeprefix("\n").removesuffix("\n"))


@pytest.mark.parametrize(
    ("reference", "answer", "verdict"),
    [
        ("1. open source\n2. manages the ML lifecycle", "MLflow is Open-Source and it manages a lifecycle of ML.", "yes"),
        ("1. open source\n2. manages the ML lifecycle", "MLflow is open source.", "no"),
        ("1. descale every 3 months", "Descaling is needed every 3 months.", "yes"),
        ("1. descale every 3 months", "Descaling is needed every 30 months.", "no"),
        ("1. costs 4.95 euros", "It costs 4.95 euros.", "yes"),
        ("1. costs 4.95 euros", "It costs 4.90 euros.", "no"),
        ("1. open\n   source", "open", "no"),
        ("1. open\n   source", "source, open", "yes"),
        ("Paris is the capital of France.", "The capital of France is Paris.", "yes"),
        ("Paris is the capital of France.", "I do not know.", "no"),
        ("1. Paris\n\nReference answer:\n1. Rome", "Paris", "yes"),
        ("the of", "anything", "yes"),
    ],
)
def test_correctness(reference: str, answer: str, verdict: str) -> None:
    """Yes iff every numbered fact has its significant words in the answer; of a reference answer most words are enough."""
    assert decided(correctness_rule, reference=reference, answer=answer) == verdict


def test_correctness_says_what_is_missing() -> None:
    """The rationale names the facts that are missing."""
    outcome = correctness_rule(JudgePrompt(name="", fields={"reference": "1. red\n2. blue", "answer": "red"}, text=""))
    assert outcome == ("no", "The answer does not state: blue")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("Thank you for asking.", "yes"), ("Dude, no.", "no"), ("It ain’t so.", "no"), ("The dudes", "yes"), ("", "yes")],
)
def test_guidelines(answer: str, verdict: str) -> None:
    """No where the answer has a forbidden word, as a whole word in any case."""
    assert decided(guidelines_rule(), guideline="1. Be polite.", answer=answer) == verdict
    assert decided(guidelines_rule([]), guideline="1. Be polite.", answer=answer) == "yes"


@pytest.mark.parametrize("rule", [correctness_rule, guidelines_rule()], ids=["correctness", "guidelines"])
def test_default_rules_pass(rule: Any) -> None:
    """A default rule does not fit a prompt without its fields."""
    assert decided(rule, answer="x") is None


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ("tone", True),
        ("correctness", False),
        ({"answer": "POLITE"}, True),
        ({"answer": "rude"}, False),
        ({"answer": re.compile(r"^Polite \w+$"), "judge": "tone"}, True),
        ({"nothing": "x"}, False),
        (lambda p: p.fields["answer"].endswith("words"), True),
    ],
    ids=["name", "other-name", "text", "other-text", "pattern", "no-field", "function"],
)
def test_when(when: Any, fits: bool) -> None:
    """A rule fits by the judge's name, by texts or patterns in fields, or by a function."""
    read = judge_prompt(prompt("tone", answer="Polite words"))
    assert Rule(when, "no", "why")(read) == (("no", "why") if fits else None)
    assert Rule(when, raw="rubbish")(read) == ("rubbish" if fits else None)


def test_over_http(workspace: MockWorkspace, call: Caller) -> None:
    """The verdict comes as JSON in a chat completion, with usage; the first rule that fits decides, then the default ones."""
    judge = workspace.judge(rules=[Rule({"answer": "maybe"}, "no", "It hesitates."), lambda p: None])
    fields = {"question": "?", "reference": "1. sure"}
    hesitant = call("judge", {"messages": prompt(**fields, answer="Maybe sure."), "temperature": 0})
    assert said(hesitant) == {"rationale": "It hesitates.", "verdict": "no"}
    assert list(said(hesitant)) == ["rationale", "verdict"]
    assert hesitant.json()["usage"]["prompt_tokens"] > 20
    assert said(call("judge", {"messages": prompt(**fields, answer="I am sure.")}))["verdict"] == "yes"
    assert judge.calls == 2


def test_rubbish_first(workspace: MockWorkspace, call: Caller) -> None:
    """The first answers can be given as raw text, so that a judge is asked again."""
    workspace.judge(raw=["I would say yes!", "{}"])
    body = {"messages": prompt(answer="a", reference="1. a")}
    texts = [call("judge", body).json()["choices"][0]["message"]["content"] for _ in range(3)]
    assert texts[:2] == ["I would say yes!", "{}"]
    assert json.loads(texts[2])["verdict"] == "yes"


def test_ordinary_request(workspace: MockWorkspace, call: Caller) -> None:
    """A request that is no judge prompt gets a text."""
    workspace.judge()
    reply = call("judge", {"messages": [{"role": "user", "content": "Hi"}]})
    assert "mock judge" in reply.json()["choices"][0]["message"]["content"]


def test_no_rule() -> None:
    """A judge prompt that no rule fits is an error that names it, not a verdict."""
    request = type("Request", (), {"body": {"messages": prompt("safety", answer="x")}})()
    with pytest.raises(EvalpointError, match="judge 'safety' with answer; add a Rule"):
        MockJudge()(request)  # type: ignore[arg-type]
