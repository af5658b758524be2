"""The pytest plugin, by writing the tests of an imaginary agent's repository with nothing but the plugin."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import databricks.sdk  # noqa: F401 - see below
import pandas as pd  # noqa: F401 - see below
import pytest

import evalpoint.evaluation
import evalpoint.judges.functions
import evalpoint.scorers  # noqa: F401 - what a run of pytest inside this process imports first is forgotten at its end, and then exists twice
from evalpoint import mocks

pytest_plugins = ["pytester"]

AGENT = """
import os

import evalpoint
from evalpoint.scorers import Correctness, Guidelines


def evaluate_bot(**options):
    rows = [
        {"inputs": {"question": "How do I return it?"}, "expectations": {"expected_facts": ["within 30 days"]}},
        {"inputs": {"question": "Who pays?"}, "expectations": {"expected_facts": ["we pay"]}},
    ]
    return evalpoint.evaluate(
        data=rows,
        predict_fn=evalpoint.to_predict_fn("endpoints:/bot"),
        scorers=[Correctness(threshold=0.9), Guidelines(name="tone", guidelines="The response must be polite.")],
        progress=False,
        **options,
    )
"""


def run(pytester: pytest.Pytester, tests: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> pytest.RunResult:
    """Runs these tests beside the agent's module, as its repository would."""
    pytester.makepyfile(agent=AGENT)
    pytester.makepyfile(test_agent=tests)
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    registered = any(point.name == "evalpoint" for point in entry_points(group="pytest11"))
    loaded = () if registered else ("-p", "evalpoint.mocks.plugin")  # a checkout that was installed before the plugin was there
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", *loaded, *arguments)


