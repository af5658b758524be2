"""What a mock workspace serves on its own host, and to whom."""

from __future__ import annotations

import difflib
import threading
from collections import deque
from collections.abc import Callable, Iterable

from evalpoint.mocks.apps import MockApp
from evalpoint.mocks.endpoint import MockEndpoint
from evalpoint.mocks.exchange import HTML, Arrival, RecordedRequest, Request, Response, error_response, json_response
from evalpoint.mocks.faults import Fault
from evalpoint.mocks.identity import Identity, fingerprint, unauthenticated
from evalpoint.mocks.openai_routes import open_openai_routes
from evalpoint.mocks.routes import Handler, MockRoute, Routes
from evalpoint.mocks.surroundings import Surroundings
from evalpoint.mocks.target import REMEMBERED
from evalpoint.mocks.tracking import TraceShelf

__all__ = ["FrontDoor", "near"]

LOGIN = b"<!doctype html><html><head><title>Sign in to Databricks</title></head><body><h1>Sign In</h1><form></form></body></html>"


class FrontDoor:
    """One workspace's host: who comes in is noted, known or sent away, and led to what they ask for.

    Args:
        identity: Who is known.
        around: Time, ids, and where errors go.
        url: Gives the host's address.
    """

    def __init__(self, identity: Identity, around: Surroundings, url: Callable[[], str]) -> None:
        self.endpoints: dict[str, MockEndpoint] = {}
        self.services: dict[str, MockEndpoint] = {}
        self.apps: dict[str, MockApp] = {}
        self.shelf = TraceShelf(url)
        self.outage: Fault | None = None
        self._identity = identity
        self._around = around
        self._url = url
        self._lock = threading.Lock()
        self._requests: deque[RecordedRequest] = deque(maxlen=REMEMBERED)
        self._seen: set[str] = set()
        self._added = Routes(), Routes()
        self._own = Routes(), Routes()
        self._open_routes(self._own[0])
        self._guarded_routes(self._own[1])

    # Notes.

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request that was received, in order of arrival."""
        with self._lock:
            return list(self._requests)

    def forget(self) -> None:
        """Forgets them."""
        with self._lock:
            self._requests.clear()

    def has_seen(self, fingerprints: Iterable[str]) -> bool:
        """Whether any of these secrets was ever sent here."""
        with self._lock:
            return not self._seen.isdisjoint(fingerprints)

    def record(self, request: Request, principal: str | None = None) -> Arrival:
        """Notes a request."""
        arrival = Arrival(request=request, recorded=request.recorded(self._around.clock()), principal=principal)
        authorization = request.headers.get("authorization", "").partition(" ")[2]
        with self._lock:
            self._requests.append(arrival.recorded)
            if authorization:
                self._seen.add(fingerprint(authorization))
        return arrival

    def add(self, method: str, path: str, route: MockRoute, *, guarded: bool) -> None:
        """Adds a route of the test's, which goes before the workspace's own."""
        self._added[guarded].add(method, path, route.answered)

    # What it serves.

    def _open_routes(self, routes: Routes) -> None:
        routes.add("GET", "/.well-known/databricks-config", self._discovery)
        routes.add("GET", "/oidc/.well-known/oauth-authorization-server", self._authorization_server)
        routes.add("GET", "/oidc/oauth2/v2.0/authorize", self._login)
        routes.add("GET", "/mock-storage/traces/{name}", self.shelf.download)
        routes.add("POST", "/oidc/v1/token", self._identity.issue)

    def _guarded_routes(self, routes: Routes) -> None:
        routes.add("POST", "/serving-endpoints/{name}/invocations", self._invoke)
        routes.add("POST", "/serving-endpoints/{name}/served-models/{served}/invocations", self._invoke)
        routes.add("GET", "/api/2.0/serving-endpoints", self._list)
        routes.add("GET", "/api/2.0/serving-endpoints/{name}", self._describe)
        routes.add("GET", "/api/2.0/preview/scim/v2/Me", self._me)
        routes.add("GET", "/api/2.0/apps", self._list_apps)
        routes.add("GET", "/api/2.0/apps/{name}", self._describe_app)
        routes.add("GET", "/api/3.0/mlflow/traces/get", self.shelf.get)
        routes.add("GET", "/api/3.0/mlflow/traces/{trace_id}", self.shelf.info)
        for version in ("2.0", "3.0"):
            routes.add("GET", f"/api/{version}/mlflow/traces/{{trace_id}}/credentials-for-data-download", self.shelf.credentials)
        open_openai_routes(routes, endpoint=self.endpoints.get, service=self.services.get)

    async def respond(self, request: Request) -> Response:
        """The response to any request."""
        arrival = self.record(request, self._identity.principal(request.headers.get("authorization", "")))

        async def normal() -> Response:
            return await self._routed(arrival)

        outage = self.outage
        return await (normal() if outage is None else outage.respond(normal))

    async def _routed(self, arrival: Arrival) -> Response:
        request = arrival.request
        found = self._found(request, guarded=False)
        if found is None and arrival.principal is None:
            return unauthenticated()
        found = found or self._found(request, guarded=True)
        if found is None:
            return error_response(404, "ENDPOINT_NOT_FOUND", f"No API found for '{request.method} {request.path}'")
        handler, names = found
        return await self._around.guarded(lambda: handler(arrival, **names))

    def _found(self, request: Request, *, guarded: bool) -> tuple[Handler, dict[str, str]] | None:
        for routes in (self._added[guarded], self._own[guarded]):
            found = routes.find(request.method, request.path)
            if found is not None:
                return found
        return None

    async def _discovery(self, arrival: Arrival) -> Response:
        place = {"account_id": "mock-account", "workspace_id": self._around.workspace_id, "cloud": "AWS"}
        return json_response({"oidc_endpoint": f"{self._url()}/oidc", **place})

    async def _authorization_server(self, arrival: Arrival) -> Response:
        oidc = f"{self._url()}/oidc"
        body = {"issuer": oidc, "authorization_endpoint": f"{oidc}/v1/authorize", "token_endpoint": f"{oidc}/v1/token"}
        return json_response(body)

    async def _login(self, arrival: Arrival) -> Response:
        return Response(content=LOGIN, headers={"content-type": HTML})

    async def _me(self, arrival: Arrival) -> Response:
        return json_response({"id": "1000", "userName": arrival.principal, "displayName": arrival.principal, "active": True})

    async def _list(self, arrival: Arrival) -> Response:
        visible = [endpoint for endpoint in list(self.endpoints.values()) if endpoint.permission not in ("ONLY_QUERY", "NONE")]
        return json_response({"endpoints": [endpoint.describe() for endpoint in visible]})

    async def _describe(self, arrival: Arrival, name: str) -> Response:
        endpoint = self.endpoints.get(name)
        return self._unknown(name) if endpoint is None else await endpoint.described()

    async def _list_apps(self, arrival: Arrival) -> Response:
        return json_response({"apps": [app.describe() for app in list(self.apps.values())]})

    async def _describe_app(self, arrival: Arrival, name: str) -> Response:
        app = self.apps.get(name)
        if app is None:
            return error_response(404, "RESOURCE_DOES_NOT_EXIST", f"App with name {name} does not exist or is deleted.")
        return json_response(app.describe())

    async def _invoke(self, arrival: Arrival, name: str, served: str | None = None) -> Response:
        endpoint = self.endpoints.get(name)
        if endpoint is None:
            return self._unknown(name)
        if endpoint.route_optimized:
            message = f"Endpoint '{name}' is route-optimized: query it at its endpoint_url, with an OAuth token made for it."
            return error_response(400, "BAD_REQUEST", message)
        return await endpoint.invoked(arrival.recorded, served)

    def _unknown(self, name: str) -> Response:
        details = [{"@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": self._around.ids.uuid(), "serving_data": ""}]
        return error_response(404, "RESOURCE_DOES_NOT_EXIST", f"Endpoint with name '{name}' does not exist.", details=details)


def near(name: str, names: Iterable[str]) -> str:
    """What a name may have been meant for, as the end of a sentence."""
    found = difflib.get_close_matches(name, list(names), 1)
    return f" Did you mean {found[0]!r}?" if found else ""
