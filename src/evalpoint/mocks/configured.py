"""A mock workspace from a YAML file, for `evalpoint mock CONFIG`. Everything wrong in the file is told at once.

port: 8765                       # optional, as are token and replay
replay: calls.jsonl              # endpoints as they were recorded
endpoints:
  - name: bot
    kind: agent                  # see KINDS
    answers: {What is MLflow?: A platform., Who made it?: Databricks.}
    otherwise: I do not know.    # for every other question
    latency: {lognormal: 0.4, p95: 2}
    faults: [503, {status: 429, retry_after: 1}, cut, {slow: 2}]
  - name: judge
    kind: judge
    rules:
      - {when: {answer: MLflow}, verdict: "no", rationale: Not this time.}
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import yaml

from evalpoint.errors import ConfigurationError, FormatError, UsageError
from evalpoint.mocks import faults, latencies
from evalpoint.mocks.apps import AppOptions, AppServerName
from evalpoint.mocks.damage import damaged
from evalpoint.mocks.declaring import Dialect, Task, Tile
from evalpoint.mocks.exchange import is_list, members
from evalpoint.mocks.judge import Rule
from evalpoint.mocks.workspace import EndpointOptions, MockWorkspace

__all__ = ["KINDS", "Configured", "configured_workspace"]

_RESPONSES = ("agent", {"dialect": "responses"})
_CHAT_AGENT = ("agent", {"dialect": "chat_agent"})
_CHAT_COMPLETION = ("agent", {"dialect": "chat_completion"})
KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{
        name: (name, {})
        for name in (
            *("agent", "chat", "completions", "custom", "embeddings", "external", "features", "foundation", "judge"),
            *("app", "model_service"),
        )
    },
    "responses": _RESPONSES,
    "chat_agent": _CHAT_AGENT,
    "chat_completion": _CHAT_COMPLETION,
    "agent/v1/responses": _RESPONSES,
    "agent/v2/chat": _CHAT_AGENT,
    "agent/v1/chat": _CHAT_COMPLETION,
    "llm/v1/chat": ("chat", {}),
    "llm/v1/completions": ("completions", {}),
    "llm/v1/embeddings": ("embeddings", {}),
}
"""What an endpoint may be: a method of `MockWorkspace`, and what it is called with."""
_TOP = ("endpoints", "port", "replay", "token")
_RULE = tuple(field.name for field in dataclasses.fields(Rule))
_HINTS: Mapping[str, Any] = {**get_type_hints(EndpointOptions), "server": AppServerName, "dialect": Dialect, "task": Task, "tile": Tile}
_APP_HINTS: Mapping[str, Any] = {**_HINTS, **get_type_hints(AppOptions)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """A workspace as a file describes it.

    Attributes:
        workspace: The workspace; start it with `with`.
        uris: What it has, as `to_predict_fn` takes it.
        judge: The first judge's address.
        needs_oauth: Whether something in it takes OAuth tokens only.
    """

    workspace: MockWorkspace
    uris: tuple[str, ...]
    judge: str | None = None
    needs_oauth: bool = False


class _Wrong(Exception):
    """What is wrong with a part of the file, each as a sentence's end."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


def configured_workspace(path: str | os.PathLike[str], *, port: int | None = None) -> Configured:
    """The workspace that the file describes.

    Args:
        path: The file.
        port: In place of the file's own.

    Raises:
        UsageError: The file cannot be read, or describes no workspace; the message lists all that is wrong.
    """
    shown = str(path)
    loaded = _loaded(Path(path), shown)
    problems = [f"{name!r} is no key here{_near(name, _TOP)}" for name in loaded if name not in _TOP]
    listed = loaded.get("endpoints", [])
    if not is_list(listed) or not (listed or "replay" in loaded):
        raise UsageError(f"{shown!r} should have a list of endpoints, such as  endpoints: [{{name: bot, kind: agent, answers: Hello}}]")
    if not isinstance(loaded.get("port", 0), int):
        problems.append(f"port is {loaded['port']!r}; it should be a number")
    workspace = MockWorkspace(token=_text_or_none(loaded.get("token")), port=port if port is not None else _int(loaded.get("port")))
    added: list[_Added] = []
    for number, item in enumerate(listed, start=1):
        try:
            added.append(_add(workspace, item, f"endpoint {number}"))
        except _Wrong as error:
            problems += error.problems
    uris = [each.uri for each in added]
    if "replay" in loaded:
        try:
            uris += [f"endpoints:/{endpoint.name}" for endpoint in workspace.replay(Path(path).parent / str(loaded["replay"]))]
        except (ConfigurationError, FormatError) as error:
            problems.append(f"replay: {error}")
    if problems:
        raise UsageError(f"{shown!r} describes no workspace:\n" + "\n".join(f"  {problem}" for problem in problems))
    return Configured(
        workspace=workspace,
        uris=tuple(dict.fromkeys(uris)),
        judge=next((each.uri for each in added if each.kind == "judge"), None),
        needs_oauth=any(each.needs_oauth for each in added),
    )


