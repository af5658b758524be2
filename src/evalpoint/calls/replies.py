"""What came back over HTTP, complete, as a value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evalpoint.calls.redaction import redact
from evalpoint.errors import UnusableReply

__all__ = ["HttpReply", "excerpt", "sentence_start"]

_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A complete answer. `latency_ms` is that of the attempt that succeeded, from its first byte sent to its last received."""

    status: int
    headers: Mapping[str, str]
    """Their names are in lower case."""
    body: bytes = field(repr=False)
    latency_ms: float
    what: str = "the server"
    """Who answered, for messages."""

    @property
    def text(self) -> str:
        """The body as text: in the charset it names, else UTF-8; bytes that are none become the replacement character."""
        named = _CHARSET.search(self.headers.get("content-type", ""))
        try:
            return self.body.decode(named.group(1) if named else "utf-8", "replace")
        except LookupError:  # a charset that does not exist
            return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body's JSON.

        Raises:
            UnusableReply: The body is empty, or no JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:  # RecursionError: a body of a hundred thousand brackets
            who = sentence_start(self.what)
            if not self.body.strip():
                raise UnusableReply(
                    f"{who} answered {self.status} with an empty body where JSON was promised.", status=self.status
                ) from None
            why = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
            raise UnusableReply(
                f"{who} answered {self.status} with something that is no JSON ({redact(why)[:_SHOWN]}). It begins: {excerpt(self.text)!r}. "
                "Check that the address is the right one and that no proxy or login page answers in its place.",
                status=self.status,
            ) from None


def excerpt(text: str) -> str:
    """The first characters of a text, on one line, without secrets."""
    line = " ".join(text[: 4 * _SHOWN].split())
    line = redact(line)
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"


def sentence_start(what: str) -> str:
    """`the server` -> `The server`."""
    return what[:1].upper() + what[1:]
