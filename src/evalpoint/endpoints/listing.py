"""The names that a workspace has, for messages that say which one was meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from evalpoint.errors import CallError
from evalpoint.formats import is_dict, is_list
from evalpoint.workspace import Workspace

__all__ = ["endpoints_of", "names_at", "nearest"]

_SHOWN = 10


def endpoints_of(where: Workspace) -> list[tuple[str, str | None]]:
    """Name and task of every serving endpoint that the caller may see.

    Raises:
        CallError: They cannot be listed.
    """
    return [(str(each["name"]), each.get("task")) for each in _entries(where, "/api/2.0/serving-endpoints", "endpoints")]


def names_at(where: Workspace, path: str, key: str) -> list[str] | None:
    """The names that a list of the workspace's API has; None where it cannot be read, which only makes a message less helpful."""
    try:
        return [str(each["name"]) for each in _entries(where, path, key)]
    except CallError:
        return None


def _entries(where: Workspace, path: str, key: str) -> list[dict[str, Any]]:
    body: Any = where.get(path)
    listed: Any = body.get(key) if is_dict(body) else None
    return [each for each in listed if is_dict(each) and each.get("name")] if is_list(listed) else []


def nearest(name: str, names: Sequence[str], *, plural: str, owner: str = "The workspace") -> str:
    """A sentence with the names that are like this one, or else with the first of them."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}?"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{owner} has {', '.join(map(repr, names[:_SHOWN]))}{more}." if names else f"{owner} has no {plural}."
