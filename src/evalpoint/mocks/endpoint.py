"""One mock endpoint: it describes itself, answers calls, goes wrong when told to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from evalpoint.mocks.answers import Answer, Answers, Ask, Script
from evalpoint.mocks.exchange import RecordedRequest, Response, error_response, json_response, members
from evalpoint.mocks.faults import Fault
from evalpoint.mocks.kinds import CUSTOM, Kind, estimated_usage, unknown_field
from evalpoint.mocks.surroundings import Surroundings
from evalpoint.mocks.traces import trace_json

__all__ = ["Deployment", "Latency", "MockEndpoint", "Permission", "Ready", "TraceReply"]

Latency = float | Callable[[RecordedRequest], float]
"""Seconds, or a function of the request that gives seconds."""
TraceReply = bool | None | Mapping[str, Any] | Callable[[RecordedRequest], Any]
"""What comes back as `databricks_output.trace`: True for a trace of this answer, False for no such key, None for null,
a dict as it is, or whatever a function of the request gives."""
Permission = Literal["CAN_MANAGE", "CAN_QUERY", "CAN_VIEW", "ONLY_QUERY", "NONE"]
"""CAN_VIEW may describe and not query; ONLY_QUERY may query and not describe; NONE neither."""
Ready = Literal["READY", "NOT_READY"]
Deployment = Literal["DEPLOYMENT_CREATING", "DEPLOYMENT_READY", "DEPLOYMENT_RECOVERING", "DEPLOYMENT_FAILED", "DEPLOYMENT_ABORTED"]

REMEMBERED = 100_000
CREATED = 1_750_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How an endpoint behaves, as `MockWorkspace`'s methods take it."""

    answers: Answers = "This is a mock answer."
    latency: Latency = 0.0
    faults: Iterable[Fault] = ()
    trace: TraceReply = True
    permission: Permission = "CAN_MANAGE"
    state: Ready | None = None
    deployment: Deployment = "DEPLOYMENT_READY"
    deployment_message: str = ""
    served: tuple[str, ...] = ()
    experiment_id: str | None = "1"
    rejects: Collection[str] = ()


