"""Which model judges: the one named, else the default; and what is missing is said before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalpoint.errors import ConfigurationError, MissingExtra
from evalpoint.judges import ChatModel, check_model, open_model
from evalpoint.settings import Settings


@pytest.fixture(autouse=True)
def _no_workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CONFIG_PROFILE", "DATABRICKS_CONFIG_FILE", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MLFLOW_GENAI_JUDGE_DEFAULT_MODEL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_nothing_configured() -> None:
    """With no model, no variable and no key, the error says what to set."""
    with pytest.raises(ConfigurationError) as refused:
        open_model(settings=Settings(), environ={})
    said = str(refused.value)
    assert said.startswith("No judge model is configured. Name one with model='endpoints:/NAME'")
    assert "MLFLOW_GENAI_JUDGE_DEFAULT_MODEL" in said
    assert "OPENAI_API_KEY to use openai:/gpt-4.1-mini" in said
    assert "chat endpoint" in said


def test_malformed_default() -> None:
    """A default that is no address is called by the name of its variable."""
    with pytest.raises(ConfigurationError, match=r"MLFLOW_GENAI_JUDGE_DEFAULT_MODEL.*'gpt-4' is no model address"):
        open_model(environ={"MLFLOW_GENAI_JUDGE_DEFAULT_MODEL": "gpt-4"})


def test_chat_model_and_function() -> None:
    """A chat model is taken as it is, a function becomes one."""
    model = open_model(lambda messages, **kw: "x", environ={})
    assert isinstance(model, ChatModel)
    assert open_model(model, environ={}) is model


@pytest.mark.parametrize("model", [3, {"a": 1}, dict, ["openai:/x"]], ids=["number", "dict", "class", "list"])
def test_no_model(model: Any) -> None:
    """A value that can answer nothing is refused."""
    with pytest.raises(ConfigurationError, match="use an address"):
        check_model(model)


def test_litellm_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider of litellm's without litellm is one sentence with the command that installs it."""
    import sys

    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'openai:/…\' needs an optional part of evalpoint: pip install "evalpoint\[litellm\]"'):
        open_model("openai:/gpt-4.1-mini", environ={"OPENAI_API_KEY": "sk-x"})
