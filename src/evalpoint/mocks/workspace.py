"""A mock Databricks workspace on loopback that the real databricks-sdk accepts, for tests without a workspace."""

from __future__ import annotations

import difflib
import os
import re
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypedDict

from evalpoint.errors import ConfigurationError
from evalpoint.mocks.answers import Answers
from evalpoint.mocks.clock import Ids
from evalpoint.mocks.endpoint import REMEMBERED, Behaviour, Deployment, Latency, MockEndpoint, Permission, Ready, TraceReply
from evalpoint.mocks.exchange import Arrival, RecordedRequest, Request, Response, error_response, json_response, members
from evalpoint.mocks.faults import Fault
from evalpoint.mocks.identity import Identity, unauthenticated
from evalpoint.mocks.judge import JudgeRule, MockJudge
from evalpoint.mocks.kinds import CHAT, CHAT_AGENT, CHAT_COMPLETION, CUSTOM, FOUNDATION, RESPONSES, Kind
from evalpoint.mocks.server import LoopbackServer
from evalpoint.mocks.surroundings import Surroundings

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ["EndpointOptions", "MockWorkspace"]

Handler = Callable[..., Awaitable[Response]]
AGENTS: Mapping[str, Kind] = {"responses": RESPONSES, "chat_agent": CHAT_AGENT, "chat_completion": CHAT_COMPLETION}


class EndpointOptions(TypedDict, total=False):
    """What every kind of mock endpoint takes beside its answers.

    latency: seconds, or a function of the request.
    faults: what goes wrong, in order, one for each call; then normal answers.
    trace: what comes back as `databricks_output.trace` where a trace is asked for; True for a trace of the answer.
    permission: what callers may do; hides the description (403) or refuses calls (403).
    state, deployment, deployment_message: READY or NOT_READY, and the state of the served entity.
    served: names of the served entities; calls go to the first unless they name one.
    experiment_id: where the endpoint's traces say that they live.
    rejects: top-level request fields that are refused with the 400 "unknown field".
    """

    latency: Latency
    faults: Iterable[Fault]
    trace: TraceReply
    permission: Permission
    state: Ready
    deployment: Deployment
    deployment_message: str
    served: tuple[str, ...]
    experiment_id: str | None
    rejects: Sequence[str]


