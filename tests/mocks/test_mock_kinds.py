"""The kinds beyond chat and agents, and how strictly all are asked: described, answered and refused as documented."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import requests

from evalpoint.errors import ConfigurationError
from evalpoint.mocks import Answer, ColdStart, FakeClock, MockWorkspace, Quota, Usage, damaged, fault, latency
from evalpoint.mocks.damage import Damage
from evalpoint.mocks.endpoint import MockEndpoint

Caller = Callable[..., requests.Response]
Getter = Callable[[str], requests.Response]
SAMPLES = Path(__file__).parent.parent / "fixtures" / "endpoint"
CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def sample(name: str) -> dict[str, Any]:
    return json.loads((SAMPLES / name).read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("task", ["own", "foundation", "external"])
def test_completions(workspace: MockWorkspace, call: Caller, task: str) -> None:
    """Completions answer one prompt, or several, with the members of the documented sample."""
    make = {"own": workspace.completions, "foundation": workspace.foundation, "external": workspace.external}[task]
    make("bot", lambda question: f"re {question}", **({} if task == "own" else {"task": "completions"}))  # type: ignore[arg-type, operator]
    one, two = call("bot", sample("io-completions.json")["request"]), call("bot", {"prompt": ["a", "b"]})
    assert set(one.json()) == set(sample("io-completions.json")["response"])
    assert one.json()["choices"] == [{"index": 0, "text": "re Say hi", "finish_reason": "stop"}]
    assert [choice["text"] for choice in two.json()["choices"]] == ["re a", "re b"]
    assert call("bot", {"prompt": 7}).status_code == 400
    workspace.endpoint("bot").assert_called_with("Say hi", times=1)


@pytest.mark.parametrize("task", ["own", "foundation", "external"])
def test_embeddings(workspace: MockWorkspace, call: Caller, task: str) -> None:
    """Embeddings give one vector for each text: the same for the same text, of length one; or the vectors that were given."""
    make = {"own": workspace.embeddings, "foundation": workspace.foundation, "external": workspace.external}[task]
    more: dict[str, Any] = {} if task == "own" else {"task": "embeddings"}
    make("bot", **more)  # type: ignore[operator]
    make("given", lambda text: [float(len(text))], **more)  # type: ignore[operator]
    body = call("bot", {"input": ["a", "b", "a"]}).json()
    expected = sample("io-embeddings.json")["response"]
    assert set(body) == set(expected)
    assert set(body["data"][0]) == set(expected["data"][0])
    a, b, again = (item["embedding"] for item in body["data"])
    assert (len(a), a == again, a == b) == (8, True, False)
    assert sum(value * value for value in a) == pytest.approx(1, abs=1e-4)
    assert call("given", {"input": "abc"}).json()["data"][0]["embedding"] == [3.0]
    assert call("bot", {"input": []}).status_code == 400


def test_features(workspace: MockWorkspace, call: Caller, get: Getter) -> None:
    """A feature spec joins features to keys, is described without a task, and takes nothing but keys."""
    workspace.features("travel", lambda record: {"age": 32 + record["user_id"]})
    io = sample("io-feature-spec.json")
    assert call("travel", io["request"]).json() == io["response"]
    body, real = get("/api/2.0/serving-endpoints/travel").json(), sample("get-feature-spec.json")
    assert set(real) <= set(body)
    assert "task" not in body
    assert "endpoint_type" not in body
    entity, real_entity = body["config"]["served_entities"][0], real["config"]["served_entities"][0]
    assert (set(real_entity) <= set(entity), entity["type"]) == (True, "FEATURE_SPEC")
    options = {**io["request"], "databricks_options": {"return_trace": True}}
    assert [call("travel", asked).status_code for asked in (options, {"inputs": [1]}, {"dataframe_records": [1]})] == [400] * 3


def test_external(workspace: MockWorkspace, call: Caller, get: Getter) -> None:
    """An external model is described as one, and its provider's errors come back wrapped."""
    workspace.external("gpt", "A platform.", provider="anthropic", quota=Quota(requests_per_minute=60))
    workspace.endpoint("gpt").fail(fault.provider(429, "slow down", name="anthropic", error_type="rate_limit_error"))
    limited = call("gpt", CHAT)
    wrapped = {"error": {"message": "slow down", "type": "rate_limit_error", "code": None}}
    assert (limited.status_code, limited.json()) == (
        429,
        {"error": "Received error from anthropic", "external_model_message": wrapped},
    )
    for body in ({**CHAT, "databricks_options": {}}, {"messages": []}):
        refused = call("gpt", body)
        documented = next(entry["body"] for entry in json.loads((SAMPLES / "errors.json").read_text()) if "wrapped" in entry["where"])
        assert refused.status_code == 400
        assert set(refused.json()) == set(documented)
        assert set(refused.json()["external_model_message"]["error"]) == set(documented["external_model_message"]["error"])
    assert call("gpt", CHAT).json()["choices"][0]["message"]["content"] == "A platform."
    body, real = get("/api/2.0/serving-endpoints/gpt").json(), sample("get-external-model.json")
    assert set(real) <= set(body)
    assert body["endpoint_type"] == "EXTERNAL_MODEL"
    assert body["config"]["served_entities"][0]["external_model"]["provider"] == "anthropic"
    assert body["ai_gateway"]["rate_limits"] == [{"key": "endpoint", "renewal_period": "minute", "calls": 60}]


