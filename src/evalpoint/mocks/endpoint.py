"""One mock endpoint: it describes itself, answers calls, goes wrong when told to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from evalpoint.errors import ConfigurationError
from evalpoint.mocks import faults as fault
from evalpoint.mocks.answers import Answer, Answers, Ask, Script
from evalpoint.mocks.asserting import question_of
from evalpoint.mocks.damage import Damaged
from evalpoint.mocks.descriptions import Deployment, Described, Permission, Ready, described
from evalpoint.mocks.exchange import RecordedRequest, Response, error_response, json_response, members
from evalpoint.mocks.kinds import Kind, estimated_usage, unknown_field
from evalpoint.mocks.latencies import Latency, seconds
from evalpoint.mocks.quotas import Meter, Quota
from evalpoint.mocks.replaying import Recording
from evalpoint.mocks.streams import Stream, Streaming, given_stream, stream_response, with_output
from evalpoint.mocks.surroundings import Surroundings
from evalpoint.mocks.target import MockTarget
from evalpoint.mocks.traces import trace_json
from evalpoint.mocks.waking import ColdStart, Waking, unavailable

__all__ = ["Behaviour", "Deployment", "Latency", "MockEndpoint", "Permission", "Ready", "TraceReply"]

TraceReply = bool | None | Mapping[str, Any] | Damaged | Callable[[RecordedRequest], Any]
"""What comes back as `databricks_output.trace`: True for a trace of this answer, `damaged(...)` for one that is not as it
should be, False for no such key, None for null, a dict as it is, or whatever a function of the request gives."""
PERCENT = 100
AT_ONCE = Streaming()


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How an endpoint behaves, as `MockWorkspace`'s methods take it."""

    answers: Answers = "This is a mock answer."
    latency: Latency = 0.0
    faults: fault.Faults = ()
    trace: TraceReply = True
    permission: Permission = "CAN_MANAGE"
    state: Ready | None = None
    deployment: Deployment = "DEPLOYMENT_READY"
    deployment_message: str = ""
    served: Sequence[str] | Mapping[str, int] = ()
    experiment_id: str | None = "1"
    rejects: Collection[str] = ()
    quota: Quota | None = None
    cold_start: ColdStart | None = None
    ready_after: float = 0.0
    updating: bool = False
    streaming: Streaming = AT_ONCE
    route_optimized: bool = False
    largest_request: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An answer before it is put into a response."""

    body: Any
    answer: Answer
    stream: Stream | None = None


class MockEndpoint(MockTarget):
    """One endpoint of a `MockWorkspace`, which makes it. Its attributes may be changed while it serves.

    Attributes:
        latency: Seconds that a call takes, a distribution, or a function of the request.
        permission: What callers may do.
        state: READY or NOT_READY; calls to an endpoint that is not ready are answered 503.
        deployment, deployment_message: The state of its served entity.
        updating: Whether a new version is on its way while the old one serves.
        rejects: Top-level request fields that are refused with "unknown field".
        served: The names of its served entities.
    """

    title = "Mock endpoint"

    def __init__(
        self, name: str, kind: Kind, behaviour: Behaviour, surroundings: Surroundings, *, tile: str | None = None, provider: str = "openai"
    ) -> None:
        super().__init__(name, behaviour.faults)
        self.kind = kind
        self.latency: Latency = behaviour.latency
        self.permission: Permission = behaviour.permission
        self.deployment: Deployment = behaviour.deployment
        self.deployment_message = behaviour.deployment_message
        failed = behaviour.deployment in ("DEPLOYMENT_CREATING", "DEPLOYMENT_FAILED", "DEPLOYMENT_ABORTED")
        self.state: Ready = behaviour.state or ("NOT_READY" if failed else "READY")
        self.updating = behaviour.updating
        self.traffic = _traffic(name, behaviour.served)
        self.experiment_id = behaviour.experiment_id
        self.rejects = frozenset(behaviour.rejects)
        self.streaming = behaviour.streaming
        self.route_optimized = behaviour.route_optimized
        self.data_plane: str | None = None
        """The address of the host where a route-optimised endpoint answers, while it listens."""
        self._tile, self._provider = tile, provider
        self._trace: TraceReply = behaviour.trace if kind.traces else False
        self._script = Script(name, behaviour.answers, main=kind.asked)
        self._meter = Meter(name, behaviour.quota) if behaviour.quota else None
        self._waking = Waking(behaviour.cold_start) if behaviour.cold_start else None
        self._starting: float | None = behaviour.ready_after or None
        self._looked: float | None = None
        self._largest = behaviour.largest_request or kind.largest
        self._recording: Recording | None = None
        self._around = surroundings
        self._id = surroundings.ids.hex(32)
        self._credit = dict.fromkeys(self.traffic, 0)

    @property
    def served(self) -> tuple[str, ...]:
        return tuple(self.traffic)

    @property
    def authorization_details(self) -> str:
        """What a token must allow to call it where it is route-optimised."""
        path = f"/serving-endpoints/{self._id}"
        detail = {"type": "workspace_permission", "object_type": "serving-endpoints", "object_path": path}
        return json.dumps([{**detail, "actions": ["query_inference_endpoint"]}])

    def answer_with(self, answers: Answers) -> None:
        """From now on: these answers. What was left of the old ones is forgotten.

        Raises:
            ConfigurationError: The answers can never work.
        """
        self._script = Script(self.name, answers, main=self.kind.asked)

    def replay(self, recording: Recording) -> None:
        """From now on: what was recorded, whatever the requests look like."""
        self._recording = recording

    def sleep(self) -> None:
        """Scales to zero again, where it has a cold start."""
        if self._waking is None:
            raise ConfigurationError(f"Mock endpoint {self.name!r} does not scale to zero; make it with cold_start=ColdStart(...).")
        self._waking.sleep()

    def question(self, body: Any) -> str:
        return question_of(body) if self.kind.problem(body) is not None else self.kind.question(body)

    # What the workspace serves.

    def describe(self) -> dict[str, Any]:
        """The endpoint's description, as `GET /api/2.0/serving-endpoints/{name}` gives it."""
        if self._recording is not None and self._recording.description is not None:
            return self._recording.description
        starts = self._is_starting()
        address = None
        if self.route_optimized and self.data_plane is not None:
            address = f"{self.data_plane}/{self._around.workspace_id}/serving-endpoints/{self.name}/invocations"
        return described(
            Described(
                name=self.name,
                kind=self.kind,
                id=self._id,
                state="NOT_READY" if starts else self.state,
                deployment="DEPLOYMENT_CREATING" if starts else self.deployment,
                deployment_message=self.deployment_message,
                permission=self.permission,
                traffic=self.traffic,
                updating=self.updating,
                sleeps=self._waking is not None,
                experiment_id=self.experiment_id,
                provider=self._provider,
                tile=self._tile,
                endpoint_url=address,
                authorization_details=self.authorization_details,
                rate_limits=self._meter.described() if self._meter else (),
            )
        )

    async def described(self) -> Response:
        """The response to a request for the description."""
        if self.permission in ("ONLY_QUERY", "NONE"):
            return denied("view", self.name)
        return json_response(self.describe())

    async def invoked(self, request: RecordedRequest, served: str | None = None, kind: Kind | None = None) -> Response:
        """The response to a call.

        Args:
            request: The call.
            served: The served entity that it names; None for whichever the endpoint chooses.
            kind: As what it is called, where it can be called as more than one kind.
        """
        if served is not None and served not in self.traffic:
            message = f"Served entity with name '{served}' does not exist in endpoint '{self.name}'."
            missing = error_response(404, "RESOURCE_DOES_NOT_EXIST", message)
            return await self.met(request, lambda: _already(missing))
        asked_as = kind or self.kind

        async def normal() -> Response:
            if self._recording is not None:
                await asyncio.sleep(seconds(self.latency, request))
                return self._recording.answer(request, asked_as, self.streaming)
            refused = self._refusal(request, asked_as) or (await self._waking.admit(self._path) if self._waking else None)
            return refused or await self._answered(request, served or self._next_served(), asked_as)

        return await self.met(request, normal)

    @property
    def _path(self) -> str:
        return f"/serving-endpoints/{self.name}/invocations"

    def _is_starting(self) -> bool:
        """Whether it still starts: for `ready_after` seconds from when somebody first looks."""
        if self._starting is None:
            return False
        now = time.monotonic()
        self._looked = now if self._looked is None else self._looked
        return now < self._looked + self._starting

    def _next_served(self) -> str:
        """The served entity for the next call, so that after a hundred calls each has had its percentage exactly."""
        with self._lock:
            for served, share in self.traffic.items():
                self._credit[served] += share
            chosen = max(self._credit, key=lambda served: self._credit[served])
            self._credit[chosen] -= PERCENT
            return chosen

    def _refusal(self, request: RecordedRequest, kind: Kind) -> Response | None:
        if self.permission in ("CAN_VIEW", "NONE"):
            return denied("query", self.name)
        if self._meter is not None:
            refused = self._meter.admit(request.body, request.size, self._around.clock())
            if refused is not None:
                return refused
        if self.state == "NOT_READY" or self._is_starting():
            return unavailable(self._path)
        if request.size > self._largest:
            message = f"Request of {request.size} bytes is larger than the {self._largest} bytes that endpoint '{self.name}' accepts."
            return error_response(413, "MAX_REQUEST_SIZE_EXCEEDED", message)
        rejected = next((name for name in members(request.body) if name in self.rejects), None)
        return kind.problem(request.body) if rejected is None else unknown_field(rejected)

    async def _answered(self, request: RecordedRequest, served: str, kind: Kind) -> Response:
        around = self._around
        start_ns = int(around.clock() * 1e9)
        body: dict[str, Any] = request.body
        made = await self.made(request, served, kind)
        latency = made.answer.latency
        await asyncio.sleep(seconds(self.latency, request) if latency is None else latency)
        request_id = around.ids.uuid()
        headers = {"served-model-name": served, "x-request-id": request_id, "x-databricks-org-id": around.workspace_id}
        output: dict[str, Any] | None = None
        if kind.traces and members(body.get("databricks_options")).get("return_trace") is True:
            trace = self._trace_of(request, made, kind, start_ns, request_id, served)
            output = {**({} if trace is False else {"trace": trace}), "databricks_request_id": request_id}
        if body.get("stream") and made.stream is not None:
            return given_stream(made.stream, self.streaming, request, headers=headers)
        if body.get("stream"):
            events = kind.events(made.body, body, words=self.streaming.words)
            return stream_response(with_output(events, output, self.streaming.trace), self.streaming, request, headers=headers)
        whole: Any = made.body
        if output is not None and isinstance(whole, dict):
            whole = {**members(cast("object", whole)), "databricks_output": output}
        return json_response(whole, headers=headers)

    def _trace_of(self, request: RecordedRequest, made: Made, kind: Kind, start_ns: int, request_id: str, served: str) -> Any:
        """What comes back for a trace; False for none."""
        given = self._trace
        if callable(given) and not isinstance(given, Damaged):
            return given(request)
        if given is not True and not isinstance(given, Damaged):
            return given
        trace = self.traced(request, made, kind, start_ns=start_ns, request_id=request_id, served=served)
        return given(trace) if isinstance(given, Damaged) else trace

    def traced(self, request: RecordedRequest, made: Made, kind: Kind, *, start_ns: int, request_id: str, served: str) -> dict[str, Any]:
        """The trace of an answer."""
        body: dict[str, Any] = request.body
        asked = {key: value for key, value in body.items() if key != "databricks_options"}
        root = kind.root_span(asked, made.body, made.answer, estimated_usage(body, made.answer), model=served)
        return trace_json(
            root,
            start_ns=start_ns,
            end_ns=int(self._around.clock() * 1e9),
            ids=self._around.ids,
            experiment_id=self.experiment_id,
            client_request_id=request_id,
        )

    async def made(self, request: RecordedRequest, served: str, kind: Kind) -> Made:
        """The answer and its body."""
        body: dict[str, Any] = request.body
        around = self._around
        records = kind.records(body)
        if records is not None and not self._script.wants_whole_request:
            return await self._made_each(request, records, served, kind)
        given = await self._script.next(Ask(question=kind.question(body), record=None, request=request), around.executor)
        if isinstance(given, Stream):
            return Made(body=given.whole, answer=Answer(None), stream=given)
        if records is not None:
            whole = members(given) if kind.together in members(given) else {kind.together: given}
            return Made(body=whole, answer=Answer(None))
        if isinstance(given, Mapping):
            return Made(body=dict(cast("Mapping[str, Any]", given)), answer=Answer(None))
        answer = given if isinstance(given, Answer) else _as_answer(self.name, given)
        usage = estimated_usage(body, answer)
        return Made(body=kind.reply(answer, usage, model=served, ids=around.ids, now=around.clock()), answer=answer)

    async def _made_each(self, request: RecordedRequest, records: list[Any], served: str, kind: Kind) -> Made:
        """One answer for each record; what its `Answer` says about spans and latency holds for the whole call."""
        found: list[Any] = []
        last = Answer(None)
        for record in records:
            ask = Ask(question=kind.record_text(record), record=record, request=request)
            given = await self._script.next(ask, self._around.executor)
            if isinstance(given, Stream):
                return Made(body=given.whole, answer=last, stream=given)
            last = given if isinstance(given, Answer) else last
            found.append(given.text if isinstance(given, Answer) else given)
        usage = estimated_usage(request.body, last)
        whole = kind.collected(found, records, usage, model=served, ids=self._around.ids, now=self._around.clock())
        return Made(body=whole, answer=last)


async def _already(response: Response) -> Response:
    return response


def _traffic(name: str, served: Sequence[str] | Mapping[str, int]) -> dict[str, int]:
    """Percentages of the served entities; of a list, the first gets all."""
    if not isinstance(served, Mapping):
        names = tuple(served) or (f"{name}-1",)
        return {entity: PERCENT if number == 0 else 0 for number, entity in enumerate(names)}
    if sum(served.values()) != PERCENT or min(served.values()) < 0:
        raise ConfigurationError(f"The traffic of mock endpoint {name!r} is {dict(served)}; percentages add up to 100.")
    return dict(served)


def _as_answer(name: str, given: Any) -> Answer:
    if isinstance(given, str):
        return Answer(given)
    raise TypeError(
        f"mock endpoint {name!r} was given an answer of type {type(given).__name__}; give a text, an Answer, or a dict as the body"
    )


def denied(verb: str, name: str) -> Response:
    """What a caller without the permission is answered."""
    return error_response(403, "PERMISSION_DENIED", f"User does not have permission to {verb} serving endpoint '{name}'.")
