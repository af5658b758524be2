"""Whether a predict function can be called with a row's inputs, found out by binding and not by calling."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

from evalpoint.datasets.records import shortened
from evalpoint.entities import Row
from evalpoint.errors import Problem, UsageError

__all__ = ["call_checker", "check_call"]

REMEMBERED = 1000
"""Key sets whose answer is kept."""


def check_call(predict_fn: Callable[..., Any], row: Row) -> Problem | None:
    """What keeps `predict_fn(**row.inputs)` from being called, if anything. For many rows, see `call_checker`.

    Raises:
        UsageError: `predict_fn` is no function.
    """
    return call_checker(predict_fn)(row)


def call_checker(predict_fn: Callable[..., Any]) -> Callable[[Row], Problem | None]:
    """The check for one function and many rows: its signature is read once, and each set of keys is bound once.

    A function whose signature cannot be read passes.

    Raises:
        UsageError: `predict_fn` is no function.
    """
    if not callable(predict_fn):
        hint = f"; did you mean to_predict_fn({predict_fn!r})?" if isinstance(predict_fn, str) else ""
        raise UsageError(f"predict_fn is a {type(predict_fn).__name__} and no function{hint}")
    try:
        signature = inspect.signature(predict_fn)
    except (TypeError, ValueError):  # built-in functions may have none to show
        return lambda row: None
    known: dict[tuple[str, ...], str | None] = {}

    def check(row: Row) -> Problem | None:
        keys = tuple(row.inputs)
        if keys in known:
            message = known[keys]
        else:
            message = _mismatch(signature, keys)
            if len(known) < REMEMBERED:
                known[keys] = message
        return None if message is None else Problem(row=row.key.row, message=message)

    return check


def _mismatch(signature: Signature, keys: tuple[str, ...]) -> str | None:
    """Why the keys do not fit the signature, and what to change; None when they do."""
    try:
        signature.bind(**dict.fromkeys(keys))
    except TypeError:
        pass
    else:
        return None
    given = f"inputs has {_listed(keys)}" if keys else "inputs is empty"
    named = [p for p in signature.parameters.values() if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)]
    positional = [p.name for p in signature.parameters.values() if p.kind is Parameter.POSITIONAL_ONLY and p.default is Parameter.empty]
    if positional:
        call = "inputs are passed as keyword arguments"
        return f"predict_fn takes {_listed(positional)} by position only, and {call}; remove the '/' from its signature ({given})"
    if not named:
        starred = any(p.kind is Parameter.VAR_POSITIONAL for p in signature.parameters.values())
        takes = "only arguments by position (*args)" if starred else "no arguments"
        return f"predict_fn takes {takes}, and {given}; name these as its parameters, or take them all with **inputs"
    accepts_any = any(p.kind is Parameter.VAR_KEYWORD for p in signature.parameters.values())
    lacking = [p.name for p in named if p.default is Parameter.empty and p.name not in keys]
    names = [p.name for p in named]
    surplus = [] if accepts_any else [key for key in keys if key not in names]
    reasons = [f"{_listed(lacking)} {'is' if len(lacking) == 1 else 'are'} missing"] if lacking else []
    reasons += [f"{_listed(surplus)} {'is no parameter' if len(surplus) == 1 else 'are no parameters'}"] if surplus else []
    message = f"predict_fn takes {_shown(named, accepts_any)} and {given}: {' and '.join(reasons)}."
    return message + _hint(names, lacking, [key for key in keys if key not in names])


def _hint(names: list[str], lacking: list[str], surplus: list[str]) -> str:
    meant = [(key, near[0]) for key in surplus if (near := difflib.get_close_matches(key, lacking or names, n=1, cutoff=0.6))]
    if meant:
        return " Did you mean " + " and ".join(f"{name!r} instead of {shortened(key)!r}" for key, name in meant[:3]) + "?"
    if len(names) == 1 and surplus:
        call = f"predict_fn({', '.join(f'{shortened(key)}=…' for key in surplus[:5])})"
        return f" It is called with keyword arguments, {call}; to receive the whole dict, declare it as predict_fn(**{names[0]})."
    return ""


def _shown(parameters: list[Parameter], accepts_any: bool) -> str:
    shown = [p.name if p.default is Parameter.empty else f"{p.name}=…" for p in parameters] + (["**"] if accepts_any else [])
    return f"({', '.join(shown)})"


def _listed(names: list[str] | tuple[str, ...]) -> str:
    shown = [repr(shortened(name)) for name in names[:10]]
    return ", ".join(shown) + (", …" if len(names) > 10 else "")
