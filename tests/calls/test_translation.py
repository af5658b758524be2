"""The two tables: libraries' exceptions and status codes -> our errors."""

from __future__ import annotations

import http.client
import inspect

import pytest
import requests.exceptions
import urllib3.exceptions
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.connectionpool import HTTPConnectionPool

from evalpoint.calls import HttpReply, redact, translate
from evalpoint.calls.translation import EXCEPTIONS, refusal, seconds_to_wait, status_class
from evalpoint.errors import AccessDenied, Broken, CallError, CallTimeout, Rejected, Throttled, Unreachable, UnusableReply

POOL = HTTPConnectionPool("host")


def _classes() -> list[str]:
    found: list[str] = []
    for module in (requests.exceptions, urllib3.exceptions):
        library = module.__name__.partition(".")[0]
        for name, kind in inspect.getmembers(module, inspect.isclass):
            own = kind.__module__ == module.__name__ and kind.__name__ == name  # no alias
            if own and issubclass(kind, Exception) and not issubclass(kind, Warning):
                found.append(f"{library}.{name}")
    return found


@pytest.mark.parametrize("name", _classes())
def test_table_is_total(name: str) -> None:
    """Every exception class of requests and urllib3 is in the table itself."""
    assert name in EXCEPTIONS


def test_walk_finds_the_libraries() -> None:
    """The walk over the libraries finds their classes: an empty walk would prove nothing."""
    assert len(_classes()) > 40
    assert {"requests.ReadTimeout", "urllib3.NewConnectionError"} <= set(_classes())


def refused() -> Exception:
    return ConnectionRefusedError(111, "Connection refused")


def new_connection() -> Exception:
    error = urllib3.exceptions.NewConnectionError(POOL, "Failed to establish: 0xabc")  # type: ignore[arg-type]
    error.__cause__ = refused()
    return error


@pytest.mark.parametrize(
    ("error", "expected", "says"),
    [
        pytest.param(
            requests.ConnectionError(urllib3.exceptions.MaxRetryError(POOL, "/", new_connection())),
            Unreachable,
            "Connection refused",
            id="no connection",
        ),
        pytest.param(
            requests.ConnectionError(
                urllib3.exceptions.ProtocolError("Connection aborted.", http.client.RemoteDisconnected("closed without response"))
            ),
            Broken,
            "closed without response",
            id="dropped",
        ),
        pytest.param(
            requests.ConnectionError(urllib3.exceptions.ReadTimeoutError(POOL, "/", "Read timed out.")),
            CallTimeout,
            "may have run",
            id="timeout in a body",
        ),
        pytest.param(
            requests.ReadTimeout(urllib3.exceptions.ReadTimeoutError(POOL, "/", "x")), CallTimeout, "within 5 s", id="read timeout"
        ),
        pytest.param(requests.ConnectTimeout(), Unreachable, "cannot be reached", id="connect timeout"),
        pytest.param(requests.exceptions.SSLError("certificate verify failed"), Unreachable, "certificate verify failed", id="tls"),
        pytest.param(requests.exceptions.ChunkedEncodingError("cut"), Broken, "broke the connection off", id="body cut"),
        pytest.param(requests.exceptions.ContentDecodingError("gzip"), UnusableReply, "cannot be read", id="bad gzip"),
        pytest.param(requests.exceptions.InvalidURL("no host"), Rejected, "cannot be sent: no host", id="bad url"),
        pytest.param(TimeoutError("x"), CallTimeout, "may have run", id="bare socket timeout"),
        pytest.param(OSError(104, "Connection reset by peer"), Broken, "Connection reset by peer", id="bare OSError"),
        pytest.param(type("New", (requests.RequestException,), {})("?"), Broken, "broke", id="a class of the future"),
        pytest.param(RuntimeError("?"), Broken, "broke", id="anything else"),
    ],
)
def test_exceptions(error: Exception, expected: type[CallError], says: str) -> None:
    """What is wrapped decides, and the message has the innermost words without object addresses."""
    ours = translate(error, what="endpoint 'chat'", place="http://host", seconds=5)
    assert type(ours) is expected
    assert says in str(ours)
    assert "endpoint 'chat'" in str(ours).replace("E", "e", 1)
    assert "0x" not in str(ours)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, AccessDenied), (302, AccessDenied), (307, AccessDenied), (400, Rejected), (401, AccessDenied), (403, AccessDenied),
        (404, Rejected), (408, Unreachable), (409, Rejected), (413, Rejected), (418, Rejected), (422, Rejected), (429, Throttled),
        (500, Broken), (501, Broken), (502, Broken), (503, Throttled), (504, CallTimeout), (505, Broken), (599, Broken),
        (100, UnusableReply), (600, UnusableReply), (999, UnusableReply),
    ],
)  # fmt: skip
def test_statuses(status: int, expected: type[CallError]) -> None:
    """Every status that is no success has its class."""
    assert status_class(status) is expected