class MockEndpoint:
    """One endpoint of a `MockWorkspace`, which makes it. Its attributes may be changed while it serves.

    Attributes:
        latency: Seconds that a call takes, or a function of the request.
        permission: What callers may do.
        state: READY or NOT_READY; calls to an endpoint that is not ready are answered 503.
        deployment, deployment_message: The state of its served entity.
        rejects: Top-level request fields that are refused with "unknown field".
    """

    def __init__(self, name: str, kind: Kind, behaviour: Behaviour, surroundings: Surroundings) -> None:
        self.name = name
        self.kind = kind
        self.latency = behaviour.latency
        self.permission: Permission = behaviour.permission
        self.deployment: Deployment = behaviour.deployment
        self.deployment_message = behaviour.deployment_message
        failed = behaviour.deployment in ("DEPLOYMENT_CREATING", "DEPLOYMENT_FAILED", "DEPLOYMENT_ABORTED")
        self.state: Ready = behaviour.state or ("NOT_READY" if failed else "READY")
        self.served = behaviour.served or (f"{name}-1",)
        self.experiment_id = behaviour.experiment_id
        self.rejects = frozenset(behaviour.rejects)
        self._trace = behaviour.trace if kind.traces else False
        self._script = Script(name, behaviour.answers, main=kind.asked)
        self._faults: Iterator[Fault] = iter(behaviour.faults)
        self._around = surroundings
        self._id = surroundings.ids.hex(32)
        self._lock = threading.Lock()
        self._requests: deque[RecordedRequest] = deque(maxlen=REMEMBERED)
        self._calls = 0
        self._running = 0
        self._peak = 0

    @property
    def requests(self) -> list[RecordedRequest]:
        """The calls that were received, in order of arrival, faulty and refused ones included; the last 100,000."""
        with self._lock:
            return list(self._requests)

    @property
    def calls(self) -> int:
        """How many calls were received."""
        with self._lock:
            return self._calls

    @property
    def peak(self) -> int:
        """The most calls that were under way at once."""
        with self._lock:
            return self._peak

    def fail(self, *faults: Fault) -> None:
        """From now on: these faults in order, then normal answers. Replaces the faults that were left."""
        with self._lock:
            self._faults = iter(faults)

    # What the workspace serves.

    def describe(self) -> dict[str, Any]:
        """The endpoint's description, as `GET /api/2.0/serving-endpoints/{name}` gives it."""
        body: dict[str, Any] = {"name": self.name}
        built_in = self.kind.endpoint_type == "FOUNDATION_MODEL_API"
        if not built_in:
            body |= {"id": self._id, "creator": "ann@example.com"}
            body |= {"creation_timestamp": CREATED, "last_updated_timestamp": CREATED + 1000}
        update = "UPDATE_FAILED" if self.deployment in ("DEPLOYMENT_FAILED", "DEPLOYMENT_ABORTED") else "NOT_UPDATING"
        body["state"] = {"ready": self.state, "config_update": "IN_PROGRESS" if self.deployment == "DEPLOYMENT_CREATING" else update}
        config: dict[str, Any] = {"served_entities": [self._foundation(s) if built_in else self._entity(s) for s in self.served]}
        if not built_in:
            share = 100 // len(self.served)
            config["traffic_config"] = {"routes": [{"served_entity_name": s, "traffic_percentage": share} for s in self.served]}
            config["config_version"] = 1
        body["config"] = config
        if self.kind.task is not None:
            body["task"] = self.kind.task
        if self.kind.endpoint_type is not None:
            body["endpoint_type"] = self.kind.endpoint_type
        if built_in:
            body["capabilities"] = {"function_calling": True, "image_input": False}
        if self.kind.traces and self.experiment_id is not None:
            body["tags"] = [{"key": "MONITOR_EXPERIMENT_ID", "value": self.experiment_id}]
        body["route_optimized"] = False
        body["permission_level"] = self.permission if self.permission.startswith("CAN_") else "CAN_QUERY"
        return body

    def _entity(self, served: str) -> dict[str, Any]:
        version = served.rpartition("-")[2]
        return {
            "name": served,
            "entity_name": f"main.mock.{self.name.replace('-', '_')}",
            "entity_version": version if version.isdigit() else "1",
            "type": "UC_MODEL",
            "workload_size": "Small",
            "workload_type": "CPU",
            "scale_to_zero_enabled": False,
            "state": {"deployment": self.deployment, "deployment_state_message": self.deployment_message},
            "creator": "ann@example.com",
            "creation_timestamp": CREATED,
        }

    def _foundation(self, served: str) -> dict[str, Any]:
        model = f"system.ai.{self.name}"
        details = {"name": model, "display_name": self.name, "description": "A mock of a foundation model."}
        return {"name": served, "entity_name": model, "type": "FOUNDATION_MODEL", "foundation_model": details}

    async def described(self) -> Response:
        """The response to a request for the description."""
        if self.permission in ("ONLY_QUERY", "NONE"):
            return _denied("view", self.name)
        return json_response(self.describe())

    async def invoked(self, request: RecordedRequest, served: str | None = None) -> Response:
        """The response to a call, of one served entity or of whichever the endpoint chooses."""
        with self._lock:
            self._requests.append(request)
            self._calls += 1
            self._running += 1
            self._peak = max(self._peak, self._running)
            fault = next(self._faults, None)
        try:
            if served is not None and served not in self.served:
                message = f"Served entity with name '{served}' does not exist in endpoint '{self.name}'."
                return error_response(404, "RESOURCE_DOES_NOT_EXIST", message)

            async def normal() -> Response:
                return self._refusal(request) or await self._answered(request, served or self.served[0])

            return await (normal() if fault is None else fault.respond(normal))
        finally:
            with self._lock:
                self._running -= 1

    def _refusal(self, request: RecordedRequest) -> Response | None:
        if self.permission in ("CAN_VIEW", "NONE"):
            return _denied("query", self.name)
        if self.state == "NOT_READY":
            path = f"/serving-endpoints/{self.name}/invocations"
            message = f"The service at {path} is temporarily unavailable. Please try again later."
            return error_response(503, "TEMPORARILY_UNAVAILABLE", message)
        body = members(request.body)
        rejected = next((name for name in body if name in self.rejects), None)
        if rejected is not None:
            return unknown_field(rejected)
        problem = self.kind.problem(request.body)
        if problem is None and body.get("stream"):
            return error_response(400, "BAD_REQUEST", "This mock endpoint does not stream; send the request without 'stream'.")
        return problem

    async def _answered(self, request: RecordedRequest, served: str) -> Response:
        around = self._around
        start_ns = int(around.clock() * 1e9)
        body: dict[str, Any] = request.body
        reply, answer = await self._reply(request, served)
        latency = self.latency(request) if callable(self.latency) else self.latency
        await asyncio.sleep(latency if answer.latency is None else answer.latency)
        request_id = around.ids.uuid()
        if self.kind.traces and members(body.get("databricks_options")).get("return_trace") is True:
            output: dict[str, Any] = {}
            trace = self._trace(request) if callable(self._trace) else self._trace
            if trace is True:
                usage = estimated_usage(body, answer)
                asked = {key: value for key, value in body.items() if key != "databricks_options"}
                root = self.kind.root_span(asked, reply, answer, usage, model=served)
                end_ns = int(around.clock() * 1e9)
                output["trace"] = trace_json(
                    root, start_ns=start_ns, end_ns=end_ns, ids=around.ids, experiment_id=self.experiment_id, client_request_id=request_id
                )
            elif trace is not False:
                output["trace"] = trace
            output["databricks_request_id"] = request_id
            reply = {**reply, "databricks_output": output}
        return json_response(
            reply, headers={"served-model-name": served, "x-request-id": request_id, "x-databricks-org-id": around.workspace_id}
        )

    async def _reply(self, request: RecordedRequest, served: str) -> tuple[dict[str, Any], Answer]:
        """The body of the answer, and the answer as a value."""
        body: dict[str, Any] = request.body
        records = self.kind.records(body)
        if records is not None and not self._script.wants_whole_request:
            return await self._predictions(request, records)
        given = await self._script.next(Ask(question=self.kind.question(body), record=None, request=request), self._around.executor)
        if records is not None:
            return (members(given) if "predictions" in members(given) else {"predictions": given}), Answer(None)
        if isinstance(given, Mapping):
            return dict(cast("Mapping[str, Any]", given)), Answer(None)
        answer = given if isinstance(given, Answer) else _as_answer(self.name, given)
        usage = estimated_usage(body, answer)
        return self.kind.reply(answer, usage, model=served, ids=self._around.ids, now=self._around.clock()), answer

    async def _predictions(self, request: RecordedRequest, records: list[Any]) -> tuple[dict[str, Any], Answer]:
        """One prediction for each record; what its `Answer` says about spans and latency holds for the whole call."""
        predictions: list[Any] = []
        last = Answer(None)
        for record in records:
            ask = Ask(question=CUSTOM.record_text(record), record=record, request=request)
            given = await self._script.next(ask, self._around.executor)
            last = given if isinstance(given, Answer) else last
            predictions.append(given.text if isinstance(given, Answer) else given)
        return {"predictions": predictions}, last


def _as_answer(name: str, given: Any) -> Answer:
    if isinstance(given, str):
        return Answer(given)
    raise TypeError(
        f"mock endpoint {name!r} was given an answer of type {type(given).__name__}; give a text, an Answer, or a dict as the body"
    )


def _denied(verb: str, name: str) -> Response:
    return error_response(403, "PERMISSION_DENIED", f"User does not have permission to {verb} serving endpoint '{name}'.")
