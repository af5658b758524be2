"""Calls to a real endpoint, written to a file without secrets, for a mock to replay.

    with record("calls.jsonl") as recorder:
        bot = recorder(evalpoint.to_predict_fn("endpoints:/bot"))
        bot(question="What is MLflow?")       # or evalpoint.evaluate(predict_fn=bot, ...)

The file has one line of JSON per call:

    {"endpoint": "bot", "kind": "agent/v1/responses",
     "request": {...},                         the payload, without what evalpoint adds to it (`ADDED`)
     "response": {"status": 200, "headers": {...}, "body": {...}, "latency_ms": 812.3}}

The body has the trace under `databricks_output`, as on the wire. A call that was answered with an error has its status and a body of
`error_code` and `message`; where no answer came that is one, the status is null. A streamed answer is assembled, and its response has
`first_token_ms`. Requests are the same when they are equal without `ADDED`.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from evalpoint.calls import secrets_of
from evalpoint.endpoints import Answer, EndpointFunction
from evalpoint.errors import CallError, ConfigurationError, StoreError, UsageError
from evalpoint.mocks.cleaning import Cleaner
from evalpoint.mocks.exchange import members

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ADDED", "Recorder", "record"]

ADDED = frozenset({"databricks_options", "client_request_id", "usage_context", "stream"})
"""Top-level keys of a request that say who asks and how, not what."""
_log = logging.getLogger("evalpoint.mocks")


def record(
    path: str | os.PathLike[str],
    *,
    mask_hosts: bool = True,
    secrets: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Recorder:
    """A recorder that adds to the file at this path; use it in a `with` statement.

    Hidden are tokens of every known form, values under names such as `authorization`, `cookie`, `password` or `api_key`, and what the
    environment has in variables called so. Read the file before you share it all the same: nobody knows what your model answers.

    Args:
        path: A file for lines of JSON; one that exists is added to.
        mask_hosts: Write `workspace.example` in place of the names of workspaces and apps.
        secrets: Further texts that must not be in the file.
        environ: Whose secrets are hidden; the process's own environment by default.

    Raises:
        ConfigurationError: The file cannot be opened.
    """
    return Recorder(path, cleaner=Cleaner((*secrets, *secrets_of(os.environ if environ is None else environ)), mask_hosts=mask_hosts))


class Recorder:
    """Writes what the functions given to it ask and get, until its block ends; after that they work on, unrecorded.

    A line is written at once and whole, so what was recorded is there whatever happens to the process. May be used from many threads.
    """

    def __init__(self, path: str | os.PathLike[str], *, cleaner: Cleaner) -> None:
        self.path = Path(path).absolute()
        self._cleaner = cleaner
        self._lock = threading.Lock()
        self._lines = 0
        self._lost: list[OSError] = []
        try:
            self._file: int | None = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._mend()
        except OSError as error:
            raise ConfigurationError(f"The recording {str(self.path)!r} cannot be written: {error.strerror}.") from error

    @property
    def lines(self) -> int:
        """How many calls have been written."""
        return self._lines

    def __call__(self, function: Any) -> EndpointFunction:
        """The same function, recorded. `evaluate` takes it as it takes the one given.

        Args:
            function: What `evalpoint.to_predict_fn` has made.

        Raises:
            UsageError: It is something else.
        """
        if not isinstance(function, EndpointFunction):
            raise UsageError(
                f"A recorder takes what evalpoint.to_predict_fn(...) returns, not {type(function).__name__}; "
                "it records what an endpoint is sent and answers, which another function does not show."
            )
        recorded = copy.copy(function)
        door: Any = RecordedDoor(function.endpoint, self)
        recorded.endpoint = door
        return recorded

    def write(self, endpoint: str, kind: str, request: Mapping[str, Any], response: Mapping[str, Any], *, host: str = "") -> None:
        """One call as one line, cleaned."""
        asked = {key: value for key, value in request.items() if key not in ADDED}
        call = {"endpoint": endpoint, "kind": kind, "request": asked, "response": dict(response)}
        line = json.dumps(self._cleaner.clean(call, host=host), ensure_ascii=False, default=str) + "\n"
        data = line.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._file is None:
                return
            try:
                while data:
                    data = data[os.write(self._file, data) :]
                self._lines += 1
            except OSError as error:
                # The answer is worth more than its record: the call goes on, and the block's end says what is missing.
                self._lost.append(error)
                _log.warning("a call was not recorded in %s: %s", self.path, error.strerror)

    def close(self) -> None:
        """Ends the recording.

        Raises:
            StoreError: Some calls could not be written.
        """
        with self._lock:
            if self._file is None:
                return
            os.close(self._file)
            self._file = None
        if self._lost:
            why = self._lost[0].strerror
            raise StoreError(f"{len(self._lost)} calls are missing in the recording {str(self.path)!r}, which could not be written: {why}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _mend(self) -> None:
        """Ends a last line that an earlier process has left without an end."""
        assert self._file is not None  # noqa: S101 - called where it has just been opened
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")


class RecordedDoor:
    """An endpoint whose calls are written down. In everything else it is the endpoint."""

    def __init__(self, door: Any, recorder: Recorder) -> None:
        self._door = door
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._door, name)

    def invoke(self, payload: Mapping[str, Any], **options: Any) -> Answer:
        """As the endpoint does; the call is in the file when this returns or raises."""
        try:
            answer: Answer = self._door.invoke(payload, **options)
        except CallError as error:
            self._write(payload, _refused(error))
            raise
        self._write(payload, _answered(answer))
        return answer

    def _write(self, payload: Mapping[str, Any], response: Mapping[str, Any]) -> None:
        kind = getattr(self._door.kind, "value", self._door.kind)
        self._recorder.write(self._door.name, str(kind), payload, response, host=self._door.host)


def _answered(answer: Answer) -> dict[str, Any]:
    body = answer.body
    output = {"databricks_request_id": answer.databricks_request_id} if answer.databricks_request_id else {}
    if answer.trace is not None:
        output["trace"] = answer.trace
    if output and isinstance(body, dict):
        body = {**members(cast("object", body)), "databricks_output": output}
    named = {"served-model-name": answer.served_model, "x-request-id": answer.databricks_request_id}
    response: dict[str, Any] = {
        "status": 200,
        "headers": {name: value for name, value in named.items() if value},
        "body": body,
        "latency_ms": round(answer.latency_ms, 1),
    }
    first_token_ms = getattr(answer, "first_token_ms", None)
    if first_token_ms is not None:
        response["first_token_ms"] = round(first_token_ms, 1)
    return response


def _refused(error: CallError) -> dict[str, Any]:
    headers = {} if error.retry_after is None else {"retry-after": f"{error.retry_after:g}"}
    body = {"error_code": error.error_code or type(error).__name__, "message": str(error)}
    usable = error.status is not None and error.status >= 300  # broken JSON under a 200 is no answer either
    return {"status": error.status if usable else None, "headers": headers, "body": body}
