"""A model's text -> a verdict with a rationale, or the reason why there is none. Nothing is guessed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

__all__ = ["BinaryVerdict", "Unusable", "read_verdict", "unusable_ending"]

_WORDS = {"yes": "yes", "true": "yes", "pass": "yes", "correct": "yes", "no": "no", "false": "no", "fail": "no", "incorrect": "no"}
_READ_LIMIT = 50_000
_RATIONALE_LIMIT = 20_000
_THOUGHT = r"(?:think|thinking|thought|reasoning)"
_OPEN = re.compile(rf"\s*<{_THOUGHT}>", re.IGNORECASE)
_CLOSE = re.compile(rf"</{_THOUGHT}>", re.IGNORECASE)
_ENDINGS = {
    "length": "the answer was cut off at the model's token limit; a larger max_tokens in inference_params gives it room",
    "content_filter": "the model's content filter withheld the answer",
    "refusal": "the model refused to judge this row",
}
_SAME_ENDING = {"max_tokens": "length", "model_length": "length", "max_output_tokens": "length", "safety": "content_filter"}


@dataclass(frozen=True, slots=True)
class BinaryVerdict:
    """`value` is "yes" or "no"."""

    value: str
    rationale: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a text is no verdict, in words that the model is told too."""

    reason: str


class _MalformedError(ValueError):
    """JSON that contradicts itself or nests without end."""


def read_verdict(text: str) -> BinaryVerdict | Unusable:
    """The verdict of the last JSON object in the text: out of prose, code fences and a model's thoughts.

    Every brace must belong to a whole object: an object inside a broken one may be a quotation of the judged text.
    """
    found = _last_object(_without_thoughts(text))
    if isinstance(found, Unusable):
        return found
    values = {key.strip().casefold(): value for key, value in found.items()}
    if len(values) < len(found):
        return Unusable('the JSON object has a key twice; it should have "rationale" and "verdict" once each')
    if "verdict" not in values:
        return Unusable('the JSON object has no "verdict"; it should be "yes" or "no"')
    verdict = _word(values["verdict"])
    if verdict is None:
        return Unusable(f'"verdict" is {_shown(values["verdict"])}; it should be "yes" or "no"')
    rationale = values.get("rationale")
    if rationale is not None and not isinstance(rationale, str):
        return Unusable(f'"rationale" is {_shown(rationale)}; it should be text')
    return BinaryVerdict(verdict, (rationale or "").strip()[:_RATIONALE_LIMIT])


def unusable_ending(finish_reason: str | None) -> Unusable | None:
    """What a model's reason to stop says about an answer that is no verdict; None for an ordinary end."""
    reason = (finish_reason or "").casefold()
    sentence = _ENDINGS.get(_SAME_ENDING.get(reason, reason))
    return Unusable(sentence) if sentence else None


_DEEPEST = 100
"""Braces that may be open at once: each is tried as a beginning, and the time for that grows with the square."""


def _without_thoughts(text: str) -> str:
    """The text behind the model's thoughts. Thoughts without an end leave nothing."""
    if _OPEN.match(text):
        end = _CLOSE.search(text)
        return text[end.end() :] if end else ""
    if not text.lstrip().startswith(("{", "`")):  # some servers swallow the opening tag
        ends = list(_CLOSE.finditer(text))
        return text[ends[-1].end() :] if ends else text
    return text


def _last_object(text: str) -> dict[str, Any] | Unusable:
    if len(text) > _READ_LIMIT:
        return Unusable("the answer is far too long; it should be one JSON object")
    decoder = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_constant, strict=False)
    last: dict[str, Any] | None = None
    position = depth = 0
    broken = False
    while (start := text.find("{", position)) >= 0:
        depth -= text.count("}", position, start)
        try:
            last, position = decoder.raw_decode(text, start)
            broken = broken or depth != 0  # it lies inside something that is no JSON, such as a quotation
        except _MalformedError as error:
            return Unusable(str(error))
        except RecursionError:
            return Unusable("the JSON object nests without end")
        except ValueError:  # no object starts here: the brace is prose, or belongs to something broken
            depth, position = depth + 1, start + 1
        if depth > _DEEPEST:
            broken = True
            break
    if broken or depth != text.count("}", position):
        return Unusable("the JSON object is broken: its braces or quotes do not match")
    if last is None:
        return Unusable("there is no JSON object in the answer")
    return last


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _MalformedError('the JSON object has a key twice; it should have "rationale" and "verdict" once each')
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    raise _MalformedError(f"{name} is not JSON")


def _word(value: Any) -> str | None:
    """`Yes.`, `TRUE`, `pass`, a JSON bool: "yes" or "no"; None for anything else."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _WORDS.get(value.strip().strip(".!,;:'\"*`").strip().casefold()) if isinstance(value, str) else None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"