class MockWorkspace:
    """A workspace with serving endpoints of your making, behind a real server on 127.0.0.1.

        with MockWorkspace() as workspace:
            bot = workspace.agent("bot", answers={"What is MLflow?": "A platform."})
            ...                               # call it with workspace.environ in the environment
            assert bot.calls == 1

    Set `workspace.environ` as environment variables, or pass its values to the SDK:
    `Config(host=workspace.url, token=workspace.token)`; `oauth_environ` is the same for a service principal.
    Endpoints may be added before and after the start. What a function given as `answers` raises is answered with a 500
    and raised again when the workspace stops, so that it fails the test that caused it.

    Args:
        token: The personal access token; by default a new one for each workspace.
        token_lifetime: Seconds that an OAuth token is valid.
        clock: Seconds since the epoch: for recorded requests, traces, and the expiry of tokens.
        ids: Makes ids and secrets; `Ids(seed)` makes the same ones every time.
        port: The port to listen on; 0 for any that is free.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        token_lifetime: float = 3600.0,
        clock: Callable[[], float] = time.time,
        ids: Ids | None = None,
        port: int = 0,
    ) -> None:
        self._ids = ids or Ids()
        self._clock = clock
        self._port = port
        self.identity = Identity(token=token, token_lifetime=token_lifetime, clock=clock, ids=self._ids)
        self.workspace_id = str(1_000_000_000_000_000 + int(self._ids.hex(12), 16))
        self._endpoints: dict[str, MockEndpoint] = {}
        self._around = Surroundings(clock=clock, ids=self._ids, workspace_id=self.workspace_id)
        self._errors: list[Exception] = []
        self._lock = threading.Lock()
        self._requests: deque[RecordedRequest] = deque(maxlen=REMEMBERED)
        self._server: LoopbackServer | None = None
        self._url: str | None = None
        self._routes = self._open_routes(), self._guarded_routes()

    # Life.

    def start(self) -> Self:
        """Starts the server; it listens when this returns. Does nothing when it already runs.

        Raises:
            MissingExtra: uvicorn is not installed.
        """
        if self._server is None:
            server = LoopbackServer(self._respond, self._port)
            self._url = server.start()
            self._server = server
        return self

    def stop(self) -> None:
        """Stops the server, and raises the first error that a function given as `answers` has raised."""
        if self._server is not None:
            self._server.stop()
            self._server, self._url = None, None
            self._around.close()
        errors, self._errors = self._errors, []
        if errors:
            raise errors[0]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # Address and credentials.

    @property
    def url(self) -> str:
        """The address of the workspace, such as `http://127.0.0.1:49152`."""
        if self._url is None:
            raise ConfigurationError("The mock workspace does not run. Use it in a with statement, or call start() first.")
        return self._url

    @property
    def token(self) -> str:
        """The personal access token."""
        return self.identity.token

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables with which the databricks-sdk finds this workspace, by personal access token."""
        return {"DATABRICKS_HOST": self.url, "DATABRICKS_TOKEN": self.identity.token}

    @property
    def oauth_environ(self) -> dict[str, str]:
        """The same for the workspace's service principal (OAuth M2M)."""
        identity = self.identity
        return {
            "DATABRICKS_HOST": self.url,
            "DATABRICKS_CLIENT_ID": identity.client_id,
            "DATABRICKS_CLIENT_SECRET": identity.client_secret,
        }

    @contextmanager
    def exported(self, environ: Mapping[str, str] | None = None) -> Generator[Self, None, None]:
        """Sets this workspace's variables for the block, in place of every other that would choose a workspace.

        Args:
            environ: What to set in place of `workspace.environ`, such as `workspace.oauth_environ`.
        """
        before = {key: value for key, value in os.environ.items() if key.startswith("DATABRICKS_")}
        for key in before:
            del os.environ[key]
        chosen = dict(self.environ if environ is None else environ)
        os.environ.update(chosen)
        try:
            yield self
        finally:
            for key in chosen:
                os.environ.pop(key, None)
            os.environ.update(before)

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request that was received, whatever became of it, in order of arrival; the last 100,000."""
        with self._lock:
            return list(self._requests)

    @property
    def errors(self) -> list[Exception]:
        """What functions given as `answers` have raised so far."""
        return list(self._errors)

    def endpoint(self, name: str) -> MockEndpoint:
        """The endpoint of that name."""
        if name not in self._endpoints:
            raise ConfigurationError(f"The mock workspace has no endpoint {name!r}.{_nearest(name, self._endpoints)}")
        return self._endpoints[name]

    # Endpoints.

    def chat(self, name: str, answers: Answers = "This is a mock answer.", **options: Unpack[EndpointOptions]) -> MockEndpoint:
        """A custom chat model (`llm/v1/chat`)."""
        return self._add(name, CHAT, Behaviour(answers=answers, **options))

    def agent(
        self,
        name: str,
        answers: Answers = "This is a mock answer.",
        *,
        dialect: Literal["responses", "chat_agent", "chat_completion"] = "responses",
        **options: Unpack[EndpointOptions],
    ) -> MockEndpoint:
        """An agent: `agent/v1/responses`, `agent/v2/chat` or `agent/v1/chat`."""
        if dialect not in AGENTS:
            raise ConfigurationError(f"dialect {dialect!r} is none of {', '.join(map(repr, AGENTS))}")
        return self._add(name, AGENTS[dialect], Behaviour(answers=answers, **options))

    def custom(self, name: str, answers: Answers = "This is a mock answer.", **options: Unpack[EndpointOptions]) -> MockEndpoint:
        """A custom model (pyfunc) that makes one prediction for each record."""
        return self._add(name, CUSTOM, Behaviour(answers=answers, **options))

    def foundation(self, name: str, answers: Answers = "This is a mock answer.", **options: Unpack[EndpointOptions]) -> MockEndpoint:
        """A foundation model: refuses request fields that it does not know, and returns no traces."""
        return self._add(name, FOUNDATION, Behaviour(answers=answers, **options))

    def judge(
        self, name: str = "judge", rules: Sequence[JudgeRule] = (), *, raw: Sequence[str] = (), **options: Unpack[EndpointOptions]
    ) -> MockEndpoint:
        """A judge: a foundation model that answers judge prompts by rules; see `MockJudge`."""
        return self._add(name, FOUNDATION, Behaviour(answers=MockJudge(rules, raw=raw), **options))

    def _add(self, name: str, kind: Kind, behaviour: Behaviour) -> MockEndpoint:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
            raise ConfigurationError(f"{name!r} is no name for an endpoint: use letters, digits, '-' and '_', at most 63 of them.")
        with self._lock:
            if name in self._endpoints:
                raise ConfigurationError(f"The mock workspace already has an endpoint {name!r}.")
            self._endpoints[name] = MockEndpoint(name, kind, behaviour, self._around)
            return self._endpoints[name]

    # What it serves. A route is a method, a path with {names}, and a function of the request and the names.

    def _open_routes(self) -> list[tuple[str, re.Pattern[str], Handler]]:
        return [
            _route("GET", "/.well-known/databricks-config", self._discovery),
            _route("GET", "/oidc/.well-known/oauth-authorization-server", self._authorization_server),
            _route("POST", "/oidc/v1/token", self.identity.issue),
        ]

    def _guarded_routes(self) -> list[tuple[str, re.Pattern[str], Handler]]:
        return [
            _route("POST", "/serving-endpoints/{name}/invocations", self._invoke),
            _route("POST", "/serving-endpoints/{name}/served-models/{served}/invocations", self._invoke),
            _route("POST", "/serving-endpoints/chat/completions", self._chat_completions),
            _route("GET", "/api/2.0/serving-endpoints", self._list),
            _route("GET", "/api/2.0/serving-endpoints/{name}", self._describe),
            _route("GET", "/api/2.0/preview/scim/v2/Me", self._me),
        ]

    async def _respond(self, request: Request) -> Response:
        principal = self.identity.principal(request.headers.get("authorization", ""))
        arrival = Arrival(request=request, recorded=request.recorded(self._clock()), principal=principal)
        with self._lock:
            self._requests.append(arrival.recorded)
        open_routes, guarded_routes = self._routes
        found = _match(open_routes, request)
        if found is None and principal is None:
            return unauthenticated()
        found = found or _match(guarded_routes, request)
        if found is None:
            return error_response(404, "ENDPOINT_NOT_FOUND", f"No API found for '{request.method} {request.path}'")
        handler, names = found
        try:
            return await handler(arrival, **names)
        except Exception as error:  # noqa: BLE001 - answers are the user's code: its error is answered as a crash, and raised when the mock stops
            self._errors.append(error)
            return error_response(500, "INTERNAL_ERROR", f"The mock's answer raised {type(error).__name__}: {error}")

    async def _discovery(self, arrival: Arrival) -> Response:
        body = {"oidc_endpoint": f"{self.url}/oidc", "account_id": "mock-account", "workspace_id": self.workspace_id, "cloud": "AWS"}
        return json_response(body)

    async def _authorization_server(self, arrival: Arrival) -> Response:
        oidc = f"{self.url}/oidc"
        body = {"issuer": oidc, "authorization_endpoint": f"{oidc}/v1/authorize", "token_endpoint": f"{oidc}/v1/token"}
        return json_response(body)

    async def _me(self, arrival: Arrival) -> Response:
        return json_response({"id": "1000", "userName": arrival.principal, "displayName": arrival.principal, "active": True})

    async def _list(self, arrival: Arrival) -> Response:
        visible = [endpoint for endpoint in list(self._endpoints.values()) if endpoint.permission not in ("ONLY_QUERY", "NONE")]
        return json_response({"endpoints": [endpoint.describe() for endpoint in visible]})

    async def _describe(self, arrival: Arrival, name: str) -> Response:
        endpoint = self._endpoints.get(name)
        return self._unknown(name) if endpoint is None else await endpoint.described()

    async def _invoke(self, arrival: Arrival, name: str, served: str | None = None) -> Response:
        endpoint = self._endpoints.get(name)
        return self._unknown(name) if endpoint is None else await endpoint.invoked(arrival.recorded, served)

    async def _chat_completions(self, arrival: Arrival) -> Response:
        """The OpenAI-compatible address: the endpoint is named in the body."""
        return await self._invoke(arrival, str(members(arrival.recorded.body).get("model")))

    def _unknown(self, name: str) -> Response:
        details = [{"@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": self._ids.uuid(), "serving_data": ""}]
        return error_response(404, "RESOURCE_DOES_NOT_EXIST", f"Endpoint with name '{name}' does not exist.", details=details)


def _route(method: str, path: str, handler: Handler) -> tuple[str, re.Pattern[str], Handler]:
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
    return method, re.compile(pattern), handler


def _match(routes: list[tuple[str, re.Pattern[str], Handler]], request: Request) -> tuple[Handler, dict[str, str]] | None:
    for method, pattern, handler in routes:
        found = pattern.fullmatch(request.path)
        if found is not None and method == request.method:
            return handler, found.groupdict()
    return None


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f" Did you mean {near[0]!r}?" if near else ""
