"""Real `mlflow.genai.to_predict_fn` against a mock workspace: what MLflow's users have works unchanged.

Needs mlflow; without it these tests are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalpoint.mocks import Answer, MockWorkspace, ToolCall, fault

mlflow: Any = pytest.importorskip("mlflow", reason="mlflow is not installed: pip install mlflow")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

MESSAGES = [{"role": "user", "content": "What is MLflow?"}]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MockWorkspace]:
    """A mock workspace in the environment, and an MLflow store in this test's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("peer")
    with MockWorkspace() as running, running.exported():
        yield running


def last_trace() -> Any:
    """The trace that MLflow has stored last."""
    mlflow.flush_trace_async_logging()
    return mlflow.search_traces(return_type="list", max_results=1)[0]


@pytest.mark.parametrize(
    ("dialect", "asked"),
    [("responses", {"input": MESSAGES}), ("chat_agent", {"messages": MESSAGES}), ("chat_completion", {"messages": MESSAGES})],
)
def test_agent(workspace: MockWorkspace, dialect: Any, asked: dict[str, Any]) -> None:
    """An agent of each dialect is described and asked, and MLflow takes its trace over with all its spans."""
    bot = workspace.agent(
        "chat", [Answer("A platform.", tool_calls=(ToolCall("search", {"q": "x"}, "y"),))], dialect=dialect, experiment_id="77"
    )
    reply = mlflow.genai.to_predict_fn("endpoints:/chat")(**asked)
    assert "A platform." in str(reply)
    assert "databricks_output" not in reply
    bot.assert_called_with("What is MLflow?", databricks_options={"return_trace": True}, times=1)
    assert [span.name for span in last_trace().data.spans] == ["predict", "retrieve", "search", "llm"]


def test_chat(workspace: MockWorkspace) -> None:
    """A custom chat model is asked for its trace as well."""
    workspace.chat("chat", "A platform.", experiment_id="77")
    reply = mlflow.genai.to_predict_fn("endpoints:/chat")(messages=MESSAGES)
    assert reply["choices"][0]["message"]["content"] == "A platform."
    (span,) = last_trace().data.spans
    assert (span.name, span.span_type) == ("predict", "CHAT_MODEL")


def test_foundation(workspace: MockWorkspace) -> None:
    """A foundation model is asked without `databricks_options`, which it would refuse; MLflow makes a trace of its own."""
    bot = workspace.foundation("chat", "A platform.")
    mlflow.genai.to_predict_fn("endpoints:/chat")(messages=MESSAGES)
    assert bot.requests[0].body == {"messages": MESSAGES}
    assert [span.name for span in last_trace().data.spans] == ["predict"]


def test_custom(workspace: MockWorkspace) -> None:
    """A custom model is asked with records."""
    workspace.custom("score", lambda record: record["x"] * 2)
    assert mlflow.genai.to_predict_fn("endpoints:/score")(dataframe_records=[{"x": 3}]) == {"predictions": [6]}


def test_retries(workspace: MockWorkspace) -> None:
    """MLflow's own retries see the mock's 503 and 429 as the real ones."""
    bot = workspace.chat("chat", faults=[fault.status(503), fault.status(429, retry_after=1)])
    assert mlflow.genai.to_predict_fn("endpoints:/chat")(messages=MESSAGES)["choices"]
    bot.assert_called(times=3)


def test_no_such_endpoint(workspace: MockWorkspace) -> None:
    """An endpoint that is not there is MLflow's own error."""
    with pytest.raises(Exception, match="does not exist"):
        mlflow.genai.to_predict_fn("endpoints:/nobody")


def test_app(workspace: MockWorkspace) -> None:
    """An app is found and asked with the service principal's OAuth token."""
    app = workspace.app("helper", "A platform.")
    with workspace.exported(workspace.oauth_environ):
        reply = mlflow.genai.to_predict_fn("apps:/helper")(input=MESSAGES)
    assert reply["output"][-1]["content"][0]["text"] == "A platform."
    app.assert_called_with("What is MLflow?", times=1)


def test_evaluate(workspace: MockWorkspace) -> None:
    """A whole `mlflow.genai.evaluate` runs against the mock."""
    workspace.agent("chat", lambda question: f"re {question}")

    @mlflow.genai.scorer
    def polite(outputs: Any) -> bool:
        return "re " in str(outputs)

    data = [{"inputs": {"input": [{"role": "user", "content": f"q{n}"}]}} for n in range(3)]
    result = mlflow.genai.evaluate(data=data, predict_fn=mlflow.genai.to_predict_fn("endpoints:/chat"), scorers=[polite])
    assert result.metrics["polite/mean"] == 1.0
