"""Serving endpoints behind the door: kinds that are named or guessed, served models, sizes, permissions, data planes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalpoint.calls import bind
from evalpoint.endpoints import Kind, connect
from evalpoint.endpoints.description import guessed_kind, read_description, read_kind
from evalpoint.errors import AccessDenied, ConfigurationError, NotFound, Rejected, UsageError
from evalpoint.settings import Settings

FIXTURES = Path(__file__).parent.parent / "fixtures" / "endpoint"
MESSAGES = {"messages": [{"role": "user", "content": "Why?"}]}
CHAT = {"choices": [{"message": {"role": "assistant", "content": "Because."}}], "model": "m-1"}
BOT = "/serving-endpoints/bot/invocations"
DESCRIBED = "/api/2.0/serving-endpoints/bot"
DENIED = {"error_code": "PERMISSION_DENIED", "message": "User does not have permission."}
ABSENT = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Endpoint with name 'bot' does not exist."}


def sample(name: str) -> Any:
    return json.loads((FIXTURES / f"get-{name}.json").read_text())


# Kinds.


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (None, None),
        (Kind.CUSTOM, Kind.CUSTOM),
        ("agent/v1/responses", Kind.RESPONSES),
        ("llm/v1/chat", Kind.CHAT),
        (" Chat ", Kind.CHAT),
        ("custom", Kind.CUSTOM),
        ("pyfunc", Kind.CUSTOM),
    ],
    ids=str,
)
def test_kinds_are_named(given: Any, kind: Kind | None) -> None:
    """A task, a short name or a `Kind`."""
    assert read_kind(given) is kind


@pytest.mark.parametrize("given", ["chatt", 3, "", ["chat"]], ids=str)
def test_unknown_kinds(given: Any) -> None:
    """What is none is refused, with those that there are."""
    with pytest.raises(ConfigurationError, match=r"no kind of endpoint.*'agent/v1/responses'"):
        connect("endpoints:/bot", kind=given)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"messages": []}, Kind.CHAT),
        ({"input": []}, Kind.RESPONSES),
        ({"prompt": "x"}, Kind.COMPLETIONS),
        ({"dataframe_records": []}, Kind.CUSTOM),
        ({"instances": []}, Kind.CUSTOM),
        ({"anything": 1}, Kind.CHAT),
    ],
    ids=str,
)
def test_kinds_are_guessed_from_the_request(payload: Any, kind: Kind) -> None:
    """The request's keys tell; else it is a chat model."""
    assert guessed_kind(payload) is kind


@pytest.mark.parametrize(
    ("name", "size"),
    [("agent", 4), ("agent-bricks-supervisor", 4), ("external-model", 4), ("foundation-model-api", 4), ("custom-pyfunc-updating", 16)],
)
def test_what_a_request_may_weigh(name: str, size: int) -> None:
    """4 MB for agents, foundation and external models; 16 MB for custom models."""
    assert read_description("bot", sample(name)).max_request == size * 2**20


def test_kind_skips_describing(host: Any) -> None:
    """With `kind=` nothing is asked before the first call; options are tried all the same."""
    host.on("POST", BOT, CHAT)
    before = len(host.asked)
    door = connect("endpoints:/bot", kind="chat")
    assert [each.path for each in host.asked[before:] if "serving" in each.path] == []
    answer = door.invoke(MESSAGES, trace=True, request_id="r")
    assert (door.kind, door.description, answer.text) == (Kind.CHAT, None, "Because.")
    assert host.sent(BOT)[0].json == {**MESSAGES, "databricks_options": {"return_trace": True}, "client_request_id": "r"}


def test_options_are_dropped_where_they_are_refused(host: Any) -> None:
    """An endpoint that nobody could describe gets the option once; when it refuses it, never again."""

    def strict(asked: Any) -> Any:
        if "databricks_options" in asked.json:
            return 400, {"error_code": "BAD_REQUEST", "message": 'Bad request: json: unknown field "databricks_options"'}
        return CHAT

    host.on("POST", BOT, strict)
    door = connect("endpoints:/bot", kind="chat")
    assert [door.invoke(MESSAGES, trace=True).trace_asked for _ in range(2)] == [False, False]
    assert len(host.sent(BOT)) == 3


