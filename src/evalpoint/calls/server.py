"""A host that is called over HTTP: one pool of connections, one identity, the same care for every request."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from evalpoint.calls.accounts import Account, current_account
from evalpoint.calls.binding import bound
from evalpoint.calls.loop import retrying
from evalpoint.calls.replies import HttpReply, sentence_start
from evalpoint.calls.translation import refusal, translate, web_page
from evalpoint.calls.transport import deadline, new_session
from evalpoint.errors import ConfigurationError, UnusableReply, UsageError
from evalpoint.formats import dump_json
from evalpoint.protocols import Credentials

__all__ = ["MAX_BODY", "Server"]

MAX_BODY = 64 * 2**20
_MAX_ERROR_BODY = 64 * 2**10
_CHUNK = 64 * 2**10
_SUCCESS = range(200, 300)


@dataclass(slots=True)
class _Request:
    """One request with all its attempts; `corrected` says that fresh credentials have been tried."""

    method: str
    url: str
    headers: Mapping[str, Any]
    body: bytes | None = field(repr=False)
    what: str
    accept: Container[int] | None
    max_body: int
    corrected: bool = False


class Server:
    """A host, asked from any thread. Every request waits for a permit, is tried again where that may help, and is accounted for.

    Redirects are not followed, cookies are not kept, and the credentials go to this host only.

    Args:
        base_url: `https://host[:port][/prefix]`.
        credentials: Who is calling; asked at every request. None for nobody.
        headers: Sent with every request.
        name: What messages call it, such as `workspace https://…`.
        clock: Monotonic seconds.
        sleep: Waits that many seconds.
        rng: Uniform numbers from 0 to below 1.

    Raises:
        ConfigurationError: The address is none.
    """

    def __init__(
        self,
        base_url: str,
        *,
        credentials: Credentials | None = None,
        headers: Mapping[str, str] | None = None,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._origin = _origin(base_url)
        self.base_url = base_url.rstrip("/")
        self.name = name
        self._credentials = credentials
        self._clock = clock
        self._sleep = sleep
        self._rng = rng
        session = new_session()
        self._headers: Mapping[str, Any] = {**session.headers, **(headers or {})}
        self._adapter: Any = session.get_adapter(self.base_url)  # Any: what comes from the environment is checked by requests
        # Proxies and certificates come from the environment, once: looking them up is slower than all the rest of a request.
        # ~/.netrc is never asked, because requests are prepared without the session.
        environment: Mapping[str, Any] = session.merge_environment_settings(self.base_url, {}, True, None, None)
        self._environment = {key: environment[key] for key in ("proxies", "verify", "cert")}

    def request(
        self,
        method: str,
        path_or_url: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        what: str | None = None,
        accept: Container[int] | None = None,
        max_body: int = MAX_BODY,
    ) -> HttpReply:
        """Sends a request and returns the complete answer.

        Args:
            method: `GET`, `POST`, …
            path_or_url: `/path` below the base address, or an address on the same host.
            body: Bytes as they are; anything else as JSON.
            headers: For this request, over the server's own.
            what: Who is asked, for messages and permits, such as `endpoint 'chat'`; by default the server's name.
            accept: Statuses that are answers; they come back as they are, web pages too. By default 200 to 299, and a web page is an error.
            max_body: Bytes of the answer that are read at most.

        Raises:
            CallError: No usable answer, after all that may be tried.
            UsageError: The body is no JSON, or the address is on another host.
        """
        payload, kind = _encoded(body)
        request = _Request(
            method=method.upper(),
            url=self._url(path_or_url),
            headers={**self._headers, **kind, **(headers or {})},
            body=payload,
            what=what or self.name,
            accept=accept,
            max_body=max_body,
        )
        identity = self._credentials.key if self._credentials else "anonymous"
        return retrying(
            lambda seconds: self._attempt(request, seconds),
            key=f"{request.what} at {self.base_url} as {identity}",
            clock=self._clock,
            sleep=self._sleep,
            rng=self._rng,
        )

    def __repr__(self) -> str:
        return f"Server({self.base_url!r}, name={self.name!r})"

    def _attempt(self, request: _Request, seconds: float) -> HttpReply:
        """One attempt: the request, and once per call the same with fresh credentials when these were refused."""
        used = current_account() or Account()
        begun = self._clock()
        until = begun + seconds
        sent = dict(self._credentials.headers()) if self._credentials else {}
        reply = self._exchange(request, sent, until - self._clock())
        if reply.status == 401 and self._credentials is not None and not request.corrected:
            request.corrected = True
            self._credentials.refresh(sent)
            sent = dict(self._credentials.headers())
            used.correct()
            used.attempt()
            reply = self._exchange(request, sent, until - self._clock())
        secrets = tuple(sent.values())
        if reply.status not in (_SUCCESS if request.accept is None else request.accept):
            raise refusal(reply, place=self.base_url, secrets=secrets)
        page = web_page(reply, place=self.base_url) if request.accept is None else None
        if page is not None:
            raise page
        used.lose(self._clock() - begun - reply.latency_ms / 1000)
        return reply

    def _exchange(self, request: _Request, credentials: Mapping[str, str], seconds: float) -> HttpReply:
        """One request on the wire and its complete answer, whatever its status."""
        seconds = max(seconds, 0.001)
        connect = min(bound().connect_timeout, seconds)
        begun = self._clock()
        try:
            prepared: Any = requests.PreparedRequest()
            prepared.prepare(request.method, request.url, headers={**request.headers, **credentials}, data=request.body)
            with deadline(seconds):
                response: requests.Response = self._adapter.send(prepared, stream=True, timeout=(connect, seconds), **self._environment)
                try:
                    body = _read(response, request)
                finally:
                    response.close()
        except (requests.RequestException, HTTPError, OSError, UnicodeError) as error:
            # Its own chain holds the request with its headers: the words are kept, the objects are not.
            raise translate(error, what=request.what, place=self.base_url, seconds=seconds, secrets=credentials.values()) from None
        return HttpReply(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=body,
            latency_ms=(self._clock() - begun) * 1000,
            what=request.what,
        )

    def _url(self, path_or_url: str) -> str:
        if "://" not in path_or_url.partition("?")[0]:
            return f"{self.base_url}/{path_or_url.lstrip('/')}"
        if _origin(path_or_url) != self._origin:
            raise UsageError(
                f"{path_or_url!r} is not on {self.base_url}, and the credentials of {self.name} go nowhere else. Use a server of its own."
            )
        return path_or_url


def _read(response: requests.Response, request: _Request) -> bytes:
    """The body, bounded; of a refusal only its beginning, as far as it comes."""
    refused = response.status_code not in (_SUCCESS if request.accept is None else request.accept)
    limit = _MAX_ERROR_BODY if refused else request.max_body
    parts: list[bytes] = []
    size = 0
    response.raw.enforce_content_length = True  # older versions of urllib3 take a body that is cut off for a whole one
    try:
        for part in response.iter_content(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > limit:
                break
    except (requests.RequestException, HTTPError, OSError):
        if not refused:
            raise
        # The status says more than the lost rest of its explanation.
    body = b"".join(parts)
    if size <= limit:
        return body
    if refused:
        return body[:limit]
    raise UnusableReply(
        f"{sentence_start(request.what)} answered with more than {limit:,} bytes; the rest was not read. Ask for less at once.",
        status=response.status_code,
    )


def _encoded(body: Any) -> tuple[bytes | None, Mapping[str, str]]:
    """The body's bytes and the header that names their kind."""
    if body is None or isinstance(body, bytes):
        return body, {}
    try:
        text = dump_json(body)
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can only hold escaped
            data = json.dumps(body, allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        why = "it nests too deeply, or contains itself" if isinstance(error, RecursionError) else str(error)
        raise UsageError(
            f"The request is no JSON: {why}. Send plain values: dicts, lists, text, finite numbers, booleans and None."
        ) from None
    return data, {"Content-Type": "application/json"}


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port, as they are compared.

    Raises:
        ConfigurationError: It is no web address, or it carries a password.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise ConfigurationError(f"{url!r} is no web address: {error}.") from None
    if scheme not in ("http", "https") or not host or "\\" in url:
        raise ConfigurationError(f"{url!r} is no web address: it should look like https://host.")
    if parts.username or parts.password:
        raise ConfigurationError(f"The address of {host!r} carries a user name or a password; credentials belong elsewhere.")
    return scheme, host, port or (443 if scheme == "https" else 80)
