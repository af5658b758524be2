"""The three generations of servers that agents on apps run behind: what each is asked at which address, and what it says.

All of them answer errors as FastAPI does: `{"detail": ...}`.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from evalpoint.mocks.clock import Ids
from evalpoint.mocks.exchange import EVENTS, Arrival, Part, RecordedRequest, Response, is_list, json_response, members
from evalpoint.mocks.kinds import Kind
from evalpoint.mocks.latencies import seconds
from evalpoint.mocks.routes import Routes
from evalpoint.mocks.streams import Stream, Streaming, given_stream, stream_response

__all__ = ["AgentServer", "AppServer", "Finished", "InvocationServer", "LegacyServer", "Work"]

TRACE_HEADER = "x-mlflow-return-trace-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What the agent made of a request."""

    body: Any
    trace_id: str | None
    stream: Stream | None = None


Work = Callable[[RecordedRequest], Awaitable[Finished]]
"""The agent: it may raise whatever the user's function raises."""
Asked = Callable[[RecordedRequest, Callable[[], Awaitable[Response]]], Awaitable[Response]]
"""Counts a question, and lets go wrong what is to go wrong with it."""


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of the agent."""

    id: str
    request: Any
    task: asyncio.Task[Finished]
    with_trace: bool


@dataclass(slots=True, kw_only=True)
class AppServer(ABC):
    """A server in front of an agent.

    Args:
        kind: The dialect that the agent speaks.
        work: The agent.
        asked: What stands around each question.
        streaming: How answers are streamed.
        background: Whether runs in the background are taken.
        ids: Makes ids.
        clock: Seconds since the epoch.
    """

    name: str
    kind: Kind
    work: Work
    asked: Asked
    streaming: Streaming
    background: bool
    ids: Ids
    clock: Callable[[], float]
    runs: dict[str, Run] = field(default_factory=dict[str, Run])
    routes: Routes = field(default_factory=Routes)

    def __post_init__(self) -> None:
        self.open()

    @abstractmethod
    def open(self) -> None:
        """Adds the server's routes."""

    async def respond(self, arrival: Arrival) -> Response:
        """The response to any request."""
        request = arrival.request
        found = self.routes.find(request.method, request.path)
        if found is None:
            return detail(405, "Method Not Allowed") if self.routes.knows(request.path) else detail(404, "Not Found")
        handler, names = found
        return await handler(arrival, **names)

    def start(self, run_id: str, request: RecordedRequest) -> Run:
        """Begins a run."""
        task = asyncio.ensure_future(self.work(request))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever asks for the run is told of its error
        self.runs[run_id] = Run(id=run_id, request=request.body, task=task, with_trace=wants_trace(request))
        return self.runs[run_id]


@dataclass(slots=True, kw_only=True)
class LegacyServer(AppServer):
    """The oldest: questions at `/invocations`, and nothing else."""

    paths: tuple[str, ...] = ("/invocations",)

    def open(self) -> None:
        for path in self.paths:
            self.routes.add("POST", path, self.invoke)

    async def invoke(self, arrival: Arrival) -> Response:
        request = arrival.recorded
        if not isinstance(request.body, dict):
            return await self.asked(request, lambda: _given(detail(400, "Invalid JSON in request body: it is no object")))
        body: dict[str, Any] = members(request.body)  # pyright: ignore[reportUnknownMemberType] - JSON
        plain = replace(request, body={key: value for key, value in body.items() if key != "background"})
        return await self.asked(request, lambda: self._normal(plain, background=body.get("background") is True))

    async def _normal(self, request: RecordedRequest, *, background: bool) -> Response:
        problem = self.kind.problem({key: value for key, value in request.body.items() if key != "stream"})
        if problem is not None:
            why = members(json.loads(problem.content)).get("message", "")
            return detail(400, f"Invalid parameters for ResponsesAgent: {why}")
        if background and self.background:
            return self.in_background(request)
        try:
            finished = await self.work(request)
        except Exception as error:  # noqa: BLE001 - the user's function: the workspace has noted its error, and the server says what FastAPI says
            return detail(500, str(error))
        trace_id = finished.trace_id if wants_trace(request) else None
        headers = {} if trace_id is None else {"x-mlflow-trace-id": trace_id}
        if request.body.get("stream") is True:
            return self._streamed(request, finished, trace_id, headers)
        return json_response(_with_trace(finished.body, trace_id), headers=headers)

    def in_background(self, request: RecordedRequest) -> Response:
        """Begins a run, and says how to ask for it."""
        raise NotImplementedError

    def _streamed(self, request: RecordedRequest, finished: Finished, trace_id: str | None, headers: Mapping[str, str]) -> Response:
        if finished.stream is not None:
            return given_stream(finished.stream, self.streaming, request, headers=headers)
        events = self.kind.events(finished.body, request.body, words=self.streaming.words)
        events = events if trace_id is None else [*events, {"trace_id": trace_id}]
        return stream_response(events, self.streaming, request, headers=headers)


