"""Every kind of mock endpoint is asked, answers, traces and describes itself as the real one does."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from evalpoint.entities import SpanType, Trace
from evalpoint.errors import EvalpointError
from evalpoint.mocks import Answer, MockSpan, MockWorkspace, RecordedRequest, ToolCall, Usage
from evalpoint.mocks.endpoint import MockEndpoint

Caller = Callable[..., requests.Response]
SAMPLES = Path(__file__).parent.parent / "fixtures" / "endpoint"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is MLflow?"}]
ASK: dict[str, dict[str, Any]] = {
    "chat": {"messages": MESSAGES},
    "chat_completion": {"messages": MESSAGES},
    "chat_agent": {"messages": MESSAGES},
    "responses": {"input": MESSAGES},
    "custom": {"dataframe_records": [{"question": "What is MLflow?"}]},
    "foundation": {"messages": MESSAGES},
}
KINDS = list(ASK)
TRACED = [kind for kind in KINDS if kind != "foundation"]
SAMPLE = {
    "chat": "io-chat.json",
    "foundation": "io-chat.json",
    "chat_completion": "io-agent-v1-chat.json",
    "chat_agent": "io-agent-v2-chat.json",
    "responses": "io-agent-v1-responses.json",
    "custom": "io-pyfunc-dataframe_records.json",
}


def make(workspace: MockWorkspace, kind: str, answers: Any = "A platform.", **options: Any) -> MockEndpoint:
    """An endpoint `bot` of that kind."""
    if kind in ("chat", "custom", "foundation"):
        return getattr(workspace, kind)("bot", answers, **options)
    return workspace.agent("bot", answers, dialect=kind, **options)  # type: ignore[arg-type]


def text_in(kind: str, body: dict[str, Any]) -> Any:
    """Where each kind has its answer."""
    if kind == "custom":
        return body["predictions"][-1]
    if kind == "responses":
        return body["output"][-1]["content"][0]["text"]
    return body["messages"][-1]["content"] if kind == "chat_agent" else body["choices"][0]["message"]["content"]


def traced(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "databricks_options": {"return_trace": True}}


@pytest.mark.parametrize("kind", KINDS)
def test_answer(workspace: MockWorkspace, call: Caller, kind: str) -> None:
    """The answer is where the kind has it, beside the members of the documented sample, with the version that served it."""
    make(workspace, kind)
    reply = call("bot", ASK[kind])
    sample = json.loads((SAMPLES / SAMPLE[kind]).read_text())["response"]
    assert reply.status_code == 200
    assert text_in(kind, reply.json()) == "A platform."
    assert set(reply.json()) == set(sample) - {"databricks_output"}
    assert reply.headers["served-model-name"] == "bot-1"
    assert reply.headers["x-request-id"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "answers",
    [
        {"What is MLflow?": "yes"},
        ["yes"],
        lambda question: "yes" if question == "What is MLflow?" else "no",
        lambda request: "yes" if "MLflow" in str(request.body) else "no",
        lambda anything: "yes" if "MLflow" in str(anything) else "no",
        lambda: "yes",
        lambda question, fixed="yes": fixed,
        [Answer("yes")],
        defaultdict(lambda: "yes"),
    ],
    ids=["mapping", "list", "question", "request", "any-name", "nothing", "default", "value", "defaultdict"],
)
def test_forms_of_answers(workspace: MockWorkspace, call: Caller, kind: str, answers: Any) -> None:
    """Answers come from a text per question, from a list in order, or from a function of the question or the request."""
    make(workspace, kind, answers)
    body = call("bot", ASK[kind]).json()
    given = body["predictions"] if kind == "custom" else text_in(kind, body)
    assert given in ("yes", ["yes"])


def test_async_answers(workspace: MockWorkspace, call: Caller) -> None:
    """An async function answers too."""

    async def answer(question: str) -> str:
        return question.upper()

    workspace.chat("bot", answer)
    assert text_in("chat", call("bot", ASK["chat"]).json()) == "WHAT IS MLFLOW?"


def test_whole_body(workspace: MockWorkspace, call: Caller) -> None:
    """A dict is the whole body, whatever its shape."""
    workspace.agent("bot", lambda question: {"anything": [question]})
    body = call("bot", traced(ASK["responses"])).json()
    assert body.pop("databricks_output")["trace"]
    assert body == {"anything": ["What is MLflow?"]}


def test_unknown_question() -> None:
    """A question that is not in the mapping fails the test, with the nearest that is."""
    workspace = MockWorkspace().start()
    workspace.chat("bot", {"What is MLfow?": "?"})
    headers = {"Authorization": f"Bearer {workspace.token}"}
    requests.post(f"{workspace.url}/serving-endpoints/bot/invocations", json=ASK["chat"], headers=headers, timeout=10)
    with pytest.raises(EvalpointError, match=r"no answer to 'What is MLflow\?'. The nearest is 'What is MLfow\?'"):
        workspace.stop()


def test_content_parts(workspace: MockWorkspace, call: Caller) -> None:
    """The question is the text of the last user message, also where its content is a list of parts."""
    workspace.chat("bot", lambda question: question)
    parts = [{"type": "text", "text": "Weather?"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    messages = [{"role": "user", "content": "old"}, {"role": "user", "content": parts}, {"role": "assistant", "content": "hm"}]
    assert text_in("chat", call("bot", {"messages": messages}).json()) == "Weather?"


@pytest.mark.parametrize("form", ["dataframe_records", "dataframe_split", "inputs", "instances"])
def test_custom_forms(workspace: MockWorkspace, call: Caller, form: str) -> None:
    """A custom model makes one prediction for each record, in each of the four documented forms of a request."""
    workspace.custom("bot", answers=lambda record: json.dumps(record, sort_keys=True))
    sample = json.loads((SAMPLES / f"io-pyfunc-{form}.json").read_text())
    predictions = call("bot", sample["request"]).json()["predictions"]
    assert len(predictions) == 2
    assert json.loads(predictions[0]) in ({"question": "a"}, {"a": 1.0})


def test_custom_values(workspace: MockWorkspace, call: Caller) -> None:
    """A prediction may be any JSON value; a function of the request alone makes them all, or the body."""
    workspace.custom("score", answers=lambda record: {"p": record["x"] / 2})
    workspace.custom("all", answers=lambda request: [0.1] * len(request.body["instances"]))
    workspace.custom("body", answers=lambda request: {"predictions": "one", "more": 1})
    assert call("score", {"dataframe_records": [{"x": 1}, {"x": 3}]}).json() == {"predictions": [{"p": 0.5}, {"p": 1.5}]}
    assert call("all", {"instances": [1, 2, 3]}).json() == {"predictions": [0.1, 0.1, 0.1]}
    assert call("body", {"inputs": "x"}).json() == {"predictions": "one", "more": 1}


@pytest.mark.parametrize(
    "record",
    ["q", {"question": "q", "n": "m"}, {"text": "q"}, {"whatever": "q", "n": 1}, {"messages": [{"role": "user", "content": "q"}]}],
    ids=["text", "question", "key", "only-text", "messages"],
)
def test_custom_question(workspace: MockWorkspace, call: Caller, record: Any) -> None:
    """The question of a record is the text that is plainly it."""
    workspace.custom("bot", answers=lambda question: question)
    assert call("bot", {"instances": [record]}).json() == {"predictions": ["q"]}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("chat", {}),
        ("chat", {"messages": []}),
        ("chat", {"messages": "hi"}),
        ("chat", [1]),
        ("responses", {"messages": MESSAGES}),
        ("responses", {"input": "hi"}),
        ("custom", {"messages": MESSAGES}),
        ("custom", {"inputs": [1], "instances": [1]}),
        ("custom", {"dataframe_split": {"columns": ["a"]}}),
        ("custom", {"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}),
        ("custom", {"dataframe_records": [1]}),
        ("chat", {"messages": MESSAGES, "stream": "yes"}),
    ],
)
def test_refused_bodies(workspace: MockWorkspace, call: Caller, kind: str, body: Any) -> None:
    """A body that the real endpoint could not use is a 400, and no answer is spent on it."""
    bot = make(workspace, kind, answers=["only"])
    reply = call("bot", body)
    assert (reply.status_code, reply.json()["error_code"]) == (400, "BAD_REQUEST")
    assert text_in(kind, call("bot", ASK[kind]).json()) == "only"
    assert bot.calls == 2


def test_foundation_is_strict(workspace: MockWorkspace, call: Caller) -> None:
    """A foundation model refuses fields that it does not know, in the documented words, and takes those that it does."""
    workspace.foundation("bot")
    reply = call("bot", traced(ASK["foundation"]))
    expected = {"error_code": "BAD_REQUEST", "message": 'Bad request: json: unknown field "databricks_options"\n'}
    assert (reply.status_code, reply.json()) == (400, expected)
    assert call("bot", {**ASK["foundation"], "temperature": 0, "client_request_id": "x"}).status_code == 200


def test_rejects(workspace: MockWorkspace, call: Caller) -> None:
    """Any endpoint can be told to refuse a field."""
    bot = workspace.agent("bot", rejects=["databricks_options"])
    assert 'unknown field "databricks_options"' in call("bot", traced(ASK["responses"])).json()["message"]
    bot.rejects = frozenset()
    assert call("bot", traced(ASK["responses"])).status_code == 200


@pytest.mark.parametrize("kind", TRACED)
def test_trace(workspace: MockWorkspace, call: Caller, kind: str) -> None:
    """A trace comes back where one is asked for, and reads as one: a root with what went in and out, its steps inside its time."""
    make(workspace, kind, [Answer("A platform.", usage=Usage(21, 9))], experiment_id="55")
    body = call("bot", traced(ASK[kind])).json()
    output = body.pop("databricks_output")
    trace = Trace.from_dict(output["trace"])
    root = trace.root
    assert root is not None
    assert root.inputs == ASK[kind]
    assert root.outputs == body
    assert trace.info.state.value == "OK"
    assert output["trace"]["info"]["client_request_id"] == output["databricks_request_id"]
    assert output["trace"]["info"]["trace_location"]["mlflow_experiment"]["experiment_id"] == "55"
    assert all(root.start_time_ns <= s.start_time_ns <= (s.end_time_ns or 0) <= (root.end_time_ns or 0) for s in trace.data.spans)
    if kind != "custom":
        assert trace.info.token_usage == {"input_tokens": 21, "output_tokens": 9, "total_tokens": 30}
    types = [span.span_type for span in trace.data.spans]
    assert types == {"chat": ["CHAT_MODEL"], "custom": ["CHAIN"]}.get(kind, ["AGENT", "RETRIEVER", "CHAT_MODEL"])


def test_trace_shape(workspace: MockWorkspace, call: Caller) -> None:
    """The trace has the members of one that a real MLflow wrote, and the same encodings."""
    workspace.agent("bot")
    trace = call("bot", traced(ASK["responses"])).json()["databricks_output"]["trace"]
    real = json.loads((SAMPLES.parent / "traces" / "trace-to_dict-mlflow-3.17.2.json").read_text())
    assert set(real["info"]) <= set(trace["info"])
    mine, theirs = trace["data"]["spans"], real["data"]["spans"]
    assert [set(span) for span in mine] == [set(theirs[0])] * 3
    assert [len(span["span_id"]) for span in mine] == [len(theirs[0]["span_id"])] * 3
    assert mine[0]["parent_span_id"] is None
    assert [span["parent_span_id"] for span in mine[1:]] == [mine[0]["span_id"]] * 2
    assert json.loads(mine[0]["attributes"]["mlflow.traceRequestId"]) == trace["info"]["trace_id"]


@pytest.mark.parametrize("options", [None, {}, {"return_trace": False}, {"return_trace": "yes"}, []], ids=str)
def test_no_trace_unasked(workspace: MockWorkspace, call: Caller, options: Any) -> None:
    """Who does not ask for a trace gets none."""
    workspace.agent("bot")
    assert "databricks_output" not in call("bot", {**ASK["responses"], "databricks_options": options}).json()


@pytest.mark.parametrize(
    ("trace", "expected"),
    [(None, None), ({}, {}), ({"steps": 1}, {"steps": 1}), (lambda request: request.path, "/serving-endpoints/bot/invocations")],
    ids=["null", "empty", "replayed", "function"],
)
def test_given_trace(workspace: MockWorkspace, call: Caller, trace: Any, expected: Any) -> None:
    """What comes back for a trace can be given: null, empty, one replayed, or made by a function."""
    workspace.agent("bot", trace=trace)
    output = call("bot", traced(ASK["responses"])).json()["databricks_output"]
    assert output["trace"] == expected
    assert output["databricks_request_id"]


def test_absent_trace(workspace: MockWorkspace, call: Caller) -> None:
    """With `trace=False` there is no trace member at all."""
    workspace.agent("bot", trace=False)
    assert set(call("bot", traced(ASK["responses"])).json()["databricks_output"]) == {"databricks_request_id"}


def test_own_spans(workspace: MockWorkspace, call: Caller) -> None:
    """An answer's own spans hang below the root, nested, with attributes, tokens and errors."""
    inner = MockSpan(name="llm", span_type="CHAT_MODEL", usage=Usage(3, 4), model="m-1", attributes={"session.id": "s"})
    outer = MockSpan(name="plan", span_type="CHAIN", children=(inner, MockSpan(name="tool", span_type="TOOL", error="broke")))
    workspace.agent("bot", lambda question: Answer("hi", spans=(outer,)))
    trace = Trace.from_dict(call("bot", traced(ASK["responses"])).json()["databricks_output"]["trace"])
    root, plan, llm, tool = (trace.search_spans(name=name)[0] for name in ("predict", "plan", "llm", "tool"))
    assert (plan.parent_id, llm.parent_id, tool.parent_id) == (root.span_id, plan.span_id, plan.span_id)
    assert llm.get_attribute("session.id") == "s"
    assert llm.get_attribute("mlflow.llm.model") == "m-1"
    assert trace.info.token_usage == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    assert (tool.status.status_code.value, tool.events[0].attributes["exception.message"]) == ("ERROR", "broke")


