"""`to_predict_fn`: an endpoint as a function of a row's inputs that brings the endpoint's own trace home."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from evalpoint.calls import renewing
from evalpoint.endpoints.answers import Answer
from evalpoint.endpoints.description import Kind
from evalpoint.endpoints.fresh import Filling, Fresh, SharedIds
from evalpoint.endpoints.opening import Door, connect
from evalpoint.endpoints.payloads import Request, payload_of
from evalpoint.endpoints.web import Auth
from evalpoint.entities.trace import FIRST_TOKEN_MS, TOKEN_USAGE, TOKENS_PER_SECOND, SpanType
from evalpoint.errors import CallError, ConfigurationError, FormatError, UsageError
from evalpoint.formats.traces import read_trace
from evalpoint.tracing import NOTE, Gathered, adopt, emit, new_gathered, request_id, root_span

__all__ = ["EndpointFunction", "to_predict_fn"]

MODEL = "mlflow.llm.model"
_UNSTREAMED = (Kind.EMBEDDINGS, Kind.FEATURES)
_log = logging.getLogger("evalpoint")


class EndpointFunction:
    """An endpoint as a function of keyword arguments; `check` says beforehand whether a payload can be made of them."""

    def __init__(self, endpoint: Door, request: Request | None = None, *, stream: bool = False, fresh: Fresh | None = None) -> None:
        self.endpoint = endpoint
        self.uri = endpoint.uri
        self.__name__ = endpoint.name
        self.__qualname__ = endpoint.name
        self.__doc__ = f"Asks {endpoint.uri} in workspace {endpoint.host}; the inputs become the request's payload."
        self._request = request
        self._stream = stream
        self._fresh = fresh
        self._shared = SharedIds(fresh.paths if fresh else ())

    def __call__(self, /, **inputs: Any) -> Any:
        payload = self._payload(inputs)
        row = request_id()
        if self._request is not None and row is not None:
            self._warn_of_shared_ids(payload)
        filling = Filling(self._fresh, payload) if self._fresh else None
        started = time.time_ns()
        try:
            with renewing(filling) if filling else nullcontext():
                answer = self.endpoint.invoke(
                    filling.payload if filling else payload,
                    trace=True,
                    request_id=row,
                    stream=self._stream or payload.get("stream") is True,
                    usage_context=_mark(row),
                )
        except CallError as error:
            emit(self._failed(filling.payload if filling else payload, error, started))
            raise
        emit(self._traced(filling.payload if filling else payload, answer, started))
        return answer.body

    def __repr__(self) -> str:
        return f"<predict function of {self.uri} in {self.endpoint.host}>"

    def check(self, inputs: Mapping[str, Any]) -> str | None:
        """Why no payload can be made of these inputs; None when one can."""
        if self._request is not None:
            return None  # the caller's own function is asked once per row, when the row is predicted
        try:
            payload = self._payload(inputs)
            self.endpoint.check(self._fresh.check(payload) if self._fresh else payload)
        except UsageError as error:
            return str(error)
        self._warn_of_shared_ids(payload)
        return None

    def _warn_of_shared_ids(self, payload: Mapping[str, Any]) -> None:
        warning = self._shared.see(payload)
        if warning is not None:
            _log.warning("%s", warning)

    def _payload(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return payload_of(inputs, self.endpoint.kind, endpoint=self.endpoint.name, request=self._request)

    def _traced(self, payload: Mapping[str, Any], answer: Answer, started: int) -> Gathered:
        """The endpoint's trace as one of ours, or a single span that says why there is none."""
        metadata = self._metadata(answer)
        why = _why_none(answer)
        if why is None:
            try:
                gathered = adopt(read_trace(answer.trace), metadata=metadata)
            except FormatError as error:
                why = f"The endpoint's trace could not be read: {error}"
            else:
                _note_answer(gathered, answer)
                return gathered
        ended = max(time.time_ns(), started)
        begun = max(started, ended - int(answer.latency_ms * 1e6))
        gathered = new_gathered(
            root_span("predict", payload, start_ns=begun, end_ns=ended, outputs=answer.body, span_type=SpanType.UNKNOWN),
            metadata={**metadata, NOTE: why},
        )
        _note_answer(gathered, answer)
        return gathered

    def _failed(self, payload: Mapping[str, Any], error: CallError, started: int) -> Gathered:
        span = root_span("predict", payload, start_ns=started, end_ns=max(time.time_ns(), started), error=error, span_type=SpanType.UNKNOWN)
        return new_gathered(span, metadata={"evalpoint.endpoint": self.uri})

    def _metadata(self, answer: Answer) -> dict[str, str]:
        known = {
            "evalpoint.endpoint": self.uri,
            "evalpoint.served_model": answer.served_model,
            "evalpoint.databricks_request_id": answer.databricks_request_id,
            "evalpoint.warm_up_ms": None if answer.warm_up_ms is None else f"{answer.warm_up_ms:.0f}",
            **{key: f"{figure:.3f}" for key, figure in _timing(answer).items()},
        }
        return {key: value[:250] for key, value in known.items() if value}


