"""Descriptions of endpoints: what kind they are, and whether they can answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.endpoints.description import Kind, must_answer, read_description
from evalpoint.errors import ConfigurationError, UnusableReply

FIXTURES = Path(__file__).parent.parent / "fixtures" / "endpoint"


def sample(name: str) -> Any:
    return json.loads((FIXTURES / f"get-{name}.json").read_text())


@pytest.mark.parametrize(
    ("name", "kind", "takes_options"),
    [
        ("agent", Kind.RESPONSES, True),
        ("agent-bricks-supervisor", Kind.RESPONSES, True),
        ("custom-pyfunc-updating", Kind.CUSTOM, True),
        ("external-model", Kind.CHAT, False),
        ("foundation-model-api", Kind.CHAT, False),
        ("feature-spec", Kind.FEATURES, False),
        ("route-optimized", Kind.CUSTOM, True),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_samples(name: str, kind: Kind, takes_options: bool) -> None:
    """Each sample is of its kind, and the option for traces goes to agents and custom models only."""
    found = read_description("asked", sample(name))
    assert (found.kind, found.takes_options) == (kind, takes_options)
    assert found.ready


@pytest.mark.parametrize(
    ("body", "kind", "takes_options"),
    [
        ({}, Kind.CUSTOM, True),
        ({"task": "llm/v1/chat"}, Kind.CHAT, True),
        ({"task": "agent/v2/chat", "config": None}, Kind.CHAT_AGENT, True),
        ({"task": "agent/v1/chat", "state": {}}, Kind.AGENT_CHAT, True),
        ({"task": "agent/v9/new"}, Kind.RESPONSES, True),
        ({"task": "llm/v9/new"}, Kind.CUSTOM, True),
        ({"task": "llm/v1/chat", "name": "databricks-x", "config": {"served_entities": [{"type": "FOUNDATION_MODEL"}]}}, Kind.CHAT, False),
        ({"task": "llm/v1/chat", "config": {"served_models": [{"name": "m", "entity_name": None}]}}, Kind.CHAT, True),
    ],
    ids=["empty", "custom-chat", "chat-agent", "agent-chat", "agents-to-come", "tasks-to-come", "foundation", "legacy-with-nulls"],
)
def test_missing_keys_and_kinds_to_come(body: Any, kind: Kind, takes_options: bool) -> None:
    """Any key may be missing or null; an unknown agent is asked as a Responses agent, an unknown task as a custom model."""
    found = read_description("asked", body)
    assert (found.name, found.kind, found.takes_options) == (body.get("name", "asked"), kind, takes_options)


@pytest.mark.parametrize("body", [None, [], "text", 3, {"config": "text"}, {"state": ["READY"]}], ids=str)
def test_what_is_no_description(body: Any) -> None:
    """Something else in its place is an unusable reply that names the endpoint."""
    with pytest.raises(UnusableReply, match="'asked'"):
        read_description("asked", body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["agent", "external-model", "foundation-model-api"]), st.data())
def test_damaged_descriptions(name: str, data: st.DataObject) -> None:
    """Whatever stands in the place of a value, the description is read or refused; nothing else happens."""
    body = sample(name)
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(JSON)
    try:
        refusal = None if read_description("asked", body).kind in Kind else "no kind"
    except UnusableReply as error:
        refusal = str(error)
    assert refusal is None or "'asked'" in refusal


def test_a_failed_deployment_is_told_in_the_platforms_words() -> None:
    """The message has the served entity, why it failed, and what to do."""
    body = sample("agent")
    body["state"]["ready"] = "NOT_READY"
    body["config"]["served_entities"][0]["state"] = {"deployment": "DEPLOYMENT_FAILED", "deployment_state_message": "no module named foo"}
    with pytest.raises(ConfigurationError, match=r"bot-3: no module named foo.*logs"):
        must_answer(read_description("asked", body), "https://host")


def test_an_endpoint_that_starts() -> None:
    """It is not ready yet: wait, and run again."""
    body = {"name": "a", "state": {"ready": "NOT_READY", "config_update": "IN_PROGRESS"}}
    with pytest.raises(ConfigurationError, match=r"'a'.*being updated.*READY"):
        must_answer(read_description("a", body), "https://host")


def test_an_update_with_the_old_version_serving() -> None:
    """READY and updating at once can answer; so can one whose update failed."""
    must_answer(read_description("churn", sample("custom-pyfunc-updating")), "https://host")
