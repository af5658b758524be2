"""The recorder: every call of a function is a line of the file, without secrets, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evalpoint
from evalpoint import scorer
from evalpoint.errors import CallError, ConfigurationError, UsageError
from evalpoint.mocks import MockWorkspace, fault
from evalpoint.mocks.cleaning import HIDDEN, Cleaner
from evalpoint.mocks.recorder import record

TOKEN = "dapi" + "0123456789abcdef" * 2


@scorer
def polite(text: str) -> bool:
    return "please" in text.lower()


def lines(path: str | Path = "calls.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_one_call(workspace: MockWorkspace) -> None:
    """A line has the endpoint, its kind, the request without what evalpoint adds, and the whole answer with its trace."""
    workspace.agent("bot", answers="Please wait.", served=("bot-7",))
    with workspace.exported(), record("calls.jsonl") as recorder:
        bot = recorder(evalpoint.to_predict_fn("endpoints:/bot"))
        outputs = bot(question="When?", client_request_id="mine", usage_context={"team": "support"})
    (line,) = lines()
    assert (line["endpoint"], line["kind"]) == ("bot", "agent/v1/responses")
    assert line["request"] == {"input": [{"role": "user", "content": "When?"}]}
    response = line["response"]
    assert response["status"] == 200
    assert response["headers"]["served-model-name"] == "bot-7"
    assert {key: value for key, value in response["body"].items() if key != "databricks_output"} == outputs
    assert len(response["body"]["databricks_output"]["trace"]["data"]["spans"]) == 3
    assert response["latency_ms"] > 0


def test_an_evaluation(workspace: MockWorkspace) -> None:
    """evaluate takes the recorded function as the one it was made of: same run, same traces, a line for each row."""
    workspace.agent("bot", answers=lambda question: f"Please ask {question}")
    with workspace.exported(), record("calls.jsonl") as recorder:
        bot = recorder(evalpoint.to_predict_fn("endpoints:/bot"))
        rows = [{"inputs": {"question": f"q{n}"}} for n in range(40)]
        result = evalpoint.evaluate(data=rows, predict_fn=bot, scorers=[polite], max_workers=16, progress=False)
    assert result.metrics == {"polite/mean": 1.0}
    assert {json.dumps(line["request"]) for line in lines()} == {
        json.dumps({"input": [{"role": "user", "content": f"q{n}"}]}) for n in range(40)
    }
    assert evalpoint.get_run(result.run_id).data.tags["mlflow.genaiEvaluate.agent.uri"] == "endpoints:/bot"
    assert {len(trace.data.spans) for trace in evalpoint.search_traces(return_type="list")} == {3}


def test_errors_are_recorded_too(workspace: MockWorkspace) -> None:
    """An error has its status and what was said; where none came that can be used, the status is null."""
    workspace.chat("bot", faults=[fault.status(400, "BAD_REQUEST", "too long"), fault.status(404, "GONE", "gone"), fault.malformed("oops")])
    with workspace.exported(), record("calls.jsonl") as recorder:
        bot = recorder(evalpoint.to_predict_fn("endpoints:/bot"))
        for _ in range(3):
            with pytest.raises(CallError):
                bot(question="When?")
        workspace.stop()
        with pytest.raises(CallError), evalpoint_without_retries():
            bot(question="When?")
    responses = [line["response"] for line in lines()]
    assert [response["status"] for response in responses] == [400, 404, None, None]
    assert responses[0]["body"]["error_code"] == "BAD_REQUEST"
    assert "too long" in responses[0]["body"]["message"]


def evalpoint_without_retries() -> Any:
    from evalpoint.calls import bind
    from evalpoint.settings import Settings

    return bind(Settings(max_retries=0))


def test_no_secret_gets_into_the_file(workspace: MockWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens, cookies, passwords and the workspace's name are nowhere, not in JSON within texts either."""
    monkeypatch.setenv("PARTNER_API_KEY", "the-partners-own-key")
    answer = f"Authorization: Bearer abcdefgh1234 for {TOKEN}, the-partners-own-key, at https://adb-12.3.azuredatabricks.net/x"
    workspace.chat("bot", answers=lambda request: {"choices": [{"message": {"content": f"{answer} {workspace.url} {workspace.token}"}}]})
    with workspace.exported(), record("calls.jsonl", secrets=["a text of mine"]) as recorder:
        bot = recorder(evalpoint.to_predict_fn("endpoints:/bot"))
        bot(
            messages=[{"role": "user", "content": "a text of mine"}],
            custom_inputs={"password": "open sesame", "headers": {"X-Api-Key": ["k1-secret"]}, "raw": json.dumps({"cookie": "sid=4711"})},
        )
        secrets = [TOKEN, "abcdefgh1234", "the-partners-own-key", "azuredatabricks", workspace.url.partition("//")[2], workspace.token]
    text = Path("calls.jsonl").read_text()
    secrets += ["a text of mine", "open sesame", "k1-secret", "sid=4711"]
    assert [secret for secret in secrets if secret in text] == []
    assert os.stat("calls.jsonl").st_mode & 0o077 == 0


def test_what_is_no_secret_stays(workspace: MockWorkspace) -> None:
    """Counts of tokens, pieces of a model's vocabulary and ordinary words are as they were."""
    value = {"max_tokens": 5, "usage": {"total_tokens": 7}, "logprobs": [{"token": "Hi", "logprob": -1}], "text": "the token of love"}
    assert Cleaner(mask_hosts=True).clean(value) == value
    assert Cleaner(mask_hosts=False).clean("https://adb-1.2.azuredatabricks.net") == "https://adb-1.2.azuredatabricks.net"


