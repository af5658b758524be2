"""Other providers through litellm, on a real socket: one request per attempt, errors of our own, no secrets, no noise."""

from __future__ import annotations

import inspect
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import Any

import pytest

from evalpoint.calls import account, bind
from evalpoint.errors import AccessDenied, Broken, CallError, ConfigurationError, Rejected, Throttled, Unreachable
from evalpoint.judges import ChatModel, is_correct, open_model
from evalpoint.judges.litellm_errors import TABLE, translate
from evalpoint.judges.litellm_model import load_litellm
from evalpoint.settings import Settings

pytestmark = pytest.mark.skipif(find_spec("litellm") is None, reason="the extra [litellm] is not installed")

KEY = "sk-test-0123456789abcdefghij"
MESSAGES = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"verdict": {"type": "string"}}, "required": ["verdict"], "additionalProperties": False}
NO_RETRIES = Settings(max_retries=0)


class Provider:
    """An OpenAI-compatible server on loopback that answers in the order given."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], Any]] = []
        self.requests: list[dict[str, Any]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                provider.requests.append({"path": self.path, "key": self.headers["authorization"], "body": body})
                status, headers, answer = provider.answers.pop(0)
                data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def says(self, content: str | None, status: int = 200, headers: dict[str, str] | None = None, **message: Any) -> None:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content, **message}}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4.1-mini-2025", "choices": [choice], "usage": usage}
        self.answers.append((status, headers or {}, body))

    def fails(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self.answers.append((status, headers or {}, {"error": {"message": message, "type": "t", "param": None, "code": None}}))


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    made = Provider()
    monkeypatch.setenv("OPENAI_API_BASE", made.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


@pytest.fixture
def model(provider: Provider) -> ChatModel:
    return open_model("openai:/gpt-4.1-mini")


def test_one_judgement(provider: Provider) -> None:
    """A whole judgement: one request with our parameters, a verdict with tokens and litellm's price."""
    provider.says('{"rationale": "fine", "verdict": "yes"}')
    feedback = is_correct(
        request="q", response="a", expected_response="a", model="openai:/gpt-4.1-mini", inference_params={"max_tokens": 77, "seed": 5}
    )
    assert (feedback.value, feedback.rationale, feedback.source.source_id) == ("yes", "fine", "openai:/gpt-4.1-mini")
    assert feedback.metadata is not None
    assert feedback.metadata["mlflow.assessment.judgeInputTokens"] == "100"
    assert float(feedback.metadata["mlflow.assessment.judgeCost"]) == pytest.approx(100 * 4e-7 + 10 * 1.6e-6)
    (request,) = provider.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["key"] == f"Bearer {KEY}"
    body = request["body"]
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("gpt-4.1-mini", 0, 77, 5)
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["rationale", "verdict"]


def test_default_model(provider: Provider) -> None:
    """With OpenAI's key set and nothing else, OpenAI's small model judges."""
    assert open_model(settings=Settings()).uri == "openai:/gpt-4.1-mini"


def test_loading_leaves_no_trace(provider: Provider) -> None:
    """litellm is told to use its own price list, and its mode of the import is taken back."""
    litellm = load_litellm()
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    assert "LITELLM_MODE" not in os.environ
    assert litellm.suppress_debug_info is True
    assert provider.requests == []