@pytest.mark.parametrize("kind", ["chat", "chat_completion", "chat_agent", "responses"])
def test_tool_calls(workspace: MockWorkspace, call: Caller, kind: str) -> None:
    """Tool calls stand in the body where the kind has them, and as TOOL spans in an agent's trace."""
    answer = Answer("Found it.", tool_calls=(ToolCall("search", {"q": "mlflow"}, [{"doc": "a"}]),), custom_outputs={"k": "v"})
    make(workspace, kind, [answer])
    body = call("bot", traced(ASK[kind])).json()
    assert text_in(kind, body) == "Found it."
    if kind == "responses":
        assert [item["type"] for item in body["output"]] == ["function_call", "function_call_output", "message"]
        asked, found = body["output"][:2]
        assert (asked["name"], json.loads(asked["arguments"]), asked["call_id"]) == ("search", {"q": "mlflow"}, found["call_id"])
    else:
        message = body["messages"][0] if kind == "chat_agent" else body["choices"][0]["message"]
        assert message["tool_calls"][0]["function"] == {"name": "search", "arguments": '{"q": "mlflow"}'}
    if kind != "chat":
        assert body["custom_outputs"] == {"k": "v"}
        (tool,) = Trace.from_dict(body["databricks_output"]["trace"]).search_spans(span_type=SpanType.TOOL)
        assert (tool.name, tool.inputs, tool.outputs) == ("search", {"q": "mlflow"}, [{"doc": "a"}])


