"""Which model judges: the one named, else the environment's, else OpenAI's when its key is set. Checked before anything is spent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from evalpoint.endpoints import chat_endpoints, connect
from evalpoint.errors import ConfigurationError, EvalpointError
from evalpoint.judges.checks import JudgeModel, check_model
from evalpoint.judges.endpoint_model import EndpointModel
from evalpoint.judges.litellm_model import open_litellm_model
from evalpoint.judges.model_uri import ModelUri, parse_model_uri
from evalpoint.judges.models import CallableModel, ChatModel
from evalpoint.settings import Settings, from_environment

__all__ = ["open_model"]

DEFAULT_VARIABLE = "MLFLOW_GENAI_JUDGE_DEFAULT_MODEL"
OPENAI_KEY = "OPENAI_API_KEY"
OPENAI_DEFAULT = "openai:/gpt-4.1-mini"
_NAMES_SHOWN = 10


def open_model(
    model: JudgeModel = None,
    *,
    params: Mapping[str, Any] | None = None,
    workspace: Any = None,
    settings: Settings | None = None,
    environ: Mapping[str, str] | None = None,
) -> ChatModel:
    """The model, ready to be asked. Call it on the main thread: it may import litellm, and asks a serving endpoint what it is.

    Args:
        model: Who judges; None for the default.
        params: The inference parameters that will be sent; an `api_key` among them counts as a key.
        workspace: A profile's name, a `Config` or a `WorkspaceClient`, for models behind serving endpoints.
        settings: Where the default comes from; read from the environment when not given.
        environ: The environment; the process's own by default.

    Raises:
        ConfigurationError: No model is configured, or its address, key or credentials do not fit.
        MissingExtra: It needs litellm, which is not installed.
        NotFound: There is no such endpoint.
    """
    environ = os.environ if environ is None else environ
    check_model(model)
    if isinstance(model, ChatModel):
        return model
    if callable(model):
        return CallableModel(model)
    uri = parse_model_uri(model) if model is not None else _default(settings or from_environment(environ), environ, workspace)
    if uri.is_serving_endpoint:
        return EndpointModel(model_uri=uri, endpoint=connect(f"endpoints:/{uri.name}", workspace=workspace))
    return open_litellm_model(uri, params or {}, environ)


def _default(settings: Settings, environ: Mapping[str, str], workspace: Any) -> ModelUri:
    if settings.judge_model:
        try:
            return parse_model_uri(settings.judge_model)
        except ConfigurationError as error:
            raise ConfigurationError(f"The default judge model ({DEFAULT_VARIABLE}): {error}") from None
    if environ.get(OPENAI_KEY):
        return parse_model_uri(OPENAI_DEFAULT)
    raise ConfigurationError(
        f"No judge model is configured. Name one with model='endpoints:/NAME', or set {DEFAULT_VARIABLE}, "
        f"or set {OPENAI_KEY} to use {OPENAI_DEFAULT}. {_candidates(workspace)}"
    )


def _candidates(workspace: Any) -> str:
    """A sentence with the workspace's chat endpoints. It only helps: whatever keeps it from being known becomes words."""
    try:
        names = chat_endpoints(workspace=workspace)
    except EvalpointError as error:
        return f"The chat endpoints of the workspace could not be listed: {error}"
    if not names:
        return "No chat endpoint of a workspace is known."
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"Chat endpoints of the workspace: {', '.join(names[:_NAMES_SHOWN])}{more}."