@dataclass(slots=True, kw_only=True)
class AgentServer(LegacyServer):
    """MLflow's: questions at `/responses` and `/invocations`, runs in the background at `/responses/<id>`."""

    paths: tuple[str, ...] = ("/responses", "/invocations")

    def open(self) -> None:
        LegacyServer.open(self)
        self.routes.add("GET", "/health", self._health)
        self.routes.add("GET", "/agent/info", self._info)
        if self.background:
            self.routes.add("GET", "/responses/{run_id}", self._retrieve)

    async def _health(self, arrival: Arrival) -> Response:
        return json_response({"status": "healthy"})

    async def _info(self, arrival: Arrival) -> Response:
        return json_response({"name": self.name, "use_case": "agent", "mlflow_version": "3.17.2", "agent_api": "responses"})

    def in_background(self, request: RecordedRequest) -> Response:
        run = self.start(f"resp_{self.ids.hex(24)}", request)
        head = {"id": run.id, "object": "response", "created_at": int(self.clock()), "status": "in_progress"}
        return json_response({**head, "error": None, "incomplete_details": None, "output": list[Any](), "metadata": {}})

    async def _retrieve(self, arrival: Arrival, run_id: str) -> Response:
        run = self.runs.get(run_id)
        if run is None:
            return detail(404, "Response not found")
        if not run.task.done():
            return json_response({"id": run_id, "status": "in_progress"})
        error = run.task.exception()
        if error is not None:
            told = {"message": str(error), "type": "server_error", "code": "task_failed"}
            return json_response({"id": run_id, "status": "failed", "error": told})
        finished = run.task.result()
        body = {"id": run_id, "status": "completed", "output": members(finished.body).get("output", finished.body)}
        return json_response(_with_trace(body, finished.trace_id if run.with_trace else None))


