"""Text from outside without secrets, fit for a message that people read and logs keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["hide", "hide_bytes", "redact", "secrets_of"]

_HIDDEN = "[hidden]"
_SCHEMES = re.compile(r"\b(bearer|basic)(\s+|%20|\+)[\w.~+/=-]{4,}", re.IGNORECASE)
_TOKENS = re.compile(
    r"\b(?:dapi|dkea|dose|doses|dsapi)[0-9a-f]{16,}(?:-\d+)?\b"  # Databricks' own tokens and secrets
    r"|\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"  # JSON web tokens
    r"|\bsk-[\w-]{16,}",  # keys of model providers
)
_SECRET_VARIABLE = re.compile(r".*(?:TOKEN|SECRET|PASSWORD|PASSPHRASE|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY)", re.IGNORECASE)
_NAMES = ("bearer", "basic", "negotiate", "digest")
_SHORTEST = 6
"""Known values shorter than this hide nothing and would make holes in ordinary words."""


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with tokens hidden: those known by value, and whatever looks like one.

    Args:
        text: Anything.
        secrets: Values of authenticating headers; of `Bearer abc` the `abc` is hidden on its own, too.
    """
    text = hide(text, secrets)
    return _TOKENS.sub(_HIDDEN, _SCHEMES.sub(rf"\1 {_HIDDEN}", text))


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text without these values of authenticating headers, wherever they stand in it."""
    for part in _parts(secrets):
        text = text.replace(part, _HIDDEN)
    return text


def hide_bytes(body: bytes, secrets: Iterable[str]) -> bytes:
    """The same for a body as it comes: what a server echoes of a token goes no further than here."""
    for part in _parts(secrets):
        body = body.replace(part.encode(), _HIDDEN.encode())
    return body


def _parts(secrets: Iterable[str]) -> list[str]:
    """The values, and of `Bearer abc` the `abc`, the longest first; the scheme's own name is no secret."""
    known = {part for value in secrets for part in (value, *value.split()) if len(part) >= _SHORTEST and part.lower() not in _NAMES}
    return sorted(known, key=len, reverse=True)


def secrets_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What an environment has in variables that are called like secrets."""
    return tuple(value for name, value in environ.items() if len(value) >= _SHORTEST and _SECRET_VARIABLE.fullmatch(name))
