"""What can go wrong with a call to a mock endpoint, as values: `faults=[fault.status(503), fault.ok(), fault.cut()]`.

A list of faults is used up in order, one for each call; after it, calls are answered normally. `fault.at_rate` never ends.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from evalpoint.errors import ConfigurationError
from evalpoint.mocks.conversations import provider_error
from evalpoint.mocks.exchange import HTML, NOTHING, Part, Response, error_response
from evalpoint.mocks.streams import DONE, event

__all__ = [
    "AtRate",
    "Fault",
    "Faults",
    "at_rate",
    "content_type",
    "cut",
    "drip",
    "html",
    "in_order",
    "ip_blocked",
    "malformed",
    "no_done",
    "ok",
    "provider",
    "slow",
    "status",
    "stream_error",
]

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
class AtRate:
    """A fault that meets some calls, for ever; the same calls every time it is used."""

    rate: float
    faults: tuple[Fault, ...]
    seed: int

    def __iter__(self) -> Iterator[Fault]:
        rng = random.Random(self.seed)  # noqa: S311 - decides which calls of a mock fail
        while True:
            hit = rng.random() < self.rate
            yield rng.choice(self.faults) if hit else Ok()


Faults = Iterable[Fault | AtRate]


def in_order(faults: Faults) -> Iterator[Fault]:
    """One fault for each call, in order."""
    for fault in faults:
        if isinstance(fault, AtRate):
            yield from fault
        else:
            yield fault


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
        whole = response.whole
        content = whole[: max(len(whole) // 2, 1)] if self.text is None else self.text.encode()
        return replace(response, content=content, parts=None)


@dataclass(frozen=True, slots=True)
class Drip:
    seconds: float
    pieces: int

    async def respond(self, normal: Normal) -> Response:
        response = await normal()
        whole = response.whole
        size = max(math.ceil(len(whole) / self.pieces), 1)
        parts = tuple(Part(whole[at : at + size], self.seconds / self.pieces) for at in range(0, len(whole), size))
        return replace(response, parts=parts)


@dataclass(frozen=True, slots=True)
class ContentType:
    value: str

    async def respond(self, normal: Normal) -> Response:
        response = await normal()
        headers = {name: value for name, value in response.headers.items() if name != "content-type"}
        return replace(response, headers={**headers, "content-type": self.value} if self.value else headers)


@dataclass(frozen=True, slots=True)
class StreamError:
    after: int
    error_code: str
    message: str
    shape: Literal["databricks_output", "error", "app", "responses"]

    async def respond(self, normal: Normal) -> Response:
        response = await normal()
        if response.parts is None or not response.is_stream:
            return error_response(500, self.error_code, self.message)
        told = {"error_code": self.error_code, "message": self.message}
        shapes: dict[str, Any] = {
            "databricks_output": {"databricks_output": {"error": told}},
            "error": {"error": told},
            "app": {"error": self.message},
            "responses": {"type": "error", "code": self.error_code, "message": self.message},
        }
        return replace(response, parts=(*response.parts[: self.after], Part(event(shapes[self.shape]))))


@dataclass(frozen=True, slots=True)
class NoDone:
    async def respond(self, normal: Normal) -> Response:
        response = await normal()
        return replace(response, parts=tuple(part for part in response.parts if part.content != DONE) if response.parts else response.parts)


@dataclass(frozen=True, slots=True)
class Provider:
    provider: str
    status: int
    message: str
    error_type: str
    code: str | None

    async def respond(self, normal: Normal) -> Response:
        return provider_error(self.provider, self.status, self.message, error_type=self.error_type, code=self.code)


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
        after: Bytes of the body that still arrive, of a stream too; 0 for the head alone, None for not even a status line.
    """
    return Cut(after)


def slow(seconds: float) -> Fault:
    """A normal answer, that much later."""
    return Slow(seconds)


def drip(seconds: float, pieces: int = 10) -> Fault:
    """A normal answer whose head comes at once and whose body comes in so many pieces over that time."""
    if pieces < 1:
        raise ConfigurationError(f"drip(pieces={pieces}): a body comes in at least one piece.")
    return Drip(seconds, pieces)


def content_type(value: str) -> Fault:
    """A normal answer under another content type; an empty one for none."""
    return ContentType(value)


def stream_error(
    after: int = 1,
    error_code: str = "BAD_REQUEST",
    message: str = "Encountered an unexpected error while generating.",
    *,
    shape: Literal["databricks_output", "error", "app", "responses"] = "databricks_output",
) -> Fault:
    """A stream that begins well and ends with an error, under status 200. A call without a stream is answered 500.

    Args:
        after: Events that still come before it.
        error_code: The code in the error.
        message: The message in it.
        shape: How the error is written: as Model Serving does, as `{"error": {...}}`, as the servers of apps do, or as
            an event of the type "error".
    """
    return StreamError(after, error_code, message, shape)


def no_done() -> Fault:
    """A stream that just ends, without `[DONE]`."""
    return NoDone()


def provider(
    code: int = 400,
    message: str = "The provider refused the request.",
    *,
    name: str = "openai",
    error_type: str = "invalid_request_error",
    error_code: str | None = None,
) -> Fault:
    """An error of an external model's provider, as the workspace wraps it."""
    return Provider(name, code, message, error_type, error_code)


def ip_blocked(address: str = "203.0.113.7") -> Fault:
    """What a workspace with an IP access list answers to a caller that is not on it."""
    message = f"Source IP address: {address} is blocked by Databricks IP ACL for workspace: 1234567890"
    return Status(403, "PERMISSION_DENIED", message, None)


def at_rate(rate: float, *faults: Fault, seed: int = 0) -> AtRate:
    """Meets about this share of the calls with the fault, or with one of several; the same calls for the same seed."""
    if not 0 <= rate <= 1 or not faults:
        raise ConfigurationError(f"at_rate({rate}, {len(faults)} faults): give a share between 0 and 1, and at least one fault.")
    return AtRate(rate, faults, seed)


def malformed(text: str | None = None) -> Fault:
    """Status 200 with broken JSON: this text, or the first half of the normal body."""
    return Malformed(text)


def ok() -> Fault:
    """No fault: a normal answer, to place between others."""
    return Ok()