def test_pay_per_token_models_never_get_options(host: Any) -> None:
    """Their names say what they are."""
    host.on("POST", "/serving-endpoints/databricks-x/invocations", CHAT)
    connect("endpoints:/databricks-x", kind="chat").invoke(MESSAGES, trace=True)
    assert host.sent("/serving-endpoints/databricks-x/invocations")[0].json == MESSAGES


def test_usage_context_is_sent_where_it_is_accepted(host: Any) -> None:
    """Labels go beside the request; the caller's own stay."""
    host.on("POST", BOT, CHAT)
    door = connect("endpoints:/bot", kind="chat")
    door.invoke({**MESSAGES, "usage_context": {"team": "a"}}, usage_context={"evalpoint.run": "r", "team": "b"})
    assert host.sent(BOT)[0].json["usage_context"] == {"evalpoint.run": "r", "team": "a"}


# Who may query and not describe.


@pytest.mark.parametrize(("status", "body"), [(403, DENIED), (404, ABSENT)], ids=["403", "404"])
def test_a_caller_who_may_query_and_not_describe(host: Any, status: int, body: Any) -> None:
    """A refused description is not final: the call decides."""
    host.on("GET", DESCRIBED, body, status)
    host.on("GET", "/api/2.0/serving-endpoints", DENIED, 403)
    host.on("POST", BOT, CHAT)
    assert connect("endpoints:/bot").invoke(MESSAGES).text == "Because."


def test_a_caller_who_may_do_neither(host: Any) -> None:
    """The failing call names the permission and the principal, who is asked for once."""
    host.on("GET", DESCRIBED, DENIED, 403)
    host.on("POST", BOT, DENIED, 403)
    door = connect("endpoints:/bot")
    for _ in range(2):
        with pytest.raises(AccessDenied, match=r"'bot'.*CAN QUERY.*ada@example\.com"):
            door.invoke(MESSAGES)
    assert len(host.sent("/api/2.0/preview/scim/v2/Me", "GET")) == 1


def test_a_misspelt_name_is_told_when_the_function_is_made(host: Any) -> None:
    """When the list can be read and has no such name; the way around it is named, too."""
    host.on("GET", DESCRIBED, ABSENT, 404)
    host.on("GET", "/api/2.0/serving-endpoints", {"endpoints": [{"name": "bott"}, {"name": "x"}]})
    with pytest.raises(NotFound, match=r"'bot' does not exist.*Did you mean 'bott'\?.*kind="):
        connect("endpoints:/bot")


def test_a_misspelt_name_with_a_kind(host: Any) -> None:
    """Nothing was asked when the function was made, so the first call says which names are near; once for all rows."""
    host.on("GET", "/api/2.0/serving-endpoints", {"endpoints": [{"name": "bott"}]})
    host.on("POST", BOT, ABSENT, 404)
    door = connect("endpoints:/bot", kind="chat")
    before = len(host.sent("/api/2.0/serving-endpoints", "GET"))
    for _ in range(3):
        with pytest.raises(Rejected, match=r"'bot' .* does not exist.*Did you mean 'bott'"):
            door.invoke(MESSAGES)
    assert len(host.sent("/api/2.0/serving-endpoints", "GET")) == before + 1


def test_an_ip_access_list_is_no_permission(host: Any) -> None:
    """A 403 about the caller's address is told when the function is made, with what helps against it."""
    message = "Source IP address: 1.2.3.4 is blocked by Databricks IP ACL for workspace: 1"
    host.on("GET", DESCRIBED, {"error_code": "403", "message": message}, 403)
    with pytest.raises(AccessDenied, match=r"1\.2\.3\.4 is blocked.*IP access list.*VPN") as caught:
        connect("endpoints:/bot")
    assert "CAN QUERY" not in str(caught.value)


# Served models, and who has answered.


def split(host: Any) -> None:
    entities = [{"name": "bot-3", "type": "UC_MODEL"}, {"name": "bot-4", "type": "UC_MODEL"}]
    host.on("GET", DESCRIBED, {"name": "bot", "task": "llm/v1/chat", "config": {"served_entities": entities}})