def _why_none(answer: Answer) -> str | None:
    if answer.trace:
        return None
    if answer.trace_note:
        return answer.trace_note
    if not answer.trace_asked:
        return "The endpoint takes no databricks_options, so it was not asked for its trace."
    if answer.trace is None:
        return "The endpoint returned no trace; is tracing enabled in the served model?"
    return "The endpoint returned an empty trace; is tracing enabled in the served model?"


def _mark(row: str | None) -> dict[str, str] | None:
    """Whose call it is, for the usage tables: the run's id, out of the row's name."""
    parts = (row or "").split(":")
    return {"evalpoint_run": parts[1]} if len(parts) > 1 and parts[1] else None


def _timing(answer: Answer) -> dict[str, float]:
    """Of a streamed answer: milliseconds to the first token, and tokens a second after it, where their number is known."""
    first = answer.first_token_ms
    if first is None:
        return {}
    tokens = (answer.usage or {}).get("output_tokens", 0)
    seconds = (answer.latency_ms - first) / 1000
    return {FIRST_TOKEN_MS: first, **({TOKENS_PER_SECOND: tokens / seconds} if tokens and seconds > 0 else {})}


def _note_answer(gathered: Gathered, answer: Answer) -> None:
    """What the reply says of itself, on the root span: text, tool calls, and usage and model where the trace has none."""
    if gathered.linked:
        return
    root = gathered.finished[gathered.root_id]["attributes"]
    root["evalpoint.text"] = answer.text
    root.update(_timing(answer))
    calls = answer.tool_calls
    if calls:
        root["evalpoint.tool_calls"] = calls
    if not any(TOKEN_USAGE in span["attributes"] for span in gathered.finished.values()):
        usage = answer.usage
        if usage:
            root[TOKEN_USAGE] = usage
    if answer.model and len(gathered.finished) == 1:
        root.setdefault(MODEL, answer.model)


def to_predict_fn(
    endpoint_uri: str,
    *,
    workspace: Any = None,
    request: Request | None = None,
    kind: Any = None,
    served_model: str | None = None,
    stream: bool = False,
    fresh: Mapping[str, str | Callable[[], Any]] | None = None,
    headers: Mapping[str, str] | None = None,
    auth: Auth | None = None,
    wait: float = 600.0,
) -> Callable[..., Any]:
    """An endpoint, an app, or any server as a predict function.

    The function takes a row's inputs as keyword arguments and returns the endpoint's JSON without `databricks_output`. Inputs
    that are a request already (`messages`, `input`, `dataframe_records`, ...) are sent as they are; otherwise they are wrapped as the
    endpoint's task wants them. The endpoint's own trace is asked for and brought into the active experiment. The function may be
    called from many threads, inside `evaluate` and outside.

    Args:
        endpoint_uri: `endpoints:/name`, `apps:/name`, a model service such as `system.ai.model`, or `http(s)://…`.
        workspace: Which workspace: a profile name, a databricks-sdk `Config` or `WorkspaceClient`; by default what the
            environment or the `DEFAULT` profile says.
        request: Makes the payload of the inputs (a dict), for everything that the wrapping does not know.
        kind: What it serves, for an endpoint that you may call and not describe: a task such as `agent/v1/responses`, or `chat`, `custom`.
        served_model: One served entity of an endpoint, whatever the traffic split.
        stream: Let the answers come as streams. They are assembled into the same shape; time to first token and tokens per second
            are kept with every row.
        fresh: For agents that keep memory: places of the payload that get a new value with every row, repeat and retry, such as
            `{"custom_inputs.thread_id": "uuid"}`; a function without parameters may stand in the place of `"uuid"`.
        headers: Sent with every request to an `http(s)` server.
        auth: Who calls an `http(s)` server: a bearer token, a (user, password) tuple, or a function that returns headers.
        wait: Seconds to wait for an endpoint that is not ready, being updated or asleep.

    Raises:
        ConfigurationError: The URI is no endpoint's, no workspace is configured, the endpoint cannot answer, or an argument does not fit.
        NotFound: There is no such endpoint; the message names the nearest.
        AccessDenied: The credentials may not see it.
    """
    if request is not None and not callable(request):
        raise ConfigurationError(f"request= should be a function from inputs to payload, not {type(request).__name__}.")
    filled = None if fresh is None else Fresh(fresh)
    door = connect(endpoint_uri, workspace=workspace, kind=kind, served_model=served_model, headers=headers, auth=auth, wait=wait)
    if stream and door.kind in _UNSTREAMED:
        raise ConfigurationError(f"{door.uri} serves {door.kind.value}, which does not come as a stream; leave stream= out.")
    return EndpointFunction(door, request, stream=bool(stream), fresh=filled)
