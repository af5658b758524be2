"""`http(s)://…`: `mlflow models serve`, OpenAI-compatible servers, and anything that takes a POST of JSON and answers with JSON."""

from __future__ import annotations

import base64
import contextvars
import hashlib
import re
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from evalpoint.calls import HttpReply, Server, bind
from evalpoint.endpoints.answers import Answer, answer_from, ask_once
from evalpoint.endpoints.description import Description, Kind
from evalpoint.endpoints.endpoint import chat_payload
from evalpoint.endpoints.waking import Patience
from evalpoint.errors import AccessDenied, CallError, ConfigurationError, UnusableReply
from evalpoint.formats import is_dict, is_list
from evalpoint.formats.narrowing import is_tuple
from evalpoint.protocols import Credentials
from evalpoint.settings import Settings
from evalpoint.workspace import own_workspace

__all__ = ["Auth", "WebServer", "own_endpoint", "web_server"]

Auth = str | tuple[str, str] | Callable[[], Mapping[str, str]]
"""A bearer token, a user's name and password, or a function that gives the headers of a request."""

_SWIFT = Settings(max_retries=0, connect_timeout=4.0, attempt_timeout=5.0, call_timeout=6.0)
_ANY_STATUS = range(100, 600)
_SALT = secrets.token_bytes(16)
_SUFFIXES = (
    ("/chat/completions", Kind.CHAT),
    ("/completions", Kind.COMPLETIONS),
    ("/embeddings", Kind.EMBEDDINGS),
    ("/responses", Kind.RESPONSES),
    ("/invocations", Kind.CUSTOM),
)
_OPENAI: Mapping[Kind, str] = {kind: suffix for suffix, kind in _SUFFIXES if kind is not Kind.CUSTOM}
_OPENAI_BASE = re.compile(r"/v\d+(beta\d*)?$|/serving-endpoints$")
_OWN_ENDPOINT = re.compile(r"/serving-endpoints/([^/]+)(?:/served-models/([^/]+))?/invocations/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a server answers, and what it takes there."""

    origin: str
    path: str
    kind: Kind
    base: str | None = None
    """The base path of an OpenAI-compatible server."""


class WebCredentials:
    """The caller's own headers, kept out of every message. A function is asked at every request, so that it may renew its tokens."""

    def __init__(self, headers: Mapping[str, str], auth: Auth | None) -> None:
        self._headers = dict(headers)
        self._function = auth if callable(auth) else None
        if isinstance(auth, str):
            self._headers["Authorization"] = f"Bearer {auth}"
        elif is_tuple(auth):
            user, password = auth
            self._headers["Authorization"] = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
        identity = f"{sorted(self._headers.items())} {id(self._function)}"
        self.key = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), key=_SALT, digest_size=6).hexdigest()

    def headers(self) -> Mapping[str, str]:
        """The headers of one request.

        Raises:
            AccessDenied: The caller's function gives none.
        """
        if self._function is None:
            return self._headers
        try:
            given: Any = self._function()
        except Exception as error:  # noqa: BLE001 - the function is the caller's, and may raise anything; its words may hold a secret
            raise AccessDenied(f"The function that was given as auth= raised {type(error).__name__}; it should return headers.") from None
        if not _is_headers(given):
            raise AccessDenied(f"The function that was given as auth= returned {type(given).__name__}; it should return a dict of headers.")
        return {**self._headers, **given}

    def refresh(self, rejected: Mapping[str, str]) -> None:
        """Nothing is kept: `headers` asks anew."""

    def __repr__(self) -> str:
        return f"WebCredentials({self.key!r})"


