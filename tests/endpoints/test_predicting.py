"""`to_predict_fn` against a mock workspace over real HTTP: payloads, fallbacks, traces, errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evalpoint
from evalpoint.endpoints import chat_endpoints, connect
from evalpoint.endpoints.endpoint import _unwanted
from evalpoint.entities import RowKey, Trace
from evalpoint.errors import AccessDenied, Broken, ConfigurationError, NotFound, Rejected, UnusableReply, UsageError
from evalpoint.mocks import Answer, MockWorkspace, fault
from evalpoint.tracing import NOTE, ORIGINAL_ID, Recorder, start_span

TRACES = Path(__file__).parent.parent / "fixtures" / "traces"
QUESTION = {"messages": [{"role": "user", "content": "What is MLflow?"}]}


@pytest.fixture
def workspace() -> Iterator[MockWorkspace]:
    with MockWorkspace() as mock, mock.exported():
        yield mock


def traced(function: Any, inputs: dict[str, Any]) -> tuple[Any, Trace]:
    with Recorder(experiment_id="1", run_id="run").record("f", inputs, RowKey(3)) as recording:
        outputs = function(**inputs)
        return outputs, recording.answered(outputs)


@pytest.mark.parametrize("dialect", ["responses", "chat_agent", "chat_completion"])
def test_an_agents_trace_comes_home(workspace: MockWorkspace, dialect: Any) -> None:
    """The answer is the endpoint's JSON without `databricks_output`; the trace has its spans, with text, usage and ids noted."""
    bot = workspace.agent("bot", answers="A platform.", dialect=dialect)
    outputs, trace = traced(evalpoint.to_predict_fn("endpoints:/bot"), {"question": "What is MLflow?"})
    assert evalpoint.text_of(outputs) == "A platform."
    assert "databricks_output" not in outputs
    assert [span.span_type for span in trace.data.spans] == ["AGENT", "RETRIEVER", "CHAT_MODEL"]
    assert trace.info.trace_metadata["evalpoint.endpoint"] == "endpoints:/bot"
    assert trace.info.trace_metadata["evalpoint.served_model"]
    assert trace.info.trace_metadata["evalpoint.databricks_request_id"]
    assert trace.info.trace_metadata[ORIGINAL_ID].startswith("tr-")
    assert trace.root is not None
    assert trace.root.get_attribute("evalpoint.text") == "A platform."
    assert (trace.info.token_usage or {})["total_tokens"] > 0
    (request,) = bot.requests
    assert request.body["databricks_options"] == {"return_trace": True}
    assert request.body["client_request_id"] == "evalpoint:run:3:0"


def test_described_once_and_called_once_per_row(workspace: MockWorkspace) -> None:
    """N calls of the function are N invocations and one description."""
    bot = workspace.chat("bot")
    function = evalpoint.to_predict_fn("endpoints:/bot")
    for _ in range(5):
        function(**QUESTION)
    assert bot.calls == 5
    assert sum(r.path == "/api/2.0/serving-endpoints/bot" for r in workspace.requests) == 1


def test_a_foundation_model_is_never_asked_for_a_trace(workspace: MockWorkspace) -> None:
    """No `databricks_options`; one span `predict` with request and response says why it is alone."""
    model = workspace.foundation("databricks-model", answers="A platform.")
    _, trace = traced(evalpoint.to_predict_fn("endpoints:/databricks-model"), QUESTION)
    assert "databricks_options" not in model.requests[-1].body
    (span,) = trace.data.spans
    assert (span.name, span.inputs, span.outputs["object"]) == ("predict", QUESTION, "chat.completion")
    assert "not asked" in trace.info.trace_metadata[NOTE]
    assert (span.get_attribute("mlflow.chat.tokenUsage") or {})["total_tokens"] > 0


@pytest.mark.parametrize("rejects", [["databricks_options"], ["client_request_id"], ["databricks_options", "client_request_id"]], ids=str)
def test_what_an_endpoint_refuses_is_dropped_once_and_remembered(workspace: MockWorkspace, rejects: list[str]) -> None:
    """On a 400 that names an addition the call is made once more without it, and later calls leave it out."""
    bot = workspace.chat("bot", rejects=rejects)
    function = evalpoint.to_predict_fn("endpoints:/bot")
    for _ in range(3):
        traced(function, QUESTION)
    assert bot.calls == 3 + len(rejects)
    assert not set(rejects) & set(bot.requests[-1].body)


