"""A judge without a model: it reads a judge prompt's fields, and rules decide the verdict."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalpoint.errors import EvalpointError
from evalpoint.mocks.answers import Answer, Usage, tokens
from evalpoint.mocks.exchange import RecordedRequest, members
from evalpoint.mocks.kinds import message_text

__all__ = ["JudgePrompt", "JudgeRule", "MockJudge", "Rule", "correctness_rule", "guidelines_rule", "judge_prompt"]

FENCE = re.compile(r'<data-([0-9a-f]{16}) name="([\w.-]+)">\n?(.*?)\n?</data-\1>', re.DOTALL)
NAME = re.compile(r"\s*Judge:[ \t]*(\S[^\n]*)")
NUMBERED = re.compile(r"^\d+\.[ \t]+(.*(?:\n[ \t]+.*)*)", re.MULTILINE)
WORD = re.compile(r"\w+(?:[.,]\d+)*")
STOP_WORDS = frozenset(
    (
        *("a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "do", "does", "for", "from", "had", "has"),
        *("have", "he", "her", "his", "i", "if", "in", "into", "is", "it", "its", "may", "me", "must", "my", "of", "on", "or", "our"),
        *("shall", "she", "should", "so", "such", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this"),
        *("those", "to", "too", "up", "us", "was", "we", "were", "what", "when", "where", "which", "while", "who", "will", "with"),
        *("within", "would", "you", "your"),
    )
)
ENOUGH_OF_AN_ANSWER = 0.6
RUDE_WORDS = (
    *("dude", "buddy", "lol", "duh", "yolo", "bro", "gonna", "wanna", "ain't", "nope", "yikes", "whatever", "meh", "heck", "damn", "crap"),
    *("crappy", "stupid", "dumb", "idiot", "lazy", "sucks", "suck", "shut up", "big deal", "chill", "freaking", "no-brainer", "tough luck"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgePrompt:
    """A judge prompt taken apart.

    Attributes:
        name: The judge's name, from the first line `Judge: NAME`; empty where there is none.
        fields: The fenced fields by name, such as `question`, `answer`, `reference`, `guideline`.
        text: All messages as one text.
        asked_again: Whether an earlier answer of the judge is among the messages: it was unusable.
    """

    name: str
    fields: Mapping[str, str]
    text: str
    asked_again: bool = False


def judge_prompt(messages: Sequence[Any]) -> JudgePrompt:
    """Reads the prompt in chat messages: the name in the system message's first line, and the fenced fields.

    A field is `<data-NONCE name="FIELD">…</data-NONCE>` with a nonce of 16 hex digits; what looks like a fence inside
    another one is text. A field that occurs twice keeps its first value.
    """
    texts = [message_text(message) for message in messages]
    roles = [members(message).get("role") for message in messages]
    found = NAME.match(texts[0]) if texts else None
    fields: dict[str, str] = {}
    text = "\n\n".join(texts)
    for fence in FENCE.finditer(text):
        fields.setdefault(fence[2], fence[3])
    return JudgePrompt(name=found[1].strip() if found else "", fields=fields, text=text, asked_again="assistant" in roles)


When = str | Mapping[str, str | re.Pattern[str]] | Callable[[JudgePrompt], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a mock judge.

    Args:
        when: A judge's name; or fields with a text that occurs in them, in any case, or a compiled pattern that does
            (the key `judge` is the judge's name, `text` the whole prompt); or a function of the prompt.
        verdict: The verdict to give: "yes", "no", or whatever the judge is asked for.
        rationale: Why.
        raw: Answer with this text instead, such as one that is no JSON.
    """

    when: When
    verdict: Any = "yes"
    rationale: str = "A rule of the mock judge says so."
    raw: str | None = None

    def __call__(self, prompt: JudgePrompt) -> tuple[Any, str] | str | None:
        if not self._fits(prompt):
            return None
        return (self.verdict, self.rationale) if self.raw is None else self.raw

    def _fits(self, prompt: JudgePrompt) -> bool:
        if callable(self.when):
            return self.when(prompt)
        if isinstance(self.when, str):
            return self.when == prompt.name
        looked_at = {**prompt.fields, "judge": prompt.name, "text": prompt.text}
        for name, wanted in self.when.items():
            value = looked_at.get(name, "")
            if not (wanted.lower() in value.lower() if isinstance(wanted, str) else wanted.search(value)):
                return False
        return True


