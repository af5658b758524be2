"""JSON values without secrets: tokens by their form, by the name that they stand under, and by their value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from evalpoint.calls import redact

__all__ = ["HIDDEN", "MASKED_HOST", "Cleaner"]

HIDDEN = "[hidden]"
MASKED_HOST = "workspace.example"
_SHORTEST_TOKEN = 16
"""Under a name such as `token` shorter texts are pieces of a model's vocabulary."""
_DEEPEST = 100
_SECRET_NAME = re.compile(
    r"(?:.*[_.-])?(?:authorization|cookies?|set[_-]cookie|passw(?:or)?d|passphrase|secret|client[_-]?secret|secret[_-]?key|credentials?"
    r"|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|(?:access|auth|bearer|refresh|id|session|api)[_-]?token|token)",
    re.IGNORECASE,
)
"""Such as `Authorization`, `set-cookie`, `x-api-key`, `client_secret`, `OPENAI_API_KEY`; not `max_tokens`, whose values are no texts."""
_HOSTS = re.compile(
    r"[\w.-]+\.(?:cloud\.databricks\.(?:com|us|mil)|gcp\.databricks\.com|azuredatabricks\.net|databricks\.azure\.(?:us|cn)|databricksapps\.com)",
    re.IGNORECASE,
)


class Cleaner:
    """Takes secrets out of JSON values.

    Args:
        secrets: Texts that are hidden wherever they occur.
        mask_hosts: Hide the names of workspaces and apps too.
    """

    def __init__(self, secrets: Iterable[str] = (), *, mask_hosts: bool = True) -> None:
        self._secrets = tuple(secrets)
        self._mask_hosts = mask_hosts

    def clean(self, value: Any, *, host: str = "") -> Any:
        """A copy of the value without secrets.

        Args:
            value: Anything of JSON.
            host: The address that the value has been sent to or come from.
        """
        place = urlsplit(host).netloc if self._mask_hosts else ""
        return self._cleaned(value, place, _DEEPEST)

    def _cleaned(self, value: Any, place: str, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value, place, depth)
        if depth == 0:
            return HIDDEN  # nobody nests so deeply on purpose, and what is not looked at is not let through
        if isinstance(value, Mapping):
            members = cast("Mapping[object, Any]", value)
            return {self._text(str(name), place, 0): self._member(name, inner, place, depth) for name, inner in members.items()}
        if isinstance(value, (list, tuple)):
            return [self._cleaned(inner, place, depth - 1) for inner in cast("list[Any]", value)]
        return value

    def _member(self, name: object, value: Any, place: str, depth: int) -> Any:
        found = _SECRET_NAME.fullmatch(str(name))
        if found is None:
            return self._cleaned(value, place, depth - 1)
        shortest = _SHORTEST_TOKEN if found[0].lower().endswith("token") else 1
        if isinstance(value, list):
            return [self._member(name, inner, place, depth - 1) for inner in cast("list[object]", value)] if depth else HIDDEN
        if isinstance(value, str):
            return HIDDEN if len(value) >= shortest else value
        return self._cleaned(value, place, depth - 1)

    def _text(self, text: str, place: str, depth: int) -> str:
        if depth and text[:1] in ("{", "["):
            text = self._json(text, place, depth)
        text = redact(text, self._secrets)
        if self._mask_hosts:
            if place:
                text = text.replace(place, MASKED_HOST)
            text = _HOSTS.sub(MASKED_HOST, text)
        return text

    def _json(self, text: str, place: str, depth: int) -> str:
        """JSON inside a text, as spans' attributes are: cleaned by its names too, and left as it was where there was nothing to clean."""
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):  # a text that only begins like JSON
            return text
        cleaned = self._cleaned(inner, place, depth - 1)
        return text if cleaned == inner else json.dumps(cleaned, ensure_ascii=False)
