"""The addresses that an OpenAI client finds: the endpoint, or the model service of Unity Catalog, is named in the body."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from evalpoint.mocks.conversations import FOUNDATION_RESPONSES
from evalpoint.mocks.endpoint import MockEndpoint
from evalpoint.mocks.exchange import Arrival, Response, error_response, json_response, members
from evalpoint.mocks.kinds import Kind
from evalpoint.mocks.routes import Routes

__all__ = ["open_openai_routes"]

GATEWAYS = ("/ai-gateway/mlflow/v1", "/ai-gateway/openai/v1")
TASKS = {
    "chat/completions": ("llm/v1/chat", "agent/v1/chat"),
    "responses": ("agent/v1/responses", "llm/v1/chat"),
    "embeddings": ("llm/v1/embeddings",),
    "completions": ("llm/v1/completions",),
}

Find = Callable[[str], MockEndpoint | None]


def open_openai_routes(routes: Routes, *, endpoint: Find, service: Find) -> None:
    """Adds them.

    Args:
        routes: The workspace's routes.
        endpoint: Gives the endpoint of a name.
        service: Gives the model service of a name, which only the AI Gateway knows.
    """
    for path in TASKS:
        routes.add("POST", f"/serving-endpoints/{path}", _handler(path, endpoint))
        for gateway in GATEWAYS:
            routes.add("POST", f"{gateway}/{path}", _gateway(_handler(path, lambda name: service(name) or endpoint(name))))


def _handler(path: str, find: Find) -> Callable[[Arrival], Any]:
    async def respond(arrival: Arrival) -> Response:
        model = members(arrival.recorded.body).get("model")
        if not isinstance(model, str):
            return error_response(400, "INVALID_PARAMETER_VALUE", "The request names no model.")
        found = find(model)
        if found is None:
            message = f"The given endpoint does not exist, please retry after checking the specified model: '{model}'."
            return error_response(404, "RESOURCE_DOES_NOT_EXIST", message)
        kind = _asked_as(path, found.kind)
        if kind is None:
            message = f"Endpoint '{model}' of task {found.kind.task or 'none'} does not support the API {path}."
            return error_response(400, "INVALID_PARAMETER_VALUE", message)
        return await found.invoked(arrival.recorded, kind=kind)

    return respond


def _asked_as(path: str, kind: Kind) -> Kind | None:
    """As what an endpoint is asked at this address; None where it cannot be."""
    if kind.task not in TASKS[path]:
        return None
    if path == "responses" and kind.task == "llm/v1/chat":
        return FOUNDATION_RESPONSES if kind.endpoint_type is not None else None
    return kind


def _gateway(respond: Callable[[Arrival], Any]) -> Callable[[Arrival], Any]:
    """The same, with errors as OpenAI writes them."""

    async def wrapped(arrival: Arrival) -> Response:
        response: Response = await respond(arrival)
        if response.status < 400 or response.cut_after is not None:
            return response
        try:
            error = members(json.loads(response.content))
        except ValueError:
            return response
        if "message" not in error:
            return response
        told = {"message": error["message"], "type": "invalid_request_error" if response.status < 500 else "server_error"}
        kept = {name: value for name, value in response.headers.items() if name == "retry-after"}
        return json_response({"error": {**told, "code": error.get("error_code")}}, response.status, kept)

    return wrapped