JudgeRule = Callable[[JudgePrompt], tuple[Any, str] | str | None]
"""A `Rule`, or a function: verdict and rationale, a raw text to answer with, or None where it does not fit."""


def significant_words(text: str) -> set[str]:
    """The words that carry meaning: lower-case, without stop words, cut to their stems."""
    return {_stem(word) for word in WORD.findall(text.lower().replace("’", "'")) if word not in STOP_WORDS}


def _stem(word: str) -> str:
    """A rough stem: descale, descales, descaled and descaling are one word."""
    if any(character.isdigit() for character in word):
        return word.replace(",", "")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    for suffix in ("ing", "ed", "es", "ly", "s", "e"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    return word[:-1] if len(word) > 3 and (word[-1] == "e" or (word[-1] == word[-2] and word[-1] not in "sl")) else word


def correctness_rule(prompt: JudgePrompt) -> tuple[str, str] | None:
    """For prompts with a `reference` and an `answer`: yes iff every numbered fact has its significant words in the answer.

    A reference without numbers is one answer; most of its words are enough.
    """
    if "reference" not in prompt.fields or "answer" not in prompt.fields:
        return None
    reference, said = prompt.fields["reference"], significant_words(prompt.fields["answer"])
    facts = NUMBERED.findall(reference.partition("\n\nReference answer:\n")[0])
    if not facts:
        wanted = significant_words(reference)
        share = len(wanted & said) / len(wanted) if wanted else 1.0
        verdict = "yes" if share >= ENOUGH_OF_AN_ANSWER else "no"
        return verdict, f"The answer has {len(wanted & said)} of the {len(wanted)} significant words of the reference."
    missing = [fact for fact in facts if not significant_words(fact) <= said]
    if missing:
        return "no", f"The answer does not state: {'; '.join(missing)}"
    return "yes", f"The answer states all {len(facts)} facts of the reference." if len(facts) > 1 else "The answer states the fact."


def guidelines_rule(forbidden: Sequence[str] = RUDE_WORDS) -> JudgeRule:
    """For prompts with a `guideline` and an `answer`: no where the answer has one of these words, else yes."""
    pattern = re.compile(r"(?<!\w)(" + "|".join(map(re.escape, forbidden)) + r")(?!\w)", re.IGNORECASE)

    def rule(prompt: JudgePrompt) -> tuple[str, str] | None:
        if "guideline" not in prompt.fields or "answer" not in prompt.fields:
            return None
        found = (
            list(dict.fromkeys(word.lower() for word in pattern.findall(prompt.fields["answer"].replace("’", "'")))) if forbidden else []
        )
        if found:
            return "no", f"The answer says {', '.join(map(repr, found))}."
        return "yes", "Nothing in the answer goes against the guidelines."

    return rule


@dataclass(slots=True)
class MockJudge:
    """Answers judge prompts by rules, in order; then correctness by facts, and guidelines by a list of words.

    A judge prompt that no rule fits is an error, which the workspace raises when it stops. A request that is no judge
    prompt gets a text. Use it as `answers` of any chat endpoint; `MockWorkspace.judge` does.

    Args:
        rules: The rules, before the default ones.
        raw: Texts to answer the first calls with, whatever they ask: unusable ones, to see the judge asked again.
    """

    rules: Sequence[JudgeRule] = ()
    raw: Sequence[str] = field(default=(), kw_only=True)
    _raw_given: int = field(default=0, init=False, repr=False)
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __call__(self, request: RecordedRequest) -> Answer:
        prompt = judge_prompt(request.body["messages"])
        text = self._text(prompt)
        return Answer(text, usage=Usage(tokens(prompt.text), tokens(text)))

    def _text(self, prompt: JudgePrompt) -> str:
        with self._lock:
            if self._raw_given < len(self.raw):
                self._raw_given += 1
                return self.raw[self._raw_given - 1]
        for rule in (*self.rules, correctness_rule, _GUIDELINES):
            decided = rule(prompt)
            if isinstance(decided, str):
                return decided
            if decided is not None:
                return json.dumps({"rationale": decided[1], "verdict": decided[0]}, ensure_ascii=False)
        if prompt.name or prompt.fields:
            known = ", ".join(prompt.fields) or "no field"
            raise EvalpointError(f"No rule of the mock judge fits a prompt of judge {prompt.name!r} with {known}; add a Rule for it.")
        return "This is a mock judge; it answers judge prompts."


_GUIDELINES = guidelines_rule()
