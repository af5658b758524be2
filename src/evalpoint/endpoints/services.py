"""`endpoints:/system.ai.<model>`: model services of Unity Catalog, which answer at the workspace's AI gateway by their full names."""

from __future__ import annotations

import re
from typing import Any

from evalpoint.endpoints.description import SMALL, Kind
from evalpoint.endpoints.endpoint import Endpoint, Target
from evalpoint.errors import ConfigurationError
from evalpoint.workspace import workspace

__all__ = ["is_service", "model_service"]

_GATEWAY = "/ai-gateway/mlflow/v1"
_PATHS = {Kind.CHAT: "chat/completions", Kind.COMPLETIONS: "completions", Kind.EMBEDDINGS: "embeddings", Kind.RESPONSES: "responses"}
_NAME = re.compile(r"system\.ai\.[A-Za-z0-9_.\-]+|[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+")


def is_service(name: str) -> bool:
    """Whether this is the full name of a model in Unity Catalog, `catalog.schema.model`, and no endpoint's."""
    return len(name) <= 255 and _NAME.fullmatch(name) is not None


def model_service(name: str, *, where: Any, kind: Kind | None) -> Endpoint:
    """The model service of this full name. It has no description; a chat model, unless `kind` says otherwise.

    Raises:
        ConfigurationError: No workspace can be opened, or the gateway serves no such kind.
    """
    opened = workspace(where)
    serves = kind or Kind.CHAT
    if serves not in _PATHS:
        raise ConfigurationError(
            f"Model service {name!r} cannot be of kind {serves.value!r}: the AI gateway serves {', '.join(repr(k.value) for k in _PATHS)}."
        )
    target = Target(
        name=name,
        server=opened.server,
        path=f"{_GATEWAY}/{_PATHS[serves]}",
        title=f"Model service {name!r}",
        permission="EXECUTE",
        takes_options=False,
        max_request=SMALL,
        fixed={"model": name},
        served_model=name,
        missing=lambda: "Check the model's full name, and that the AI gateway of the workspace serves it.",
    )
    return Endpoint(target, opened, kind=serves)