@pytest.mark.parametrize(
    ("kind", "sample"),
    [("responses", "get-agent.json"), ("foundation", "get-foundation-model-api.json"), ("custom", "get-custom-pyfunc-updating.json")],
)
def test_description(workspace: MockWorkspace, get: Callable[[str], requests.Response], kind: str, sample: str) -> None:
    """The description has the members of a real one; what makes the kinds differ is the same."""
    make(workspace, kind)
    body, real = get("/api/2.0/serving-endpoints/bot").json(), json.loads((SAMPLES / sample).read_text())
    assert {key: body.get(key) for key in ("task", "endpoint_type")} == {key: real.get(key) for key in ("task", "endpoint_type")}
    assert set(real) - {"pending_config"} <= set(body)
    entity, real_entity = body["config"]["served_entities"][0], real["config"]["served_entities"][0]
    assert set(real_entity) - {"environment_vars", "min_provisioned_concurrency", "max_provisioned_concurrency"} <= set(entity)
    assert entity["type"] == real_entity["type"]


def test_deployment(workspace: MockWorkspace, call: Caller, get: Callable[[str], requests.Response]) -> None:
    """A failed deployment is in the description with its message; the endpoint is not ready, and calls are a 503."""
    bot = workspace.chat("bot", deployment="DEPLOYMENT_FAILED", deployment_message="Out of memory")
    body = get("/api/2.0/serving-endpoints/bot").json()
    assert body["state"] == {"ready": "NOT_READY", "config_update": "UPDATE_FAILED"}
    expected = {"deployment": "DEPLOYMENT_FAILED", "deployment_state_message": "Out of memory"}
    assert body["config"]["served_entities"][0]["state"] == expected
    assert call("bot", ASK["chat"]).json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
    bot.state, bot.deployment = "READY", "DEPLOYMENT_READY"
    assert call("bot", ASK["chat"]).status_code == 200