@pytest.mark.parametrize("tile", ["KNOWLEDGE_ASSISTANT", "MULTI_AGENT_SUPERVISOR"])
def test_tile(workspace: MockWorkspace, call: Caller, get: Getter, tile: Any) -> None:
    """A tile of Agent Bricks has an empty config and its metadata, and answers as an agent."""
    workspace.agent("mas-endpoint", tile=tile)
    body, real = get("/api/2.0/serving-endpoints/mas-endpoint").json(), sample("get-agent-bricks-supervisor.json")
    assert set(real) <= set(body)
    assert (body["config"], body["task"], body["tile_endpoint_metadata"]["problem_type"]) == ({}, real["task"], tile)
    reply = call("mas-endpoint", {"input": CHAT["messages"], "databricks_options": {"return_trace": True}}).json()
    assert reply["databricks_output"]["trace"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("chat", {"messages": [{"content": "hi"}]}),
        ("chat", {"messages": [{"role": "robot", "content": "hi"}]}),
        ("chat", {"messages": [{"role": "user"}]}),
        ("chat", {"messages": [{"role": "user", "content": 7}]}),
        ("chat", {"messages": ["hi"]}),
        ("responses", {"input": [{"role": "user"}]}),
        ("responses", {"input": CHAT["messages"], "custom_inputs": [1]}),
        ("responses", {"input": CHAT["messages"], "context": "x"}),
        ("custom", {"inputs": [1], "params": [1]}),
    ],
)
def test_strict(workspace: MockWorkspace, call: Caller, kind: str, body: Any) -> None:
    """What the real endpoint could not use is a 400 that says where it is wrong."""
    endpoint = workspace.agent("bot") if kind == "responses" else getattr(workspace, kind)("bot")
    reply = call("bot", body)
    assert (reply.status_code, reply.json()["error_code"]) == (400, "BAD_REQUEST")
    assert "Verify that the input is compatible" in reply.json()["message"]
    assert endpoint.calls == 1


