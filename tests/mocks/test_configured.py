"""Mock workspaces from YAML files: what may stand in them, and what is said of one that describes none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

import evalpoint
from evalpoint.errors import CallError, Throttled, UsageError
from evalpoint.mocks.configured import KINDS, Configured, configured_workspace
from evalpoint.mocks.serving import shell_lines


def configured(text: str) -> Configured:
    Path("mock.yaml").write_text(text)
    return configured_workspace("mock.yaml")


def ask(name: str, **inputs: Any) -> str:
    return evalpoint.text_of(evalpoint.to_predict_fn(f"endpoints:/{name}")(**inputs))


def test_a_workspace_of_every_kind_of_thing() -> None:
    """Answers by question and in order, latencies, faults, judges with rules, quotas and limits, as the file says."""
    mock = configured("""
token: my-own-token
endpoints:
  - name: bot
    kind: agent
    answers: {"What is MLflow?": A platform., 7: Seven.}
    otherwise: I do not know.
    latency: {uniform: 0.001, high: 0.002, seed: 3}
    faults: [400, {status: 404, message: gone for lunch}, malformed, ok]
    served: {bot-1: 90, bot-2: 10}
  - {name: list, kind: llm/v1/chat, answers: [One., Two.], trace: {damaged: cycle}, latency: 0}
  - {name: busy, kind: foundation, quota: {requests_per_minute: 1, retry_after: false}}
  - {name: flaky, kind: chat, faults: {at_rate: 1, faults: [418, cut], seed: 1}}
  - {name: cold, kind: custom, cold_start: {calls: 1}, streaming: {words: 2}, permission: CAN_VIEW, rejects: n}
  - name: judge
    kind: judge
    raw: nonsense
    rules: [{when: {answer: MLflow}, verdict: no, rationale: Not this time.}, {when: tone, raw: oops}]
