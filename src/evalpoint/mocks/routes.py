"""What a mock server answers at which address: its own routes, and those that a test adds."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from evalpoint.errors import ConfigurationError
from evalpoint.mocks.exchange import Arrival, Response, json_response
from evalpoint.mocks.target import MockTarget

__all__ = ["Handler", "MockRoute", "RouteHandler", "Routes"]

Handler = Callable[..., Awaitable[Response]]
"""A function of the arrival, and of the names in the path."""
RouteHandler = Callable[..., Any]
"""A function of the `RecordedRequest`, and of the names in the path as keywords, that gives a body: JSON values as JSON, a
text or bytes as they are, None for none. A tuple is (status, body) or (status, body, headers). It may be async."""


class Routes:
    """Methods and paths with {names}, looked up in the order they were added; a path without names is found at once."""

    def __init__(self) -> None:
        self._exact: dict[tuple[str, str], Handler] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Adds a route; of two for the same address without names, the later one counts."""
        if "{" not in path:
            self._exact[method, path] = handler
            return
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
        self._patterns.append((method, re.compile(pattern), handler))

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]] | None:
        """The handler, with what the names in the path stand for."""
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact, {}
        for wanted, pattern, handler in self._patterns:
            found = pattern.fullmatch(path)
            if found is not None and wanted == method:
                return handler, found.groupdict()
        return None

    def knows(self, path: str) -> bool:
        """Whether there is a route to this path by any method."""
        return any(known == path for _, known in self._exact) or any(pattern.fullmatch(path) for _, pattern, _ in self._patterns)


class MockRoute(MockTarget):
    """A route that a test has added to a mock workspace."""

    title = "Mock route"

    def __init__(self, method: str, path: str, handler: RouteHandler, executor: Callable[[], Executor]) -> None:
        super().__init__(f"{method} {path}")
        if not callable(handler):  # pyright: ignore[reportUnnecessaryIsInstance] - handlers come from users, types or not
            raise ConfigurationError(
                f"The handler of route {self.name} is of type {type(handler).__name__}; give a function of the request."
            )
        self._handler = handler
        self._executor = executor

    async def answered(self, arrival: Arrival, **names: str) -> Response:
        """The response to a call."""

        async def normal() -> Response:
            handler, request = self._handler, arrival.recorded
            if inspect.iscoroutinefunction(handler):
                return as_response(await handler(request, **names), self.name)
            given = await asyncio.get_running_loop().run_in_executor(self._executor(), lambda: handler(request, **names))
            return as_response(await given if inspect.isawaitable(given) else given, self.name)

        return await self.met(arrival.recorded, normal)


def as_response(given: Any, where: str) -> Response:
    """What a handler gave, as a response.

    Raises:
        TypeError: It is none of what a handler may give.
    """
    status, headers = 200, dict[str, str]()
    if isinstance(given, tuple):
        values: tuple[Any, ...] = given  # pyright: ignore[reportUnknownVariableType] - of the user's
        if len(values) not in (2, 3) or not isinstance(values[0], int) or not isinstance(values[-1] if len(values) == 3 else {}, Mapping):
            raise TypeError(f"{where}: a tuple is (status, body) or (status, body, headers), not {len(values)} values")
        status, given = values[0], values[1]
        headers = {str(name).lower(): str(value) for name, value in (values[2].items() if len(values) == 3 else ())}
    if isinstance(given, Response):
        return given
    if given is None:
        return Response(status=status, headers=headers)
    if isinstance(given, (str, bytes)):
        content = given.encode() if isinstance(given, str) else given
        return Response(status=status, content=content, headers={"content-type": "text/plain; charset=utf-8", **headers})
    return json_response(given, status, headers)