def test_one_served_model(host: Any) -> None:
    """`served_model=` calls one entity whatever the split, and the answer says which it was."""
    split(host)
    host.on("POST", "/serving-endpoints/bot/served-models/bot-4/invocations", CHAT)
    assert connect("endpoints:/bot", served_model="bot-4").invoke(MESSAGES).served_model == "bot-4"


def test_no_such_served_model(host: Any) -> None:
    """The ones there are, are listed."""
    split(host)
    with pytest.raises(NotFound, match=r"no served model 'x'.*It has 'bot-3', 'bot-4'"):
        connect("endpoints:/bot", served_model="x")


@pytest.mark.parametrize(
    ("headers", "served"), [({"served-model-name": "bot-3"}, "bot-3"), ({"x-databricks-served-model-name": "bot-4"}, "bot-4"), ({}, "m-1")]
)
def test_which_served_model_answered(host: Any, headers: dict[str, str], served: str) -> None:
    """The header says; else the only entity that there is, else the model that the answer names."""
    split(host)
    host.on("POST", BOT, lambda _: (200, CHAT, headers))
    assert connect("endpoints:/bot").invoke(MESSAGES).served_model == served
    host.on("GET", DESCRIBED, {"name": "bot", "config": {"served_entities": [{"name": "only-1"}]}})
    assert connect("endpoints:/bot").invoke(MESSAGES).served_model == ((headers and served) or "only-1")


# Sizes.


@pytest.mark.parametrize(("kind", "megabytes"), [("agent/v2/chat", 4), ("custom", 16)])
def test_a_payload_that_is_too_large_is_not_sent(host: Any, kind: str, megabytes: int) -> None:
    """The error has both numbers."""
    door = connect("endpoints:/bot", kind=kind)
    text = "x" * (megabytes * 2**20)
    with pytest.raises(UsageError, match=rf"{len(text) + 39:,} bytes.*at most {megabytes * 2**20:,} \({megabytes} MB\)"):
        door.invoke({"messages": [{"content": text, "role": ""}]})
    assert host.sent(BOT) == []


def test_sizes_are_of_bytes(host: Any) -> None:
    """Letters beyond ASCII weigh what they weigh."""
    host.on("POST", BOT, CHAT)
    door = connect("endpoints:/bot", kind="agent/v2/chat")
    door.check({"messages": "x" * (3 * 2**20)})
    with pytest.raises(UsageError, match="too|at most"):
        door.check({"messages": "é" * (3 * 2**20)})


# Model services of Unity Catalog.


@pytest.mark.parametrize("uri", ["endpoints:/system.ai.claude", "databricks:/system.ai.claude", "system.ai.claude"])
def test_a_model_service(host: Any, uri: str) -> None:
    """It answers at the AI gateway, with its full name as the model; nothing describes it."""
    gateway = "/ai-gateway/mlflow/v1/chat/completions"
    host.on("POST", gateway, CHAT)
    door = connect(uri)
    assert (door.name, door.kind, door.uri) == ("system.ai.claude", Kind.CHAT, "endpoints:/system.ai.claude")
    answer = door.invoke({**MESSAGES, "model": "another"}, trace=True)
    assert (answer.text, answer.served_model) == ("Because.", "system.ai.claude")
    assert host.sent(gateway)[0].json == {**MESSAGES, "model": "system.ai.claude"}


def test_a_model_service_that_does_not_exist(host: Any) -> None:
    """The message says what to check."""
    with pytest.raises(Rejected, match=r"Model service 'main\.x\.y'.*full name"):
        connect("endpoints:/main.x.y").invoke(MESSAGES)


@pytest.mark.parametrize(
    ("uri", "more", "says"),
    [
        ("endpoints:/bot", {"headers": {"a": "b"}}, "http://"),
        ("apps:/bot", {"auth": "token"}, "http://"),
        ("apps:/bot", {"served_model": "x"}, "is an app"),
        ("endpoints:/system.ai.x", {"served_model": "x"}, "is a model service"),
        ("endpoints:/system.ai.x", {"kind": "custom"}, "cannot be of kind 'custom'"),
        ("endpoints:/bot", {"wait": -1}, "wait=-1"),
        ("endpoints:/bot", {"wait": "long"}, "number of seconds"),
        ("apps:/", {}, "names no app"),
        ("ftp://x", {}, "no endpoint URI"),
    ],
    ids=str,
)
def test_what_does_not_fit_together(host: Any, uri: str, more: Any, says: str) -> None:
    """Nothing that was given is ignored: what has no meaning here is an error that says so."""
    with pytest.raises(ConfigurationError, match=says):
        connect(uri, **more)