@pytest.mark.parametrize(
    "item",
    [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "x"},
        {"role": "assistant", "content": None, "tool_calls": [{}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    ],
    ids=["call", "output", "tool-calls", "parts"],
)
def test_items(workspace: MockWorkspace, call: Caller, item: Any) -> None:
    """A conversation may go on after tools were called."""
    workspace.agent("bot")
    assert call("bot", {"input": [*CHAT["messages"], item]}).status_code == 200


@pytest.mark.parametrize(("kind", "limit"), [("agent", 4), ("foundation", 4), ("external", 4), ("custom", 16), ("chat", 16)])
def test_size(workspace: MockWorkspace, call: Caller, kind: str, limit: int) -> None:
    """Requests above the documented 4 or 16 MB are a 413; at the limit they are taken."""
    getattr(workspace, kind)("bot")
    body: dict[str, Any] = {"custom": {"instances": [""]}, "agent": {"input": CHAT["messages"]}}.get(kind, CHAT)
    empty = json.dumps({**body, "client_request_id": ""})
    room = limit * 1024 * 1024 - len(empty)
    assert call("bot", {**body, "client_request_id": "x" * room}).status_code == 200
    large = call("bot", {**body, "client_request_id": "x" * (room + 1)})
    assert (large.status_code, large.json()["error_code"]) == (413, "MAX_REQUEST_SIZE_EXCEEDED")


def test_own_size(workspace: MockWorkspace, call: Caller) -> None:
    """The limit can be another one."""
    workspace.chat("bot", largest_request=100)
    assert [call("bot", {**CHAT, "user": "x" * n}).status_code for n in (1, 100)] == [200, 413]


def test_traffic(workspace: MockWorkspace, call: Caller, get: Getter) -> None:
    """Calls are split by the percentages, exactly and mixed; the description tells them."""
    workspace.chat("bot", served={"bot-1": 67, "bot-2": 30, "bot-3": 3})
    served = [call("bot", CHAT).headers["served-model-name"] for _ in range(100)]
    assert Counter(served) == {"bot-1": 67, "bot-2": 30, "bot-3": 3}
    assert "bot-2" in served[:4]
    routes = get("/api/2.0/serving-endpoints/bot").json()["config"]["traffic_config"]["routes"]
    assert {route["served_entity_name"]: route["traffic_percentage"] for route in routes} == {"bot-1": 67, "bot-2": 30, "bot-3": 3}
    with pytest.raises(ConfigurationError, match="add up to 100"):
        workspace.chat("other", served={"a": 50, "b": 60})


def test_updating(workspace: MockWorkspace, call: Caller, get: Getter) -> None:
    """A new version on its way is described, while the old one answers."""
    bot = workspace.custom("churn", updating=True)
    body, real = get("/api/2.0/serving-endpoints/churn").json(), sample("get-custom-pyfunc-updating.json")
    assert body["state"] == real["state"]
    assert set(real["pending_config"]) <= set(body["pending_config"])
    assert body["pending_config"]["served_entities"][0]["state"]["deployment"] == "DEPLOYMENT_CREATING"
    assert call("churn", {"instances": [1]}).status_code == 200
    bot.updating = False
    assert "pending_config" not in get("/api/2.0/serving-endpoints/churn").json()


def test_starting(workspace: MockWorkspace, call: Caller, get: Getter) -> None:
    """An endpoint may still start when somebody first looks, and be ready some time later."""
    workspace.chat("bot", ready_after=0.2)
    assert get("/api/2.0/serving-endpoints/bot").json()["state"] == {"ready": "NOT_READY", "config_update": "IN_PROGRESS"}
    assert call("bot", CHAT).status_code == 503
    time.sleep(0.25)
    assert get("/api/2.0/serving-endpoints/bot").json()["state"]["ready"] == "READY"
    assert call("bot", CHAT).status_code == 200


def test_cold_start(workspace: MockWorkspace, call: Caller, get: Getter) -> None:
    """Scaled to zero: first calls are refused, the next waits until it is awake, then all are quick; until it sleeps again."""
    bot = workspace.chat("bot", cold_start=ColdStart(calls=2, seconds=0.2))
    assert get("/api/2.0/serving-endpoints/bot").json()["config"]["served_entities"][0]["scale_to_zero_enabled"] is True
    replies = [call("bot", CHAT) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [503, 503, 200, 200]
    assert replies[0].json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert [reply.elapsed.total_seconds() >= 0.2 for reply in replies[2:]] == [True, False]
    bot.sleep()
    assert call("bot", CHAT).status_code == 503
    with pytest.raises(ConfigurationError, match="cold_start"):
        workspace.chat("awake").sleep()


def test_cold_start_refuses(workspace: MockWorkspace, call: Caller) -> None:
    """While it wakes up, calls may be refused instead of waiting."""
    workspace.chat("bot", cold_start=ColdStart(seconds=0.15, refuse=True))
    assert call("bot", CHAT).status_code == 503
    time.sleep(0.2)
    assert call("bot", CHAT).status_code == 200


@pytest.mark.parametrize("retry_after", [True, False])
def test_requests_a_minute(retry_after: bool) -> None:
    """Calls beyond the quota are a 429 in the documented words, with or without the time to wait; a minute later they are let in."""
    clock = FakeClock()
    with MockWorkspace(clock=clock) as workspace:
        workspace.foundation("bot", quota=Quota(requests_per_minute=2, retry_after=retry_after))
        url, headers = f"{workspace.url}/serving-endpoints/bot/invocations", {"Authorization": f"Bearer {workspace.token}"}

        def ask() -> requests.Response:
            return requests.post(url, json=CHAT, headers=headers, timeout=10)

        assert ask().status_code == 200
        clock.advance(20)
        assert ask().status_code == 200
        refused = ask()
        assert (refused.status_code, refused.json()["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
        assert refused.json()["message"].startswith("REQUEST_LIMIT_EXCEEDED: Exceeded workspace QPS rate limit for bot. Please use")
        assert refused.headers.get("retry-after") == ("40" if retry_after else None)
        clock.advance(40)
        assert [ask().status_code for _ in range(2)] == [200, 429]


def test_tokens_a_minute(workspace: MockWorkspace, call: Caller) -> None:
    """Tokens are counted as they are let in: the request's, and those that max_tokens reserves."""
    workspace.foundation("bot", quota=Quota(tokens_per_minute=100, per=0.3))
    assert call("bot", {**CHAT, "max_tokens": 70}).status_code == 200
    refused = call("bot", {**CHAT, "max_tokens": 70})
    assert (refused.status_code, float(refused.headers["retry-after"]) <= 0.3) == (429, True)
    time.sleep(0.35)
    assert call("bot", {**CHAT, "max_tokens": 70}).status_code == 200
    assert call("bot", {**CHAT, "max_tokens": 1000}).status_code == 429


def spans(trace: Any) -> list[Any]:
    return trace["data"]["spans"]  # type: ignore[no-any-return]


DAMAGES: dict[str, Callable[[Any], Any]] = {
    "cycle": lambda t: (spans(t)[0]["parent_span_id"], spans(t)[1]["parent_span_id"]) == (spans(t)[1]["span_id"], spans(t)[0]["span_id"]),
    "orphan": lambda t: spans(t)[-1]["parent_span_id"] not in {span["span_id"] for span in spans(t)},
    "no_root": lambda t: all(span["parent_span_id"] for span in spans(t)),
    "two_roots": lambda t: sum(span["parent_span_id"] is None for span in spans(t)) == 2,
    "duplicate_ids": lambda t: len({span["span_id"] for span in spans(t)}) == 1 < len(spans(t)),
    "no_spans": lambda t: spans(t) == [],
    "no_data": lambda t: set(t) == {"info"},
    "no_info": lambda t: set(t) == {"data"},
    "null_info": lambda t: t["info"] is None,
    "null_span": lambda t: spans(t)[-1] is None,
    "bad_ids": lambda t: spans(t)[0]["span_id"] == 7,
    "bad_times": lambda t: spans(t)[0]["start_time_unix_nano"] == "yesterday",
    "bad_attributes": lambda t: spans(t)[0]["attributes"]["mlflow.spanInputs"] == "{not JSON",
    "unfinished": lambda t: (t["info"]["state"], spans(t)[0]["end_time_unix_nano"]) == ("IN_PROGRESS", None),
    "text": lambda t: isinstance(t, str),
    "list": lambda t: isinstance(t, list),
    "legacy": lambda t: set(t) == {"steps"},
}


@pytest.mark.parametrize("damage", list(DAMAGES))
@pytest.mark.parametrize("kind", ["agent", "chat"])
def test_damaged_trace(workspace: MockWorkspace, call: Caller, damage: Any, kind: str) -> None:
    """A damaged trace comes with a whole answer, and has just the damage that its name says, in a trace of one span too."""
    key = {"agent": "input", "chat": "messages"}[kind]
    getattr(workspace, kind)("bot", "A platform.", trace=damaged(damage))
    body = call("bot", {key: CHAT["messages"], "databricks_options": {"return_trace": True}}).json()
    assert "A platform." in json.dumps(body)
    assert DAMAGES[damage](body["databricks_output"]["trace"])


def test_all_damages() -> None:
    """Every damage is in the table above."""
    assert set(DAMAGES) == set(get_args(Damage))


def test_no_such_damage() -> None:
    """An unknown damage lists the known ones."""
    with pytest.raises(ConfigurationError, match="'cycle'"):
        damaged("x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "low", "high"),
    [
        (lambda seed: latency.fixed(0.2), 0.2, 0.2),
        (lambda seed: latency.uniform(0.1, 0.3, seed=seed), 0.1, 0.3),
        (lambda seed: latency.lognormal(0.2, 1.0, seed=seed, most=5), 0.0, 5.0),
        (lambda seed: latency.drawn(lambda rng: rng.choice([0.1, 0.2]), seed=seed), 0.1, 0.2),
    ],
    ids=["fixed", "uniform", "lognormal", "drawn"],
)
def test_distributions(make: Callable[[int], Callable[[Any], float]], low: float, high: float) -> None:
    """A distribution draws from its range, the same numbers for the same seed."""
    one, two = make(7), make(7)
    drawn = [one(None) for _ in range(500)]
    assert drawn == [two(None) for _ in range(500)]
    assert low <= min(drawn) <= max(drawn) <= high


def test_lognormal() -> None:
    """Half of the calls are below the median, and one in twenty above the 95th percentile."""
    draw = latency.lognormal(0.2, 1.0, seed=3)
    drawn = sorted(draw(None) for _ in range(4000))  # type: ignore[arg-type]
    assert drawn[2000] == pytest.approx(0.2, rel=0.1)
    assert drawn[3800] == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize("make", [lambda: latency.uniform(2, 1), lambda: latency.lognormal(0, 1), lambda: latency.lognormal(2, 1)])
def test_no_distribution(make: Callable[[], Any]) -> None:
    """Numbers that are no distribution are told."""
    with pytest.raises(ConfigurationError):
        make()


def test_latency_of_a_distribution(workspace: MockWorkspace, call: Caller) -> None:
    """An endpoint takes as long as its distribution says."""
    workspace.chat("bot", latency=latency.uniform(0.05, 0.06))
    assert call("bot", CHAT).elapsed.total_seconds() >= 0.05


def test_answers_change(workspace: MockWorkspace, call: Caller) -> None:
    """An endpoint can be given other answers while it serves."""
    bot: MockEndpoint = workspace.chat("bot", "old")
    bot.answer_with([Answer("new", usage=Usage(1, 2))])
    assert call("bot", CHAT).json()["choices"][0]["message"]["content"] == "new"


@pytest.mark.parametrize("make", ["foundation", "external", "model_service"])
def test_no_such_task(workspace: MockWorkspace, make: str) -> None:
    """A task that does not exist is told when the endpoint is declared."""
    with pytest.raises(ConfigurationError, match="'embeddings'"):
        getattr(workspace, make)("system.ai.x" if make == "model_service" else "x", task="images")
