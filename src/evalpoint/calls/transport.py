"""Connections that keep one deadline over a whole exchange, sending and receiving: a server that drips cannot stretch it.

requests and urllib3 know only a limit for each single read. Here every read and write of a socket may take what is left of the
exchange's deadline, for headers and body, with and without TLS.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager

__all__ = ["deadline", "new_session"]

_POOL_SIZE = 256
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *((socket.IPPROTO_TCP, getattr(socket, name), 60) for name in ("TCP_KEEPIDLE",) if hasattr(socket, name)),
]
"""An endpoint may think for five minutes; load balancers drop connections that are silent for four."""

_deadline: ContextVar[float | None] = ContextVar("evalpoint_exchange_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Generator[None]:
    """Reads and writes of sockets on this context end by then, with a `TimeoutError`."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def _allow(sock: Any) -> None:
    """Lets the socket's next operation take what is left."""
    until = _deadline.get()
    if until is not None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the exchange's deadline has passed")
        sock.settimeout(left)


class _TimedReader(io.RawIOBase):
    """A socket's reading end; every read keeps the deadline."""

    def __init__(self, sock: Any) -> None:
        super().__init__()
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _allow(self._sock)
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _TimedSocket:
    """A connected socket, as `http.client` uses it; everything but reading and writing is the socket's own."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, mode: str, *args: Any, **kwargs: Any) -> Any:
        return io.BufferedReader(_TimedReader(self._sock)) if mode == "rb" else self._sock.makefile(mode, *args, **kwargs)

    def sendall(self, data: Any, *args: Any) -> None:
        _allow(self._sock)
        self._sock.sendall(data, *args)


class _Connection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = _TimedSocket(self.sock)


class _SecureConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = _TimedSocket(self.sock)


class _Pool(HTTPConnectionPool):
    ConnectionCls: Any = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls: Any = _SecureConnection


class _Adapter(HTTPAdapter):
    """requests' own adapter, over connections that keep a deadline."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, socket_options=_SOCKET_OPTIONS, **kwargs)
        _use_our_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        if type(manager) is ProxyManager:  # a SOCKS manager has pools of its own: there only single reads are limited
            _use_our_pools(manager)
        return manager


def _use_our_pools(manager: PoolManager) -> None:
    pools: dict[str, Any] = {"http": _Pool, "https": _SecurePool}
    manager.pool_classes_by_scheme = pools


def new_session() -> requests.Session:
    """A session for many threads that retries nothing, and lets a caller who finds the pool full open one more connection.

    Requests go to its adapter, past the session's own `send`: that would store cookies and read redirects to the end.
    """
    session = requests.Session()
    adapter = _Adapter(max_retries=0, pool_connections=4, pool_maxsize=_POOL_SIZE, pool_block=False)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session
