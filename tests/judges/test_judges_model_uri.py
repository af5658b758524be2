"""Model addresses are checked where they are written, and a wrong one is answered with a right one."""

from __future__ import annotations

import pytest

from evalpoint.errors import ConfigurationError
from evalpoint.judges.model_uri import ModelUri, parse_model_uri


@pytest.mark.parametrize(
    ("text", "provider", "name", "litellm_name"),
    [
        ("openai:/gpt-4.1-mini", "openai", "gpt-4.1-mini", "openai/gpt-4.1-mini"),
        ("endpoints:/judge", "endpoints", "judge", "endpoints/judge"),
        ("databricks:/databricks-claude-sonnet-4", "databricks", "databricks-claude-sonnet-4", "databricks/databricks-claude-sonnet-4"),
        ("bedrock:/eu.anthropic.claude-v1:0", "bedrock", "eu.anthropic.claude-v1:0", "bedrock/eu.anthropic.claude-v1:0"),
        ("togetherai:/meta/llama", "togetherai", "meta/llama", "together_ai/meta/llama"),
        ("OpenAI:/gpt-4o", "openai", "gpt-4o", "openai/gpt-4o"),
    ],
    ids=["openai", "endpoint", "databricks", "colon in the name", "slash in the name", "case"],
)
def test_reads(text: str, provider: str, name: str, litellm_name: str) -> None:
    """An address is a provider and a model, and litellm's spelling follows from it."""
    uri = parse_model_uri(text)
    assert uri == ModelUri(provider, name)
    assert uri.litellm_name == litellm_name
    assert uri.is_serving_endpoint == (provider in ("endpoints", "databricks"))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("gpt-4", "'openai:/gpt-4.1-mini'"),
        ("foo", "'endpoints:/NAME'"),
        ("", "'PROVIDER:/MODEL'"),
        ("openai://m", "write 'openai:/m'"),
        ("openai/gpt-4", "write 'openai:/gpt-4'"),
        ("openai:gpt-4", "write 'openai:/gpt-4'"),
        ("endpoints:///x", "write 'endpoints:/x'"),
        ("endpoints:/", "'PROVIDER:/MODEL'"),
        ("databricks", "'databricks:/NAME'"),
        ("endpoints:/a/b", "no slash"),
        ("openai:/gpt 4", "'PROVIDER:/MODEL'"),
        (" openai:/gpt-4", "write 'openai:/gpt-4'"),
        ("models:/m/1", "serve the model"),
        ("gateway:/chat", "behind the gateway"),
    ],
)
def test_refuses(text: str, hint: str) -> None:
    """A text that is no address is refused with what to write instead."""
    with pytest.raises(ConfigurationError) as refused:
        parse_model_uri(text)
    assert hint in str(refused.value)
    assert repr(text) in str(refused.value)