@dataclass(slots=True, kw_only=True)
class InvocationServer(AppServer):
    """The newest: invocations with an id of the caller's at `/api/invocations`, whose input is whatever the agent takes."""

    def open(self) -> None:
        self.routes.add("POST", "/api/invocations", self._invoke)
        self.routes.add("GET", "/api/invocations/{run_id}", self._state)
        self.routes.add("GET", "/api/invocations/{run_id}/events", self._events)

    async def _invoke(self, arrival: Arrival) -> Response:
        return await self.asked(arrival.recorded, lambda: self._normal(arrival.recorded))

    async def _normal(self, request: RecordedRequest) -> Response:
        problems = _invocation_problems(request.body)
        if problems:
            return json_response({"detail": problems}, 422)
        body: dict[str, Any] = request.body
        run_id = str(UUID(body["id"]))
        run = self.runs.get(run_id)
        if run is not None and run.request != _as_asked(body.get("input", [])):
            return detail(409, "id was already used for another request")
        if run is None:
            run = self.start(run_id, replace(request, body=_as_asked(body.get("input", []))))
        if body.get("background") is True:
            accepted = {"id": run_id, "status": "queued", "status_url": f"/api/invocations/{run_id}"}
            events = {"events_url": f"/api/invocations/{run_id}/events"} if body.get("stream") is True else {}
            return json_response({**accepted, **events}, 202)
        await asyncio.wait([run.task])
        if body.get("stream") is True:
            return self._streamed(run, request, after=0)
        if run.task.exception() is not None:
            return detail(500, "agent invocation failed")
        return json_response(self._shown(run), headers=_trace_header(run))

    async def _state(self, arrival: Arrival, run_id: str) -> Response:
        run = self.runs.get(run_id)
        return detail(404, "invocation not found") if run is None else json_response(self._shown(run), headers=_trace_header(run))

    def _shown(self, run: Run) -> dict[str, Any]:
        if not run.task.done():
            return {"id": run.id, "status": "active"}
        if run.task.exception() is not None:
            return {"id": run.id, "status": "failed", "error": "agent invocation failed"}
        finished = run.task.result()
        metadata = {"metadata": {"trace_id": finished.trace_id}} if run.with_trace and finished.trace_id else {}
        return {"id": run.id, "status": "completed", "output": finished.body, **metadata}

    async def _events(self, arrival: Arrival, run_id: str) -> Response:
        run = self.runs.get(run_id)
        if run is None:
            return detail(404, "invocation not found")
        await asyncio.wait([run.task])
        after = arrival.recorded.query.get("after", "0")
        return self._streamed(run, arrival.recorded, after=int(after) if after.isdecimal() else 0)

    def _streamed(self, run: Run, request: RecordedRequest, *, after: int) -> Response:
        """The events, numbered and with their types, and no `[DONE]`."""
        if run.task.exception() is not None:
            events: list[Any] = []
        else:
            finished = run.task.result()
            events = self.kind.events(finished.body, run.request, words=self.streaming.words)
            events = [*events, {"trace_id": finished.trace_id}] if run.with_trace and finished.trace_id else events
        parts: list[Part] = []
        for number, value in enumerate(events, start=1):
            if number > after:
                kind = members(value).get("type", "message")
                text = f"id: {number}\nevent: {kind}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n"
                parts.append(Part(text.encode(), seconds(self.streaming.token_delay, request) if parts else 0.0))
        return Response(headers={"content-type": EVENTS, **_trace_header(run)}, parts=tuple(parts))


def detail(status: int, why: Any) -> Response:
    """An error as FastAPI writes it."""
    return json_response({"detail": why}, status)


def wants_trace(request: RecordedRequest) -> bool:
    """Whether the caller asks for the trace's id."""
    return request.headers.get(TRACE_HEADER, "").lower() == "true"


def _with_trace(body: Any, trace_id: str | None) -> Any:
    """The body with the trace's id in its metadata."""
    if trace_id is None or not isinstance(body, dict):
        return body
    given = members(body)  # pyright: ignore[reportUnknownArgumentType] - JSON
    return {**given, "metadata": {**members(given.get("metadata")), "trace_id": trace_id}}


def _trace_header(run: Run) -> dict[str, str]:
    if not run.with_trace or not run.task.done() or run.task.exception() is not None:
        return {}
    trace_id = run.task.result().trace_id
    return {} if trace_id is None else {"x-mlflow-trace-id": trace_id}


def _invocation_problems(body: Any) -> list[dict[str, Any]]:
    """What FastAPI would say of an invocation's body."""
    if not isinstance(body, dict):
        return [{"type": "model_attributes_type", "loc": ["body"], "msg": "Input should be a valid dictionary"}]
    given = members(body)  # pyright: ignore[reportUnknownArgumentType] - JSON
    found: list[dict[str, Any]] = []
    if "id" not in given:
        found.append({"type": "missing", "loc": ["body", "id"], "msg": "Field required"})
    elif not _is_uuid(given["id"]):
        found.append({"type": "uuid_parsing", "loc": ["body", "id"], "msg": "Input should be a valid UUID"})
    known = {"id", "input", "background", "stream", "session_id"}
    found += [
        {"type": "extra_forbidden", "loc": ["body", key], "msg": "Extra inputs are not permitted"} for key in given if key not in known
    ]
    return found


def _is_uuid(value: Any) -> bool:
    try:
        UUID(value)
    except (AttributeError, TypeError, ValueError):
        return False
    return True


def _as_asked(given: Any) -> dict[str, Any]:
    """An invocation's input as the agent's request: a text and a list of messages are its `input`."""
    if isinstance(given, str):
        return {"input": [{"role": "user", "content": given}]}
    if is_list(given):
        return {"input": given}
    body = members(given)
    if "input" in body:
        return {**body, **_as_asked(body["input"])}
    return {"input": body["messages"], **{key: value for key, value in body.items() if key != "messages"}} if "messages" in body else body


async def _given(response: Response) -> Response:
    return response