@settings(max_examples=25, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["api_key", "authorization"]), inner),
    )
)
def test_cleaning_keeps_the_shape(value: Any) -> None:
    """Cleaning gives JSON of the same shape, nothing under a secret's name, and the same when it is done again."""
    once = Cleaner(["hunter2 hunter2"]).clean(value)
    assert Cleaner(["hunter2 hunter2"]).clean(once) == once
    assert type(once) is type(value)

    def texts(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [inner for name, inner in part.items() if name in ("api_key", "authorization") and isinstance(inner, str) and inner]
            return own + [text for inner in part.values() for text in texts(inner)]
        return [text for inner in part for text in texts(inner)] if isinstance(part, list) else []

    assert set(texts(once)) <= {HIDDEN}


def test_secrets_however_deep() -> None:
    """What nests too deeply to be looked at is not let through."""
    value: Any = "Bearer abcdefgh1234"
    for _ in range(400):
        value = [value]
    assert "abcdefgh" not in json.dumps(Cleaner().clean(value))


def test_many_threads(workspace: MockWorkspace) -> None:
    """Lines of calls that end at the same time are whole."""
    workspace.chat("bot", answers=lambda question: question * 500)
    with workspace.exported(), record("calls.jsonl") as recorder, ThreadPoolExecutor(16) as pool:
        bot = recorder(evalpoint.to_predict_fn("endpoints:/bot"))
        list(pool.map(lambda n: bot(question=f"<{n}>"), range(80)))
        assert recorder.lines == 80
    assert sorted(line["request"]["messages"][0]["content"] for line in lines()) == sorted(f"<{n}>" for n in range(80))


def test_a_process_that_is_killed() -> None:
    """What was answered before the kill is in the file, and the next recording goes on after it."""
    code = """
import os, signal
from evalpoint.mocks.recorder import record
recorder = record("calls.jsonl")
for n in range(3):
    recorder.write("bot", "llm/v1/chat", {"n": n}, {"status": 200})
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ})
    assert ended.returncode == -signal.SIGKILL
    assert len(lines()) == 3
    with open("calls.jsonl", "a") as file:
        file.write('{"half a li')
    with record("calls.jsonl") as recorder:
        recorder.write("bot", "llm/v1/chat", {"n": 4}, {"status": 200})
    kept = Path("calls.jsonl").read_text().splitlines()
    assert len(kept) == 5
    assert json.loads(kept[-1])["request"] == {"n": 4}


def test_after_its_block(workspace: MockWorkspace) -> None:
    """The function goes on answering, and nothing more is written."""
    workspace.chat("bot", answers="Hello.")
    with workspace.exported():
        with record("calls.jsonl") as recorder:
            bot = recorder(evalpoint.to_predict_fn("endpoints:/bot"))
            bot(question="1")
        assert evalpoint.text_of(bot(question="2")) == "Hello."
    assert len(lines()) == 1


def test_misuse(tmp_path: Path) -> None:
    """What cannot be recorded, or where, is said at once."""
    with record("calls.jsonl") as recorder, pytest.raises(UsageError, match="to_predict_fn"):
        recorder(lambda question: question)
    with pytest.raises(ConfigurationError, match="nowhere"):
        record(tmp_path / "nowhere" / "calls.jsonl")


def test_threads_are_not_needed_to_end(workspace: MockWorkspace) -> None:
    """Closing while calls are under way loses none that was written, and breaks none."""
    workspace.chat("bot", answers="Hello.", latency=0.05)
    with workspace.exported():
        with record("calls.jsonl") as recorder:
            bot = recorder(evalpoint.to_predict_fn("endpoints:/bot"))
            answers: list[Any] = []
            thread = threading.Thread(target=lambda: answers.append(bot(question="late")))
            thread.start()
        thread.join()
    assert len(answers) == 1


@pytest.mark.parametrize("dialect", ["responses", "chat_agent", "chat_completion"])
def test_what_was_recorded_can_be_replayed(workspace: MockWorkspace, dialect: Any) -> None:
    """Another workspace gives the same answers, errors and traces, streamed or not."""
    faults = [fault.ok(), fault.status(400, message="no luck"), fault.ok()]
    workspace.agent("bot", answers=lambda question: f"Please: {question}", dialect=dialect, faults=faults)

    def ask(function: Any) -> list[Any]:
        found: list[Any] = []
        for question in ("one", "two", "three"):
            try:
                found.append(function(question=question))
            except CallError as error:
                found.append(error.status)
        return found

    with workspace.exported(), record("calls.jsonl") as recorder:
        first = ask(recorder(evalpoint.to_predict_fn("endpoints:/bot")))
    with MockWorkspace() as other, other.exported():
        other.replay("calls.jsonl")
        assert ask(evalpoint.to_predict_fn("endpoints:/bot")) == first
        streamed = ask(evalpoint.to_predict_fn("endpoints:/bot", stream=True))
    assert first[1] == 400
    assert [evalpoint.text_of(body) for body in (streamed[0], streamed[2])] == ["Please: one", "Please: three"]
    traces = evalpoint.search_traces(return_type="list")
    assert sorted(len(trace.data.spans) for trace in traces) == [1, 1, 1, 3, 3, 3, 3, 3, 3]


def test_streams_are_recorded_whole(workspace: MockWorkspace) -> None:
    """A streamed answer is in the file as it would have come at once, with the time to its first token."""
    workspace.agent("bot", answers="Please wait a moment.")
    with workspace.exported(), record("calls.jsonl") as recorder:
        recorder(evalpoint.to_predict_fn("endpoints:/bot", stream=True))(question="When?")
    (line,) = lines()
    assert "stream" not in line["request"]
    assert evalpoint.text_of(line["response"]["body"]) == "Please wait a moment."
    assert line["response"]["first_token_ms"] > 0
