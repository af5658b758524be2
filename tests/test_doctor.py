"""The doctor: six checks in order, what each finds, and what keeps the later ones from being tried."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalpoint.doctor import CHECKS, Check, State, examine, exit_code
from evalpoint.errors import UsageError
from evalpoint.mocks import ColdStart, MockWorkspace, fault

OK, WARN, FAIL, NOT_TRIED = State.OK, State.WARN, State.FAIL, State.NOT_TRIED


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockWorkspace]:
    monkeypatch.setenv("MLFLOW_GENAI_JUDGE_DEFAULT_MODEL", "endpoints:/judge")
    with MockWorkspace() as mock, mock.exported():
        mock.judge("judge")
        yield mock


def states(checks: dict[str, Check]) -> tuple[State, ...]:
    return tuple(check.state for check in checks.values())


def doctor(uri: str, **options: object) -> dict[str, Check]:
    checks = {check.name: check for check in examine(uri, **options)}  # type: ignore[arg-type]
    assert tuple(checks) == CHECKS
    assert all("\n" not in check.text + check.todo for check in checks.values())
    return checks


def test_all_is_well(workspace: MockWorkspace, tmp_path: Path) -> None:
    """Every line says what was found, at the price of one call and one verdict, and nothing is left behind."""
    bot = workspace.agent("bot", answers={"Who are you?": "A bot."}, served=("bot-3",))
    checks = doctor("endpoints:/bot", question="Who are you?")
    assert states(checks) == (OK,) * 6
    assert exit_code(checks.values()) == 0
    assert f"ann@example.com, by 'pat' authentication at {workspace.url}" in checks["auth"].text
    assert checks["describe"].text == "agent/v1/responses, ready, serves bot-3, CAN_MANAGE"
    assert "by bot-3: 'A bot.'" in checks["call"].text
    assert checks["trace"].text == "3 spans (AGENT, RETRIEVER, CHAT_MODEL), MLflow 3, trace schema 3"
    assert checks["judge"].text.startswith("endpoints:/judge said 'yes' in ")
    assert checks["tracking"].text == f"sqlite:///{tmp_path / 'evalpoint.db'}, which will be made"
    assert (bot.calls, workspace.endpoint("judge").calls) == (1, 1)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_configured() -> None:
    """Without a workspace nothing else of it is tried; the store is."""
    checks = doctor("endpoints:/bot", judge="endpoints:/judge")
    assert states(checks) == (FAIL, NOT_TRIED, NOT_TRIED, NOT_TRIED, NOT_TRIED, OK)
    assert "DATABRICKS_HOST" in checks["auth"].text
    assert exit_code(checks.values()) == 1


def test_credentials_that_are_refused(workspace: MockWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that the workspace does not know fails the first check, and is not shown."""
    monkeypatch.setenv("DATABRICKS_TOKEN", "an-old-token-of-mine")
    checks = doctor("endpoints:/bot")
    assert states(checks)[:2] == (FAIL, NOT_TRIED)
    assert "401" in checks["auth"].text
    assert "an-old-token-of-mine" not in str(checks)


@pytest.mark.parametrize(
    ("options", "expected", "said"),
    [
        ({"state": "NOT_READY"}, (FAIL, NOT_TRIED, NOT_TRIED), "not ready"),
        ({"deployment": "DEPLOYMENT_FAILED", "deployment_message": "no such wheel"}, (FAIL, NOT_TRIED, NOT_TRIED), "no such wheel"),
        ({"permission": "CAN_VIEW"}, (WARN, FAIL, NOT_TRIED), "CAN QUERY"),
        ({"permission": "ONLY_QUERY"}, (WARN, OK, OK), "--kind"),
        ({"faults": [fault.status(429)]}, (OK, FAIL, NOT_TRIED), "429"),
        ({"faults": [fault.html()]}, (OK, FAIL, NOT_TRIED), "502"),
        ({"answers": ""}, (OK, WARN, OK), "no text"),
        ({"trace": False}, (OK, OK, WARN), "ENABLE_MLFLOW_TRACING"),
        ({"trace": {}}, (OK, OK, WARN), "an empty one"),
        ({"trace": {"steps": []}}, (OK, OK, WARN), "cannot be read"),
    ],
    ids=["not-ready", "failed", "view-only", "query-only", "throttled", "html", "no-text", "no-trace", "empty-trace", "old-trace"],
)
def test_what_is_wrong_with_an_endpoint(
    workspace: MockWorkspace, options: dict[str, object], expected: tuple[State, ...], said: str
) -> None:
    """The check that finds it says so, with one attempt, and the judge is tried all the same."""
    bot = workspace.chat("bot", **options)  # type: ignore[arg-type]
    checks = doctor("endpoints:/bot")
    assert states(checks)[1:4] == expected
    assert said in " ".join(check.text + check.todo for check in checks.values())
    assert states(checks)[4:] == (OK, OK)
    assert bot.calls <= 1


def test_old_traces_tell_their_schema(workspace: MockWorkspace) -> None:
    """A trace of MLflow 2 is read, and called by its name."""
    sample = json.loads((Path(__file__).parent / "fixtures/traces/trace-to_dict-mlflow-2.22.4.json").read_text())
    workspace.agent("bot", trace=sample)
    text = doctor("endpoints:/bot")["trace"].text
    assert text.startswith("4 spans (")
    assert "MLflow 2" in text


