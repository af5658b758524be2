"""Names that become metric keys: what every store and tracking server takes, checked before anything is spent."""

from __future__ import annotations

import posixpath
import re

__all__ = ["name_problem"]

NAME_LIMIT = 250
_ALLOWED = re.compile(r"[\w\-. :/]+")


def name_problem(name: object) -> str | None:
    """Why a name cannot become a metric's key, as the end of a sentence; None when it can.

    Letters of any script, digits, `_`, `-`, `.`, `:`, `/` and spaces are allowed, at most 250 characters, and no path such as `../x`.
    """
    if not isinstance(name, str):
        return f"is {type(name).__name__}, not text"
    if not name.strip():
        return "is empty"
    if len(name) > NAME_LIMIT:
        return f"has {len(name)} characters; {NAME_LIMIT} are allowed"
    if not _ALLOWED.fullmatch(name) or any(mark in name for mark in "\n\r\t\v\f"):
        return "has characters that a metric's name cannot have; use letters, digits, '_', '-', '.', ':', '/' and spaces"
    if name != name.strip():
        return "begins or ends with a space"
    if name.startswith("/") or name.endswith("/"):
        return "begins or ends with a slash"
    if posixpath.normpath(name) != name or name.split("/")[0] in (".", ".."):
        return "reads as a path; leave out '.', '..' and double slashes"
    return None
