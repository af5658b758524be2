"""A host that is called over HTTP: one pool of connections, one identity, the same care for every request."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Container, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from evalpoint.calls.accounts import Account, current_account
from evalpoint.calls.binding import bound
from evalpoint.calls.exchanges import FOREIGN, Opened, Request, encoded
from evalpoint.calls.loop import retrying
from evalpoint.calls.replies import HttpReply
from evalpoint.calls.streams import ByteStream
from evalpoint.calls.translation import refusal, translate, web_page
from evalpoint.calls.transport import deadline, new_session
from evalpoint.errors import ConfigurationError, UsageError
from evalpoint.protocols import Credentials

__all__ = ["MAX_BODY", "Server"]

MAX_BODY = 64 * 2**20

T = TypeVar("T")


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
        request = self._request(method, path_or_url, body, headers, what=what, accept=accept, max_body=max_body)
        return self._retrying(request, Opened.whole)

    @contextmanager
    def stream(
        self,
        method: str,
        path_or_url: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        what: str | None = None,
        max_body: int = MAX_BODY,
    ) -> Generator[ByteStream]:
        """Sends a request and hands out the answer's bytes as they arrive, with the care of `request`.

        Until the first bytes of the body are here the call is tried again where that may help; after them nothing is. The permit
        is kept, and the attempt's deadline holds, until the block ends.

        Args:
            method: `POST`, …
            path_or_url: `/path` below the base address, or an address on the same host.
            body: Bytes as they are; anything else as JSON.
            headers: For this request, over the server's own.
            what: Who is asked, for messages and permits; by default the server's name.
            max_body: Bytes of the answer that are read at most.

        Raises:
            CallError: No answer, after all that may be tried; and from the bytes themselves, when they break off.
            UsageError: The body is no JSON, or the address is on another host.
        """
        plain = {"Accept-Encoding": "identity", **(headers or {})}  # what is compressed comes in lumps
        request = self._request(method, path_or_url, body, plain, what=what, accept=None, max_body=max_body)
        with ExitStack() as held:
            stream = self._retrying(request, ByteStream, held=held)
            held.callback(stream.close)
            try:
                yield stream
            except BaseException:
                (current_account() or Account()).lose(stream.elapsed_ms / 1000)
                raise

    def __repr__(self) -> str:
        return f"Server({self.base_url!r}, name={self.name!r})"

    def _request(
        self,
        method: str,
        path_or_url: str,
        body: Any,
        headers: Mapping[str, str] | None,
        *,
        what: str | None,
        accept: Container[int] | None,
        max_body: int,
    ) -> Request:
        kind = {} if body is None or isinstance(body, bytes) else {"Content-Type": "application/json"}
        return Request(
            method=method.upper(),
            url=self._url(path_or_url),
            headers={**self._headers, **kind, **(headers or {})},
            value=body,
            body=encoded(body),
            what=what or self.name,
            accept=accept,
            max_body=max_body,
        )

    def _retrying(self, request: Request, read: Callable[[Opened], T], held: ExitStack | None = None) -> T:
        identity = self._credentials.key if self._credentials else "anonymous"
        return retrying(
            lambda seconds: self._attempt(request, seconds, read),
            key=f"{request.what} at {self.base_url} as {identity}",
            clock=self._clock,
            sleep=self._sleep,
            rng=self._rng,
            held=held,
        )

    def _attempt(self, request: Request, seconds: float, read: Callable[[Opened], T]) -> T:
        """One attempt: the request, and once per call the same with fresh credentials when these were refused."""
        used = current_account() or Account()
        begun = self._clock()
        until = begun + seconds
        sent = dict(self._credentials.headers()) if self._credentials else {}
        opened = self._open(request, sent, until)
        if opened.status == 401 and self._credentials is not None and not request.corrected:
            opened.whole()  # so that the connection can be used again
            request.corrected = True
            self._credentials.refresh(sent)
            sent = dict(self._credentials.headers())
            used.correct()
            used.attempt()
            opened = self._open(request, sent, until)
        if not request.accepts(opened.status):
            raise refusal(opened.whole(), place=self.base_url, secrets=opened.secrets)
        page = web_page(opened.headers, status=opened.status, what=request.what, place=self.base_url) if request.accept is None else None
        if page is not None:
            opened.response.close()
            raise page
        try:
            answer = read(opened)
        except BaseException:
            opened.response.close()
            raise
        used.lose(opened.begun - begun)
        return answer

    def _open(self, request: Request, credentials: Mapping[str, str], until: float) -> Opened:
        """One request on the wire, and the head of its answer, whatever its status."""
        begun = self._clock()
        seconds = max(until - begun, 0.001)
        connect = min(bound().connect_timeout, seconds)
        body = request.bytes_to_send()
        secrets = tuple(credentials.values())
        try:
            prepared: Any = requests.PreparedRequest()
            prepared.prepare(request.method, request.url, headers={**request.headers, **credentials}, data=body)
            with deadline(seconds):
                response: requests.Response = self._adapter.send(prepared, stream=True, timeout=(connect, seconds), **self._environment)
        except FOREIGN as error:
            # Its own chain holds the request with its headers: the words are kept, the objects are not.
            raise translate(error, what=request.what, place=self.base_url, seconds=seconds, secrets=secrets) from None
        return Opened(
            request=request, response=response, place=self.base_url, secrets=secrets, clock=self._clock, begun=begun, until=begun + seconds
        )

    def _url(self, path_or_url: str) -> str:
        if "://" not in path_or_url.partition("?")[0]:
            return f"{self.base_url}/{path_or_url.lstrip('/')}"
        if _origin(path_or_url) != self._origin:
            raise UsageError(
                f"{path_or_url!r} is not on {self.base_url}, and the credentials of {self.name} go nowhere else. Use a server of its own."
            )
        return path_or_url


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