def test_refused_parameter(provider: Provider, model: ChatModel) -> None:
    """A 400 that names response_format: once more without it, remembered, counted."""
    provider.fails(400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.")
    provider.says("ok")
    provider.says("ok")
    with account() as used:
        model.complete(MESSAGES, schema=SCHEMA, params={})
        model.complete(MESSAGES, schema=SCHEMA, params={})
    assert ["response_format" in request["body"] for request in provider.requests] == [True, False, False]
    assert used.corrections == 1


def test_parameter_that_litellm_refuses(provider: Provider) -> None:
    """A model that litellm knows to refuse temperature 0 is asked without it; nothing is dropped behind our back."""
    provider.says("ok")
    model = open_model("openai:/gpt-5-mini")
    assert model.complete(MESSAGES, schema=SCHEMA, params={}).text == "ok"
    assert "temperature" not in provider.requests[0]["body"]
    with pytest.raises(Rejected, match="temperature"):
        model.complete(MESSAGES, schema=SCHEMA, params={"temperature": 0.3})


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AccessDenied), (403, AccessDenied), (404, Rejected), (429, Throttled), (500, Broken), (502, Broken), (503, Throttled)],
)
def test_status(provider: Provider, model: ChatModel, status: int, kind: type[CallError]) -> None:
    """Every status is one of our errors after exactly one request, with no key in it and no foreign cause behind it."""
    provider.fails(status, f"Something about {KEY} went wrong")
    with bind(NO_RETRIES), pytest.raises(kind) as failed:
        model.complete(MESSAGES, schema=SCHEMA, params={})
    assert type(failed.value) is kind
    assert len(provider.requests) == 1
    assert KEY not in str(failed.value)
    assert "openai:/gpt-4.1-mini" in str(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__ or failed.value.__context__ is None
    assert KEY not in repr(model)


def test_retry_after(provider: Provider, model: ChatModel) -> None:
    """What the provider asked callers to wait is kept for the one retry loop."""
    provider.fails(429, "slow down", {"retry-after": "7"})
    with bind(NO_RETRIES), pytest.raises(Throttled) as failed:
        model.complete(MESSAGES, schema=SCHEMA, params={})
    assert failed.value.retry_after == 7.0


def test_retried_in_one_place(provider: Provider, model: ChatModel) -> None:
    """With one retry allowed there are two requests, not two times litellm's own."""
    provider.fails(500, "broken")
    provider.fails(500, "broken")
    with account() as used, bind(Settings(max_retries=1)), pytest.raises(Broken):
        model.complete(MESSAGES, schema=SCHEMA, params={})
    assert len(provider.requests) == 2
    assert used.retries == 1


def test_unreachable(monkeypatch: pytest.MonkeyPatch, provider: Provider) -> None:
    """No server at the address: not reached."""
    monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:9/v1")
    with bind(NO_RETRIES), pytest.raises((Unreachable, Broken)):
        open_model("openai:/gpt-4.1-mini").complete(MESSAGES, schema=SCHEMA, params={})


def test_refusal(provider: Provider, model: ChatModel) -> None:
    """A refusal in place of content is kept as the text, and called a refusal."""
    provider.says(None, refusal="I will not.")
    completion = model.complete(MESSAGES, schema=SCHEMA, params={})
    assert (completion.text, completion.finish_reason) == ("I will not.", "refusal")


def test_unknown_provider(provider: Provider, capfd: pytest.CaptureFixture[str]) -> None:
    """A provider that litellm does not know is refused before anything is spent, with the nearest one, and without noise."""
    with pytest.raises(ConfigurationError, match=r"knows no provider 'antropic'.*Did you mean 'anthropic:/claude'"):
        open_model("antropic:/claude")
    assert capfd.readouterr() == ("", "")


def test_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider's missing key is named before anything is spent; one among the parameters counts."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="ANTHROPIC_API_KEY"):
        open_model("anthropic:/claude-sonnet-4-5")
    assert open_model("anthropic:/claude-sonnet-4-5", params={"api_key": "sk-ant-123456789"}).uri == "anthropic:/claude-sonnet-4-5"


def test_table_is_total() -> None:
    """Every exception class that litellm defines stands in the table by its own name."""
    exceptions = load_litellm().exceptions
    names = {name for name, value in vars(exceptions).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert len(names) > 20
    assert names - TABLE.keys() == set()


def test_table_reads_what_litellm_raises() -> None:
    """A class by its name, a subclass by its base's, the rest by status; what nobody knows is final."""
    exceptions = load_litellm().exceptions

    class Newer(exceptions.RateLimitError):  # type: ignore[misc, name-defined]  # a class of a library without types
        pass

    assert type(translate(Newer("m", "openai", "gpt"), "openai:/gpt")) is Throttled
    assert type(translate(exceptions.APIError(429, "m", "openai", "gpt"), "openai:/gpt")) is Throttled
    assert type(translate(exceptions.APIError(418, "m", "openai", "gpt"), "openai:/gpt")) is Rejected
    assert type(translate(RuntimeError("boom"), "openai:/gpt")) is CallError
    filtered = translate(exceptions.ContentPolicyViolationError("m", "gpt", "openai"), "openai:/gpt")
    assert "content filter" in str(filtered)
    assert not any(kind is None and name.endswith("RateLimitError") for name, kind in TABLE.items())
