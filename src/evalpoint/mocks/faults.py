"""What can go wrong with a call to a mock endpoint, as values: `faults=[fault.status(503), fault.ok(), fault.cut()]`.

A list of faults is used up in order, one for each call; after it, calls are answered normally.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from evalpoint.mocks.exchange import HTML, NOTHING, Response, error_response

__all__ = ["Fault", "cut", "html", "malformed", "ok", "slow", "status"]

Normal = Callable[[], Awaitable[Response]]
"""Gives the response that the call would have had."""

CODES = {
    400: ("BAD_REQUEST", "The request is not valid for this endpoint."),
    401: (401, "Credential was not sent or was of an unsupported type for this API."),
    403: ("PERMISSION_DENIED", "User does not have permission to query this endpoint."),
    404: ("RESOURCE_DOES_NOT_EXIST", "The endpoint does not exist."),
    413: ("MAX_REQUEST_SIZE_EXCEEDED", "The request is larger than the endpoint accepts."),
    429: ("REQUEST_LIMIT_EXCEEDED", "REQUEST_LIMIT_EXCEEDED: Exceeded workspace QPS rate limit. Please try again later."),
    500: ("INTERNAL_ERROR", "The server met an unexpected condition."),
    502: ("BAD_GATEWAY", "The upstream server gave no valid answer."),
    503: ("TEMPORARILY_UNAVAILABLE", "The service is temporarily unavailable. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The request did not finish within the execution limit."),
}


class Fault(Protocol):
    """One thing that goes wrong with one call."""

    async def respond(self, normal: Normal) -> Response:
        """The response to give; `normal` gives the one without the fault, when it is wanted."""
        ...


@dataclass(frozen=True, slots=True)
class Status:
    status: int
    error_code: str | int
    message: str
    retry_after: float | None

    async def respond(self, normal: Normal) -> Response:
        headers = {} if self.retry_after is None else {"retry-after": f"{self.retry_after:g}"}
        return error_response(self.status, self.error_code, self.message, headers=headers)


@dataclass(frozen=True, slots=True)
class Html:
    status: int
    title: str

    async def respond(self, normal: Normal) -> Response:
        page = f"<html><head><title>{self.title}</title></head><body><h1>{self.title}</h1></body></html>"
        return Response(status=self.status, content=page.encode(), headers={"content-type": HTML})


@dataclass(frozen=True, slots=True)
class Cut:
    after: int | None

    async def respond(self, normal: Normal) -> Response:
        return replace(await normal(), cut_after=NOTHING if self.after is None else self.after)


@dataclass(frozen=True, slots=True)
class Slow:
    seconds: float

    async def respond(self, normal: Normal) -> Response:
        await asyncio.sleep(self.seconds)
        return await normal()


@dataclass(frozen=True, slots=True)
class Malformed:
    text: str | None

    async def respond(self, normal: Normal) -> Response:
        response = await normal()
        content = response.content[: max(len(response.content) // 2, 1)] if self.text is None else self.text.encode()
        return replace(response, content=content)


@dataclass(frozen=True, slots=True)
class Ok:
    async def respond(self, normal: Normal) -> Response:
        return await normal()


def status(code: int, error_code: str | None = None, message: str | None = None, *, retry_after: float | None = None) -> Fault:
    """An error status with the workspace's usual body.

    Args:
        code: The HTTP status.
        error_code: The code in the body; by default the usual one for the status.
        message: The message in the body; by default the usual one.
        retry_after: Seconds for the header `Retry-After`.
    """
    usual: tuple[Any, str] = CODES.get(code, ("UNKNOWN", f"The server answered with status {code}."))
    return Status(code, error_code or usual[0], message or usual[1], retry_after)


def html(code: int = 502, title: str = "Bad Gateway") -> Fault:
    """A page in place of JSON: a proxy's error, or with `html(200, "Login")` a login page."""
    return Html(code, title)


def cut(after: int | None = None) -> Fault:
    """The endpoint does its work, and the connection closes before the answer is complete.

    Args:
        after: Bytes of the body that still arrive; None for not even a status line.
    """
    return Cut(after)


def slow(seconds: float) -> Fault:
    """A normal answer, that much later."""
    return Slow(seconds)


def malformed(text: str | None = None) -> Fault:
    """Status 200 with broken JSON: this text, or the first half of the normal body."""
    return Malformed(text)


def ok() -> Fault:
    """No fault: a normal answer, to place between others."""
    return Ok()
