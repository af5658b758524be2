"""State of agents: places of the payload that are filled anew for every row, repeat and retry, and ids that should have been.

An agent that keeps memory by an id answers two calls with one id as one conversation. Then the answers depend on each other, and on
the order in which the calls happened to come.
"""

from __future__ import annotations

import inspect
import threading
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from evalpoint.endpoints.payloads import REQUEST_KEYS
from evalpoint.errors import ConfigurationError, UsageError
from evalpoint.formats import digest, is_dict, is_list

__all__ = ["Filling", "Fresh", "SharedIds"]

STATE = ("custom_inputs.thread_id", "context.conversation_id")
"""Where agents of Databricks find the id of their memory."""
_GENERATORS: Mapping[str, Callable[[], Any]] = {"uuid": lambda: str(uuid.uuid4())}
_ABSENT = object()
_REMEMBERED = 10_000
"""Ids that are told apart at most."""


class Fresh:
    """What `fresh=` says: per dotted path of the payload, who makes its values.

    Args:
        spec: `{"custom_inputs.thread_id": "uuid"}`, or a function without parameters in the place of `"uuid"`.

    Raises:
        ConfigurationError: A path or a generator is none.
    """

    def __init__(self, spec: Mapping[str, str | Callable[[], Any]]) -> None:
        given: Any = spec
        if not isinstance(given, Mapping) or not given:
            raise ConfigurationError(
                f'fresh= should be a dict from paths to generators, such as {{"custom_inputs.thread_id": "uuid"}}, not {given!r}.'
            )
        self._makers = {_steps(path): _maker(path, maker) for path, maker in spec.items()}
        for steps in self._makers:
            inner = next((other for other in self._makers if other != steps and other[: len(steps)] == steps), None)
            if inner is not None:
                raise ConfigurationError(f"fresh= fills {'.'.join(steps)!r} and, inside of it, {'.'.join(inner)!r}; leave one out.")

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(".".join(steps) for steps in self._makers)

    def values(self) -> dict[tuple[str, ...], Any]:
        """New ones."""
        return {steps: make() for steps, make in self._makers.items()}

    def check(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The payload with the places filled by nothing in particular.

        Raises:
            UsageError: There is no such place in it.
        """
        return _filled(payload, dict.fromkeys(self._makers, ""))


class Filling:
    """One call's payload, filled; for `calls.renewing` it fills the payload anew with every further attempt.

    Raises:
        UsageError: The payload has no such place.
    """

    def __init__(self, fresh: Fresh, payload: Mapping[str, Any]) -> None:
        self._fresh = fresh
        self._first = fresh.values()
        self._sent = False
        self.payload = _filled(payload, self._first)
        """With the values of the last attempt."""

    def __call__(self, body: Any) -> Any:
        """The body of the next attempt: the first as it is, every further one with new values. Others' requests are left alone."""
        if not is_dict(body) or any(_found(body, steps) != value for steps, value in self._first.items()):
            return body
        if not self._sent:
            self._sent = True
            return body
        values = self._fresh.values()
        self.payload = _filled(self.payload, values)
        return _filled(body, values)


class SharedIds:
    """Notices that different rows carry one id of an agent's memory. It says so once. Thread-safe.

    Args:
        filled: Paths that are filled anew anyway.
    """

    def __init__(self, filled: Collection[str] = ()) -> None:
        self._paths = [tuple(path.split(".")) for path in STATE if path not in filled]
        self._lock = threading.Lock()
        self._rows: dict[tuple[tuple[str, ...], str], int] = {}
        self._said = False

    def see(self, payload: Mapping[str, Any]) -> str | None:
        """The warning, when this payload is the first to share an id with a different one."""
        if self._said or not self._paths:
            return None
        ids = [(steps, value) for steps in self._paths if isinstance(value := _found(payload, steps), str) and value]
        if not ids:
            return None
        try:
            row = hash(digest(dict(payload)))
        except (TypeError, ValueError, RecursionError):  # no JSON: it will be refused when it is sent
            return None
        with self._lock:
            for key in ids:
                known = self._rows.get(key, row)
                if len(self._rows) < _REMEMBERED:
                    self._rows[key] = known
                if known != row and not self._said:
                    self._said = True
                    path, shown = ".".join(key[0]), key[1][:60]
                    return (
                        f"Several rows have the same {path} ({shown!r}): an agent that keeps memory answers each with the others in mind, "
                        f"in whatever order they come. Give every row its own, or have it filled: "
                        f'to_predict_fn(..., fresh={{"{path}": "uuid"}}).'
                    )
        return None


def _steps(path: Any) -> tuple[str, ...]:
    steps = tuple(path.split(".")) if isinstance(path, str) else ()
    if not steps or not all(step.strip() == step and step for step in steps):
        raise ConfigurationError(
            f"fresh= has the path {path!r}; it should name a place in the payload by keys with dots between them, "
            'such as "custom_inputs.thread_id".'
        )
    if len(steps) == 1 and path in REQUEST_KEYS:
        raise ConfigurationError(f"fresh= would put a new value in the place of the question, {path!r}; name a place inside or beside it.")
    return steps


def _maker(path: str, maker: Any) -> Callable[[], Any]:
    if isinstance(maker, str):
        if maker not in _GENERATORS:
            raise ConfigurationError(f'fresh={{{path!r}: {maker!r}}}: there is no such generator. Write "uuid", or give a function.')
        return _GENERATORS[maker]
    if not callable(maker):
        raise ConfigurationError(f'fresh={{{path!r}: …}} should be "uuid" or a function without parameters, not {type(maker).__name__}.')
    try:
        inspect.signature(maker).bind()
    except TypeError as error:
        raise ConfigurationError(
            f"fresh={{{path!r}: …}} should be a function without parameters, and this one takes some: {error}."
        ) from None
    except ValueError:  # a builtin that does not tell its parameters
        pass
    checked: Callable[[], Any] = maker
    return checked


def _found(payload: Any, steps: tuple[str, ...]) -> Any:
    """What is there; `_ABSENT` where nothing is."""
    for step in steps:
        if is_dict(payload) and step in payload:
            payload = payload[step]
        elif is_list(payload) and step.isdecimal() and int(step) < len(payload):
            payload = payload[int(step)]
        else:
            return _ABSENT
    return payload


def _filled(payload: Mapping[str, Any], values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """A copy with these values; what is not on the way to them is shared."""
    filled: dict[str, Any] = dict(payload)
    for steps, value in values.items():
        filled = _put(filled, steps, 0, value)
    return filled


def _put(inside: Any, steps: tuple[str, ...], at: int, value: Any) -> Any:
    if at == len(steps):
        return value
    step = steps[at]
    if is_list(inside) and step.isdecimal() and int(step) < len(inside):
        index = int(step)
        return [*inside[:index], _put(inside[index], steps, at + 1, value), *inside[index + 1 :]]
    if is_dict(inside) or (inside is None and not step.isdecimal()):
        known: dict[str, Any] = inside or {}
        return {**known, step: _put(known.get(step), steps, at + 1, value)}
    where = ".".join(steps[:at]) or "the payload"
    what = "a list without that place" if is_list(inside) else "missing" if inside is None else f"of type {type(inside).__name__}"
    raise UsageError(f"fresh= should fill {'.'.join(steps)!r}, and {where!r} is {what} in this row's payload.")
