"""`to_predict_fn`: an endpoint as a function of a row's inputs that brings the endpoint's own trace home."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from evalpoint.endpoints.endpoint import Answer, Endpoint, connect
from evalpoint.endpoints.payloads import Request, payload_of
from evalpoint.entities.trace import TOKEN_USAGE, SpanType
from evalpoint.errors import CallError, ConfigurationError, FormatError, UsageError
from evalpoint.formats.traces import read_trace
from evalpoint.tracing import NOTE, Gathered, adopt, emit, new_gathered, request_id, root_span

__all__ = ["EndpointFunction", "to_predict_fn"]

MODEL = "mlflow.llm.model"


class EndpointFunction:
    """An endpoint as a function of keyword arguments; `check` says beforehand whether a payload can be made of them."""

    def __init__(self, endpoint: Endpoint, request: Request | None) -> None:
        self.endpoint = endpoint
        self.uri = endpoint.uri
        self.__name__ = endpoint.name
        self.__qualname__ = endpoint.name
        self.__doc__ = f"Asks {endpoint.uri} in workspace {endpoint.host}; the inputs become the request's payload."
        self._request = request

    def __call__(self, **inputs: Any) -> Any:
        payload = self._payload(inputs)
        started = time.time_ns()
        try:
            answer = self.endpoint.invoke(payload, trace=True, request_id=request_id())
        except CallError as error:
            emit(self._failed(payload, error, started))
            raise
        emit(self._traced(payload, answer, started))
        return answer.body

    def __repr__(self) -> str:
        return f"<predict function of {self.uri} in {self.endpoint.host}>"

    def check(self, inputs: Mapping[str, Any]) -> str | None:
        """Why no payload can be made of these inputs; None when one can."""
        if self._request is not None:
            return None  # the caller's own function is asked once per row, when the row is predicted
        try:
            self._payload(inputs)
        except UsageError as error:
            return str(error)
        return None

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
        }
        return {key: value[:250] for key, value in known.items() if value}


def _why_none(answer: Answer) -> str | None:
    if answer.trace:
        return None
    if not answer.trace_asked:
        return "The endpoint takes no databricks_options, so it was not asked for its trace."
    if answer.trace is None:
        return "The endpoint returned no trace; is tracing enabled in the served model?"
    return "The endpoint returned an empty trace; is tracing enabled in the served model?"


def _note_answer(gathered: Gathered, answer: Answer) -> None:
    """What the reply says of itself, on the root span: text, tool calls, and usage and model where the trace has none."""
    if gathered.linked:
        return
    root = gathered.finished[gathered.root_id]["attributes"]
    root["evalpoint.text"] = answer.text
    calls = answer.tool_calls
    if calls:
        root["evalpoint.tool_calls"] = calls
    if not any(TOKEN_USAGE in span["attributes"] for span in gathered.finished.values()):
        usage = answer.usage
        if usage:
            root[TOKEN_USAGE] = usage
    if answer.model and len(gathered.finished) == 1:
        root.setdefault(MODEL, answer.model)


def to_predict_fn(endpoint_uri: str, *, workspace: Any = None, request: Request | None = None) -> Callable[..., Any]:
    """A serving endpoint as a predict function.

    The function takes a row's inputs as keyword arguments and returns the endpoint's JSON without `databricks_output`. Inputs
    that are a request already (`messages`, `input`, `dataframe_records`, ...) are sent as they are; otherwise they are wrapped as the
    endpoint's task wants them. The endpoint's own trace is asked for and brought into the active experiment. The function may be
    called from many threads, inside `evaluate` and outside.

    Args:
        endpoint_uri: `endpoints:/name`.
        workspace: Which workspace: a profile name, a databricks-sdk `Config` or `WorkspaceClient`; by default what the
            environment or the `DEFAULT` profile says.
        request: Makes the payload of the inputs (a dict), for everything that the wrapping does not know.

    Raises:
        ConfigurationError: The URI is no endpoint's, no workspace is configured, or the endpoint cannot answer now.
        NotFound: There is no such endpoint; the message names the nearest.
        AccessDenied: The credentials may not see it.
    """
    if request is not None and not callable(request):
        raise ConfigurationError(f"request= should be a function from inputs to payload, not {type(request).__name__}.")
    return EndpointFunction(connect(endpoint_uri, workspace=workspace), request)
