"""What a call has cost, in US dollars: by litellm's price list, as installed, never from the network. Unknown is None, never 0."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

__all__ = ["cost_of", "price_list"]

_FILE = "model_prices_and_context_window_backup.json"


def price_list() -> Mapping[str, Any]:
    """Model names with what is known of them; empty when litellm is not installed. A litellm that is already loaded knows best."""
    loaded: Any = getattr(sys.modules.get("litellm"), "model_cost", None)
    return cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else _installed_list()


@lru_cache(maxsize=1)
def _installed_list() -> Mapping[str, Any]:
    """The list that lies in litellm's package: forty milliseconds to read, where importing litellm takes seconds."""
    try:
        found = importlib.util.find_spec("litellm")
        folders = list(found.submodule_search_locations or ()) if found else []
        prices: Any = json.loads((Path(folders[0]) / _FILE).read_bytes()) if folders else None
    except (OSError, ValueError, ImportError):  # no list, or none that can be read: every price is unknown
        return {}
    return cast("dict[str, Any]", prices) if isinstance(prices, dict) else {}


def cost_of(model: str, input_tokens: int | None, output_tokens: int | None, prices: Mapping[str, Any] | None = None) -> float | None:
    """The price of one call.

    Args:
        model: litellm's spelling, `openai/gpt-4.1-mini`; the list may know it without the provider.
        input_tokens: What went in.
        output_tokens: What came out.
        prices: The list; litellm's by default.

    Returns:
        US dollars, or None when a count or a price is not known.
    """
    if input_tokens is None or output_tokens is None:
        return None
    known = price_list() if prices is None else prices
    provider, _, name = model.partition("/")
    entry = _entry(known.get(model)) or _entry(known.get(name), provider)
    per_input, per_output = _price(entry.get("input_cost_per_token")), _price(entry.get("output_cost_per_token"))
    if per_input is None or per_output is None:
        return None
    return (input_tokens * per_input + output_tokens * per_output) or None


def _entry(found: Any, provider: str | None = None) -> Mapping[str, Any]:
    """One entry of the list; nothing where it is another provider's."""
    entry = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    return entry if provider is None or entry.get("litellm_provider") == provider else {}


def _price(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 else None
