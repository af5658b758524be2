"""How a test says what a mock workspace has: its endpoints, model services and apps."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

from evalpoint.errors import ConfigurationError
from evalpoint.mocks.answers import Answers
from evalpoint.mocks.apps import AppOptions, AppServerName, Home, MockApp
from evalpoint.mocks.conversations import CHAT, CHAT_AGENT, CHAT_COMPLETION, FOUNDATION, RESPONSES, External
from evalpoint.mocks.endpoint import Behaviour, MockEndpoint
from evalpoint.mocks.front import FrontDoor
from evalpoint.mocks.identity import Identity
from evalpoint.mocks.judge import JudgeRule, MockJudge
from evalpoint.mocks.kinds import Kind
from evalpoint.mocks.options import EndpointOptions
from evalpoint.mocks.records import (
    COMPLETIONS,
    CUSTOM,
    EMBEDDINGS,
    FEATURES,
    FOUNDATION_COMPLETIONS,
    FOUNDATION_EMBEDDINGS,
    ExternalCompletions,
    ExternalEmbeddings,
    hashed_vector,
)
from evalpoint.mocks.replaying import Recording
from evalpoint.mocks.surroundings import Surroundings

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Declaring"]

SAYS = "This is a mock answer."
Dialect = Literal["responses", "chat_agent", "chat_completion"]
Task = Literal["chat", "completions", "embeddings"]
Tile = Literal["KNOWLEDGE_ASSISTANT", "MULTI_AGENT_SUPERVISOR"]
AGENTS: dict[str, Kind] = {"responses": RESPONSES, "chat_agent": CHAT_AGENT, "chat_completion": CHAT_COMPLETION}
FOUNDATIONS: dict[str, Kind] = {"chat": FOUNDATION, "completions": FOUNDATION_COMPLETIONS, "embeddings": FOUNDATION_EMBEDDINGS}
EXTERNALS: dict[str, Callable[[str], Kind]] = {"chat": External, "completions": ExternalCompletions, "embeddings": ExternalEmbeddings}


class Declaring:
    """The methods by which endpoints and apps are added; `MockWorkspace` has them."""

    def __init__(self, front: FrontDoor, around: Surroundings, identity: Identity, url: Callable[[], str]) -> None:
        self._front = front
        self._around = around
        self._home = Home(around=around, identity=identity, shelf=front.shelf, workspace_url=url, record=front.record)
        self._adding = threading.Lock()

    def chat(self, name: str, answers: Answers = SAYS, **options: Unpack[EndpointOptions]) -> MockEndpoint:
        """A custom chat model (`llm/v1/chat`)."""
        return self._add(name, CHAT, Behaviour(answers=answers, **options))

    def completions(self, name: str, answers: Answers = SAYS, **options: Unpack[EndpointOptions]) -> MockEndpoint:
        """A custom model that completes prompts (`llm/v1/completions`)."""
        return self._add(name, COMPLETIONS, Behaviour(answers=answers, **options))

    def embeddings(
        self, name: str, answers: Answers | None = None, *, dimensions: int = 8, **options: Unpack[EndpointOptions]
    ) -> MockEndpoint:
        """A custom model of embeddings (`llm/v1/embeddings`).

        Args:
            name: Its name.
            answers: Gives the vector of each text; by default each text has one of its own, always the same.
            dimensions: The length of the vectors that are made up.
            options: See `EndpointOptions`.
        """
        return self._add(name, EMBEDDINGS, Behaviour(answers=answers or hashed_vector(dimensions), **options))

    def agent(
        self,
        name: str,
        answers: Answers = SAYS,
        *,
        dialect: Dialect = "responses",
        tile: Tile | None = None,
        **options: Unpack[EndpointOptions],
    ) -> MockEndpoint:
        """An agent: `agent/v1/responses`, `agent/v2/chat` or `agent/v1/chat`; with `tile`, one of Agent Bricks."""
        if dialect not in AGENTS:
            raise ConfigurationError(f"dialect {dialect!r} is none of {', '.join(map(repr, AGENTS))}")
        return self._add(name, AGENTS[dialect], Behaviour(answers=answers, **options), tile=tile)

    def custom(self, name: str, answers: Answers = SAYS, **options: Unpack[EndpointOptions]) -> MockEndpoint:
        """A custom model (pyfunc) that makes one prediction for each record."""
        return self._add(name, CUSTOM, Behaviour(answers=answers, **options))

    def features(self, name: str, answers: Answers, **options: Unpack[EndpointOptions]) -> MockEndpoint:
        """A feature spec: `answers` gives the features, as a dict, of each record of primary keys."""
        return self._add(name, FEATURES, Behaviour(answers=answers, **options))

    def foundation(
        self, name: str, answers: Answers | None = None, *, task: Task = "chat", **options: Unpack[EndpointOptions]
    ) -> MockEndpoint:
        """A foundation model: refuses request fields that it does not know, and returns no traces."""
        return self._add(name, _of_task(FOUNDATIONS, task), Behaviour(answers=_usual(answers, task), **options))

    def external(
        self,
        name: str,
        answers: Answers | None = None,
        *,
        provider: str = "openai",
        task: Task = "chat",
        **options: Unpack[EndpointOptions],
    ) -> MockEndpoint:
        """Another provider's model behind the workspace: what the provider refuses comes back wrapped; no traces."""
        kind = _of_task(EXTERNALS, task)(provider)
        return self._add(name, kind, Behaviour(answers=_usual(answers, task), **options), provider=provider)

    def judge(
        self, name: str = "judge", rules: Sequence[JudgeRule] = (), *, raw: Sequence[str] = (), **options: Unpack[EndpointOptions]
    ) -> MockEndpoint:
        """A judge: a foundation model that answers judge prompts by rules; see `MockJudge`."""
        return self._add(name, FOUNDATION, Behaviour(answers=MockJudge(rules, raw=raw), **options))

    def model_service(
        self, name: str, answers: Answers | None = None, *, task: Task = "chat", **options: Unpack[EndpointOptions]
    ) -> MockEndpoint:
        """A model service of Unity Catalog, such as "system.ai.some-model": only the AI Gateway's addresses know it."""
        if not re.fullmatch(r"[\w-]+\.[\w-]+\.[\w.-]+", name):
            raise ConfigurationError(f'{name!r} is no model service: its name has three parts, such as "system.ai.some-model".')
        with self._adding:
            if name in self._front.services:
                raise ConfigurationError(f"The mock workspace already has a model service {name!r}.")
            behaviour = Behaviour(answers=_usual(answers, task), **options)
            self._front.services[name] = MockEndpoint(name, _of_task(FOUNDATIONS, task), behaviour, self._around)
            return self._front.services[name]

    def app(
        self,
        name: str,
        answers: Answers = SAYS,
        *,
        server: AppServerName = "agentserver",
        dialect: Dialect = "responses",
        background: bool = False,
        **options: Unpack[AppOptions],
    ) -> MockApp:
        """An agent on Databricks Apps, on a host of its own, for OAuth tokens only.

        Args:
            name: Its name, as in `apps:/name`.
            answers: As for endpoints.
            server: What serves it: "api" (`/api/invocations`, the newest), "agentserver" (MLflow's, `/responses`) or
                "legacy" (`/invocations` only).
            dialect: What the agent speaks.
            background: Whether an agent server takes runs in the background; the newest always does.
            options: See `AppOptions`.
        """
        if dialect not in AGENTS:
            raise ConfigurationError(f"dialect {dialect!r} is none of {', '.join(map(repr, AGENTS))}")
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,29}", name):
            raise ConfigurationError(f"{name!r} is no name for an app: use lower-case letters, digits and '-', at most 30 of them.")
        with self._adding:
            if name in self._front.apps:
                raise ConfigurationError(f"The mock workspace already has an app {name!r}.")
            app = MockApp(name, answers, AGENTS[dialect], server=server, background=background, home=self._home, options=options)
            self._front.apps[name] = app
            self._added_app(app)
            return app

    def _add(self, name: str, kind: Kind, behaviour: Behaviour, *, tile: str | None = None, provider: str = "openai") -> MockEndpoint:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
            raise ConfigurationError(f"{name!r} is no name for an endpoint: use letters, digits, '-' and '_', at most 63 of them.")
        with self._adding:
            if name in self._front.endpoints:
                raise ConfigurationError(f"The mock workspace already has an endpoint {name!r}.")
            endpoint = MockEndpoint(name, kind, behaviour, self._around, tile=tile, provider=provider)
            self._front.endpoints[name] = endpoint
            self._added_endpoint(endpoint)
            return endpoint

    def _recorded(self, recording: Recording) -> MockEndpoint:
        """An endpoint for a recording of one that the workspace does not have."""
        endpoint = MockEndpoint(recording.endpoint, recording.kind(), Behaviour(), self._around)
        with self._adding:
            where = self._front.services if recording.endpoint.count(".") >= 2 else self._front.endpoints
            return where.setdefault(recording.endpoint, endpoint)

    def _added_endpoint(self, endpoint: MockEndpoint) -> None:
        """Called for each endpoint that was added."""

    def _added_app(self, app: MockApp) -> None:
        """Called for each app that was added."""


def _usual(answers: Answers | None, task: Task) -> Answers:
    if answers is not None:
        return answers
    return hashed_vector(8) if task == "embeddings" else SAYS


Found = TypeVar("Found")


def _of_task(kinds: dict[str, Found], task: str) -> Found:
    if task not in kinds:
        raise ConfigurationError(f"task {task!r} is none of {', '.join(map(repr, kinds))}")
    return kinds[task]