# Route-optimised endpoints.


@pytest.fixture
def fast(host: Any, make_stub: Callable[[], Any]) -> Any:
    """A data plane that takes exchanged tokens; the workspace describes it."""
    plane = make_stub()
    plane.tokens = {"exchanged-1", "exchanged-2"}
    url = f"{plane.url}/1234/serving-endpoints/fast/invocations"
    info = {"endpoint_url": url, "authorization_details": '[{"type":"workspace_permission"}]'}
    body = {**sample("route-optimized"), "endpoint_url": url, "data_plane_info": {"query_info": info}}
    body["config"]["served_entities"][0]["scale_to_zero_enabled"] = False
    host.on("GET", "/api/2.0/serving-endpoints/fast", body)

    def guarded(asked: Any) -> Any:
        return {"predictions": [1]} if asked.token in plane.tokens else (401, {"message": "token expired"})

    for path in ("/1234/serving-endpoints/fast/invocations", "/1234/serving-endpoints/fast/served-models/fast-1/invocations"):
        plane.on("POST", path, guarded)
    return plane


RECORDS = {"dataframe_records": [{"a": 1}]}


def test_the_data_plane_gets_an_exchanged_token(host: Any, fast: Any) -> None:
    """One exchange of the workspace's token for all doors of the same endpoint; the workspace's own token never goes there."""
    for _ in range(2):
        door = connect("endpoints:/fast")
        assert door.invoke(RECORDS).body == {"predictions": [1]}
    exchanges = [each.form for each in host.sent("/oidc/v1/token") if "assertion" in each.form]
    assert exchanges == [
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": "oauth-1",
            "authorization_details": '[{"type":"workspace_permission"}]',
        }
    ]
    assert {each.token for each in fast.asked} == {"exchanged-1"}


def test_one_served_model_of_the_data_plane(fast: Any) -> None:
    """The same address, one entity."""
    assert connect("endpoints:/fast", served_model="fast-1").invoke(RECORDS).served_model == "fast-1"
    assert fast.asked[-1].path.endswith("/served-models/fast-1/invocations")


def test_a_refused_data_plane_token_is_exchanged_anew(host: Any, fast: Any) -> None:
    """A 401 in the middle of a run costs one more exchange, and no row."""
    door = connect("endpoints:/fast")
    door.invoke(RECORDS)
    fast.tokens.remove("exchanged-1")
    assert door.invoke(RECORDS).body == {"predictions": [1]}
    assert fast.asked[-1].token == "exchanged-2"


def test_a_personal_access_token_is_refused_with_the_reason(pat: Any, fast: Any) -> None:
    """When the function is made, saying what to do instead."""
    with pytest.raises(ConfigurationError, match=r"route-optimised.*OAuth.*personal access token.*DATABRICKS_CLIENT_ID"):
        connect("endpoints:/fast")
    assert fast.asked == []


def test_an_exchange_that_is_refused(host: Any, fast: Any) -> None:
    """The message names the permission, and has no token in it."""
    issue = host.answers[("POST", "/oidc/v1/token")]

    def token(asked: Any) -> Any:
        if "assertion" in asked.form:
            return 403, {"error": "access_denied", "error_description": f"not you, {asked.form['assertion']}"}
        return issue(asked)

    host.on("POST", "/oidc/v1/token", token)
    with bind(Settings(max_retries=0)), pytest.raises(AccessDenied, match="No token for the data plane.*CAN QUERY") as caught:
        connect("endpoints:/fast").invoke(RECORDS)
    assert "oauth-" not in str(caught.value)


def test_a_description_without_authorization_details(host: Any, fast: Any) -> None:
    """A caller who may not query is told so when the function is made."""
    body = {**sample("route-optimized"), "data_plane_info": None}
    host.on("GET", "/api/2.0/serving-endpoints/fast", body)
    with pytest.raises(ConfigurationError, match="CAN QUERY"):
        connect("endpoints:/fast")
