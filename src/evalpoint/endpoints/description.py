"""An endpoint's description -> what kind it is, how it wants to be asked, and whether it can answer.

The raw JSON is read, not the SDK's types: those drop `endpoint_type` and the metadata of Agent Bricks. Any key may be missing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from evalpoint.errors import ConfigurationError, UnusableReply

__all__ = ["DataPlane", "Description", "Kind", "guessed_kind", "read_description", "read_kind"]

MEGABYTE = 2**20
SMALL, LARGE = 4 * MEGABYTE, 16 * MEGABYTE
"""What a request may weigh: agents, foundation and external models take the smaller, custom models the larger."""


class Kind(str, Enum):
    """What an endpoint serves, as its callers see it."""

    CHAT = "llm/v1/chat"
    COMPLETIONS = "llm/v1/completions"
    EMBEDDINGS = "llm/v1/embeddings"
    AGENT_CHAT = "agent/v1/chat"
    CHAT_AGENT = "agent/v2/chat"
    RESPONSES = "agent/v1/responses"
    CUSTOM = "custom"
    FEATURES = "features"
    JSON = "json"
    """Any server that takes a row's inputs as they are."""

    @property
    def takes_messages(self) -> bool:
        return self in (Kind.CHAT, Kind.AGENT_CHAT, Kind.CHAT_AGENT)

    @property
    def is_agent(self) -> bool:
        return self.value.startswith("agent/")


_SHORT_NAMES = {
    "chat": Kind.CHAT,
    "completions": Kind.COMPLETIONS,
    "embeddings": Kind.EMBEDDINGS,
    "agent": Kind.RESPONSES,
    "responses": Kind.RESPONSES,
    "chat_agent": Kind.CHAT_AGENT,
    "pyfunc": Kind.CUSTOM,
    "feature_spec": Kind.FEATURES,
}
_BY_KEY = {
    "messages": Kind.CHAT,
    "input": Kind.RESPONSES,
    "prompt": Kind.COMPLETIONS,
    "dataframe_split": Kind.CUSTOM,
    "dataframe_records": Kind.CUSTOM,
    "inputs": Kind.CUSTOM,
    "instances": Kind.CUSTOM,
}


def read_kind(kind: Any) -> Kind | None:
    """The kind that a caller named: a `Kind`, a task such as `agent/v1/responses`, or a short name such as `chat` or `custom`.

    Raises:
        ConfigurationError: There is no such kind; the message lists them.
    """
    if kind is None or isinstance(kind, Kind):
        return kind
    names = {**_SHORT_NAMES, **{each.value: each for each in Kind}}
    if isinstance(kind, str) and kind.strip().lower() in names:
        return names[kind.strip().lower()]
    near = difflib.get_close_matches(kind.lower(), names, n=1) if isinstance(kind, str) else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigurationError(f"kind={kind!r} is no kind of endpoint.{hint} There are {', '.join(repr(each.value) for each in Kind)}.")


def guessed_kind(payload: Mapping[str, Any]) -> Kind:
    """What an endpoint that could not be described seems to serve, judged by a request to it."""
    return next((kind for key, kind in _BY_KEY.items() if key in payload), Kind.CHAT)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlane:
    """Where a route-optimised endpoint answers, and what a token for it must say."""

    url: str
    authorization_details: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What must be known of an endpoint to ask it."""

    name: str
    kind: Kind
    takes_options: bool
    """Whether `databricks_options` may be sent: agents and custom models, never foundation and external models."""
    ready: bool
    updating: bool
    failure: str | None
    """Why a deployment failed, in the platform's words."""
    served: tuple[str, ...]
    """The names of the served entities."""
    scales_to_zero: bool = False
    asleep: bool = False
    """Scaled to zero now, as far as the description says: the next call waits until it has started."""
    data_plane: DataPlane | None = None
    """Only of route-optimised endpoints."""
    max_request: int = LARGE
    """Bytes that a request may have."""


