"""The host where route-optimised endpoints answer: OAuth tokens only, each asked for with the endpoint that it is for."""

from __future__ import annotations

import json
from collections.abc import Callable

from evalpoint.mocks.endpoint import MockEndpoint
from evalpoint.mocks.exchange import Arrival, Request, Response, error_response
from evalpoint.mocks.identity import Identity, unauthenticated
from evalpoint.mocks.routes import Routes
from evalpoint.mocks.server import LoopbackServer
from evalpoint.mocks.surroundings import Surroundings

__all__ = ["DataPlane"]


class DataPlane:
    """The data-plane host of one workspace.

    Args:
        identity: The workspace's credentials.
        around: Time, ids, and where errors go.
        endpoint: Gives the route-optimised endpoint of a name.
        record: Notes a request.
    """

    def __init__(
        self,
        identity: Identity,
        around: Surroundings,
        *,
        endpoint: Callable[[str], MockEndpoint | None],
        record: Callable[[Request], Arrival],
    ) -> None:
        self._identity = identity
        self._endpoint = endpoint
        self._record = record
        self._routes = Routes()
        self._around = around
        self._routes.add("POST", f"/{around.workspace_id}/serving-endpoints/{{name}}/invocations", self._invoke)
        self._loopback: LoopbackServer | None = None
        self.url: str | None = None

    def start(self) -> str:
        """Listens, and gives the host's address."""
        if self._loopback is None or self.url is None:
            loopback = LoopbackServer(self._respond)
            self.url = loopback.start()
            self._loopback = loopback
        return self.url

    def stop(self) -> None:
        """Stops listening."""
        if self._loopback is not None:
            self._loopback.stop()
            self._loopback = self.url = None

    async def _respond(self, request: Request) -> Response:
        arrival = self._record(request)
        found = self._routes.find(request.method, request.path)
        if found is None:
            return error_response(404, "ENDPOINT_NOT_FOUND", f"No API found for '{request.method} {request.path}'")
        handler, names = found
        return await self._around.guarded(lambda: handler(arrival, **names))

    async def _invoke(self, arrival: Arrival, name: str) -> Response:
        authorization = arrival.request.headers.get("authorization", "")
        if self._identity.is_personal(authorization):
            message = "Personal access tokens are not supported for route-optimized serving endpoints. Use an OAuth token."
            return error_response(403, "PERMISSION_DENIED", message)
        token = self._identity.oauth(authorization)
        if token is None:
            return unauthenticated()
        endpoint = self._endpoint(name)
        if endpoint is None:
            return error_response(404, "RESOURCE_DOES_NOT_EXIST", f"Endpoint with name '{name}' does not exist.")
        if token.details is None or json.loads(endpoint.authorization_details)[0] not in json.loads(token.details):
            message = f"The token does not allow to query serving endpoint '{name}'; ask for one with its authorization_details."
            return error_response(403, "PERMISSION_DENIED", message)
        return await endpoint.invoked(arrival.recorded)
