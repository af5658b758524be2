"""`apps:/name`: an agent on a Databricks app, whichever generation of server it runs, with its trace from the tracking server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from evalpoint.calls import Server, bound, current_account, names_address
from evalpoint.endpoints.answers import Answer, answer_from, ask_once
from evalpoint.endpoints.app_runs import as_invocation, failed, result_of, run_of, trace_id_of, under_way
from evalpoint.endpoints.description import Description, Kind
from evalpoint.endpoints.endpoint import chat_payload
from evalpoint.endpoints.fetching import TraceFetcher
from evalpoint.endpoints.listing import names_at, nearest
from evalpoint.endpoints.streaming import Streamed
from evalpoint.endpoints.waking import Patience
from evalpoint.errors import AccessDenied, CallError, CallTimeout, ConfigurationError, NotFound, Rejected, UnusableReply
from evalpoint.formats import error_text, is_dict
from evalpoint.workspace import Workspace, oauth_workspace

__all__ = ["App", "app"]

ROUTES = ("/api/invocations", "/responses", "/invocations")
"""Where the generations of agent servers answer, newest first."""
_WANTS_TRACE_ID = {"x-mlflow-return-trace-id": "true"}
_NO_SUCH_ROUTE = (404, 405)
_STILL_RUNNING = (409, 504)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0


class App:
    """Asks one app. The route that it answers at is found with the first request, and remembered.

    Looking for it never runs an agent twice: a request goes on to the next route only when the one before does not exist (404, 405).
    The newest servers take an id with every run; a request that has to be sent again carries the same one, and runs once.

    Args:
        name: The app's name.
        where: The workspace, with OAuth credentials.
        server: The app itself.
        kind: What it takes; agents on apps take the Responses protocol unless told otherwise.
        clock, sleep: For runs in the background.
        ids: Makes the ids of runs.
    """

    def __init__(
        self,
        name: str,
        where: Workspace,
        server: Server,
        *,
        kind: Kind = Kind.RESPONSES,
        fetcher: TraceFetcher | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        ids: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._name = name
        self._where = where
        self._server = server
        self._kind = kind
        self._fetcher = fetcher or TraceFetcher(where)
        self._clock = clock
        self._sleep = sleep
        self._ids = ids
        self._title = f"App {name!r}"
        self._route: str | None = None
        self._who: str | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def kind(self) -> Kind:
        return self._kind

    @property
    def uri(self) -> str:
        return f"apps:/{self._name}"

    @property
    def host(self) -> str:
        return self._where.host

    @property
    def description(self) -> Description | None:
        """Apps have none of the kind that serving endpoints have."""
        return None

    def __repr__(self) -> str:
        return f"<{self._title} in {self.host}>"

    def chat_payload(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """The messages as this app takes them."""
        return chat_payload(messages, self._kind, endpoint=self._name)

    def check(self, payload: Mapping[str, Any]) -> None:
        """Apps state no limit of their own."""

    def invoke(
        self,
        payload: Mapping[str, Any],
        *,
        trace: bool = False,
        request_id: str | None = None,
        stream: bool = False,
        usage_context: Mapping[str, str] | None = None,
    ) -> Answer:
        """One question, one answer. An answer that a run has only begun (`"background": true`) is asked for until the run has ended.

        Args:
            payload: The request's JSON.
            trace: Fetch the trace from the workspace's tracking server.
            request_id, usage_context: Of no use here: apps have no such fields.
            stream: Let the answer come as a stream.

        Raises:
            CallError: No usable answer came.
            UsageError: The payload is no JSON.
        """
        begun = self._clock()
        try:
            route, answered = self._admitted(payload, stream)
            run_id = run_of(answered)
            if run_id is not None:
                answered = self._finished(route, run_id, answered, begun)
        except AccessDenied as error:
            raise self._explained(error) from error
        answer = answer_from(replace(answered, body=result_of(answered.body)))
        if not trace:
            return answer
        trace_id = trace_id_of(answered)
        if trace_id is None:
            return replace(answer, trace_asked=True, trace_note="The app returned no trace id; is tracing enabled in its agent?")
        fetched = self._fetcher.fetch(trace_id)
        return replace(answer, trace_asked=True, trace=fetched.trace, trace_note=fetched.note)

    def _admitted(self, payload: Mapping[str, Any], stream: bool) -> tuple[str, Streamed]:
        """The answer; when a login page comes in its place, which is how an app may refuse an expired token, once more with a fresh one."""
        used = self._where.credentials.headers()
        try:
            return self._asked(payload, stream)
        except AccessDenied as error:
            if error.status is None or not 300 <= error.status < 400:
                raise
            self._where.credentials.refresh(used)
            if self._where.credentials.headers() == used:
                raise
            account = current_account()
            if account is not None:
                account.correct()
            return self._asked(payload, stream)

    def _asked(self, payload: Mapping[str, Any], stream: bool) -> tuple[str, Streamed]:
        """The route that answers, and its answer."""
        if self._route is not None:
            return self._route, self._ask(self._route, payload, stream)
        for route in ROUTES:
            try:
                answered = self._ask(route, payload, stream)
            except Rejected as error:
                if error.status in _NO_SUCH_ROUTE:
                    continue
                self._route = route  # it has read the request, and refuses it
                raise
            self._route = route
            return route, answered
        raise Rejected(
            f"{self._title} at {self._server.base_url} has none of the routes of agent servers: POST {', '.join(ROUTES)} gave 404 or 405. "
            "Does the app run an agent? One with an address of its own can be called by it: to_predict_fn('https://…', auth=…).",
            status=404,
        )

    def _ask(self, route: str, payload: Mapping[str, Any], stream: bool) -> Streamed:
        if route != ROUTES[0]:
            return ask_once(self._server, route, payload, what=self._title, kind=self._kind, stream=stream)
        run_id = str(payload.get("id") or self._ids())
        try:
            return ask_once(self._server, route, as_invocation(payload, run_id), what=self._title, kind=self._kind, stream=stream)
        except (Rejected, CallTimeout) as error:
            if error.status not in _STILL_RUNNING:
                raise
            body = {"id": run_id, "status": "active"}  # 409: our own repetition was too early; 504: a proxy was
            return Streamed(body=body, status=error.status, latency_ms=0.0)

    def _finished(self, route: str, run_id: str, answered: Streamed, begun: float) -> Streamed:
        """The answer of a run in the background, when it has ended."""
        until = begun + bound().call_timeout
        pause = _FIRST_PAUSE
        while True:
            left = until - self._clock()
            if left <= 0:
                raise CallTimeout(
                    f"{self._title} did not finish its run {run_id!r} within {bound().call_timeout:.0f} s. The run may still be under way. "
                    "Allow it more time (call_timeout)."
                )
            self._sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            reply = self._server.request("GET", f"{route}/{quote(run_id, safe='')}", what=self._title)
            body: Any = reply.json()
            state = failed(body)
            if state is not None:
                code, message = error_text(body)
                raise UnusableReply(
                    f"{self._title} says that its run {run_id!r} is {state}: {message}", status=reply.status, error_code=code
                )
            if not under_way(body):
                took = (self._clock() - begun) * 1000
                return replace(answered, body=body, status=reply.status, headers=reply.headers, latency_ms=took)

    def _explained(self, error: AccessDenied) -> AccessDenied:
        if error.status == 403 and not names_address(error):
            if self._who is None:
                self._who = self._where.principal() or f"unknown (auth type {self._where.auth_type!r})"
            why = f"To call app {self._name!r} takes the permission CAN USE on it; the caller is {self._who}. Ask the app's owner for it."
        elif error.status is not None and error.status != 403:
            why = (
                f"Apps take Databricks OAuth tokens only; the credentials in use are of workspace {self.host} ({self._where.auth_type}). "
                "Check that the app belongs to it."
            )
        else:
            return error
        return AccessDenied(f"{error} {why}", status=error.status, error_code=error.error_code)


def app(name: str, *, where: Any, kind: Kind | None, patience: Patience) -> App:
    """The app of this name, running.

    Raises:
        ConfigurationError: The credentials are none that apps take, or the app does not run.
        NotFound: There is no such app.
        AccessDenied: The caller may not see it.
    """
    opened = oauth_workspace(where, what=f"App {name!r}")
    description = _described(name, opened)
    if _starting(description) and patience.wait > 0:

        def missing() -> str | None:
            nonlocal description
            with suppress(CallError):  # a description that is missed once comes with the next
                description = _described(name, opened)
            return "is starting" if _starting(description) else None

        patience.poll(missing, what=f"App {name!r} in workspace {opened.host}")
    _must_run(name, description, opened.host)
    url = description.get("url")
    if not isinstance(url, str) or "://" not in url:
        raise ConfigurationError(f"App {name!r} in workspace {opened.host} has no address yet. Deploy it, then run again.")
    server = opened.server_at(url, name=f"app {name!r}", headers=_WANTS_TRACE_ID)
    return App(name, opened, server, kind=kind or Kind.RESPONSES)


def _described(name: str, where: Workspace) -> dict[str, Any]:
    try:
        body: Any = where.get(f"/api/2.0/apps/{quote(name, safe='')}")
    except Rejected as error:
        if error.status != 404:
            raise
        names = names_at(where, "/api/2.0/apps", "apps")
        near = nearest(name, names, plural="apps") if names is not None else ""
        raise NotFound(f"App {name!r} does not exist in workspace {where.host}, or you may not see it. {near}".rstrip()) from error
    except AccessDenied as error:
        if error.status != 403 or names_address(error):
            raise
        raise AccessDenied(
            f"App {name!r} in workspace {where.host} may not be seen by {where.principal() or 'these credentials'}: {error} "
            "Ask its owner for the permission CAN USE.",
            status=403,
            error_code=error.error_code,
        ) from error
    if not is_dict(body):
        raise UnusableReply(f"The description of app {name!r} in workspace {where.host} is no JSON object.")
    return body


def _status(description: Mapping[str, Any], part: str) -> tuple[str, str]:
    """State and message of the app or its compute; empty where the description does not say."""
    said: Any = description.get(part)
    if not is_dict(said):
        return "", ""
    return str(said.get("state") or "").upper(), str(said.get("message") or "").strip()


def _starting(description: Mapping[str, Any]) -> bool:
    compute, agent = _status(description, "compute_status")[0], _status(description, "app_status")[0]
    return compute in ("STARTING", "UPDATING") or (compute in ("", "ACTIVE") and agent in ("DEPLOYING", "STARTING"))


def _must_run(name: str, description: Mapping[str, Any], host: str) -> None:
    compute, said = _status(description, "compute_status")
    title = f"App {name!r} in workspace {host}"
    if _starting(description):
        raise ConfigurationError(f"{title} is starting. Wait until it runs, then run again, or let it be waited for (wait=).")
    if compute not in ("", "ACTIVE"):
        raise ConfigurationError(
            f"{title} does not run: its compute is {compute}{f' ({said})' if said else ''}. "
            f"Start it ('databricks apps start {name}'), then run again."
        )
    agent, said = _status(description, "app_status")
    if agent not in ("", "RUNNING"):
        raise ConfigurationError(
            f"{title} does not run: the app is {agent}{f' ({said})' if said else ''}. "
            f"Look at its logs ('databricks apps logs {name}') and deploy it again."
        )
