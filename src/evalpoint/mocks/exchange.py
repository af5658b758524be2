"""What crosses the socket, as values: requests in, responses out, and the record of a request that tests read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard, cast
from urllib.parse import parse_qsl

__all__ = [
    "EVENTS",
    "HTML",
    "NOTHING",
    "Arrival",
    "Part",
    "RecordedRequest",
    "Request",
    "Response",
    "error_response",
    "is_list",
    "json_response",
    "members",
    "parsed",
]

NOTHING = -1
"""`Response.cut_after` for a connection that is closed before the first header."""
HTML = "text/html; charset=utf-8"
JSON = "application/json"
EVENTS = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """A request as a mock received it.

    Header names are lower-case and the credentials are cut out. `body` is the parsed JSON, the text where it is no
    JSON, or None where there was none; it is shared, so do not change it. `at` is the time of its arrival, `size` the
    bytes of its body, `query` what stood behind the `?`.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    at: float
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request inside the mock, credentials included. `client` names the connection."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = b""
    client: tuple[str, int] = ("", 0)
    query: str = ""

    def recorded(self, at: float) -> RecordedRequest:
        """The record of it, without the credentials."""
        headers = dict(self.headers)
        if "authorization" in headers:
            headers["authorization"] = headers["authorization"].partition(" ")[0] + " [redacted]"
        body, query = parsed(self.content), dict(parse_qsl(self.query)) if self.query else {}
        size = len(self.content)
        return RecordedRequest(method=self.method, path=self.path, headers=headers, body=body, at=at, query=query, size=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request that has arrived: as it came, as it is remembered, and who sent it."""

    request: Request
    recorded: RecordedRequest
    principal: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a response's body, and the seconds that pass before it is sent."""

    content: bytes
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response inside the mock.

    With `parts`, they are sent one after the other in place of `content`. With `cut_after`, the connection closes after
    that many bytes of the body.
    """

    status: int = 200
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut_after: int | None = None
    parts: tuple[Part, ...] | None = None

    @property
    def whole(self) -> bytes:
        """The body, whether it is sent in parts or at once."""
        return self.content if self.parts is None else b"".join(part.content for part in self.parts)

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events."""
        return self.headers.get("content-type", "").startswith(EVENTS)


def members(value: Any) -> dict[str, Any]:
    """The members of a JSON object; none of anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a JSON value is a list."""
    return isinstance(value, list)


def parsed(content: bytes) -> Any:
    """The JSON of a body, else its text; None for an empty one."""
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Any JSON value as a response."""
    content = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(status=status, content=content, headers={"content-type": JSON, **(headers or {})})


def error_response(
    status: int, error_code: str | int, message: str, *, details: list[Any] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The workspace's usual error body."""
    body: dict[str, Any] = {"error_code": error_code, "message": message}
    if details is not None:
        body["details"] = details
    return json_response(body, status, headers)
