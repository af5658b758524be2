"""Error bodies of every server: a code and a message that people can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.formats import error_text

ERRORS = json.loads((Path(__file__).parent.parent / "fixtures" / "endpoint" / "errors.json").read_text())


@pytest.mark.parametrize("entry", ERRORS, ids=[f"{entry['status']}-{entry['where']}" for entry in ERRORS])
def test_recorded(entry):
    """Every recorded error gives its code and its message, as JSON, as text and as bytes."""
    body = entry["body"]
    code, message = error_text(body)
    text = json.dumps(body) if isinstance(body, dict) else body
    assert error_text(text) == error_text(text.encode()) == (code, message)
    if isinstance(body, str):
        assert (code, message) == (None, "The answer is a web page: …Bad Gateway….")
    elif "error_code" in body:
        assert (code, message) == (str(body["error_code"]), body["message"].strip())
    else:
        assert message


PAGE = """<!DOCTYPE html><html><head><title>502 Bad Gateway</title><style>p {color: red}</style></head>
<body><script>alert("x")</script><h1>Bad  Gateway</h1><p>The server &amp; its friends
are away.</p></body></html>"""

TABLE: dict[str, tuple[Any, str | None, str]] = {
    "wrapped-provider": (
        {
            "error": "Received error from openai",
            "external_model_message": {"error": {"message": "too long", "type": "invalid_request_error", "code": None}},
        },
        "invalid_request_error",
        "Received error from openai: too long",
    ),
    "openai": ({"error": {"message": "m", "type": "t", "code": "c"}}, "c", "m"),
    "openai-number": ({"error": {"message": "m", "code": 400}}, "400", "m"),
    "error-text": ({"error": "m"}, None, "m"),
    "stream": ({"databricks_output": {"error": {"error_code": "BAD", "message": "m"}}}, "BAD", "m"),
    "detail": ({"detail": "Not Found"}, None, "Not Found"),
    "detail-list": (
        {"detail": [{"loc": ["body", "input", 0], "msg": "field required", "type": "missing"}, "odd"]},
        None,
        "body.input.0: field required; odd",
    ),
    "detail-map": ({"detail": {"message": "m"}}, None, "m"),
    "message-map": ({"error_code": "E", "message": {"a": 1}}, "E", '{"a":1}'),
    "code-alone": ({"error_code": "E"}, "E", "The answer says nothing."),
    "unknown-json": ({"a": 1}, None, '{"a":1}'),
    "list": ([1, 2], None, "[1,2]"),
    "text": ("upstream connect error", None, "upstream connect error"),
    "page": (PAGE, None, "The answer is a web page: 502 Bad Gateway. Bad Gateway The server & its friends are away."),
    "page-in-json": (
        {"error_code": 502, "message": PAGE},
        "502",
        "The answer is a web page: 502 Bad Gateway. Bad Gateway The server & its friends are away.",
    ),
    "empty-page": ("<html></html>", None, "The answer is an empty web page."),
    "nothing": (b"", None, "The answer says nothing."),
    "none": (None, None, "The answer says nothing."),
    "not-utf8": (b"caf\xe9", None, "caf�"),
    "token": ("bad Authorization: Bearer dapi0123456789abcdef0123", None, "bad Authorization: [removed]"),
    "pat": ({"message": "token dapi0123456789abcdef0123 is bad"}, None, "token [removed] is bad"),
}


@pytest.mark.parametrize(("body", "code", "message"), TABLE.values(), ids=TABLE)
def test_error_text(body, code, message):
    """JSON of any server, a web page or plain words: the code where there is one, a message always, and no secrets."""
    assert error_text(body) == (code, message)


def test_limit():
    """A long message is cut to the limit and says so."""
    code, message = error_text({"error_code": "E", "message": "x" * 5000}, limit=100)
    assert code == "E"
    assert message == "x" * 99 + "…"
    assert len(error_text("<html>" + "x " * 10**6)[1]) <= 2000


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.floats() | st.integers() | st.text(st.characters(codec=None), max_size=8) | st.binary(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "message", "detail", "error_code", "databricks_output", "msg", "loc"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
    | st.text(alphabet='<>!/&;html"-[]CDAT', max_size=60)
)
def test_never_raises(body):
    """Whatever comes, there is a message of bounded length that can be stored."""
    code, message = error_text(body, limit=50)
    assert code is None or code
    assert 0 < len(message) <= 50
    message.encode()