def _loaded(path: Path, shown: str) -> dict[str, Any]:
    try:
        loaded: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{shown!r} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown!r} is no YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise UsageError(f"{shown!r} should hold keys and values, and a list of endpoints above all")
    return {str(key): value for key, value in members(cast("object", loaded)).items()}


@dataclasses.dataclass(frozen=True, slots=True)
class _Added:
    uri: str
    kind: str
    needs_oauth: bool


def _add(workspace: MockWorkspace, item: Any, where: str) -> _Added:
    """Adds one endpoint.

    Raises:
        _Wrong: It cannot be; with all that is wrong with it.
    """
    if not isinstance(item, dict):
        raise _Wrong(f"{where}: this is {type(item).__name__}; it should have keys, name and kind at least")
    given = {str(key): value for key, value in members(cast("object", item)).items()}
    name, kind = given.pop("name", None), str(given.pop("kind", "agent"))
    where += f" ({name})" if name else ""
    if not isinstance(name, str):
        raise _Wrong(f"{where}: it needs a name, which is a text")
    if kind not in KINDS:
        raise _Wrong(f"{where}: kind {kind!r} is none of {', '.join(KINDS)}{_near(kind, KINDS)}")
    method, fixed = KINDS[kind]
    add: Callable[..., Any] = getattr(workspace, method)
    options = _read(given, known=_options(add, is_app=method == "app") - set(fixed), where=where, kind=kind)
    try:
        add(name, **fixed, **options)
    except (ConfigurationError, TypeError, ValueError) as error:
        raise _Wrong(f"{where}: {error}") from error
    uri = f"apps:/{name}" if method == "app" else f"endpoints:/{name}"
    return _Added(uri, kind, needs_oauth=method == "app" or bool(options.get("route_optimized")))


def _read(given: Mapping[str, Any], *, known: set[str], where: str, kind: str) -> dict[str, Any]:
    """The endpoint's options as its method takes them."""
    problems: list[str] = []
    options: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            problems.append(f"{where}: {key!r} is no option of {kind}{_near(key, known)}")
            continue
        try:
            options[key] = _converted(key, value, _APP_HINTS if kind == "app" else _HINTS)
        except _Wrong as error:
            problems += [f"{where}: {key}: {problem}" for problem in error.problems]
        except ConfigurationError as error:
            problems.append(f"{where}: {key}: {error}")
    otherwise = options.pop("otherwise", None)
    if otherwise is not None:
        answers = options.get("answers", {})
        if not isinstance(answers, Mapping):
            problems.append(f"{where}: otherwise goes with answers that are a mapping of questions")
        else:
            options["answers"] = _lookup(cast("Mapping[str, Any]", answers), otherwise)
    if problems:
        raise _Wrong(*problems)
    return options


def _options(add: Callable[..., Any], *, is_app: bool) -> set[str]:
    """What the method takes beside the name, and `otherwise` where it takes answers."""
    named = {p.name for p in inspect.signature(add).parameters.values() if p.kind is not p.VAR_KEYWORD} - {"name"}
    common = (AppOptions if is_app else EndpointOptions).__annotations__
    return named | set(common) | ({"otherwise"} if "answers" in named else set())


def _lookup(answers: Mapping[str, Any], otherwise: Any) -> Callable[[str], Any]:
    def answer(question: str) -> Any:
        return answers.get(question, otherwise)

    return answer


