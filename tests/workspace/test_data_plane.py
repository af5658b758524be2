"""Credentials of a data plane: exchanged once, renewed before they expire, and kept while an exchange fails."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import pytest

from evalpoint.errors import AccessDenied, UnusableReply
from evalpoint.workspace.data_plane import DataPlaneCredentials

PATH = "/oidc/v1/token"


class Source:
    """A workspace's own credentials."""

    key = "oauth-m2m:my-client"

    def __init__(self) -> None:
        self.renewed = 0

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer own-{self.renewed}"}

    def refresh(self, rejected: Mapping[str, str]) -> None:
        self.renewed += 1


class Exchange:
    """A token endpoint, and the clock of whoever asks it."""

    def __init__(self, fake: Any) -> None:
        self.asked: list[str] = []
        self.reply: Any = None
        self.now = 0.0
        self.source = Source()
        fake.answer = self.answer
        self.credentials = DataPlaneCredentials(fake.url, "[details]", self.source, clock=lambda: self.now)

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        assert path == PATH
        assert "authorization" not in headers
        self.asked.append(parse_qs(body.decode())["assertion"][0])
        return self.reply or (200, {"access_token": f"plane-{len(self.asked)}", "expires_in": 3600})

    @property
    def token(self) -> str:
        return self.credentials.headers()["Authorization"].removeprefix("Bearer ")


@pytest.fixture
def exchange(fake: Any) -> Exchange:
    return Exchange(fake)


def test_renewed_before_it_expires(exchange: Exchange) -> None:
    """A minute early, so that no request travels with a token that expires on the way."""
    assert [exchange.token, exchange.token] == ["plane-1", "plane-1"]
    exchange.now = 3539.0
    assert exchange.token == "plane-1"
    exchange.now = 3541.0
    assert exchange.token == "plane-2"


def test_kept_while_the_exchange_fails(exchange: Exchange) -> None:
    """A token that still holds is used when its early renewal does not succeed; one that has expired is not."""
    assert exchange.token == "plane-1"
    exchange.reply = (400, {"error": "temporarily_unavailable"})
    exchange.now = 3550.0
    assert exchange.token == "plane-1"
    exchange.now = 3601.0
    with pytest.raises(AccessDenied, match="No token for the data plane"):
        _ = exchange.token


def test_the_workspaces_own_token_has_expired(exchange: Exchange) -> None:
    """A refused exchange is tried once more with a fresh token of the workspace."""
    exchange.reply = (401, {"error": "invalid_grant"})
    with pytest.raises(AccessDenied):
        _ = exchange.token
    assert exchange.asked == ["own-0", "own-1"]


@pytest.mark.parametrize("reply", [{}, {"access_token": ""}, {"access_token": 3}, ["x"], "<html>"], ids=str)
def test_an_answer_without_a_token(exchange: Exchange, reply: Any) -> None:
    """It is said, and nothing is sent with it."""
    exchange.reply = (200, reply)
    with pytest.raises((UnusableReply, AccessDenied)):
        _ = exchange.token


@pytest.mark.parametrize("lifetime", [None, "soon", [1]], ids=str)
def test_an_unknown_lifetime(exchange: Exchange, lifetime: Any) -> None:
    """Ten minutes are assumed."""
    exchange.reply = (200, {"access_token": "x", "expires_in": lifetime})
    assert exchange.token == "x"
    exchange.now = 601.0
    assert exchange.token == "x"
    assert len(exchange.asked) == 2


def test_one_exchange_for_many_threads(exchange: Exchange) -> None:
    """Whoever asks at once, or was refused with the same token, waits for one exchange between them."""
    barrier = threading.Barrier(12)
    tokens: list[str] = []

    def ask() -> None:
        barrier.wait()
        before = exchange.credentials.headers()
        barrier.wait()
        exchange.credentials.refresh(before)
        tokens.append(exchange.token)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (set(tokens), len(exchange.asked)) == ({"plane-2"}, 2)


def test_no_token_is_shown(exchange: Exchange) -> None:
    """Neither the representation nor the key give one away."""
    _ = exchange.token
    assert "plane-1" not in f"{exchange.credentials!r} {exchange.credentials.key}"
    assert "own-0" not in f"{exchange.credentials!r} {exchange.credentials.key}"
