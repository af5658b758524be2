"""A mock Databricks workspace on loopback that the real databricks-sdk accepts, for tests without a workspace."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from evalpoint.errors import ConfigurationError
from evalpoint.mocks.apps import MockApp
from evalpoint.mocks.clock import Ids
from evalpoint.mocks.dataplane import DataPlane
from evalpoint.mocks.declaring import Declaring
from evalpoint.mocks.endpoint import MockEndpoint
from evalpoint.mocks.exchange import RecordedRequest
from evalpoint.mocks.faults import Fault
from evalpoint.mocks.front import FrontDoor, near
from evalpoint.mocks.identity import Identity
from evalpoint.mocks.options import EndpointOptions
from evalpoint.mocks.replaying import read_recording
from evalpoint.mocks.routes import MockRoute, RouteHandler
from evalpoint.mocks.server import LoopbackServer
from evalpoint.mocks.surroundings import Surroundings

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["EndpointOptions", "MockWorkspace"]


class MockWorkspace(Declaring):
    """A workspace with serving endpoints and apps of your making, behind real servers on 127.0.0.1.

        with MockWorkspace() as workspace:
            bot = workspace.agent("bot", answers={"What is MLflow?": "A platform."})
            ...                               # call it with workspace.environ in the environment
            bot.assert_called(times=1)

    Set `workspace.environ` as environment variables, or pass its values to the SDK:
    `Config(host=workspace.url, token=workspace.token)`; `oauth_environ` is the same for a service principal, which apps
    and route-optimised endpoints need. Endpoints may be added before and after the start. What a function given as
    `answers` raises is answered with a 500 and raised again when the workspace stops, so that it fails the test that
    caused it.

    Args:
        token: The personal access token; by default a new one for each workspace.
        token_lifetime: Seconds that an OAuth token is valid.
        token_uses: Requests that an OAuth token is good for, so that it expires in the middle of a run; None for any number.
        clock: Seconds since the epoch: for recorded requests, traces, quotas, and the expiry of tokens.
        ids: Makes ids and secrets; `Ids(seed)` makes the same ones every time.
        port: The port to listen on; 0 for any that is free.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        token_lifetime: float = 3600.0,
        token_uses: int | None = None,
        clock: Callable[[], float] = time.time,
        ids: Ids | None = None,
        port: int = 0,
    ) -> None:
        made = ids or Ids()
        self._port = port
        self.identity = Identity(token=token, token_lifetime=token_lifetime, clock=clock, ids=made, token_uses=token_uses)
        self.workspace_id = str(1_000_000_000_000_000 + int(made.hex(12), 16))
        around = Surroundings(clock=clock, ids=made, workspace_id=self.workspace_id)
        front = FrontDoor(self.identity, around, lambda: self.url)
        super().__init__(front, around, self.identity, lambda: self.url)
        self._plane = DataPlane(self.identity, around, endpoint=self._optimised, record=front.record)
        self._server: LoopbackServer | None = None
        self._url: str | None = None

    # Life.

    def start(self) -> Self:
        """Starts the server; it listens when this returns. Does nothing when it already runs.

        Raises:
            MissingExtra: uvicorn is not installed.
        """
        if self._server is None:
            server = LoopbackServer(self._front.respond, self._port)
            self._url = server.start()
            self._server = server
            for app in self.apps:
                app.start()
            self._open_plane()
        return self

    def stop(self) -> None:
        """Stops the servers, and raises the first error that a function given as `answers` has raised."""
        if self._server is not None:
            for app in self.apps:
                app.stop()
            self._plane.stop()
            self._server.stop()
            self._server, self._url = None, None
            self._around.close()
        errors, self._around.errors = self._around.errors, []
        if errors:
            raise errors[0]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _added_endpoint(self, endpoint: MockEndpoint) -> None:
        if endpoint.route_optimized and self._server is not None:
            self._open_plane()

    def _added_app(self, app: MockApp) -> None:
        if self._server is not None:
            app.start()

    def _open_plane(self) -> None:
        optimised = [endpoint for endpoint in self.endpoints if endpoint.route_optimized]
        for endpoint in optimised:
            endpoint.data_plane = self._plane.start()

    def _optimised(self, name: str) -> MockEndpoint | None:
        endpoint = self._front.endpoints.get(name)
        return endpoint if endpoint is not None and endpoint.route_optimized else None

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

    # What was asked of it.

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request that was received on any of its hosts, whatever became of it, in order of arrival; the last 100,000."""
        return self._front.requests

    @property
    def errors(self) -> list[Exception]:
        """What functions given as `answers` have raised so far."""
        return list(self._around.errors)

    @property
    def endpoints(self) -> list[MockEndpoint]:
        """Its endpoints, in the order they were added."""
        return list(self._front.endpoints.values())

    @property
    def apps(self) -> list[MockApp]:
        """Its apps, in the order they were added."""
        return list(self._front.apps.values())

    def endpoint(self, name: str) -> MockEndpoint:
        """The endpoint, or the model service, of that name."""
        known = {**self._front.services, **self._front.endpoints}
        if name not in known:
            raise ConfigurationError(f"The mock workspace has no endpoint {name!r}.{near(name, known)}")
        return known[name]

    @property
    def outage(self) -> Fault | None:
        """What meets every request to the workspace's host, such as `fault.html(200, "Login")` or `fault.ip_blocked()`."""
        return self._front.outage

    @outage.setter
    def outage(self, fault: Fault | None) -> None:
        self._front.outage = fault

    def forget(self) -> None:
        """Forgets all requests so far, those of endpoints and apps too."""
        self._front.forget()
        for target in (*self._front.endpoints.values(), *self._front.services.values(), *self._front.apps.values()):
            target.forget()

    def assert_no_token_sent_to(self, *others: MockWorkspace) -> None:
        """No secret of this workspace ever arrived at another one.

        Raises:
            AssertionError: One did; the sentence says where.
        """
        for other in others:
            if other._front.has_seen(self.identity.fingerprints):
                raise AssertionError(f"A token of the mock workspace {self._url or 'here'} was sent to {other._url or 'another one'}.")

    def assert_no_calls(self) -> None:
        """No endpoint, model service or app was called.

        Raises:
            AssertionError: One was; the sentence says which, and how often.
        """
        for target in (*self._front.endpoints.values(), *self._front.services.values(), *self._front.apps.values()):
            target.assert_not_called()

    # What it serves besides.

    def route(self, method: str, path: str, handler: RouteHandler, *, auth: bool = True) -> MockRoute:
        """Serves something else that an agent calls, before anything of the workspace's own at the same address.

        Args:
            method: Such as "POST".
            path: Such as "/api/2.0/vector-search/indexes/{index}/query"; names reach the handler as keywords.
            handler: Takes the `RecordedRequest`, gives a body, (status, body) or (status, body, headers). May be async.
            auth: Whether callers need a token of the workspace.
        """
        if not path.startswith("/") or not re.fullmatch(r"[A-Za-z]+", method):
            raise ConfigurationError(f'route({method!r}, {path!r}): give a method such as "POST" and a path that begins with "/".')
        route = MockRoute(method.upper(), path, handler, lambda: self._around.executor)
        self._front.add(method.upper(), path, route, guarded=auth)
        return route

    def replay(self, path: str | Path, *, ignore: Sequence[str] = ()) -> list[MockEndpoint]:
        """Answers as recorded: the endpoints in the recording, made where they are not there yet.

        A request that was not recorded is answered 404, with the nearest that was.

        Args:
            path: What the recorder wrote.
            ignore: Dotted paths in requests that do not count, such as "custom_inputs.thread_id".

        Raises:
            ConfigurationError: There is no such file.
            FormatError: It is no recording.
        """
        replayed: list[MockEndpoint] = []
        for recording in read_recording(path, ignore=ignore):
            endpoint = self._front.endpoints.get(recording.endpoint) or self._recorded(recording)
            endpoint.replay(recording)
            replayed.append(endpoint)
        return replayed
