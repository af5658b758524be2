"""From a row's inputs to the request's payload."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.endpoints.description import Kind
from evalpoint.endpoints.payloads import REQUEST_KEYS, payload_of
from evalpoint.errors import UsageError

USER = [{"role": "user", "content": "Why?"}]


@pytest.mark.parametrize(
    ("kind", "inputs", "payload"),
    [
        (Kind.CHAT, {"question": "Why?"}, {"messages": USER}),
        (Kind.CHAT, {"anything": "Why?", "max_tokens": 5}, {"messages": USER, "max_tokens": 5}),
        (Kind.AGENT_CHAT, {"query": "Why?", "custom_inputs": {"a": 1}}, {"messages": USER, "custom_inputs": {"a": 1}}),
        (Kind.CHAT_AGENT, {"q": "Why?"}, {"messages": USER}),
        (Kind.RESPONSES, {"question": "Why?", "context": {"user_id": "u"}}, {"input": USER, "context": {"user_id": "u"}}),
        (Kind.RESPONSES, {"input": "Why?"}, {"input": USER}),
        (Kind.RESPONSES, {"input": USER, "temperature": 0}, {"input": USER, "temperature": 0}),
        (Kind.COMPLETIONS, {"question": "Why?"}, {"prompt": "Why?"}),
        (Kind.EMBEDDINGS, {"text": "Why?"}, {"input": "Why?"}),
        (Kind.CUSTOM, {"age": 3, "plan": "a"}, {"dataframe_records": [{"age": 3, "plan": "a"}]}),
        (Kind.CUSTOM, {"question": "Why?"}, {"dataframe_records": [{"question": "Why?"}]}),
        (Kind.CUSTOM, {"messages": USER}, {"messages": USER}),
        (Kind.FEATURES, {"user_id": 1}, {"dataframe_records": [{"user_id": 1}]}),
        (Kind.CHAT, {"messages": USER, "extra": 1}, {"messages": USER, "extra": 1}),
    ],
    ids=lambda value: value.value if isinstance(value, Kind) else None,
)
def test_wrapping(kind: Kind, inputs: Any, payload: Any) -> None:
    """A request is sent as it is; otherwise the question or the columns are wrapped as the kind wants them."""
    assert payload_of(inputs, kind, endpoint="bot") == payload


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(list(Kind)),
    st.sampled_from([key for key in REQUEST_KEYS if key != "input"]),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=3),
)
def test_a_request_is_never_changed(kind: Kind, key: str, more: dict[str, int]) -> None:
    """With a known request key the payload is the inputs, for every kind."""
    inputs = {**more, key: ["x"]}
    assert payload_of(inputs, kind, endpoint="bot") == inputs


@pytest.mark.parametrize(
    "inputs", [{"a": "x", "b": "y"}, {"question": 3}, {}, {"question": "Why?", "user": "me"}], ids=["two", "number", "none", "more"]
)
def test_what_no_payload_can_be_made_of(inputs: Any) -> None:
    """The message names the keys, the endpoint, and what would do."""
    with pytest.raises(UsageError, match=r"'bot' \(llm/v1/chat\).*'messages'.*request="):
        payload_of(inputs, Kind.CHAT, endpoint="bot")


def test_request_replaces_all_guessing() -> None:
    """What the caller's function returns is the payload; something that is no dict is said so."""
    assert payload_of({"a": 1}, Kind.CHAT, endpoint="bot", request=lambda inputs: {"x": inputs["a"]}) == {"x": 1}
    with pytest.raises(UsageError, match="list"):
        payload_of({"a": 1}, Kind.CHAT, endpoint="bot", request=lambda inputs: [])  # type: ignore[arg-type, return-value]
