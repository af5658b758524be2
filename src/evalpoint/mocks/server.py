"""A real HTTP server on loopback in a thread of its own: values in, values out, stopped without a trace."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from evalpoint.errors import EvalpointError, MissingExtra
from evalpoint.mocks.exchange import NOTHING, Part, Request, Response

if TYPE_CHECKING:
    import uvicorn

__all__ = ["Answering", "LoopbackServer"]

Answering = Callable[[Request], Awaitable[Response]]
"""What a server serves: every request becomes a response; it runs on the server's own event loop."""

HOST = "127.0.0.1"
START_SECONDS = 10.0
STOP_SECONDS = 10.0
_log = logging.getLogger("evalpoint.mocks")


class LoopbackServer:
    """One server on 127.0.0.1. `start` returns when it listens; `stop` when nothing of it is left.

    Args:
        answer: Makes the response to each request.
        port: The port to listen on; 0 for any that is free.
    """

    def __init__(self, answer: Answering, port: int = 0) -> None:
        self._answer = answer
        self._port = port
        self._connections: dict[tuple[str, int], asyncio.Transport] = {}
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Listens, and gives the address.

        Raises:
            MissingExtra: uvicorn is not installed.
        """
        server = _server_class()(self)
        listening = socket.create_server((HOST, self._port), backlog=1024)
        address = f"http://{HOST}:{listening.getsockname()[1]}"
        self._thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), name="evalpoint-mock", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise EvalpointError(f"The mock server did not start within {START_SECONDS:g} s; the machine may be overloaded.")
        return address

    def stop(self) -> None:
        """Closes every connection, cancels what is under way and ends the thread."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_SECONDS)
        self._thread = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI interface, which is where uvicorn's untyped messages end."""
        client: tuple[str, int] = (str(scope["client"][0]), int(scope["client"][1]))
        chunks: list[bytes] = []
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        request = Request(method=scope["method"], path=scope["path"], headers=headers, content=b"".join(chunks), client=client, query=query)
        response = await self._answer(request)
        if response.cut_after == NOTHING:
            await self._hang_up(client, receive)
            return
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
        if not response.is_stream:
            raw.append((b"content-length", str(len(response.whole)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": raw})
        if response.parts is None and response.cut_after is None:
            await send({"type": "http.response.body", "body": response.content})
            return
        if await self._sent(response, send):
            await send({"type": "http.response.body", "body": b""})
            return
        await self._hang_up(client, receive)

    async def _sent(self, response: Response, send: Any) -> bool:
        """Sends the body part by part; False where it is to be cut off before its end."""
        left = response.cut_after
        for part in (Part(response.content),) if response.parts is None else response.parts:
            if part.delay > 0:
                await asyncio.sleep(part.delay)
            content = part.content if left is None else part.content[:left]
            if content:
                await send({"type": "http.response.body", "body": content, "more_body": True})
            if left is not None:
                left -= len(content)
                if left <= 0:
                    return False
        return left is None

    async def _hang_up(self, client: tuple[str, int], receive: Any) -> None:
        """Closes the caller's connection, and waits until the server has noticed."""
        transport = self._connections.get(client)
        if transport is not None:
            transport.close()
        while (await receive())["type"] != "http.disconnect":
            pass

    # Called by the server class below, on its event loop.

    def connected(self, transport: asyncio.Transport) -> None:
        # asyncio does this only for sockets that were opened with the protocol named; else each answer waits 40 ms for an acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = transport.get_extra_info("peername")
        if peer:
            self._connections[(str(peer[0]), int(peer[1]))] = transport

    def disconnected(self, transport: asyncio.Transport) -> None:
        self._connections = {client: other for client, other in self._connections.items() if other is not transport}

    async def until_stopped(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._stopping.wait()

    def hang_up_all(self) -> None:
        for transport in list(self._connections.values()):
            transport.abort()


def _server_class() -> Callable[[LoopbackServer], uvicorn.Server]:
    """uvicorn's server, made to start and stop at once. Imported here because only a running mock needs it."""
    try:
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol
    except ImportError as error:
        raise MissingExtra("The mock workspace", "ui") from error

    def make(owner: LoopbackServer) -> uvicorn.Server:
        class Protocol(H11Protocol):
            """Tells its owner about connections, so that they can be cut, and keeps uvicorn's loggers out of it."""

            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                self.logger, self.access_log = _log, False
                owner.connected(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                owner.disconnected(self.transport)
                super().connection_lost(exc)

        class Server(uvicorn.Server):
            """Waits for an event instead of polling, and closes connections instead of waiting for their clients."""

            async def main_loop(self) -> None:
                await owner.until_stopped()

            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                for listener in self.servers:
                    listener.close()
                for listening in sockets or []:
                    listening.close()
                tasks = list(self.server_state.tasks)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                owner.hang_up_all()
                while self.server_state.connections:
                    await asyncio.sleep(0)

        settings: dict[str, Any] = {"http": Protocol, "loop": "asyncio", "ws": "none", "lifespan": "off", "log_config": None}
        return Server(uvicorn.Config(owner, **settings, proxy_headers=False, server_header=False, date_header=False))

    return make
