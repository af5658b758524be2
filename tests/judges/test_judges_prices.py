"""Prices come from the installed list; what is not known is None and never 0."""

from __future__ import annotations

import pytest

from evalpoint.judges.prices import cost_of

PRICES = {
    "gpt-x": {"litellm_provider": "openai", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6},
    "databricks/databricks-x": {"litellm_provider": "databricks", "input_cost_per_token": 3e-6, "output_cost_per_token": 0},
    "free": {"litellm_provider": "openai", "input_cost_per_token": 0, "output_cost_per_token": 0},
    "half": {"litellm_provider": "openai", "input_cost_per_token": 1e-6},
    "odd": {"litellm_provider": "openai", "input_cost_per_token": "1", "output_cost_per_token": True},
}


@pytest.mark.parametrize(
    ("model", "tokens", "cost"),
    [
        ("openai/gpt-x", (100, 10), 120e-6),
        ("azure/gpt-x", (100, 10), None),
        ("databricks/databricks-x", (100, 10), 300e-6),
        ("databricks/my-endpoint", (100, 10), None),
        ("openai/free", (100, 10), None),
        ("openai/half", (100, 10), None),
        ("openai/odd", (100, 10), None),
        ("openai/gpt-x", (None, 10), None),
        ("openai/gpt-x", (100, None), None),
    ],
    ids=["bare name", "another provider's", "with its provider", "unknown", "free", "half a price", "no numbers", "no input", "no output"],
)
def test_cost(model: str, tokens: tuple[int | None, int | None], cost: float | None) -> None:
    """Tokens times price, where all four numbers are known."""
    assert cost_of(model, *tokens, PRICES) == (None if cost is None else pytest.approx(cost))
