"""Every door against a mock workspace, with the real databricks-sdk: apps, data planes, model services, sleep, tokens that expire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import evalpoint
from evalpoint.entities import RowKey, Trace
from evalpoint.errors import AccessDenied, ConfigurationError
from evalpoint.mocks import MockWorkspace
from evalpoint.mocks.waking import ColdStart
from evalpoint.tracing import ORIGINAL_ID, Recorder

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def workspace() -> Iterator[MockWorkspace]:
    with MockWorkspace() as mock, mock.exported(mock.oauth_environ):
        yield mock


def traced(function: Any, inputs: dict[str, Any]) -> tuple[str, Trace]:
    with Recorder(experiment_id="1", run_id="run").record("f", inputs, RowKey(0)) as recording:
        outputs = function(**inputs)
        return evalpoint.text_of(outputs), recording.answered(outputs)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("server", ["api", "agentserver", "legacy"])
def test_an_app_of_every_generation(workspace: MockWorkspace, server: Any, stream: bool) -> None:
    """The answer, and its trace of three spans from the tracking server, which has it a little later."""
    app = workspace.app("agent", answers="A platform.", server=server, trace_delay=0.05)
    text, trace = traced(evalpoint.to_predict_fn("apps:/agent", stream=stream), {"question": "What is MLflow?"})
    assert (text, len(trace.data.spans), app.calls) == ("A platform.", 3, 1)
    assert trace.info.trace_metadata[ORIGINAL_ID].startswith("tr-")


@pytest.mark.parametrize("server", ["api", "agentserver"])
def test_a_run_in_the_background(workspace: MockWorkspace, server: Any) -> None:
    """Polled until it has ended, with the same answer and the same trace."""
    workspace.app("agent", answers="A platform.", server=server, background=True, latency=0.05)
    inputs = {"input": [{"role": "user", "content": "What is MLflow?"}], "background": True}
    text, trace = traced(evalpoint.to_predict_fn("apps:/agent"), inputs)
    assert (text, len(trace.data.spans)) == ("A platform.", 3)


def test_who_may_not_use_an_app(workspace: MockWorkspace) -> None:
    """CAN USE is named; a redirect to the login page is told as one; an app that is stopped is told when the function is made."""
    app = workspace.app("agent", permission="NONE")
    function = evalpoint.to_predict_fn("apps:/agent")
    with pytest.raises(AccessDenied, match="CAN USE"):
        function(question="Why?")
    app.running = False
    with pytest.raises(ConfigurationError, match="STOPPED"):
        evalpoint.to_predict_fn("apps:/agent")


@pytest.mark.parametrize("refusal", ["401", "login"])
def test_an_app_whose_tokens_expire(workspace: MockWorkspace, refusal: Any) -> None:
    """However the app refuses an old token, with a 401 or with its login page, no row is lost and the agent runs once for each."""
    app = workspace.app("agent", answers="A platform.", refusal=refusal)
    function = evalpoint.to_predict_fn("apps:/agent")
    for _ in range(3):
        workspace.identity.expire_tokens()
        assert traced(function, {"question": "Why?"})[0] == "A platform."
    assert app.calls == 3


def test_a_personal_access_token_opens_no_app_and_no_data_plane(workspace: MockWorkspace) -> None:
    """Both say so when the function is made."""
    workspace.app("agent")
    workspace.agent("fast", route_optimized=True)
    with workspace.exported():
        for uri in ("apps:/agent", "endpoints:/fast"):
            with pytest.raises(ConfigurationError, match="personal access token"):
                evalpoint.to_predict_fn(uri)


def test_a_route_optimised_endpoint_whose_tokens_expire(workspace: MockWorkspace) -> None:
    """Every token is refused in the middle of a run: no row is lost, and each is renewed once."""
    bot = workspace.agent("fast", answers="quick", route_optimized=True)
    function = evalpoint.to_predict_fn("endpoints:/fast")
    traced(function, {"question": "Why?"})
    workspace.identity.expire_tokens()
    issued = workspace.identity.tokens_issued
    for _ in range(3):
        assert traced(function, {"question": "Why?"})[0] == "quick"
    assert (bot.calls, workspace.identity.tokens_issued - issued) == (4, 2)


def test_tokens_that_expire_in_the_middle_of_a_run(workspace: MockWorkspace) -> None:
    """An evaluation whose service principal's token is refused half way has every row."""
    answered: list[str] = []

    def answer(question: str) -> str:
        answered.append(question)
        if len(answered) == 3:
            workspace.identity.expire_tokens()
        return "yes"

    bot = workspace.chat("bot", answers=answer)
    result = evalpoint.evaluate(
        data=[{"inputs": {"question": f"q{n}"}} for n in range(8)],
        predict_fn=evalpoint.to_predict_fn("endpoints:/bot"),
        scorers=[evalpoint.scorers.scorer(name="said")(lambda text: text == "yes")],
        progress=False,
        max_workers=2,
    )
    assert result.metrics["said/mean"] == 1.0
    assert bot.calls == 8


def test_a_model_service(workspace: MockWorkspace) -> None:
    """Asked by its full name at the AI gateway."""
    workspace.model_service("system.ai.some-model", answers="A platform.")
    assert traced(evalpoint.to_predict_fn("endpoints:/system.ai.some-model"), {"question": "Why?"})[0] == "A platform."


def test_a_cold_start(workspace: MockWorkspace) -> None:
    """The wait is no latency; the trace says how long it was."""
    workspace.chat("cold", cold_start=ColdStart(calls=6, seconds=0.1))
    _, trace = traced(evalpoint.to_predict_fn("endpoints:/cold"), {"question": "Why?"})
    assert float(trace.info.trace_metadata["evalpoint.warm_up_ms"]) >= 100
    assert (trace.info.execution_duration or 0) < 100


def test_an_endpoint_that_is_ready_later(workspace: MockWorkspace) -> None:
    """It is waited for when the function is made."""
    workspace.chat("late", answers="at last", ready_after=0.2)
    assert traced(evalpoint.to_predict_fn("endpoints:/late"), {"question": "Why?"})[0] == "at last"


@pytest.mark.parametrize("served", ["bot-1", "bot-2"])
def test_one_entity_of_a_split_endpoint(workspace: MockWorkspace, served: str) -> None:
    """`served_model=` chooses, and every trace says which one answered."""
    workspace.chat("bot", served={"bot-1": 90, "bot-2": 10})
    _, trace = traced(evalpoint.to_predict_fn("endpoints:/bot", served_model=served), {"question": "Why?"})
    assert trace.info.trace_metadata["evalpoint.served_model"] == served
