"""One request on the wire: what is sent, and an answer whose head is here and whose body is still to be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from evalpoint.calls.redaction import hide, hide_bytes
from evalpoint.calls.renewing import renewal
from evalpoint.calls.replies import HttpReply, sentence_start
from evalpoint.calls.translation import translate
from evalpoint.calls.transport import deadline
from evalpoint.errors import CallError, UnusableReply, UsageError
from evalpoint.formats import dump_json

__all__ = ["FOREIGN", "SUCCESS", "Opened", "Request", "encoded"]

FOREIGN = (requests.RequestException, HTTPError, OSError, UnicodeError)
"""What requests, urllib3 and the socket below them raise."""
SUCCESS = range(200, 300)
_MAX_ERROR_BODY = 64 * 2**10
_CHUNK = 64 * 2**10


@dataclass(slots=True)
class Request:
    """One request with all its attempts; `corrected` says that fresh credentials have been tried."""

    method: str
    url: str
    headers: Mapping[str, Any]
    value: Any = field(repr=False)
    """The body as it was given."""
    body: bytes | None = field(repr=False)
    """The same as bytes."""
    what: str
    accept: Container[int] | None
    max_body: int
    corrected: bool = False

    def bytes_to_send(self) -> bytes | None:
        """The body of one attempt: always the same, except where a renewal is bound."""
        renew = renewal()
        if renew is None or self.value is None or isinstance(self.value, bytes):
            return self.body
        renewed = renew(self.value)
        return self.body if renewed is self.value else encoded(renewed)

    def accepts(self, status: int) -> bool:
        return status in (SUCCESS if self.accept is None else self.accept)


@dataclass(slots=True, kw_only=True)
class Opened:
    """An answer of which status and headers have come. The exchange's deadline holds for its body too."""

    request: Request
    response: requests.Response = field(repr=False)
    place: str
    secrets: tuple[str, ...] = field(repr=False)
    clock: Callable[[], float]
    begun: float
    until: float

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """Their names are in lower case."""
        return {name.lower(): value for name, value in self.response.headers.items()}

    @property
    def elapsed_ms(self) -> float:
        """Since the first byte was sent."""
        return (self.clock() - self.begun) * 1000

    def whole(self) -> HttpReply:
        """The complete answer.

        Raises:
            CallError: The body does not come, or has no end.
        """
        refused = not self.request.accepts(self.status)
        try:
            with deadline(self.left()):
                body = self._body(_MAX_ERROR_BODY if refused else self.request.max_body, refused=refused)
        except FOREIGN as error:
            raise self.failure(error) from None
        finally:
            self.response.close()
        latency = self.elapsed_ms
        headers = {name: hide(value, self.secrets) for name, value in self.headers.items()}
        return HttpReply(
            status=self.status, headers=headers, body=hide_bytes(body, self.secrets), latency_ms=latency, what=self.request.what
        )

    def left(self) -> float:
        """Seconds until the deadline; sockets read 0 as "do not wait at all"."""
        return max(self.until - self.clock(), 0.001)

    def failure(self, error: BaseException) -> CallError:
        """What broke the exchange, in our words. The error's own chain holds the request with its headers: it is not kept."""
        seconds = self.until - self.begun
        return translate(error, what=self.request.what, place=self.place, seconds=seconds, secrets=self.secrets)

    def too_large(self) -> UnusableReply:
        return UnusableReply(
            f"{sentence_start(self.request.what)} answered with more than {self.request.max_body:,} bytes; the rest was not read. "
            "Ask for less at once.",
            status=self.status,
        )

    def _body(self, limit: int, *, refused: bool) -> bytes:
        """The body, bounded; of a refusal only its beginning, as far as it comes."""
        parts: list[bytes] = []
        size = 0
        self.response.raw.enforce_content_length = True  # older versions of urllib3 take a body that is cut off for a whole one
        try:
            for part in self.response.iter_content(_CHUNK):
                parts.append(part)
                size += len(part)
                if size > limit:
                    break
        except (requests.RequestException, HTTPError, OSError):
            if not refused:
                raise
            # The status says more than the lost rest of its explanation.
        if size > limit and not refused:
            raise self.too_large()
        return b"".join(parts)[:limit]


def encoded(body: Any) -> bytes | None:
    """A body's bytes: those given, or the JSON of anything else.

    Raises:
        UsageError: It is no JSON.
    """
    if body is None or isinstance(body, bytes):
        return body
    try:
        text = dump_json(body)
        try:
            return text.encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can only hold escaped
            return json.dumps(body, allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        why = "it nests too deeply, or contains itself" if isinstance(error, RecursionError) else str(error)
        raise UsageError(
            f"The request is no JSON: {why}. Send plain values: dicts, lists, text, finite numbers, booleans and None."
        ) from None