def test_a_400_about_the_callers_own_field_is_final(workspace: MockWorkspace) -> None:
    """Only what we added is ever dropped."""
    bot = workspace.chat("bot", rejects=["temperature"])
    with pytest.raises(Rejected, match="temperature"):
        evalpoint.to_predict_fn("endpoints:/bot")(**QUESTION, temperature=1)
    assert bot.calls == 1


@pytest.mark.parametrize(
    ("trace", "why"),
    [
        (None, "no trace"),
        ({}, "empty trace"),
        ({"info": {}, "data": {}}, "could not be read"),
        ({"info": {"trace_id": "tr-1"}, "data": {"spans": []}}, "could not be read"),
        ({"info": {"trace_id": "tr-1"}}, "could not be read"),
        ("rubbish", "could not be read"),
        ([1, 2], "could not be read"),
        ({"steps": [{"name": "old"}]}, "could not be read"),
        ({"info": {"request_id": "1"}, "data": {"spans": [{"span_id": "nonsense"}]}}, None),
    ],
    ids=["null", "empty", "hollow", "no-spans", "no-data", "text", "list", "pre-2.14", "damaged-span"],
)
def test_a_trace_that_is_none(workspace: MockWorkspace, trace: Any, why: str | None) -> None:
    """Whatever is wrong with the trace, the answer is kept, there is a span, and the trace says why."""
    workspace.agent("bot", answers="A platform.", trace=trace)
    outputs, made = traced(evalpoint.to_predict_fn("endpoints:/bot"), {"question": "What is MLflow?"})
    assert evalpoint.text_of(outputs) == "A platform."
    assert len(made.data.spans) >= 1
    assert NOTE in made.info.trace_metadata
    assert why is None or why in made.info.trace_metadata[NOTE]


@pytest.mark.parametrize("path", sorted(TRACES.glob("trace-to_dict-*.json")), ids=lambda path: path.stem)
def test_every_generation_of_traces(workspace: MockWorkspace, path: Path) -> None:
    """The traces of all MLflow releases since 2.14 come home with four spans."""
    workspace.agent("bot", trace=json.loads(path.read_text()))
    _, made = traced(evalpoint.to_predict_fn("endpoints:/bot"), {"question": "What is MLflow?"})
    assert [span.name for span in made.data.spans] == ["predict", "retrieve", "flaky_tool", "llm"]


def test_inside_a_traced_function(workspace: MockWorkspace) -> None:
    """The endpoint's spans hang under the span that called it."""
    workspace.agent("bot")
    function = evalpoint.to_predict_fn("endpoints:/bot")

    def pipeline(question: str) -> Any:
        with start_span("pipeline"):
            return function(question=question)

    _, made = traced(pipeline, {"question": "Why?"})
    assert made.data.spans[0].name == "pipeline"
    assert made.data.spans[1].parent_id == made.data.spans[0].span_id
    assert len(made.data.spans) == 4


def test_outside_of_an_evaluation(workspace: MockWorkspace) -> None:
    """The function works by itself and leaves its trace in the store; so does a call that fails."""
    workspace.agent("bot", answers="A platform.", faults=[fault.ok(), fault.status(400, message="no")])
    function = evalpoint.to_predict_fn("endpoints:/bot")
    function(question="What is MLflow?")
    with pytest.raises(Rejected):
        function(question="And now?")
    failed, answered = evalpoint.search_traces(return_type="list")
    assert len(answered.data.spans) == 3
    assert (failed.info.state.value, failed.data.spans[0].name) == ("ERROR", "predict")


def test_no_such_endpoint(workspace: MockWorkspace) -> None:
    """The nearest names are offered when the function is made."""
    workspace.chat("chat")
    workspace.chat("embeddings")
    with pytest.raises(NotFound, match="'chta' does not exist.*Did you mean 'chat'"):
        evalpoint.to_predict_fn("endpoints:/chta")


