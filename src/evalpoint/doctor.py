"""`evalpoint doctor URI`: does everything work that an evaluation needs? Checks as values; one makes the next possible.

It asks the endpoint one question and the judge for one verdict, and leaves no run and no trace behind.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evalpoint.calls import bind, redact, secrets_of
from evalpoint.destination import current_store, get_tracking_uri
from evalpoint.endpoints import Answer, Door, Kind, connect
from evalpoint.entities import Trace
from evalpoint.errors import (
    AccessDenied,
    CallError,
    CallTimeout,
    ConfigurationError,
    EvalpointError,
    FormatError,
    JudgeError,
    Rejected,
    Throttled,
    UsageError,
)
from evalpoint.formats import read_trace
from evalpoint.judges import ChatModel, Completion, Message, is_correct, open_model
from evalpoint.settings import Settings, from_environment
from evalpoint.stores import open_store
from evalpoint.workspace import Workspace, own_workspace, workspace

__all__ = ["CHECKS", "QUESTION", "Check", "State", "examine", "exit_code"]

CHECKS = ("auth", "describe", "call", "trace", "judge", "tracking")
QUESTION = "Hello! In one sentence: what can you help me with?"
_SCHEMES = ("endpoints:/", "databricks:/", "apps:/", "http://", "https://", "system.ai.")
_WEB = ("http://", "https://")
_JUDGE_IN_WORKSPACE = ("endpoints:/", "databricks:/")
_PREVIEW = 100
_LONGEST = 600


class State(str, Enum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. Nothing in it is secret.

    Attributes:
        name: One of `CHECKS`.
        state: How it ended.
        text: What was found, on one line.
        todo: What to do about it; empty where there is nothing to do.
    """

    name: str
    state: State
    text: str
    todo: str = ""


def exit_code(checks: Iterable[Check]) -> int:
    """1 when a check failed, else 0."""
    return int(any(check.state is State.FAIL for check in checks))


