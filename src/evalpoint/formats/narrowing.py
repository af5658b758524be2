"""Whether JSON from outside is a map or a list, said so that a type checker understands it."""

from __future__ import annotations

from typing import Any, TypeGuard

__all__ = ["is_dict", "is_list", "is_tuple"]


def is_dict(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)