def test_models_without_traces(workspace: MockWorkspace) -> None:
    """That a foundation model returns no trace is how it is."""
    workspace.foundation("databricks-x")
    assert states(doctor("endpoints:/databricks-x")) == (OK,) * 6


def test_a_custom_model_that_wants_other_inputs(workspace: MockWorkspace) -> None:
    """A refused question is no failure of a model that takes columns."""
    workspace.custom("prices", faults=[fault.status(400, message="missing column 'area'")])
    check = doctor("endpoints:/prices")["call"]
    assert check.state is WARN
    assert "missing column 'area'" in check.text


def test_no_such_endpoint(workspace: MockWorkspace) -> None:
    """The nearest name is offered."""
    workspace.agent("support-bot")
    assert "Did you mean 'support-bot'" in doctor("endpoints:/suport-bot")["describe"].text


@pytest.mark.parametrize(
    ("options", "state", "said"),
    [
        ({"rules": [lambda prompt: ("no", "I think not.")]}, WARN, "more capable"),
        ({"raw": ["I would rather not say.", "Nor now."]}, FAIL, "no usable verdict"),
        ({"faults": [fault.status(403)]}, FAIL, "403"),
    ],
    ids=["wrong", "unusable", "forbidden"],
)
def test_judges(workspace: MockWorkspace, options: dict[str, object], state: State, said: str) -> None:
    """A judge that errs, is of no use or cannot be asked is found out with a single call."""
    workspace.agent("bot")
    poor = workspace.judge("poor", **options)  # type: ignore[arg-type]
    check = doctor("endpoints:/bot", judge="endpoints:/poor")["judge"]
    assert check.state is state
    assert said in check.text + check.todo
    assert poor.calls == 1


def test_no_judge(workspace: MockWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every evaluation needs one; the workspace's chat endpoints are offered."""
    monkeypatch.delenv("MLFLOW_GENAI_JUDGE_DEFAULT_MODEL")
    workspace.agent("bot")
    check = doctor("endpoints:/bot")["judge"]
    assert (check.state, "judge" in check.text) == (WARN, True)


def test_where_results_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A store that is there is written to; one that is none, or has no folder, fails."""

    def tracking(uri: str) -> Check:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        return doctor("endpoints:/bot")["tracking"]

    missing = tracking(str(tmp_path / "no folder" / "x.db"))
    assert (missing.state, f"{tmp_path / 'no folder'}" in missing.text) == (FAIL, True)
    (tmp_path / "other.db").write_text("no database at all " * 100)
    assert tracking(str(tmp_path / "other.db")).state is FAIL
    assert tracking("file:mlruns").state is FAIL
    (tmp_path / "empty.db").touch()
    assert tracking(str(tmp_path / "empty.db")).text.endswith("which can be written")


def test_secrets_are_not_shown(workspace: MockWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an endpoint repeats of a secret is hidden."""
    monkeypatch.setenv("MY_API_KEY", "very-own-key-of-mine")
    workspace.agent("bot", answers=f"Token {os.environ['DATABRICKS_TOKEN']}, key very-own-key-of-mine, Bearer abcdef123456.")
    shown = str(doctor("endpoints:/bot"))
    assert os.environ["DATABRICKS_TOKEN"] not in shown
    assert "very-own-key-of-mine" not in shown
    assert "abcdef123456" not in shown
    assert "[hidden]" in shown


def test_apps(workspace: MockWorkspace) -> None:
    """An app is checked through the same door; credentials that apps refuse are found out before it is called."""
    app = workspace.app("support", answers="Hello.")
    refused = doctor("apps:/support")
    assert states(refused)[:4] == (OK, FAIL, NOT_TRIED, NOT_TRIED)
    assert "OAuth" in refused["describe"].text
    app.assert_not_called()
    with workspace.exported(workspace.oauth_environ):
        checks = doctor("apps:/support")
    assert states(checks) == (OK,) * 6
    assert checks["trace"].text.startswith("3 spans")


def test_servers_on_the_web() -> None:
    """A server that is none of a workspace's needs no workspace, and gets no token."""
    with MockWorkspace() as server:
        route = server.route("POST", "/answer", lambda request: {"answer": "Hello."}, auth=False)
        checks = doctor(f"{server.url}/answer")
        assert states(checks)[:2] == (OK, OK)
        assert "no token goes there" in checks["auth"].text
        assert route.calls == 1
        assert all("[redacted]" not in str(request.headers) for request in route.requests)


def test_an_endpoint_that_wakes_up(workspace: MockWorkspace) -> None:
    """One call and no more is made of an endpoint that scales to zero; that it may be starting is said."""
    bot = workspace.agent("bot", cold_start=ColdStart(calls=1))
    check = doctor("endpoints:/bot")["call"]
    assert (check.state, "in a minute" in check.todo, bot.calls) == (FAIL, True, 1)


@pytest.mark.parametrize("uri", ["bot", "models:/bot/1", ""], ids=str)
def test_no_uri(uri: str) -> None:
    """What names nothing is the caller's mistake, before anything is tried."""
    with pytest.raises(UsageError, match="endpoints:/"):
        examine(uri)
