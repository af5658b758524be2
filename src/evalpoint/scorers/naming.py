"""Scorers named in a text, as a command line or a config file names them."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from evalpoint.errors import UsageError
from evalpoint.scorers.base import Scorer
from evalpoint.scorers.checking import check_scorers
from evalpoint.scorers.judging import Correctness, Guidelines

__all__ = ["named_scorers"]

_BUILT_IN: Mapping[str, type[Scorer]] = {"correctness": Correctness, "guidelines": Guidelines}
_OWN = re.compile(r"(?P<place>.+):(?P<name>[A-Za-z_]\w*)")
_NAMED = re.compile(r"(?P<name>[^=:]+?)\s*=\s*(?P<rest>.+)", re.DOTALL)
_GUIDELINES = re.compile(r"guidelines\s*:\s*(?P<text>.+)", re.DOTALL | re.IGNORECASE)


def named_scorers(texts: Sequence[object], *, thresholds: Sequence[str] = (), workspace: Any = None) -> list[Scorer]:
    """The scorers that these texts name.

    Args:
        texts: `correctness`; `guidelines: TEXT`; `FILE.py:NAME` or `MODULE:NAME` for a scorer of your own; each of the first two with
            `NAME=` before it to call it something else. From a config file also `{"scorer": "guidelines", "name": "tone", ...}`.
        thresholds: `SCORER=VALUE`: a gate on the scorer's mean.
        workspace: Where judges behind `endpoints:/` live.

    Raises:
        UsageError: A text names no scorer, or a threshold no scorer among them.
    """
    scorers = check_scorers([_one(text, workspace) for text in texts])
    gates = dict(_gate(text) for text in thresholds)
    known = [scorer.name for scorer in scorers]
    for name in gates:
        if name not in known:
            raise UsageError(f"the threshold names scorer {name!r}; the scorers are {', '.join(map(repr, known)) or 'none'}")
    return [scorer.model_copy(update={"threshold": gates[scorer.name]}) if scorer.name in gates else scorer for scorer in scorers]


def _gate(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        return name.strip(), float(number)
    except ValueError:
        raise UsageError(f"the threshold {text!r} should read SCORER=VALUE, such as correctness=0.9") from None


def _one(text: object, workspace: Any) -> Scorer:
    if isinstance(text, Mapping):
        return _from_mapping({str(key): value for key, value in text.items()}, workspace)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - YAML
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"a scorer is named by a text, not by {text!r}")
    text = text.strip()
    if text.lower() == "correctness":
        return Correctness(workspace=workspace)
    guideline = _GUIDELINES.fullmatch(text)
    if guideline:
        return Guidelines(guidelines=guideline["text"].strip(), workspace=workspace)
    named = _NAMED.fullmatch(text)
    if named:
        return _one(named["rest"], workspace).model_copy(update={"name": named["name"].strip()})
    own = _OWN.fullmatch(text)
    if own:
        return _loaded(own["place"], own["name"])
    raise UsageError(f"there is no scorer {text!r}; {_hint(text)}")


def _from_mapping(given: dict[str, Any], workspace: Any) -> Scorer:
    if len(given) == 1 and "scorer" not in given:  # "- guidelines: TEXT" is a mapping to YAML, and a text to people
        return _one(": ".join(map(str, *given.items())), workspace)
    kind = str(given.pop("scorer", ""))
    scorer = _BUILT_IN.get(kind.lower())
    if scorer is None:
        raise UsageError(f"there is no scorer {kind!r}; {_hint(kind)}")
    return scorer(**({"workspace": workspace} if workspace is not None else {}), **given)


def _hint(text: str) -> str:
    near = difflib.get_close_matches(text.lower(), list(_BUILT_IN), n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return meant + "Name correctness, guidelines: TEXT, FILE.py:NAME or MODULE:NAME"


def _loaded(place: str, name: str) -> Scorer:
    module = _module(place)
    found = getattr(module, name, None)
    if found is None:
        here = [key for key, value in vars(module).items() if isinstance(value, Scorer)]
        raise UsageError(f"{place} has no {name!r}; its scorers are {', '.join(here) or 'none'}")
    if isinstance(found, Scorer):
        return found
    (checked,) = check_scorers([found])  # says why it is no scorer
    return checked


def _module(place: str) -> ModuleType:
    """The caller's own code, run because the caller named it."""
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except Exception as error:  # the caller's own code may raise anything; it is told in a sentence, with the cause behind it
            raise UsageError(f"the module {place!r} cannot be imported: {type(error).__name__}: {error}") from error
    path = Path(place)
    if not path.is_file():
        raise UsageError(f"there is no file {place!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{place!r} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the caller's own code may raise anything; it is told in a sentence, with the cause behind it
        raise UsageError(f"{place!r} cannot be run: {type(error).__name__}: {error}") from error
    return module
