"""The real OpenAI client finds what it looks for in a mock workspace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from evalpoint.errors import ConfigurationError
from evalpoint.mocks import MockWorkspace, fault

openai = pytest.importorskip("openai", reason='the OpenAI client is not installed: pip install "evalpoint[integration]"')
MESSAGES: list[Any] = [{"role": "user", "content": "What is MLflow?"}]
BASES = ["/serving-endpoints", "/ai-gateway/mlflow/v1", "/ai-gateway/openai/v1"]


@pytest.fixture
def workspace() -> Iterator[MockWorkspace]:
    with MockWorkspace() as running:
        yield running


def client(workspace: MockWorkspace, base: str = "/serving-endpoints") -> openai.OpenAI:
    return openai.OpenAI(api_key=workspace.token, base_url=workspace.url + base, max_retries=0, timeout=10)


@pytest.fixture(params=BASES)
def ai(request: pytest.FixtureRequest, workspace: MockWorkspace) -> Iterator[openai.OpenAI]:
    with client(workspace, request.param) as made:
        yield made


@pytest.mark.parametrize("kind", ["chat", "foundation", "external", "chat_completion"])
def test_chat(workspace: MockWorkspace, ai: openai.OpenAI, kind: str) -> None:
    """Chat completions, whole and streamed, of every kind that has them."""
    if kind == "chat_completion":
        bot = workspace.agent("bot", "A platform.", dialect="chat_completion")
    else:
        bot = getattr(workspace, kind)("bot", "A platform.")
    whole = ai.chat.completions.create(model="bot", messages=MESSAGES, temperature=0)
    assert whole.choices[0].message.content == "A platform."
    assert whole.usage is not None
    streamed = ai.chat.completions.create(model="bot", messages=MESSAGES, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == "A platform."
    bot.assert_called_with("What is MLflow?", times=2)


@pytest.mark.parametrize("kind", ["agent", "foundation", "external"])
def test_responses(workspace: MockWorkspace, ai: openai.OpenAI, kind: str) -> None:
    """Responses, whole and streamed; a bare text is input enough for models, and not for agents."""
    getattr(workspace, kind)("bot", "A platform.")
    assert ai.responses.create(model="bot", input=MESSAGES).output_text == "A platform."
    events = list(ai.responses.create(model="bot", input=MESSAGES, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "A platform."
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "A platform."
    if kind == "agent":
        with pytest.raises(openai.BadRequestError, match="missing inputs"):
            ai.responses.create(model="bot", input="What is MLflow?")
    else:
        assert ai.responses.create(model="bot", input="What is MLflow?").output_text == "A platform."


def test_embeddings_and_completions(workspace: MockWorkspace, ai: openai.OpenAI) -> None:
    """Embeddings and completions."""
    workspace.foundation("vectors", task="embeddings")
    workspace.foundation("writer", "on.", task="completions")
    assert len(ai.embeddings.create(model="vectors", input=["a", "b"]).data[1].embedding) == 8
    assert ai.completions.create(model="writer", prompt="Go").choices[0].text == "on."
    streamed = ai.completions.create(model="writer", prompt="Go", stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == "on."


def test_errors(workspace: MockWorkspace, ai: openai.OpenAI) -> None:
    """A model that is not there, one of another task, a wrong token and a limit are the client's own errors."""
    workspace.embeddings("vectors")
    workspace.chat("busy", faults=[fault.status(429, retry_after=1)])
    with pytest.raises(openai.NotFoundError, match="nobody"):
        ai.chat.completions.create(model="nobody", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError, match="does not support the API chat/completions"):
        ai.chat.completions.create(model="vectors", messages=MESSAGES)
    with pytest.raises(openai.RateLimitError) as limited:
        ai.chat.completions.create(model="busy", messages=MESSAGES)
    assert limited.value.response.headers["retry-after"] == "1"
    with pytest.raises(openai.AuthenticationError):
        ai.with_options(api_key="wrong").chat.completions.create(model="busy", messages=MESSAGES)


def test_custom_chat_has_no_responses(workspace: MockWorkspace, ai: openai.OpenAI) -> None:
    """A custom chat model does not answer responses."""
    workspace.chat("bot")
    with pytest.raises(openai.BadRequestError, match="does not support the API responses"):
        ai.responses.create(model="bot", input=MESSAGES)


def test_model_service(workspace: MockWorkspace) -> None:
    """A model service of Unity Catalog answers at the AI Gateway only, by its full name."""
    service = workspace.model_service("system.ai.some-model", "A platform.")
    gateway, endpoints = client(workspace, "/ai-gateway/mlflow/v1"), client(workspace)
    with gateway, endpoints:
        reply = gateway.chat.completions.create(model="system.ai.some-model", messages=MESSAGES)
        assert reply.choices[0].message.content == "A platform."
        with pytest.raises(openai.BadRequestError, match="unknown field") as refused:
            gateway.chat.completions.create(model="system.ai.some-model", messages=MESSAGES, extra_body={"databricks_options": {}})
        assert set(refused.value.response.json()["error"]) == {"message", "type", "code"}
        with pytest.raises(openai.NotFoundError):
            endpoints.chat.completions.create(model="system.ai.some-model", messages=MESSAGES)
    assert workspace.endpoint("system.ai.some-model") is service
    service.assert_called(times=2)
    with pytest.raises(ConfigurationError, match="three parts"):
        workspace.model_service("some-model")


def test_stream_that_breaks(workspace: MockWorkspace) -> None:
    """An error in the middle of a stream reaches the client."""
    workspace.foundation("bot", "one two three", faults=[fault.stream_error(1, message="It broke.", shape="error"), fault.cut(150)])
    with client(workspace) as ai:
        with pytest.raises(openai.APIError, match="It broke"):
            list(ai.chat.completions.create(model="bot", messages=MESSAGES, stream=True))
        with pytest.raises(Exception, match="incomplete"):
            list(ai.chat.completions.create(model="bot", messages=MESSAGES, stream=True))