def examine(
    uri: str,
    *,
    workspace: Any = None,
    judge: str | None = None,
    question: str = QUESTION,
    kind: str | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Generator[Check]:
    """Every check, each as soon as it is done.

    Args:
        uri: What `to_predict_fn` takes.
        workspace: A profile's name, a databricks-sdk `Config` or a `WorkspaceClient`.
        judge: The judge's model; by default the one that scorers without a model would ask.
        question: What the endpoint is asked.
        kind: What it serves, where it may not be described.
        environ: The environment; the process's own by default.
        clock: Seconds, for the time that things take.

    Raises:
        UsageError: The URI is none, or a setting in the environment is wrong.
    """
    if not uri.startswith(_SCHEMES):
        hint = "" if ":" in uri or "/" in uri else f' Did you mean "endpoints:/{uri}"?'
        raise UsageError(f'{uri!r} names nothing that can be asked; it should read "endpoints:/NAME", "apps:/NAME" or "https://…".{hint}')
    environ = os.environ if environ is None else environ
    # One attempt each: what fails is to be seen, not to be mended.
    settings = from_environment(environ, max_retries=0)
    return _Examination(uri, workspace, judge, question, kind, environ, settings, clock).checks()


@dataclass(slots=True)
class _Examination:
    """One examination in work: what a check has found out is there for the next."""

    uri: str
    where: Any
    judge_model: str | None
    question: str
    kind: str | None
    environ: Mapping[str, str]
    settings: Settings
    clock: Callable[[], float]
    secrets: tuple[str, ...] = field(init=False)
    opened: Workspace | None = None
    workspace_fails: bool = False
    door: Door | None = None
    answer: Answer | None = None

    def __post_init__(self) -> None:
        self.secrets = secrets_of(self.environ)

    def checks(self) -> Generator[Check]:
        looks = (self._auth, self._describe, self._call, self._trace, self._judge, self._tracking)
        for name, look in zip(CHECKS, looks, strict=True):
            with bind(self.settings):
                try:
                    check = look()
                except EvalpointError as error:
                    check = _failed(error)
            yield Check(name=name, state=check.state, text=self._shown(check.text), todo=self._shown(check.todo))

    def _shown(self, text: str) -> str:
        line = " ".join(redact(text, self.secrets).split())
        return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"

    # The checks. Each gives a value, or raises what keeps it from succeeding.

    def _auth(self) -> Check:
        try:
            self.opened = own_workspace(self.uri, self.where) if self.uri.startswith(_WEB) else workspace(self.where)
            if self.opened is None:
                return _check(State.OK, f"no workspace is asked for {self.uri.partition('?')[0]}, and no token goes there")
            who = _principal(self.opened)
        except EvalpointError:
            self.workspace_fails = True
            raise
        at = f"by {self.opened.auth_type!r} authentication at {self.opened.host}"
        if who is None:
            return _check(State.WARN, f"logged in {at}; the workspace does not say as whom", "Nothing, if the checks below succeed.")
        return _check(State.OK, f"{who}, {at}")

    def _describe(self) -> Check:
        if self.workspace_fails:
            return _not_tried("there is no workspace to ask")
        notes: list[str] = []
        self.door = connect(self.uri, workspace=self.where, kind=self.kind, wait=0, tell=notes.append)
        described = self.door.description
        if described is None:
            in_workspace = self.uri.startswith(("endpoints:/", "databricks:/")) and not self.uri.partition(":/")[2].startswith("system.ai.")
            text = f"{self.door.uri} at {self.door.host}, asked as {self.door.kind.value}"
            if self.kind is not None or not in_workspace:
                return _check(State.OK, text)
            todo = "Ask its owner for CAN VIEW, or say what it serves: --kind here, to_predict_fn(..., kind=...) in code."
            return _check(State.WARN, f"{text}: you may not see its description", todo)
        level = self._permission()
        parts = [described.kind.value, "updating" if described.updating else "ready"]
        parts.append(f"serves {', '.join(described.served)}" if described.served else "names no served entity")
        parts += [text for text in ("scales to zero" if described.scales_to_zero else "", level or "") if text]
        todo = " ".join(notes)
        if described.failure:
            todo = f"Look at the last deployment, which failed: {described.failure}."
        if level == "CAN_VIEW":
            todo = "Ask its owner for CAN QUERY: you may see this endpoint and not call it."
        return _check(State.WARN if todo else State.OK, ", ".join(parts), todo)

    def _permission(self) -> str | None:
        """What the caller may do, in the description's words, which nobody else needs."""
        if self.opened is None or self.door is None:
            return None
        with suppress(CallError):  # it was described a moment ago: a second description is only for this word
            body: Any = self.opened.get(f"/api/2.0/serving-endpoints/{quote(self.door.name, safe='')}")
            level: Any = body.get("permission_level") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
            return level if isinstance(level, str) else None
        return None

    def _call(self) -> Check:
        door = self.door
        if door is None:
            return _not_tried("there is no endpoint to ask")
        payload = door.chat_payload([{"role": "user", "content": self.question}])
        begun = self.clock()
        try:
            answer = self.answer = door.invoke(payload, trace=True, request_id=f"evalpoint:doctor:{uuid.uuid4().hex[:12]}")
        except Rejected as error:
            if door.kind in (Kind.CUSTOM, Kind.FEATURES, Kind.JSON) and error.status in (400, 422):
                todo = (
                    "Nothing, if it wants other inputs than a question: your rows' inputs are sent as they are, or as request= makes them."
                )
                return _check(State.WARN, f"it answers, and refused a question as its input: {error}", todo)
            raise
        except (Throttled, CallTimeout) as error:
            if door.description is None or not door.description.scales_to_zero:
                raise
            return _check(State.FAIL, str(error), "It scales to zero and may be starting: run the doctor again in a minute.")
        took = self.clock() - begun
        served = f", by {answer.served_model}" if answer.served_model else ""
        text = answer.text.strip()
        if not text:
            todo = "Look at outputs in your own scorers: no text is found in it for the built-in ones."
            return _check(State.WARN, f"answered in {took:.1f} s{served}, with no text that evalpoint recognises", todo)
        preview = text if len(text) <= _PREVIEW else text[:_PREVIEW] + "…"
        return _check(State.OK, f"answered in {took:.1f} s{served}: {preview!r}")

    def _trace(self) -> Check:
        answer = self.answer
        if answer is None:
            return _not_tried("there is no answer")
        if answer.trace:
            return _trace_check(answer.trace)
        instead = "every row gets one span with request and response"
        if answer.trace_note:
            return _check(State.WARN, f"none: {answer.trace_note}; {instead}")
        if not answer.trace_asked:
            return _check(State.OK, f"none: this kind of endpoint returns no traces; {instead}")
        what = "an empty one" if answer.trace is not None else "none, though it was asked for"
        todo = "Enable tracing in the served model: ENABLE_MLFLOW_TRACING=true in its environment, and MLflow's autolog or @mlflow.trace."
        return _check(State.WARN, f"{what}; {instead}", todo)

    def _judge(self) -> Check:
        wanted = self.judge_model or self.settings.judge_model or ""
        if self.workspace_fails and wanted.startswith(_JUDGE_IN_WORKSPACE):
            return _not_tried(f"{wanted} is in the workspace, and there is none to ask")
        try:
            model = open_model(self.judge_model, workspace=self.where, settings=self.settings, environ=self.environ)
        except ConfigurationError as error:
            if wanted:
                raise
            return _check(State.WARN, str(error), "Nothing, if you use no judges.")
        begun = self.clock()
        verdict = is_correct(request="What is 2 + 2?", response="2 + 2 is 4.", expected_facts=["2 + 2 is 4"], model=_AskedOnce(model))
        took = self.clock() - begun
        text = f"{model.uri} said {verdict.value!r} in {took:.1f} s{_cost(verdict.metadata or {})}"
        if verdict.value != "yes":
            return _check(State.WARN, f"{text} of an answer that is right", "Choose a more capable model as judge.")
        return _check(State.OK, text)

    def _tracking(self) -> Check:
        uri = get_tracking_uri()
        path = Path(uri.removeprefix("sqlite:///"))
        if path.exists():
            current_store().ensure_experiment("Default")
            return _check(State.OK, f"{uri}, which can be written")
        probe = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            open_store(probe).close()
        except EvalpointError as error:
            return _check(State.FAIL, str(error).replace(probe.name, path.name), "Choose another place: MLFLOW_TRACKING_URI, or --store.")
        finally:
            for name in (probe.name, f"{probe.name}-wal", f"{probe.name}-shm"):
                probe.with_name(name).unlink(missing_ok=True)
        return _check(State.OK, f"{uri}, which will be made")


def _principal(opened: Workspace) -> str | None:
    """Who is calling; None when the workspace does not tell.

    Raises:
        CallError: The workspace cannot be reached, or does not know the caller.
    """
    try:
        opened.get("/api/2.0/preview/scim/v2/Me")
    except Rejected:
        return None  # a workspace without this page
    except AccessDenied as error:
        if error.status != 403:
            raise
        return None  # known, and not allowed to ask
    return opened.principal()


def _trace_check(trace: Any) -> Check:
    try:
        fields = read_trace(trace)
    except FormatError as error:
        return _check(
            State.WARN, f"it cannot be read: {error}", "Deploy the model with MLflow 2.14 or later; until then rows get one span."
        )
    spans = fields["spans"]
    types = Counter(span.span_type for span in Trace.from_fields(fields).data.spans)
    named = ", ".join(f"{count} {name}" if count > 1 else name for name, count in types.items())
    schema = fields["info"]["trace_metadata"].get("mlflow.trace_schema.version")
    dialect = f"MLflow {'2' if schema == '2' else '3'}, trace schema {schema}" if schema else "of unknown schema"
    text = f"{len(spans)} {'span' if len(spans) == 1 else 'spans'} ({named}), {dialect}"
    if fields["problems"]:
        return _check(State.WARN, f"{text}; damaged: {fields['problems'][0]}", "Nothing: what can be read is kept.")
    return _check(State.OK, text)


@dataclass(slots=True)
class _AskedOnce:
    """A judge that is not asked again when its answer is of no use: one verdict is to be tried, at the price of one."""

    model: ChatModel
    asked: bool = False

    @property
    def uri(self) -> str:
        return self.model.uri

    def complete(self, messages: Sequence[Message], *, schema: Mapping[str, Any], params: Mapping[str, Any]) -> Completion:
        if self.asked:
            said = next((m["content"] for m in reversed(messages) if m.get("role") == "assistant"), "")
            raise JudgeError(f"{self.uri} gave no usable verdict: {said[:_PREVIEW]!r}. Choose a model that can answer with JSON.", said)
        self.asked = True
        return self.model.complete(messages, schema=schema, params=params)


def _cost(metadata: Mapping[str, str]) -> str:
    tokens = [metadata.get(f"mlflow.assessment.judge{way}Tokens") for way in ("Input", "Output")]
    cost = metadata.get("mlflow.assessment.judgeCost")
    parts = [f"{tokens[0]} + {tokens[1]} tokens"] if all(tokens) else []
    parts += [f"${float(cost):.6f}"] if cost else []
    return f" ({', '.join(parts)})" if parts else ""


def _failed(error: EvalpointError) -> Check:
    return _check(State.FAIL, str(error))  # our messages say what to do


def _not_tried(why: str) -> Check:
    return _check(State.NOT_TRIED, why)


def _check(state: State, text: str, todo: str = "") -> Check:
    return Check(name="", state=state, text=text, todo=todo)