@pytest.mark.parametrize(
    ("permission", "describe", "query"),
    [("CAN_MANAGE", 200, 200), ("CAN_QUERY", 200, 200), ("CAN_VIEW", 200, 403), ("ONLY_QUERY", 403, 200), ("NONE", 403, 403)],
)
def test_permission(
    workspace: MockWorkspace, call: Caller, get: Callable[[str], requests.Response], permission: Any, describe: int, query: int
) -> None:
    """A permission opens the description, the call, both or neither."""
    workspace.chat("bot", permission=permission)
    described, queried = get("/api/2.0/serving-endpoints/bot"), call("bot", ASK["chat"])
    assert (described.status_code, queried.status_code) == (describe, query)
    assert all(r.json()["error_code"] == "PERMISSION_DENIED" for r in (described, queried) if r.status_code == 403)


def test_served_models(workspace: MockWorkspace, call: Caller) -> None:
    """One served entity can be called by its name; another name is a 404."""
    workspace.chat("bot", served=("old-1", "new-2"))
    assert call("bot", ASK["chat"]).headers["served-model-name"] == "old-1"
    assert call("bot", ASK["chat"], "served-models/new-2/invocations").headers["served-model-name"] == "new-2"
    assert call("bot", ASK["chat"], "served-models/no-3/invocations").json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_openai_address(workspace: MockWorkspace, call: Caller) -> None:
    """A chat endpoint answers at the OpenAI-compatible address too, named by `model`."""
    workspace.foundation("bot", answers={"What is MLflow?": "A platform."})
    body = {**ASK["chat"], "model": "bot", "temperature": 0}
    assert text_in("chat", call("chat", body, "completions").json()) == "A platform."
    assert call("chat", {**body, "model": "nobody"}, "completions").status_code == 404


@pytest.mark.parametrize("latency", [0.05, lambda request: 0.05], ids=["fixed", "function"])
def test_latency(workspace: MockWorkspace, call: Caller, latency: Any) -> None:
    """A call takes as long as the endpoint is told, or as its answer says."""
    bot = workspace.chat("bot", [Answer("a"), Answer("b", latency=0)], latency=latency)
    assert call("bot", ASK["chat"]).elapsed.total_seconds() >= 0.05
    bot.latency = 30
    assert call("bot", ASK["chat"]).elapsed.total_seconds() < 10


def test_request_of_a_function(workspace: MockWorkspace, call: Caller) -> None:
    """A function of the request sees headers and body, and never the token."""
    seen: list[RecordedRequest] = []

    def answer(request: RecordedRequest, question: str) -> str:
        seen.append(request)
        return question

    workspace.chat("bot", answer)
    call("bot", {**ASK["chat"], "client_request_id": "row-1"})
    assert seen[0].body["client_request_id"] == "row-1"
    assert workspace.token not in repr(seen)