class WebServer:
    """Asks a server on the web. It gets a row's payload and none of the fields that only Databricks knows."""

    def __init__(self, uri: str, place: _Place, server: Server, *, model: str | None) -> None:
        self._uri = uri
        self._place = place
        self._server = server
        self._model = model
        self._looked_for_model = False
        self._lock = threading.Lock()
        self._title = f"{urlsplit(place.path).path or '/'} of {place.origin.partition('://')[2]}"

    @property
    def name(self) -> str:
        return self._title.partition(" of ")[2]

    @property
    def kind(self) -> Kind:
        return self._place.kind

    @property
    def uri(self) -> str:
        """The address without its query, which may hold a key."""
        return self._uri

    @property
    def host(self) -> str:
        return self._place.origin

    @property
    def description(self) -> Description | None:
        """Servers on the web do not describe themselves."""
        return None

    def __repr__(self) -> str:
        return f"<{self._title} ({self.kind.value})>"

    def chat_payload(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """The messages as this server takes them."""
        return chat_payload(messages, self.kind, endpoint=self.name)

    def check(self, payload: Mapping[str, Any]) -> None:
        """Nobody knows its limits."""

    def invoke(
        self,
        payload: Mapping[str, Any],
        *,
        trace: bool = False,
        request_id: str | None = None,
        stream: bool = False,
        usage_context: Mapping[str, str] | None = None,
    ) -> Answer:
        """One question, one answer. Only the payload is sent; to an OpenAI-compatible server with a model, when it names none.

        Raises:
            CallError: No usable answer came.
            UsageError: The payload is no JSON.
        """
        body = dict(payload)
        if self._place.base is not None and "model" not in body:
            model = self._default_model()
            if model is not None:
                body["model"] = model
        answered = ask_once(self._server, self._place.path, body, what=self._title, kind=self.kind, stream=stream)
        answer = answer_from(answered)
        why = None if answer.trace else "The server is none of a workspace's, so it was not asked for a trace."
        return replace(answer, trace_note=why)

    def _default_model(self) -> str | None:
        """The model that was named, or the first one that the server lists; asked for once."""
        with self._lock:
            if self._model is None and not self._looked_for_model:
                self._looked_for_model = True
                self._model = next(iter(_models(_glance(self._server, f"{self._place.base}/models"))), None)
            return self._model


def web_server(
    url: str, *, where: Any, kind: Kind | None, model: str | None, headers: Mapping[str, str] | None, auth: Auth | None, patience: Patience
) -> WebServer:
    """The server at this address.

    A path that says what it is (`/invocations`, `…/chat/completions`, `…/v1`) is believed; a bare address is asked, with GETs, whether
    it is an OpenAI-compatible server, an agent server or `mlflow models serve`; any other path takes a row's inputs as they are.
    With neither `headers` nor `auth`, an address on the workspace's own host is called with its credentials, and no other address is.

    Raises:
        ConfigurationError: The address is none, nothing answers there, or `headers` or `auth` cannot be used.
    """
    origin, path, query = _parts(url)
    _must_be_usable(headers, auth)
    server: Server | None = None
    if headers is None and auth is None:
        own = own_workspace(url, where)
        if own is not None:
            server = own.server
        elif where is not None:
            patience.tell(
                f"{origin} is no host of the workspace that workspace= names, so its token is not sent there; headers= and auth= would be."
            )
    if server is None:
        _must_listen(origin)
        credentials: Credentials | None = None if headers is None and auth is None else WebCredentials(headers or {}, auth)
        server = Server(origin, credentials=credentials, name=f"the server {origin}")
    place = _place(origin, path, query, kind, server)
    if model is not None and place.base is None:
        raise ConfigurationError(f"served_model= names the model of an OpenAI-compatible server, and {origin}{path} is not known as one.")
    return WebServer(f"{origin}{path}", place, server, model=model)


def own_endpoint(url: str, where: Any) -> tuple[str, str | None] | None:
    """Name and served model of the serving endpoint whose address this is, on the workspace's own host; None of any other address."""
    _, path, _ = _parts(url)
    found = _OWN_ENDPOINT.fullmatch(path)
    if found is None or own_workspace(url, where) is None:
        return None
    return unquote(found[1]), unquote(found[2]) if found[2] else None


def _parts(url: str) -> tuple[str, str, str]:
    """Origin, path and query of an address."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"{url[:200]!r} is no web address: {error}.") from None
    if not host:
        raise ConfigurationError(f"{url[:200]!r} is no web address: it should look like http://host:port/path.")
    if parts.username or parts.password:
        raise ConfigurationError(f"The address of {host!r} carries a user name or a password; give them as auth=(user, password).")
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme.lower()}://{named}{f':{port}' if port else ''}", quote(parts.path, safe="/%:@!$&'()*+,;=~-._"), parts.query


def _place(origin: str, path: str, query: str, kind: Kind | None, server: Server) -> _Place:
    bare = path.rstrip("/")
    if _OPENAI_BASE.search(bare):
        return _openai(origin, bare, kind)
    for suffix, serves in _SUFFIXES:
        if bare.endswith(suffix):
            base = bare.removesuffix(suffix) if serves is not Kind.CUSTOM else None
            return _Place(origin=origin, path=_with_query(path, query), kind=kind or serves, base=base)
    if bare == "" and not query:
        return _found(origin, kind, server)
    return _Place(origin=origin, path=_with_query(path, query), kind=kind or Kind.JSON)


def _openai(origin: str, base: str, kind: Kind | None) -> _Place:
    serves = kind or Kind.CHAT
    return _Place(origin=origin, path=f"{base}{_OPENAI.get(serves, '/chat/completions')}", kind=serves, base=base)


def _found(origin: str, kind: Kind | None, server: Server) -> _Place:
    """What stands at a bare address, found out without running any model: by GET, where 405 says that a POST would do."""
    if kind is None or kind in _OPENAI:
        reply = _glance(server, "/v1/models")
        if _models(reply) or (reply is not None and reply.status in (401, 403)):
            return _openai(origin, "/v1", kind)
    for path, serves in (("/responses", Kind.RESPONSES), ("/invocations", Kind.CUSTOM)):
        if kind in (None, serves) or (path == "/invocations" and kind is not Kind.JSON):
            reply = _glance(server, path)
            if reply is not None and reply.status == 405:
                return _Place(origin=origin, path=path, kind=kind or serves)
    return _Place(origin=origin, path="/", kind=kind or Kind.JSON)


def _glance(server: Server, path: str) -> HttpReply | None:
    """The answer to a GET, whatever it is; None when there is none."""

    def ask() -> HttpReply | None:
        with bind(_SWIFT):
            try:
                return server.request("GET", path, accept=_ANY_STATUS, max_body=2**22)
            except CallError:
                return None

    # A context of its own: this call belongs to no row's account or limits.
    return contextvars.Context().run(ask)


def _models(reply: HttpReply | None) -> list[str]:
    """The models that an OpenAI-compatible server lists."""
    if reply is None or reply.status != 200:
        return []
    try:
        body: Any = reply.json()
    except UnusableReply:
        return []
    listed: Any = body.get("data") if is_dict(body) else None
    return [str(each["id"]) for each in listed if is_dict(each) and each.get("id")] if is_list(listed) else []


def _with_query(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


def _must_listen(origin: str) -> None:
    """Nothing is sent: whether somebody listens is known from the connection. Behind a proxy it cannot be known."""
    parts = urlsplit(origin)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    proxies = getproxies()
    if (proxies.get(parts.scheme) or proxies.get("all")) and not proxy_bypass(f"{host}:{port}"):
        return
    try:
        socket.create_connection((host, port), timeout=5.0).close()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ConfigurationError(
            f"Nothing answers at {origin}: {why}. Is the server running, and is this its address? "
            "Behind a proxy, set HTTPS_PROXY or HTTP_PROXY."
        ) from None


def _must_be_usable(headers: Any, auth: Any) -> None:
    if headers is not None and not _is_headers(headers):
        raise ConfigurationError("headers= should be a dict of texts, such as {'X-Api-Key': '…'}.")
    if auth is None or (isinstance(auth, str) and auth.strip()) or callable(auth):
        return
    if not is_tuple(auth) or len(auth) != 2 or not all(isinstance(each, str) for each in auth):
        raise ConfigurationError(
            f"auth= takes a bearer token, a (user, password) tuple, or a function that returns headers, not {type(auth).__name__}."
        )


def _is_headers(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(isinstance(key, str) and isinstance(each, str) for key, each in value.items())  # pyright: ignore[reportUnknownVariableType] - checked here
