"""Streams over real sockets: what arrives when, what is tried again, and what is held until the end."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from evalpoint.calls import Server, account, bind, permits, renewing
from evalpoint.errors import Broken, CallTimeout, Rejected, Throttled, UnusableReply, UsageError
from evalpoint.settings import Settings

Raw = Callable[[Callable[[socket.socket], None]], str]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
SECRET = "a-very-secret-token"


class Token:
    key = "test:1"

    def __init__(self) -> None:
        self.refreshed = 0

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {SECRET}-{self.refreshed}"}

    def refresh(self, rejected: Mapping[str, str]) -> None:
        self.refreshed += 1


def server(url: str, **kwargs: Any) -> Server:
    return Server(url, name="the test server", **{"sleep": lambda _: None, **kwargs})


def test_pieces_come_as_they_arrive(raw: Raw) -> None:
    """No piece waits for the next one, whatever its size; the first one's time is told, and goes on to count."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Connection: close\r\n\r\n")
        for piece in (b"a", b"b", b"c" * 50_000):
            time.sleep(0.1)
            connection.sendall(piece)

    arrived: list[tuple[float, int]] = []
    with account() as used, server(raw(talk)).stream("POST", "/ask") as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
        arrived.extend((stream.elapsed_ms, len(piece)) for piece in stream)
        first = stream.first_byte_ms
    assert [size for _, size in arrived[:2]] == [1, 1]
    assert sum(size for _, size in arrived) == 50_002
    assert 95 <= first <= arrived[0][0] < 195 <= arrived[1][0] < 295
    assert (used.attempts, used.retries) == (1, 0)
    assert used.lost_seconds < 0.05


def test_the_permit_is_kept_until_the_block_ends(script: Any) -> None:
    """A stream that is being read is a call under way; one that fails gives its permit back, and so does a reader that fails."""
    asked = server(script.url)
    held = permits(f"streams at {script.url} as anonymous")
    with asked.stream("POST", "/ask", body={}, what="streams") as stream:
        assert held.in_flight == 1
        assert b"".join(stream) == b"{}"
        assert held.in_flight == 1
    assert held.in_flight == 0
    with pytest.raises(KeyError), asked.stream("POST", "/ask", body={}, what="streams"):
        raise KeyError
    script.plays((400, {}, b""))
    with pytest.raises(Rejected), asked.stream("POST", "/ask", body={}, what="streams"):
        pass
    assert held.in_flight == 0


def test_what_is_tried_again(script: Any) -> None:
    """Refusals that may pass are repeated, with Retry-After; the account tells attempts and the time that is no latency."""
    slept: list[float] = []
    busy = (429, {"Retry-After": "2"}, b"")
    script.plays(busy, busy, (200, {}, b"fine"))
    with account() as used, server(script.url, sleep=slept.append, rng=lambda: 0.0).stream("POST", "/ask", body={"a": 1}) as stream:
        assert b"".join(stream) == b"fine"
    assert slept == [2.0, 2.0]
    assert (used.attempts, used.retries) == (3, 2)
    assert [seen.body for seen in script.seen] == [b'{"a":1}'] * 3


def test_no_retries_are_left(script: Any) -> None:
    """The last refusal comes out when the block begins."""
    script.plays((503, {}, b""))
    with bind(Settings(max_retries=1)), pytest.raises(Throttled, match="tried 2 times"), server(script.url).stream("POST", "/ask"):
        pass


def test_fresh_credentials_after_a_401(script: Any) -> None:
    """Once, as for every request; no message has the token."""
    token = Token()
    script.plays((401, {}, b"expired"), (200, {}, b"fine"))
    with server(script.url, credentials=token).stream("POST", "/ask", body={}) as stream:
        assert b"".join(stream) == b"fine"
    assert [seen.headers["authorization"][-2:] for seen in script.seen] == ["-0", "-1"]
    script.plays((500, {}, f"{SECRET}-1 is wrong".encode()))
    with (
        bind(Settings(max_retries=0)),
        pytest.raises(Broken) as caught,
        server(script.url, credentials=token).stream("POST", "/ask", body={}),
    ):
        pass
    assert SECRET not in str(caught.value)


def test_a_stream_without_end(raw: Raw) -> None:
    """So many bytes, and no more."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Connection: close\r\n\r\n" + b"x" * 5000)

    with (
        pytest.raises(UnusableReply, match="more than 1,000 bytes"),
        server(raw(talk)).stream("POST", "/ask", max_body=1000) as stream,
    ):
        list(stream)


def test_a_body_shorter_than_promised(raw: Raw) -> None:
    """It is a broken connection, and what had come has been handed out."""
    got: list[bytes] = []
    talk: Callable[[socket.socket], None] = lambda connection: connection.sendall(HEAD + b"Content-Length: 9\r\n\r\nabc")  # noqa: E731 - a talk of one line
    with account() as used, pytest.raises(Broken), server(raw(talk)).stream("POST", "/ask") as stream:
        got.extend(stream)
    assert b"".join(got) == b"abc"
    assert used.attempts == 1


def test_hurry(raw: Raw) -> None:
    """What still comes may take only so long."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Connection: close\r\n\r\na")
        time.sleep(5)

    begun = time.monotonic()
    with server(raw(talk)).stream("POST", "/ask") as stream:
        pieces = iter(stream)
        assert next(pieces) == b"a"
        stream.hurry(0.1)
        with pytest.raises(CallTimeout):
            next(pieces)
    assert time.monotonic() - begun < 2


def test_compressed_all_the_same(script: Any) -> None:
    """We ask for no compression, and read it where it comes."""
    script.plays((200, {"Content-Encoding": "gzip"}, gzip.compress(b"fine" * 10)))
    with server(script.url).stream("POST", "/ask", body={}) as stream:
        assert b"".join(stream) == b"fine" * 10
    assert script.seen[0].headers["accept-encoding"] == "identity"


def test_a_body_that_is_made_anew(script: Any) -> None:
    """With a renewal bound every attempt of a request or a stream sends what it makes; bytes are sent as they are."""
    numbers = iter(range(10))

    def renew(body: Any) -> Any:
        return {**body, "n": next(numbers)} if "n" in body else body

    script.plays((503, {}, b""), (200, {}, b"{}"))
    with renewing(renew):
        server(script.url).request("POST", "/ask", body={"n": None})
        with server(script.url).stream("POST", "/ask", body={"n": None}) as stream:
            list(stream)
        server(script.url).request("POST", "/ask", body={"other": 1})
        server(script.url).request("POST", "/ask", body=b"n")
    server(script.url).request("POST", "/ask", body={"n": None})
    assert [seen.body for seen in script.seen] == [b'{"n":0}', b'{"n":1}', b'{"n":2}', b'{"other":1}', b"n", b'{"n":null}']


def test_a_renewal_that_makes_no_json(script: Any) -> None:
    """It is the caller's mistake, and nothing is sent."""
    with renewing(lambda body: {"x": object()}), pytest.raises(UsageError, match="no JSON"):
        server(script.url).request("POST", "/ask", body={})
    assert script.seen == []
