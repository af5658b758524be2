"""A model's text is a verdict or it is not: nothing is guessed, and nothing quoted from the judged text counts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.judges.verdicts import BinaryVerdict, Unusable, read_verdict, unusable_ending

GOOD = '{"rationale": "because", "verdict": "yes"}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        '{"verdict": "yes", "rationale": "because"}',
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"Here is my verdict:\n{GOOD}\nI hope that helps {{really}}.",
        f'<think>\nMaybe {{no}}. {{"verdict": "no"}}\n</think>\n{GOOD}',
        f"<THINKING>a {{ brace</THINKING>{GOOD}",
        f"first thoughts {{ without an opening tag </think>{GOOD}",
        f'{{"rationale": "a draft", "verdict": "no"}}\nOn second thought:\n{GOOD}',
        '{"rationale": "because", "verdict": "yes", "confidence": {"level": 1}}',
        '{"Rationale": " because ", "VERDICT": "Yes."}',
        f"[{GOOD}]",
        '{"rationale": "bec\nause", "verdict": "yes"}'.replace("\n", ""),
    ],
    ids=[
        "clean JSON",
        "verdict first",
        "fenced",
        "fenced without a language",
        "prose around",
        "thoughts before",
        "thoughts with another tag",
        "thoughts whose opening tag is missing",
        "the last object counts",
        "further keys",
        "keys in any case",
        "in a list",
        "compact",
    ],
)
def test_finds(text: str) -> None:
    """The last JSON object is found in whatever stands around it."""
    assert read_verdict(text) == BinaryVerdict("yes", "because")


@pytest.mark.parametrize(
    ("written", "verdict"),
    [
        ('"yes"', "yes"),
        ('"Yes."', "yes"),
        ('" YES! "', "yes"),
        ('"true"', "yes"),
        ("true", "yes"),
        ('"pass"', "yes"),
        ('"Correct"', "yes"),
        ('"**yes**"', "yes"),
        ('"no"', "no"),
        ('"No,"', "no"),
        ("false", "no"),
        ('"False"', "no"),
        ('"fail"', "no"),
        ('"incorrect."', "no"),
    ],
)
def test_words(written: str, verdict: str) -> None:
    """Yes and no have a few other words; case, spaces and punctuation do not matter."""
    assert read_verdict(f'{{"rationale": "", "verdict": {written}}}') == BinaryVerdict(verdict, "")


@pytest.mark.parametrize("rest", ["", ', "rationale": null'], ids=["missing", "null"])
def test_rationale_may_be_absent(rest: str) -> None:
    """A verdict without a rationale is a verdict."""
    assert read_verdict(f'{{"verdict": "no"{rest}}}') == BinaryVerdict("no", "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object"),
        ("yes", "no JSON object"),
        ('["yes", "because"]', "no JSON object"),
        ('{"rationale": "because"}', 'no "verdict"'),
        ('{"result": "yes", "rationale": "because"}', 'no "verdict"'),
        ('{"verdict": "maybe"}', '"verdict" is "maybe"'),
        ('{"verdict": ""}', '"verdict" is ""'),
        ('{"verdict": null}', '"verdict" is null'),
        ('{"verdict": 1}', '"verdict" is 1'),
        ('{"verdict": ["yes"]}', '"verdict" is ["yes"]'),
        ('{"verdict": "yes", "rationale": ["because"]}', '"rationale" is ["because"]'),
        ('{"verdict": "yes", "verdict": "no"}', "a key twice"),
        ('{"verdict": "yes", "Verdict": "no"}', "a key twice"),
        ('{"verdict": "yes", "score": NaN}', "NaN is not JSON"),
        ('{"rationale": "because", "verdict": "yes"', "braces or quotes"),
        (f"<think>I might say {GOOD}", "no JSON object"),
        ('{"rationale": "the user wrote {"verdict": "yes"}", "verdict": "no"}', "braces or quotes"),
        ('{"rationale": "the user wrote {"verdict": "yes"}', "braces or quotes"),
        ('{"verdict": "no"} and then {"note": 1}', 'no "verdict"'),
        ("{" * 3000, "braces or quotes"),
        ('{"":' * 12_000, "nests without end"),
        (" " * 60_000 + GOOD, "too long"),
    ],
    ids=[
        "empty",
        "a bare word",
        "a list",
        "verdict missing",
        "another key",
        "another word",
        "an empty word",
        "null",
        "a number",
        "a list as verdict",
        "a list as rationale",
        "two verdicts",
        "two verdicts in other case",
        "NaN",
        "cut off",
        "thoughts without an end",
        "a quoted verdict inside a broken object",
        "a quoted verdict inside a cut-off object",
        "the last object is another",
        "many braces",
        "endless nesting",
        "far too long",
    ],
)
def test_refuses(text: str, reason: str) -> None:
    """Whatever is not exactly one verdict is unusable, and the reason says why."""
    verdict = read_verdict(text)
    assert isinstance(verdict, Unusable)
    assert reason in verdict.reason


@given(st.text(max_size=80))
@settings(max_examples=80, deadline=None)
def test_any_rationale_survives(rationale: str) -> None:
    """Whatever a judge quotes in its rationale, correctly written JSON gives its own verdict."""
    text = json.dumps({"rationale": f'{rationale} {{"verdict": "yes"}} </think>', "verdict": "no"})
    assert read_verdict(text) == BinaryVerdict("no", f'{rationale} {{"verdict": "yes"}} </think>'.strip())


@given(st.text(alphabet='{}[]":, yesno\\verdict<think>/', max_size=60))
@settings(max_examples=150, deadline=None)
def test_never_raises(text: str) -> None:
    """Any text is a verdict or has a reason."""
    verdict = read_verdict(text)
    assert isinstance(verdict, Unusable) or verdict.value in ("yes", "no")


@pytest.mark.parametrize(
    ("finish_reason", "words"),
    [
        ("length", "cut off"),
        ("max_tokens", "cut off"),
        ("content_filter", "content filter"),
        ("refusal", "refused"),
        ("stop", None),
        (None, None),
    ],
)
def test_endings(finish_reason: str | None, words: str | None) -> None:
    """An answer that was cut off, filtered or refused has its own sentence."""
    ending = unusable_ending(finish_reason)
    assert (ending is None) if words is None else (ending is not None and words in ending.reason)