def reply(status: int, body: bytes, **headers: str) -> HttpReply:
    return HttpReply(
        status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=body, latency_ms=1.0, what="endpoint 'chat'"
    )


def test_refusal_carries_what_the_server_said() -> None:
    """Status, the server's code, its words and its request to wait are on the error."""
    error = refusal(reply(429, b'{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "Too many"}', retry_after="7"), place="https://h")
    assert (type(error), error.status, error.error_code, error.retry_after) == (Throttled, 429, "REQUEST_LIMIT_EXCEEDED", 7.0)
    assert str(error) == "Endpoint 'chat' at https://h answered 429 (REQUEST_LIMIT_EXCEEDED): Too many."


def test_refusal_without_words() -> None:
    """An empty body is said to be one."""
    assert str(refusal(reply(500, b""), place="https://h")) == "Endpoint 'chat' at https://h answered 500: The answer says nothing."


def test_redirect_names_where_to() -> None:
    """A redirect names its target without the query, which may hold a state or a token."""
    error = refusal(reply(302, b"", location="https://login.example/oauth?state=s3cret"), place="https://h")
    assert isinstance(error, AccessDenied)
    assert "redirect (302) to https://login.example/oauth, most often a login page" in str(error)
    assert "s3cret" not in str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None), ("", None), ("5", 5.0), (" 2.5 ", 2.5), ("-3", 0.0), ("0", 0.0), ("nan", None), ("inf", None), ("1e99", None),
        ("soon", None), ("Thu, 01 Jan 1970 00:01:40 GMT", 60.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 99 Jan 1970 00:00:00 GMT", None), ("9" * 500, None),
    ],
)  # fmt: skip
def test_retry_after(text: str | None, expected: float | None) -> None:
    """Retry-After is seconds or an HTTP date; the past is now, and nonsense is nothing."""
    assert seconds_to_wait(text, now=lambda: 40.0) == expected


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_retry_after_never_fails(text: str) -> None:
    """Whatever a server writes there, it is a number of seconds or nothing."""
    seconds = seconds_to_wait(text)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("text", "secrets", "expected"),
    [
        pytest.param("got Bearer abc.def-123 here", (), "got Bearer [hidden] here", id="bearer"),
        pytest.param("Authorization: Basic dXNlcjpwYXNz", (), "Authorization: Basic [hidden]", id="basic"),
        pytest.param("token dapi0123456789abcdef0123456789abcdef-2!", (), "token [hidden]!", id="databricks token"),
        pytest.param("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", (), "jwt [hidden]", id="json web token"),
        pytest.param("key sk-abcdefghijklmnopqrst", (), "key [hidden]", id="provider key"),
        pytest.param("you sent s3cret-value", ("Bearer s3cret-value",), "you sent [hidden]", id="known value alone"),
        pytest.param("a basic test of the bearer", ("x", "of"), "a basic [hidden] of the bearer", id="words after a scheme are hidden too"),
        pytest.param("nothing to hide", (), "nothing to hide", id="plain"),
    ],
)
def test_redact(text: str, secrets: tuple[str, ...], expected: str) -> None:
    """Tokens are hidden, by value and by shape."""
    assert redact(text, secrets) == expected


def test_token_cut_by_the_limit_is_hidden() -> None:
    """A token that a message's limit would cut in half is hidden before it is cut."""
    secret = "s" * 500
    error = refusal(reply(400, b"x" * 1800 + b" " + secret.encode()), place="https://h", secrets=(f"Bearer {secret}",))
    assert "sss" not in str(error)