def test_an_agents_repository(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation is tested with two fixtures: nothing is configured, and nothing is left behind."""
    tests = """
        import os
        import pathlib
        import evalpoint
        import pytest
        from agent import evaluate_bot
        from evalpoint.mocks import Rule, fault

        ANSWERS = {"How do I return it?": "Send it back within 30 days.", "Who pays?": "For returns, we pay."}

        def test_good_answers_pass(mock_workspace, mock_judge):
            bot = mock_workspace.agent("bot", answers=ANSWERS)
            result = evaluate_bot()
            assert result.check().metrics == {"correctness/mean": 1.0, "tone/mean": 1.0}
            assert bot.calls == 2 and mock_judge.calls == 4
            assert {prompt.name for prompt in mock_judge.prompts} == {"correctness", "tone"}

        def test_the_judge_can_be_told_what_to_say(mock_workspace, mock_judge):
            mock_workspace.agent("bot", answers=ANSWERS)
            mock_judge.says("yes").says("no", when={"answer": "30 days", "judge": "correctness"}, rationale="Outdated.")
            result = evaluate_bot()
            assert result.metrics == {"correctness/mean": 0.5, "tone/mean": 1.0}
            assert result.verdict == "failed"
            assert "Outdated." in set(result.result_df["correctness/rationale"])

        def test_rules_and_raw_answers(mock_workspace, mock_judge):
            mock_workspace.agent("bot", answers=ANSWERS)
            mock_judge.rule(Rule("tone", "no"), lambda prompt: ("yes", "Fine.")).answers("no idea", when={"question": "Who pays?"})
            result = evaluate_bot()
            assert result.states == {"ok": 1, "judge_error": 1}
            assert result.metrics["tone/mean"] == 0.0

        def test_a_judge_that_fails(mock_workspace, mock_judge):
            mock_workspace.agent("bot", answers=ANSWERS)
            mock_judge.fails(fault.status(400), fault.status(400))
            assert evaluate_bot(max_workers=1).states["judge_error"] >= 1

        @pytest.mark.parametrize("number", [1, 2])
        def test_results_are_this_tests_own(mock_workspace, mock_judge, tmp_path, number):
            mock_workspace.agent("bot", answers=ANSWERS)
            evalpoint.set_experiment("/Shared/bot")
            evalpoint.start_run(run_name=f"left open {number}")
            evaluate_bot()
            assert len(evalpoint.search_runs(output_format="list")) == 1
            assert evalpoint.get_tracking_uri() == f"sqlite:///{tmp_path / 'evalpoint.db'}"

        def test_afterwards_nothing_is_left():
            assert evalpoint.active_run() is None
            assert evalpoint.get_tracking_uri().endswith("before.db")
            assert os.environ.get("DATABRICKS_HOST") == "https://real.example"
            assert os.environ["MLFLOW_GENAI_JUDGE_DEFAULT_MODEL"] == "openai:/gpt-real"

        def test_the_sdk_finds_it_too(mock_workspace):
            from databricks.sdk import WorkspaceClient
            mock_workspace.chat("chat")
            assert [endpoint.name for endpoint in WorkspaceClient().serving_endpoints.list()] == ["chat"]
    """
    monkeypatch.setenv("DATABRICKS_HOST", "https://real.example")
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "before.db")
    monkeypatch.setenv("MLFLOW_GENAI_JUDGE_DEFAULT_MODEL", "openai:/gpt-real")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    run(pytester, tests, monkeypatch).assert_outcomes(passed=8)


def test_what_was_chosen_before_holds_again(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store and an experiment that a conftest has set are those of the next test without the fixture."""
    tests = """
        import evalpoint
        evalpoint.set_tracking_uri("chosen.db")
        evalpoint.set_experiment("mine")

        def test_inside(mock_workspace):
            assert evalpoint.start_run().info.experiment_id == evalpoint.get_experiment_by_name("Default").experiment_id

        def test_outside():
            assert evalpoint.get_tracking_uri().endswith("chosen.db")
            with evalpoint.start_run() as run:
                assert evalpoint.get_experiment(run.info.experiment_id).name == "mine"
    """
    run(pytester, tests, monkeypatch).assert_outcomes(passed=2)


def test_an_error_in_an_answer_fails_the_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function given as answers that raises fails the test that caused it, and no other, even if nobody asserts anything."""
    tests = """
        from agent import evaluate_bot

        def broken(question):
            return {}["the missing key"]

        def test_unnoticed(mock_workspace, mock_judge):
            mock_workspace.agent("bot", answers=broken)
            evaluate_bot(max_retries=0)

        def test_noticed(mock_workspace, mock_judge):
            mock_workspace.agent("bot", answers=broken)
            assert evaluate_bot(max_retries=0).states == {"ok": 2}

        def test_innocent(mock_workspace, mock_judge):
            mock_workspace.agent("bot", answers="within 30 days, and we pay")
            assert evaluate_bot().states == {"ok": 2}
    """
    result = run(pytester, tests, monkeypatch)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*KeyError: 'the missing key'", "*mock workspace*", "*KeyError: 'the missing key'"])


def test_it_costs_others_nothing() -> None:
    """Whoever runs pytest where evalpoint is installed loads the plugin, and nothing that takes time."""
    code = "import sys, pytest; b = set(sys.modules); import evalpoint.mocks.plugin; print(*sorted({*sys.modules} - b))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == ["evalpoint", "evalpoint.mocks", "evalpoint.mocks.plugin"]


def test_pytest_finds_it() -> None:
    """The package names the plugin to pytest."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '[project.entry-points.pytest11]\nevalpoint = "evalpoint.mocks.plugin"' in text


def test_every_name_can_be_had() -> None:
    """What the package of mocks offers is there, although it is loaded when it is first used."""
    assert [name for name in mocks.__all__ if not hasattr(mocks, name)] == []
    assert set(mocks.__all__) <= set(dir(mocks))
    assert set(mocks._HOME_OF) | set(mocks._MODULES) == set(mocks.__all__)
    with pytest.raises(AttributeError, match="MockWorkpsace"):
        mocks.MockWorkpsace  # noqa: B018 - asking is the test
