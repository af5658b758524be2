"""A trace by its id from a workspace's tracking server, which may have it only a while after the answer."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from evalpoint.calls import HttpReply, Server, bind, current_account
from evalpoint.errors import AccessDenied, CallError, ConfigurationError, Rejected
from evalpoint.formats import is_dict, is_list
from evalpoint.settings import Settings
from evalpoint.workspace import Workspace

__all__ = ["Fetched", "TraceFetcher"]

_SWIFT = Settings(max_retries=1, connect_timeout=5.0, attempt_timeout=15.0, call_timeout=20.0)
_ANY_ANSWER = frozenset((200, 400, 404, 405, 500, 501))
"""500: a tracking server whose traces are artifacts says it so."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 3.0
_DISAPPOINTED = 2
"""After so many traces in a row that never came, the next are waited for only briefly."""
_BRIEF = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The trace as it came, or why there is none."""

    trace: Any = None
    note: str | None = None


class TraceFetcher:
    """Fetches traces, from any thread. The time it takes is no latency of anybody's.

    Args:
        where: The workspace whose tracking server has them.
        patience: Seconds to wait for one trace.
        clock, sleep: Monotonic seconds, and waiting.
    """

    def __init__(
        self,
        where: Workspace,
        *,
        patience: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._where = where
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._missed = 0
        self._refusal: str | None = None

    def fetch(self, trace_id: str) -> Fetched:
        """The trace of this id, when the server has it complete."""
        if self._refusal is not None:
            return Fetched(note=self._refusal)
        used = current_account()
        begun = self._clock()
        try:
            return contextvars.Context().run(self._patiently, trace_id)
        finally:
            if used is not None:
                used.lose(self._clock() - begun)

    def _patiently(self, trace_id: str) -> Fetched:
        patience = self._patience if self._missed < _DISAPPOINTED else min(_BRIEF, self._patience)
        until = self._clock() + patience
        pause = _FIRST_PAUSE
        why = "it is not there yet"
        while True:
            try:
                trace = self._once(trace_id)
            except AccessDenied as error:
                self._refusal = f"The tracking server does not let the caller read traces: {error}"
                return Fetched(note=self._refusal)
            except CallError as error:
                trace, why = None, str(error)
            if trace is not None:
                self._missed = 0
                return Fetched(trace=trace)
            left = until - self._clock()
            if left <= 0:
                self._missed += 1
                return Fetched(note=f"Trace {trace_id} could not be fetched from {self._where.host} within {patience:.0f} s: {why}.")
            self._sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _once(self, trace_id: str) -> Any:
        """The complete trace; None where there is none yet."""
        whole = self._trace_at(f"/api/3.0/mlflow/traces/get?trace_id={quote(trace_id, safe='')}")
        if whole is not None and is_list(whole.get("spans")) and whole["spans"]:
            return None if _in_progress(whole) else whole
        known = whole or self._trace_at(f"/api/3.0/mlflow/traces/{quote(trace_id, safe='')}")
        if known is None or _in_progress(known):
            return None
        spans = self._stored_spans(trace_id)
        return {"info": known.get("trace_info"), "data": {"spans": spans}} if spans else None

    def _trace_at(self, path: str) -> dict[str, Any] | None:
        said = _json(self._get(self._where.server, path))
        trace: Any = said.get("trace")
        return trace if is_dict(trace) else None

    def _stored_spans(self, trace_id: str) -> list[Any] | None:
        """The spans where a workspace keeps them: in storage, at an address that carries its own permission."""
        path = f"/api/2.0/mlflow/traces/{quote(trace_id, safe='')}/credentials-for-data-download"
        access: Any = _json(self._get(self._where.server, path)).get("credential_info")
        address: Any = access.get("signed_uri") if is_dict(access) else None
        if not isinstance(address, str):
            return None
        listed: Any = access.get("headers")
        headers = {str(h.get("name")): str(h.get("value")) for h in listed if is_dict(h)} if is_list(listed) else {}
        parts = urlsplit(address)
        try:
            storage = Server(
                f"{parts.scheme}://{parts.netloc}", name="the traces' storage"
            )  # the workspace's token stays with the workspace
        except ConfigurationError as error:
            raise Rejected(f"The address of the trace's spans cannot be used: {error}") from None
        spans: Any = _json(self._get(storage, address, headers)).get("spans")
        return spans if is_list(spans) else None

    def _get(self, server: Server, path: str, headers: Mapping[str, str] | None = None) -> HttpReply:
        with bind(_SWIFT):
            return server.request("GET", path, headers=headers, accept=_ANY_ANSWER, what="the tracking server")


def _json(reply: HttpReply) -> dict[str, Any]:
    """The object that a success brought; empty where there is none."""
    body: Any = reply.json() if reply.status == 200 else None
    return body if is_dict(body) else {}


def _in_progress(trace: Mapping[str, Any]) -> bool:
    info: Any = trace.get("trace_info") or trace.get("info")
    return is_dict(info) and "IN_PROGRESS" in (info.get("state"), info.get("status"))