class _Lenient(BaseModel):
    """Unknown keys are ignored, and null means absent."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given: dict[str, Any] = data  # pyright: ignore[reportUnknownVariableType] - JSON
        return {key: value for key, value in given.items() if value is not None}


class _EntityState(_Lenient):
    deployment: str = ""
    deployment_state_message: str = ""


class _Entity(_Lenient):
    name: str = ""
    entity_name: str = ""
    type: str = ""
    foundation_model: dict[str, Any] | None = None
    external_model: dict[str, Any] | None = None
    feature_spec: dict[str, Any] | None = None
    scale_to_zero_enabled: bool = False
    state: _EntityState = _EntityState()


class _Config(_Lenient):
    served_entities: list[_Entity] = []
    served_models: list[_Entity] = []


class _State(_Lenient):
    ready: str = "READY"
    config_update: str = "NOT_UPDATING"


class _QueryInfo(_Lenient):
    endpoint_url: str | None = None
    authorization_details: str | None = None


class _DataPlaneInfo(_Lenient):
    query_info: _QueryInfo = _QueryInfo()


class _Raw(_Lenient):
    name: str = ""
    state: _State = _State()
    endpoint_type: str | None = None
    task: str | None = None
    config: _Config = _Config()
    pending_config: _Config | None = None
    tile_endpoint_metadata: dict[str, Any] | None = None
    route_optimized: bool = False
    endpoint_url: str | None = None
    data_plane_info: _DataPlaneInfo = _DataPlaneInfo()


def read_description(name: str, body: Any) -> Description:
    """The description that `GET /api/2.0/serving-endpoints/{name}` gave.

    Raises:
        UnusableReply: It is no description of an endpoint.
    """
    try:
        raw = _Raw.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise UnusableReply(f"The description of endpoint {name!r} cannot be read: {where}: {first['msg']}.") from error
    entities = raw.config.served_entities or raw.config.served_models
    foundation, external = _is_foundation(raw, entities), _is_external(raw, entities)
    kind = _kind(raw, entities)
    failed = [e for e in (*entities, *(raw.pending_config or _Config()).served_entities) if _has_failed(e)]
    return Description(
        name=raw.name or name,
        kind=kind,
        takes_options=not foundation and not external and not _is_features(raw, entities),
        ready=raw.state.ready != "NOT_READY",
        updating=raw.state.config_update == "IN_PROGRESS",
        failure="; ".join(f"{e.name}: {e.state.deployment_state_message or e.state.deployment}" for e in failed) or None,
        served=tuple(e.name for e in entities),
        scales_to_zero=any(e.scale_to_zero_enabled for e in entities),
        asleep=bool(entities) and all(_ASLEEP.search(e.state.deployment_state_message) for e in entities),
        data_plane=_data_plane(raw),
        max_request=SMALL if foundation or external or kind.is_agent else LARGE,
    )


_ASLEEP = re.compile(r"scaled? (down )?to zero", re.IGNORECASE)


def _data_plane(raw: _Raw) -> DataPlane | None:
    query = raw.data_plane_info.query_info
    url = query.endpoint_url or raw.endpoint_url
    if not raw.route_optimized or not url:
        return None
    return DataPlane(url=url, authorization_details=query.authorization_details)


def _has_failed(entity: _Entity) -> bool:
    return entity.state.deployment in ("DEPLOYMENT_FAILED", "DEPLOYMENT_ABORTED")


def _is_foundation(raw: _Raw, entities: list[_Entity]) -> bool:
    """The foundation-model API: pay-per-token or provisioned throughput."""
    if raw.endpoint_type == "FOUNDATION_MODEL_API":
        return True
    marked = any(e.type == "FOUNDATION_MODEL" or e.foundation_model for e in entities)
    return marked and (raw.name.startswith("databricks-") or any(e.entity_name.startswith("system.ai.") for e in entities))


def _is_external(raw: _Raw, entities: list[_Entity]) -> bool:
    return raw.endpoint_type == "EXTERNAL_MODEL" or any(e.external_model for e in entities)


def _is_features(raw: _Raw, entities: list[_Entity]) -> bool:
    return not raw.task and any(e.feature_spec or e.type == "FEATURE_SPEC" for e in entities)


def _kind(raw: _Raw, entities: list[_Entity]) -> Kind:
    task = raw.task or next((str(e.external_model.get("task", "")) for e in entities if e.external_model), "")
    if "/" in task and task in {kind.value for kind in Kind}:
        return Kind(task)
    if task.startswith("agent/") or raw.tile_endpoint_metadata:
        return Kind.RESPONSES
    return Kind.FEATURES if _is_features(raw, entities) else Kind.CUSTOM


def must_answer(description: Description, where: str) -> None:
    """Refuses an endpoint that cannot answer now.

    Raises:
        ConfigurationError: Its deployment failed, or it is not ready.
    """
    if description.ready:
        return
    if description.failure:
        raise ConfigurationError(
            f"Endpoint {description.name!r} in workspace {where} cannot answer: its deployment failed ({description.failure}). "
            "Look at the build and service logs of the served model, and deploy it again."
        )
    doing = "is being updated" if description.updating else "is starting or stopped"
    raise ConfigurationError(
        f"Endpoint {description.name!r} in workspace {where} is not ready: it {doing}. Wait until its state is READY, then run again."
    )