""")
    assert mock.uris == tuple(f"endpoints:/{name}" for name in ("bot", "list", "busy", "flaky", "cold", "judge"))
    with mock.workspace as workspace, workspace.exported():
        assert workspace.token == "my-own-token"
        for said in ("400", "gone for lunch", "no JSON"):
            with pytest.raises(CallError, match=said):
                ask("bot", question="What is MLflow?")
        assert [ask("bot", question=question) for question in ("What?", "What is MLflow?", "7")] == [
            "I do not know.",
            "A platform.",
            "Seven.",
        ]
        assert [ask("list", question="?") for _ in range(2)] == ["One.", "Two."]
        assert workspace.endpoint("cold").permission == "CAN_VIEW"
        ask("busy", question="?")
        with pytest.raises(Throttled), without_retries():
            ask("busy", question="?")
        answers = [judged(workspace.url, workspace.token, text) for text in ("MLflow", "MLflow", "another")]
    assert answers[0] == "nonsense"
    assert json.loads(answers[1]) == {"rationale": "Not this time.", "verdict": "no"}
    assert json.loads(answers[2])["verdict"] == "yes"


def without_retries() -> Any:
    from evalpoint.calls import bind
    from evalpoint.settings import Settings

    return bind(Settings(max_retries=0))


def judged(url: str, token: str, answer: str) -> str:
    fence = '<data-0123456789abcdef name="{}">\n{}\n</data-0123456789abcdef>'
    content = f"Judge: correctness\n{fence.format('answer', answer)}{fence.format('reference', answer)}"
    body = {"messages": [{"role": "user", "content": content}]}
    address = f"{url}/serving-endpoints/judge/invocations"
    reply = requests.post(address, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    return str(reply.json()["choices"][0]["message"]["content"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_made(kind: str) -> None:
    """A kind that the file may name is one that the workspace has."""
    name = "system.ai.model" if kind == "model_service" else "one"
    answers = ", answers: {}" if kind == "features" else ""
    mock = configured(f"endpoints: [{{name: {name}, kind: {kind}{answers}}}]")
    assert mock.uris == (f"{'apps' if kind == 'app' else 'endpoints'}:/{name}",)
    assert mock.needs_oauth == (kind == "app")


def test_what_was_recorded_is_replayed(tmp_path: Path) -> None:
    """A recording beside the file is served, with endpoints of the file's own."""
    call = {"endpoint": "bot", "kind": "llm/v1/chat", "request": {"messages": [{"role": "user", "content": "Hi"}]}}
    call["response"] = {"status": 200, "body": {"choices": [{"message": {"content": "Hello."}}]}}
    (tmp_path / "calls.jsonl").write_text(json.dumps(call))
    mock = configured("replay: calls.jsonl\nendpoints: [{name: other}]")
    assert mock.uris == ("endpoints:/other", "endpoints:/bot")
    with mock.workspace as workspace, workspace.exported():
        assert ask("bot", question="Hi") == "Hello."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("endpoints: []", "should have a list of endpoints"),
        ("- bot", "keys and values"),
        ("endpoints: [", "is no YAML"),
        ("endpionts: [{name: a}]\nendpoints: [{name: a}]", "did you mean 'endpoints'?"),
        ("port: many\nendpoints: [{name: a}]", "port is 'many'"),
        ("endpoints: [bot]", "endpoint 1: this is str"),
        ("endpoints: [{kind: chat}]", "endpoint 1: it needs a name"),
        ("endpoints: [{name: a, kind: chatt}]", "did you mean 'chat'?"),
        ("endpoints: [{name: a, latencey: 1}]", "endpoint 1 (a): 'latencey' is no option of agent; did you mean 'latency'?"),
        ("endpoints: [{name: a, latency: slow}]", "latency: 'slow' is no latency; there are"),
        ("endpoints: [{name: a, latency: -1}]", "latency: -1 is below 0"),
        ("endpoints: [{name: a, latency: {uniform: 2, high: 1}}]", "no range of seconds"),
        ("endpoints: [{name: a, faults: [cutt]}]", "'cutt' is no fault; did you mean 'cut'?"),
        ("endpoints: [{name: a, faults: [{status: 429, retry: 1}]}]", "status takes no 'retry'"),
        ("endpoints: [{name: a, permission: CAN_QUERRY}]", "did you mean 'CAN_QUERY'?"),
        ("endpoints: [{name: a, quota: {requests: 1}}]", "quota takes no 'requests'"),
        ("endpoints: [{name: a, answers: 5}]", "neither a text, nor a mapping"),
        ("endpoints: [{name: a, answers: x, otherwise: y}]", "otherwise goes with answers that are a mapping"),
        ("endpoints: [{name: a, trace: {damaged: a lot}}]", "damaged('a lot')"),
        ("endpoints: [{name: a b}]", "no name for an endpoint"),
        ("endpoints: [{name: a}, {name: a}]", "already has an endpoint 'a'"),
        ("endpoints: [{name: j, kind: judge, rules: [{wen: x}]}]", "'wen' is no part of a rule; did you mean 'when'?"),
        ("endpoints: [{name: j, kind: judge, answers: x}]", "'answers' is no option of judge"),
        ("endpoints: [{name: a, kind: app, server: apis}]", "did you mean 'api'?"),
        ("replay: nowhere.jsonl", "nowhere.jsonl"),
    ],
    ids=range(25),
)
def test_what_is_wrong(text: str, said: str) -> None:
    """Each mistake is named by its place, with what was probably meant."""
    with pytest.raises(UsageError) as error:
        configured(text)
    assert said in str(error.value)
    assert "mock.yaml" in str(error.value)


def test_everything_wrong_is_told_at_once() -> None:
    """Whoever mends a file mends it once."""
    with pytest.raises(UsageError) as error:
        configured("prot: 1\nendpoints: [{name: a, x: 1, y: 2}, {kind: chat}, {name: b, kind: c}]")
    assert len(str(error.value).splitlines()) == 6


def test_no_such_file() -> None:
    """The file is named."""
    with pytest.raises(UsageError, match=r"nowhere\.yaml"):
        configured_workspace("nowhere.yaml")


def test_the_shells_lines() -> None:
    """They are a shell's, quoted, with the judge's model, a way round proxies, and OAuth where something takes nothing else."""
    mock = configured("token: two words\nendpoints: [{name: j, kind: judge}]")
    with mock.workspace as workspace:
        assert shell_lines(mock, {"HTTPS_PROXY": "http://proxy", "NO_PROXY": "intern"}) == [
            "# A mock workspace with endpoints:/j. Ctrl-C ends it.",
            f"export DATABRICKS_HOST={workspace.url}",
            "export DATABRICKS_TOKEN='two words'",
            "export MLFLOW_GENAI_JUDGE_DEFAULT_MODEL=endpoints:/j",
            "export NO_PROXY=intern,127.0.0.1",
        ]
    mock = configured("endpoints: [{name: a, kind: app}]")
    with mock.workspace:
        assert [line.split("=")[0] for line in shell_lines(mock, {})[1:]] == [
            "export DATABRICKS_HOST",
            "export DATABRICKS_CLIENT_ID",
            "export DATABRICKS_CLIENT_SECRET",
        ]
