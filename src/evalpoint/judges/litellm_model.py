"""A model of any other provider, through litellm: loaded once, quietly, without a network call of its own, and with its retries off."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import logging
import math
import os
import re
import sys
import threading
import warnings
from collections.abc import Generator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from evalpoint.calls import retrying
from evalpoint.errors import ConfigurationError, MissingExtra, UnusableReply
from evalpoint.judges.corrections import Request, send_corrected
from evalpoint.judges.litellm_errors import redacted, translate
from evalpoint.judges.model_uri import ModelUri
from evalpoint.judges.models import Completion, Message, count
from evalpoint.judges.prices import cost_of

__all__ = ["LitellmModel", "load_litellm", "open_litellm_model"]

_LOADING = threading.Lock()
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_SHORTEST_SECRET = 8
_TEXT_LIMIT = 400_000


def load_litellm(environ: MutableMapping[str, str] = os.environ) -> Any:
    """litellm's module: the one place where it is imported. Takes seconds the first time, so it is called on the main thread before a run.

    Raises:
        MissingExtra: It is not installed.
        ConfigurationError: It is installed and cannot be imported.
    """
    with _LOADING:
        if "litellm" not in sys.modules:
            if importlib.util.find_spec("litellm") is None:
                raise MissingExtra("A judge model such as 'openai:/…'", "litellm")
            with _offline_import(environ):
                try:
                    importlib.import_module("litellm").ModelResponse()  # builds its models now, on this thread, and not at the first call
                except Exception as error:  # a broken installation may raise anything while it is imported
                    raise ConfigurationError(f"litellm is installed but cannot be loaded: {type(error).__name__}: {error}") from error
            logging.getLogger("LiteLLM").setLevel(logging.ERROR)
        module: Any = sys.modules["litellm"]
        module.suppress_debug_info = True
        return module


@contextmanager
def _offline_import(environ: MutableMapping[str, str]) -> Generator[None]:
    """While litellm is imported: no price list from the network, no `.env` file read into this process, no warnings about its own code."""
    environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    mode = environ.get("LITELLM_MODE")
    environ["LITELLM_MODE"] = "PRODUCTION" if mode is None else mode
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if mode is None:
            del environ["LITELLM_MODE"]


def open_litellm_model(uri: ModelUri, params: Mapping[str, Any], environ: Mapping[str, str]) -> LitellmModel:
    """The model, ready to be asked; checked as far as that costs nothing.

    Raises:
        MissingExtra: litellm is not installed.
        ConfigurationError: litellm knows no such provider, or its key is not set.
    """
    litellm = load_litellm()
    try:
        litellm.get_llm_provider(uri.litellm_name)
    except Exception:  # noqa: BLE001 - litellm raises several classes for a provider that it does not know
        names = [str(getattr(provider, "value", provider)) for provider in litellm.provider_list]
        near = difflib.get_close_matches(uri.provider, names, n=1)
        hint = f" Did you mean '{near[0]}:/{uri.name}'?" if near else " litellm's documentation lists those that it knows."
        raise ConfigurationError(f"litellm knows no provider {uri.provider!r}, so '{uri}' cannot be asked.{hint}") from None
    _check_key(litellm, uri, params)
    given = [*environ.items(), *params.items()]
    secrets = {value for name, value in given if isinstance(value, str) and len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name)}
    return LitellmModel(uri=str(uri), name=uri.litellm_name, litellm=litellm, secrets=tuple(sorted(secrets, key=len, reverse=True)))


def _check_key(litellm: Any, uri: ModelUri, params: Mapping[str, Any]) -> None:
    """Refuses a provider whose one key is missing. Providers with several ways to sign in are left to say so themselves."""
    if "api_key" in params:
        return
    try:
        missing: list[str] = list(litellm.validate_environment(uri.litellm_name)["missing_keys"])
    except Exception:  # noqa: BLE001 - a mere courtesy: a provider that litellm cannot check is asked as it is
        return
    if len(missing) == 1 and missing[0].endswith("_API_KEY"):
        raise ConfigurationError(f"The judge model '{uri}' needs the environment variable {missing[0]}, which is not set")


@dataclass(frozen=True, slots=True, kw_only=True)
class LitellmModel:
    """A chat model behind litellm. Remembers which parameters of ours the model refuses."""

    uri: str
    name: str
    litellm: Any = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    dropped: set[str] = field(default_factory=set[str])

    def complete(self, messages: Sequence[Message], *, schema: Mapping[str, Any], params: Mapping[str, Any]) -> Completion:
        """See `ChatModel.complete`."""

        def send(body: Mapping[str, Any]) -> Completion:
            return retrying(lambda seconds: self._attempt(messages, body, seconds), key=self.uri)

        return send_corrected(Request.of(schema, params), self.dropped, send)

    def _attempt(self, messages: Sequence[Message], body: Mapping[str, Any], seconds: float) -> Completion:
        try:
            response = self.litellm.completion(
                model=self.name,
                messages=[dict(message) for message in messages],
                timeout=seconds,
                num_retries=0,
                max_retries=0,
                drop_params=False,
                **body,
            )
        except Exception as error:  # noqa: BLE001 - litellm and the libraries below it raise their own; the table makes them ours
            # The cause is left out on purpose: its text and its request may hold keys and whole payloads.
            raise translate(error, self.uri, self.secrets) from None
        return self._completion(response)

    def _completion(self, response: Any) -> Completion:
        """litellm's response as a value."""
        try:
            choice = response.choices[0]
            text: Any = choice.message.content
            finish_reason: Any = choice.finish_reason
            refusal = _refusal(choice.message)
        except (AttributeError, IndexError, TypeError):
            said = redacted(str(response), self.secrets)[:200]
            raise UnusableReply(f"The model {self.uri} gave a reply that is no chat completion: {said}") from None
        if not text and refusal:
            text, finish_reason = refusal, "refusal"
        usage: Any = getattr(response, "usage", None)
        spent = count(getattr(usage, "prompt_tokens", None)), count(getattr(usage, "completion_tokens", None))
        model: Any = getattr(response, "model", None)
        return Completion(
            text=text[:_TEXT_LIMIT] if isinstance(text, str) else "",
            input_tokens=spent[0],
            output_tokens=spent[1],
            cost=self._cost(response, *spent),
            model=model if isinstance(model, str) else None,
            finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        )

    def _cost(self, response: Any, input_tokens: int | None, output_tokens: int | None) -> float | None:
        """litellm's own figure, which knows cached tokens and tiers; else tokens times the list's price."""
        hidden: Any = getattr(response, "_hidden_params", None)
        figure = cast("dict[str, Any]", hidden).get("response_cost") if isinstance(hidden, dict) else None
        if isinstance(figure, float) and math.isfinite(figure) and figure > 0:
            return figure
        return cost_of(self.name, input_tokens, output_tokens)


def _refusal(message: Any) -> str:
    """What a model said in place of an answer; litellm keeps what it has no field for aside."""
    aside: Any = getattr(message, "provider_specific_fields", None)
    fields = cast("dict[str, Any]", aside) if isinstance(aside, dict) else {}
    refusal = getattr(message, "refusal", None) or fields.get("refusal")
    return refusal[:_TEXT_LIMIT] if isinstance(refusal, str) else ""