def test_an_endpoint_that_may_not_be_seen(workspace: MockWorkspace) -> None:
    """Whoever may not see it may yet query it: the function is made, and the failing call names the permission and the principal."""
    workspace.chat("secret", permission="NONE")
    function = evalpoint.to_predict_fn("endpoints:/secret")
    with pytest.raises(AccessDenied, match=r"'secret'.*CAN QUERY.*ann@example\.com"):
        function(**QUESTION)


def test_an_endpoint_whose_deployment_failed(workspace: MockWorkspace) -> None:
    """Refused when the function is made, with the platform's reason."""
    workspace.chat("broken", state="NOT_READY", deployment="DEPLOYMENT_FAILED", deployment_message="out of memory")
    with pytest.raises(ConfigurationError, match="out of memory"):
        evalpoint.to_predict_fn("endpoints:/broken")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("chat", 'Did you mean "endpoints:/chat"'),
        ("endpoints:/", "names no endpoint"),
        ("endpoints:/a b", "names no endpoint"),
        ("models:/m/1", "no endpoint URI"),
        (3, "not by int"),
        ("endpoints:/../x", "names no endpoint"),
    ],
    ids=str,
)
def test_what_is_no_endpoint_uri(uri: Any, message: str) -> None:
    """Refused before any network is touched, saying how it should read."""
    with pytest.raises(ConfigurationError, match=message):
        evalpoint.to_predict_fn(uri)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (fault.malformed(), UnusableReply),
        (fault.html(), Broken),
        (fault.status(500), Broken),
        (fault.status(403), AccessDenied),
    ],
    ids=["malformed", "html", "500", "403"],
)
def test_faults(workspace: MockWorkspace, wrong: Any, error: Any) -> None:
    """Each is an error of its own kind that names the endpoint and shows no token."""
    workspace.chat("bot", faults=[wrong] * 10)
    with evalpoint_limits(), pytest.raises(error) as caught:
        evalpoint.to_predict_fn("endpoints:/bot")(**QUESTION)
    assert "bot" in str(caught.value)
    assert workspace.token not in str(caught.value)


def evalpoint_limits() -> Any:
    from evalpoint import calls
    from evalpoint.settings import Settings

    return calls.bind(Settings(max_retries=0))


def test_a_retry_gives_one_trace(workspace: MockWorkspace) -> None:
    """A call that is answered at the second attempt leaves one trace, of the answer."""
    bot = workspace.agent("bot", faults=[fault.status(503)])
    _, made = traced(evalpoint.to_predict_fn("endpoints:/bot"), {"question": "Why?"})
    assert bot.calls == 2
    assert made.info.state.value == "OK"


def test_request_makes_the_payload(workspace: MockWorkspace) -> None:
    """`request=` replaces the wrapping."""
    bot = workspace.chat("bot")
    function = evalpoint.to_predict_fn(
        "endpoints:/bot", request=lambda inputs: {"messages": [{"role": "user", "content": inputs["a"] + inputs["b"]}]}
    )
    function(a="x", b="y")
    assert bot.requests[0].body["messages"][0]["content"] == "xy"
    with pytest.raises(ConfigurationError, match="function"):
        evalpoint.to_predict_fn("endpoints:/bot", request={"a": 1})  # type: ignore[arg-type]


def test_unicode_and_odd_inputs(workspace: MockWorkspace) -> None:
    """Every script arrives as it was sent; what JSON cannot hold is refused before it is sent."""
    bot = workspace.chat("bot", answers=lambda question: question)
    function = evalpoint.to_predict_fn("endpoints:/bot")
    text = "Grüße, 你好 🎉 \u2028 'quotes' \\ </data>"
    assert evalpoint.text_of(function(question=text)) == text
    with pytest.raises(UsageError):
        function(question="hi", temperature=float("nan"))
    assert bot.calls == 1


