"""Model addresses, such as `endpoints:/judge` and `openai:/gpt-4.1-mini`, checked before anything is spent."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evalpoint.errors import ConfigurationError

__all__ = ["ModelUri", "parse_model_uri"]

_FORM = re.compile(r"(?P<provider>[A-Za-z][A-Za-z0-9_.-]*):/(?P<name>[^\s/][^\s]*)")
_SERVING = ("endpoints", "databricks")
_OTHER_MEANINGS = {
    "gateway": "name the model behind the gateway itself",
    "models": "serve the model and name its endpoint, as 'endpoints:/NAME'",
    "runs": "serve the model and name its endpoint, as 'endpoints:/NAME'",
    "http": "name a provider and a model; the provider's own environment variables hold its address",
    "https": "name a provider and a model; the provider's own environment variables hold its address",
}
_LITELLM_NAMES = {"togetherai": "together_ai", "sap-ai-core": "sap"}


@dataclass(frozen=True, slots=True)
class ModelUri:
    """A provider and a model of it."""

    provider: str
    name: str

    def __str__(self) -> str:
        return f"{self.provider}:/{self.name}"

    @property
    def is_serving_endpoint(self) -> bool:
        """Whether a serving endpoint of a workspace answers; `databricks:/x` is another spelling of `endpoints:/x`."""
        return self.provider in _SERVING

    @property
    def litellm_name(self) -> str:
        """`openai/gpt-4.1-mini`: litellm's spelling of the same model."""
        return f"{_LITELLM_NAMES.get(self.provider, self.provider)}/{self.name}"


def parse_model_uri(text: str) -> ModelUri:
    """The address as a value.

    Raises:
        ConfigurationError: The text is no model address; the message shows one that is.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{text[:200]!r} is no model address: {_hint(text)}")
    uri = ModelUri(match["provider"].lower(), match["name"])
    if uri.provider in _OTHER_MEANINGS:
        raise ConfigurationError(f"{text[:200]!r} cannot be asked as a judge: {_OTHER_MEANINGS[uri.provider]}")
    if uri.is_serving_endpoint and "/" in uri.name:
        raise ConfigurationError(f"{text[:200]!r} is no model address: an endpoint's name has no slash; write {uri.provider}:/NAME")
    return uri


def _hint(text: str) -> str:
    """What to write instead, as near to the text as can be."""
    bare = text.strip()
    if bare in _SERVING:
        return f"name the endpoint too, as '{bare}:/NAME'"
    loose = re.fullmatch(r"([A-Za-z][A-Za-z0-9_.-]*)(?::?/+|:)([^\s/][^\s]*)", bare)
    if loose:
        return f"write '{loose[1]}:/{loose[2]}'"
    return "write 'PROVIDER:/MODEL', such as 'openai:/gpt-4.1-mini', or 'endpoints:/NAME' for a serving endpoint"
