"""An endpoint's description, as `GET /api/2.0/serving-endpoints/{name}` gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from evalpoint.mocks.kinds import Kind

__all__ = ["CREATED", "Deployment", "Described", "Permission", "Ready", "described"]

Permission = Literal["CAN_MANAGE", "CAN_QUERY", "CAN_VIEW", "ONLY_QUERY", "NONE"]
"""CAN_VIEW may describe and not query; ONLY_QUERY may query and not describe; NONE neither."""
Ready = Literal["READY", "NOT_READY"]
Deployment = Literal["DEPLOYMENT_CREATING", "DEPLOYMENT_READY", "DEPLOYMENT_RECOVERING", "DEPLOYMENT_FAILED", "DEPLOYMENT_ABORTED"]

CREATED = 1_750_000_000_000
CREATOR = "ann@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a description is made of."""

    name: str
    kind: Kind
    id: str
    state: Ready
    deployment: Deployment
    deployment_message: str
    permission: Permission
    traffic: Mapping[str, int]
    """Served entities, with the percentage of the calls that each gets."""
    updating: bool = False
    sleeps: bool = False
    """Whether it scales to zero."""
    experiment_id: str | None = None
    provider: str = "openai"
    tile: str | None = None
    """The problem type of an Agent Bricks tile."""
    endpoint_url: str | None = None
    """The address of a route-optimised endpoint."""
    authorization_details: str = ""
    rate_limits: Sequence[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])


def described(of: Described) -> dict[str, Any]:
    """The description's JSON."""
    body: dict[str, Any] = {"name": of.name}
    built_in = of.kind.endpoint_type == "FOUNDATION_MODEL_API"
    if not built_in and of.tile is None:
        body |= {"id": of.id, "creator": CREATOR, "creation_timestamp": CREATED, "last_updated_timestamp": CREATED + 1000}
    body["state"] = {"ready": of.state, "config_update": _update(of)}
    body["config"] = {} if of.tile is not None else _config(of, built_in)
    if of.updating:
        body["pending_config"] = _pending(of)
    if of.kind.task is not None:
        body["task"] = of.kind.task
    if of.kind.endpoint_type is not None:
        body["endpoint_type"] = of.kind.endpoint_type
    if built_in:
        body["capabilities"] = {"function_calling": True, "image_input": False}
    if of.tile is not None:
        model = f"main.mock.{of.name.replace('-', '_')}"
        body["tile_endpoint_metadata"] = {"tile_id": of.id[:8], "tile_model_name": model, "problem_type": of.tile}
    if of.rate_limits:
        body["ai_gateway"] = {"rate_limits": list(of.rate_limits), "usage_tracking_config": {"enabled": True}}
    if of.kind.traces and of.experiment_id is not None and of.tile is None:
        body["tags"] = [{"key": "MONITOR_EXPERIMENT_ID", "value": of.experiment_id}]
    body["route_optimized"] = of.endpoint_url is not None
    if of.endpoint_url is not None:
        body["endpoint_url"] = of.endpoint_url
        query = {"endpoint_url": of.endpoint_url, "authorization_details": of.authorization_details}
        body["data_plane_info"] = {"query_info": query}
    body["permission_level"] = of.permission if of.permission.startswith("CAN_") else "CAN_QUERY"
    return body


def _update(of: Described) -> str:
    if of.updating or of.deployment == "DEPLOYMENT_CREATING":
        return "IN_PROGRESS"
    return "UPDATE_FAILED" if of.deployment in ("DEPLOYMENT_FAILED", "DEPLOYMENT_ABORTED") else "NOT_UPDATING"


def _config(of: Described, built_in: bool) -> dict[str, Any]:
    config: dict[str, Any] = {"served_entities": [_entity(of, served) for served in of.traffic]}
    if not built_in and of.kind.entity_type != "FEATURE_SPEC":
        key = "served_model_name" if of.kind.entity_type == "EXTERNAL_MODEL" else "served_entity_name"
        config["traffic_config"] = {"routes": [{key: served, "traffic_percentage": share} for served, share in of.traffic.items()]}
    if not built_in:
        config["config_version"] = 1
    return config


def _pending(of: Described) -> dict[str, Any]:
    served, version = next(iter(of.traffic)), str(len(of.traffic) + 1)
    state = {"deployment": "DEPLOYMENT_CREATING", "deployment_state_message": "Creating"}
    coming = {**_entity(of, served), "name": f"{of.name}-{version}", "entity_version": version, "state": state}
    return {"served_entities": [coming], "config_version": 2, "start_time": CREATED + 2000}


def _entity(of: Described, served: str) -> dict[str, Any]:
    state = {"deployment": of.deployment, "deployment_state_message": of.deployment_message}
    kind = of.kind.entity_type
    if kind == "FOUNDATION_MODEL":
        model = f"system.ai.{of.name}"
        details = {"name": model, "display_name": of.name, "description": "A mock of a foundation model."}
        return {"name": served, "entity_name": model, "type": kind, "foundation_model": details}
    if kind == "EXTERNAL_MODEL":
        key = {f"{of.provider}_api_key": "{{secrets/mock/key}}"}
        model_of = {"provider": of.provider, "name": served, "task": of.kind.task, f"{of.provider}_config": key}
        return {"name": served, "type": kind, "external_model": model_of, "state": state}
    entity = f"main.mock.{of.name.replace('-', '_').replace('.', '_')}"
    if kind == "FEATURE_SPEC":
        spec = {"feature_spec": {"name": entity}, "scale_to_zero_enabled": of.sleeps}
        return {"name": served, "entity_name": entity, "type": kind, "workload_size": "Small", **spec, "state": state}
    version = served.rpartition("-")[2]
    return {
        "name": served,
        "entity_name": entity,
        "entity_version": version if version.isdigit() else "1",
        "type": kind,
        "workload_size": "Small",
        "workload_type": "CPU",
        "scale_to_zero_enabled": of.sleeps,
        "state": state,
        "creator": CREATOR,
        "creation_timestamp": CREATED,
    }