def _converted(key: str, value: Any, hints: Mapping[str, Any]) -> Any:
    """The option's value as `MockWorkspace` takes it."""
    given: Any = value
    if key == "answers" and not isinstance(value, (str, dict, list)):
        raise _Wrong(f"{value!r} is neither a text, nor a mapping of questions to answers, nor a list of answers in order")
    if key == "answers" and isinstance(value, dict):
        return {str(question): answer for question, answer in members(given).items()}
    if key == "faults":
        return [_fault(each) for each in _list(value)]
    if key == "latency":
        return _latency(value)
    if key == "rules":
        return [_rule(each) for each in _list(value)]
    if key in ("served", "rejects", "raw"):
        return given if isinstance(value, dict) else tuple(str(each) for each in _list(value))
    if key == "trace" and isinstance(value, dict) and list(members(given)) == ["damaged"]:
        return _called("damaged", damaged, (members(given)["damaged"],), {})
    hint = hints.get(key)
    choices = [hint, *(get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ())]
    for choice in choices:
        if get_origin(choice) is Literal and value not in get_args(choice):
            allowed = [str(each) for each in get_args(choice)]
            if value is None and type(None) in choices:
                continue
            raise _Wrong(f"{value!r} is none of {', '.join(allowed)}{_near(str(given), allowed)}")
        if isinstance(choice, type) and dataclasses.is_dataclass(choice) and isinstance(value, Mapping):
            return _called(choice.__name__.lower(), choice, (), members(given))
    return given


def _fault(value: Any) -> Any:
    """A fault: a status (503), a name (cut), or a name with what it takes ({status: 429, retry_after: 1})."""
    if isinstance(value, int) and not isinstance(value, bool):
        return faults.status(value)
    names = [name for name in faults.__all__ if name[0].islower() and name != "in_order"]
    name, first, rest = _named(value, names, "fault")
    if name == "at_rate":
        inner = [_fault(each) for each in _list(rest.pop("faults", 503))]
        return _called(name, faults.at_rate, (first, *inner), rest)
    return _called(name, getattr(faults, name), () if first is None else (first,), rest)


def _latency(value: Any) -> Any:
    """Seconds, or a distribution: {uniform: 0.1, high: 0.5}, {lognormal: 0.4, p95: 2}."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < 0:
            raise _Wrong(f"{value} is below 0")
        return float(value)
    names = ("fixed", "uniform", "lognormal")
    name, first, rest = _named(value, names, "latency")
    return _called(name, getattr(latencies, name), () if first is None else (first,), rest)


def _rule(value: Any) -> Rule:
    if not isinstance(value, dict):
        raise _Wrong(f"{value!r} is no rule, such as {{when: {{answer: refund}}, verdict: 'no'}}")
    given = members(cast("object", value))
    for key in given:
        if key not in _RULE:
            raise _Wrong(f"{key!r} is no part of a rule{_near(str(key), _RULE)}")
    if isinstance(given.get("verdict"), bool):  # YAML reads a bare yes or no so
        given = {**given, "verdict": "yes" if given["verdict"] else "no"}
    arguments: dict[str, Any] = {"when": _always, **given}
    return Rule(**arguments)


def _always(prompt: object) -> bool:
    return True


def _named(value: Any, names: Iterable[str], what: str) -> tuple[str, Any, dict[str, Any]]:
    """The name, its first argument and the others, of `cut` or `{status: 429, retry_after: 1}`."""
    names = list(names)
    if isinstance(value, str):
        value = {value: None}
    given = {str(key): inner for key, inner in members(value).items()}
    found = [name for name in given if name in names]
    if not found:
        first = next(iter(given), str(value))
        raise _Wrong(f"{first!r} is no {what}{_near(first, names)}; there are {', '.join(names)}")
    first = given.pop(found[0])
    return found[0], first, given


def _called(name: str, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    parameters = inspect.signature(function).parameters
    for key in keywords:
        if key not in parameters:
            raise _Wrong(f"{name} takes no {key!r}{_near(key, parameters)}")
    try:
        return function(*arguments, **keywords)
    except TypeError as error:
        raise _Wrong(f"{name}: {error}") from error


def _list(value: Any) -> list[Any]:
    return value if is_list(value) else [value]


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def _int(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