def test_many_threads(workspace: MockWorkspace) -> None:
    """64 threads ask at once; every thread gets its own answer and its own trace."""
    workspace.agent("bot", answers=lambda question: Answer(f"re: {question}"))
    function = evalpoint.to_predict_fn("endpoints:/bot")
    found: dict[int, tuple[str, Any]] = {}

    def ask(n: int) -> None:
        outputs, trace = traced(function, {"question": f"q{n}"})
        assert trace.root is not None
        found[n] = evalpoint.text_of(outputs), json.dumps(trace.root.inputs)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: text for n, (text, _) in found.items()} == {n: f"re: q{n}" for n in range(64)}
    assert all(f'"q{n}"' in inputs for n, (_, inputs) in found.items())


def test_chat_endpoints(workspace: MockWorkspace) -> None:
    """The names of chat endpoints, for messages; none where there is no workspace to ask."""
    workspace.chat("talk")
    workspace.custom("numbers")
    assert chat_endpoints() == ["talk"]
    assert connect("endpoints:/talk").chat_payload([{"role": "user", "content": "x"}]) == {"messages": [{"role": "user", "content": "x"}]}


def test_two_workspaces_at_once() -> None:
    """Endpoint and judge may live in two workspaces, each named by its own credentials."""
    from databricks.sdk.core import Config

    with MockWorkspace() as one, MockWorkspace() as two:
        one.chat("bot", answers="one")
        two.chat("bot", answers="two")
        texts = [
            evalpoint.text_of(evalpoint.to_predict_fn("endpoints:/bot", workspace=Config(host=mock.url, token=mock.token))(**QUESTION))
            for mock in (one, two)
        ]
    assert texts == ["one", "two"]


def test_a_token_that_a_server_echoes_goes_no_further(workspace: MockWorkspace) -> None:
    """Neither in an answer, nor in an error about one, nor in the trace: it is hidden as it arrives."""
    workspace.chat("echo", answers=f"Your token is {workspace.token}.")
    outputs, made = traced(evalpoint.to_predict_fn("endpoints:/echo"), QUESTION)
    assert evalpoint.text_of(outputs) == "Your token is [hidden]."
    assert workspace.token not in made.to_json()


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"error": {"message": "model crashed"}}, True),
        ({"error_code": "INTERNAL_ERROR", "message": "model crashed"}, True),
        ({"error": "model crashed", "answer": "but here is one"}, False),
        ({"error": None, "message": "fine"}, False),
    ],
    ids=["error", "code", "beside-an-answer", "null"],
)
def test_a_200_that_is_only_an_error(workspace: MockWorkspace, body: Any, refused: bool) -> None:
    """It is a failure of its row, and never an answer to be graded; an error beside an answer is the agent's own matter."""
    workspace.chat("bot", answers=lambda request: body)
    predict = evalpoint.to_predict_fn("endpoints:/bot")
    if not refused:
        predict(question="x")
        return
    with pytest.raises(UnusableReply, match="model crashed"):
        predict(question="x")


def test_a_column_named_self(workspace: MockWorkspace) -> None:
    """No column's name is in the way of the function's own parameters."""
    bot = workspace.custom("bot", answers="fine")
    evalpoint.to_predict_fn("endpoints:/bot")(self="x", y=1)
    assert bot.requests[0].body["dataframe_records"] == [{"self": "x", "y": 1}]


@pytest.mark.parametrize(
    ("complaint", "payload", "dropped"),
    [
        ("Extra inputs are not permitted", {"input": [], "n": 1}, True),
        ("json: unknown field", {"n": 1, "messages": []}, True),
        ('json: unknown field "n"', {"n": 1}, False),
        ("unknown field: temperature", {"temperature": 1}, False),
        ("Model raised ValueError", {"n": 1}, False),
        ("unknown field 'databricks_options'", {"n": 1}, True),
    ],
    ids=["pydantic", "bare", "quoted", "after-field", "other", "ours"],
)
def test_whose_field_a_400_is_about(complaint: str, payload: dict[str, Any], dropped: bool) -> None:
    """Ours are dropped when the complaint names them, or names none of the caller's."""
    body = {**payload, "databricks_options": {"return_trace": True}}
    assert bool(_unwanted(Rejected(complaint, status=400), body, payload)) is dropped
