"""A mock app: an agent on a host of its own that takes OAuth tokens only, and whose traces the workspace keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from evalpoint.errors import ConfigurationError
from evalpoint.mocks import faults as fault
from evalpoint.mocks.answers import Answers
from evalpoint.mocks.app_servers import AgentServer, AppServer, Finished, InvocationServer, LegacyServer
from evalpoint.mocks.damage import Damaged
from evalpoint.mocks.endpoint import Behaviour, MockEndpoint, TraceReply
from evalpoint.mocks.exchange import HTML, Arrival, RecordedRequest, Request, Response, error_response
from evalpoint.mocks.identity import Identity, unauthenticated
from evalpoint.mocks.kinds import Kind
from evalpoint.mocks.latencies import Latency, seconds
from evalpoint.mocks.server import LoopbackServer
from evalpoint.mocks.streams import Streaming
from evalpoint.mocks.surroundings import Surroundings
from evalpoint.mocks.target import MockTarget
from evalpoint.mocks.tracking import TraceShelf

__all__ = ["AppOptions", "AppServerName", "MockApp"]

AppServerName = Literal["api", "agentserver", "legacy"]
SERVERS: dict[str, type[AppServer]] = {"api": InvocationServer, "agentserver": AgentServer, "legacy": LegacyServer}


class AppOptions(TypedDict, total=False):
    """What a mock app takes beside its answers.

    latency, faults, streaming: as for endpoints.
    trace: as for endpoints; False for an agent that is not traced. It is fetched by its id.
    trace_delay: seconds until the trace can be fetched.
    experiment_id: where its traces say that they live.
    permission: NONE for callers who may not use the app (403).
    refusal: what callers without an OAuth token get: a 401, or a redirect to a login page.
    running: whether the app runs; callers of one that does not get a page with status 503.
    """

    latency: Latency
    faults: fault.Faults
    streaming: Streaming
    trace: TraceReply
    trace_delay: float
    experiment_id: str | None
    permission: Literal["CAN_USE", "NONE"]
    refusal: Literal["401", "login"]
    running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What an app has from its workspace."""

    around: Surroundings
    identity: Identity
    shelf: TraceShelf
    workspace_url: Callable[[], str]
    record: Callable[[Request], Arrival]


class MockApp(MockTarget):
    """One app of a `MockWorkspace`, which makes it. Its attributes may be changed while it serves.

    Attributes:
        latency: Seconds that a run takes, a distribution, or a function of the request.
        permission: CAN_USE or NONE.
        refusal: What callers without an OAuth token get.
        running: Whether it runs.
        trace_delay: Seconds until a trace can be fetched.
    """

    title = "Mock app"

    def __init__(
        self, name: str, answers: Answers, kind: Kind, *, server: AppServerName, background: bool, home: Home, options: AppOptions
    ) -> None:
        if server not in SERVERS:
            raise ConfigurationError(f"server {server!r} is none of {', '.join(map(repr, SERVERS))}")
        super().__init__(name, options.get("faults", ()))
        self.kind = kind
        self.latency: Latency = options.get("latency", 0.0)
        self.permission: Literal["CAN_USE", "NONE"] = options.get("permission", "CAN_USE")
        self.refusal: Literal["401", "login"] = options.get("refusal", "401")
        self.running = options.get("running", True)
        self.trace_delay = options.get("trace_delay", 0.0)
        self._trace: TraceReply = options.get("trace", True)
        self._home = home
        self._id = home.around.ids.uuid()
        behaviour = Behaviour(answers=answers, experiment_id=options.get("experiment_id", "1"))
        self._agent = MockEndpoint(name, kind, behaviour, home.around)
        self._server = SERVERS[server](
            name=name,
            kind=kind,
            work=self._work,
            asked=self.met,
            streaming=options.get("streaming", Streaming()),
            background=background or server == "api",
            ids=home.around.ids,
            clock=home.around.clock,
        )
        self._loopback: LoopbackServer | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """The app's address, such as `http://127.0.0.1:49153`."""
        if self._url is None:
            raise ConfigurationError(f"Mock app {self.name!r} does not run. Start its workspace first.")
        return self._url

    def start(self) -> None:
        """Listens on a host of its own."""
        if self._loopback is None:
            loopback = LoopbackServer(self._respond)
            self._url = loopback.start()
            self._loopback = loopback

    def stop(self) -> None:
        """Stops, and cancels the runs that are under way."""
        if self._loopback is not None:
            self._loopback.stop()
            self._loopback, self._url = None, None
            self._server.runs.clear()

    def describe(self) -> dict[str, Any]:
        """The app's description, as `GET /api/2.0/apps/{name}` gives it."""
        compute = {"state": "ACTIVE", "message": "App compute is running."}
        status = {"state": "RUNNING", "message": "App is running"}
        if not self.running:
            compute = {"state": "STOPPED", "message": "App compute is stopped."}
            status = {"state": "UNAVAILABLE", "message": "App status is unavailable."}
        identity = {"service_principal_client_id": self._home.identity.client_id, "user_api_scopes": list[str]()}
        return {"name": self.name, "id": self._id, "url": self.url, "compute_status": compute, "app_status": status, **identity}

    async def _respond(self, request: Request) -> Response:
        arrival = self._home.record(request)
        authorization = request.headers.get("authorization", "")
        token = self._home.identity.oauth(authorization)
        if token is None or token.details is not None:
            return self._refused()
        if self.permission == "NONE":
            return error_response(403, "PERMISSION_DENIED", f"User does not have permission to use app '{self.name}'.")
        if not self.running:
            page = "<html><head><title>App Not Available</title></head><body><h1>App Not Available</h1></body></html>"
            return Response(status=503, content=page.encode(), headers={"content-type": HTML})
        return await self._server.respond(arrival)

    def _refused(self) -> Response:
        if self.refusal == "401":
            return unauthenticated()
        login = f"{self._home.workspace_url()}/oidc/oauth2/v2.0/authorize?client_id={self._id}&response_type=code"
        return Response(status=302, headers={"location": login, "content-type": HTML})

    async def _work(self, request: RecordedRequest) -> Finished:
        """The agent's own work on one request."""
        around = self._home.around
        start_ns = int(around.clock() * 1e9)
        try:
            made = await self._agent.made(request, self.name, self.kind)
        except Exception as error:
            around.errors.append(error)
            raise
        latency = made.answer.latency
        await asyncio.sleep(seconds(self.latency, request) if latency is None else latency)
        return Finished(body=made.body, trace_id=self._kept(request, made, start_ns), stream=made.stream)

    def _kept(self, request: RecordedRequest, made: Any, start_ns: int) -> str | None:
        """Keeps the run's trace where the workspace's tracking server finds it, and gives its id."""
        if self._trace is False:
            return None
        request_id = self._home.around.ids.uuid()
        trace = self._agent.traced(request, made, self.kind, start_ns=start_ns, request_id=request_id, served=self.name)
        trace_id = str(trace["info"]["trace_id"])
        given = self._trace(trace) if isinstance(self._trace, Damaged) else self._trace(request) if callable(self._trace) else self._trace
        self._home.shelf.put(trace_id, trace if given is True else given, delay=self.trace_delay)
        return trace_id
