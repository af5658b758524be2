"""Spans -> one tree: exactly one root, first; no orphans, no cycles; sorted by start."""

from __future__ import annotations

from collections import Counter

from evalpoint.formats.shapes import SpanFields

__all__ = ["grow"]


def grow(spans: list[SpanFields], problems: Counter[str]) -> list[SpanFields]:
    """The same spans as one tree. Their ids must differ; `parent_id` is changed in place where the tree needs it.

    The earliest span without a parent is the root; other parentless spans and orphans hang under it. Where everything has
    a parent, the earliest orphan is the root, or else the earliest span of a cycle.
    """
    if not spans or _is_tree(spans):
        return spans
    by_id = {span["span_id"]: span for span in spans}
    root = _root(spans, by_id)
    _attach(spans, by_id, root, problems)
    depths = _depths(spans, by_id, root, problems)
    rest = sorted((span for span in spans if span is not root), key=lambda span: (span["start_time_ns"], depths[span["span_id"]]))
    return [root, *rest]


def _is_tree(spans: list[SpanFields]) -> bool:
    """Whether nothing is to be done: the usual case, decided in one pass."""
    if spans[0]["parent_id"] is not None:
        return False
    seen = {spans[0]["span_id"]}
    start = 0
    for span in spans[1:]:
        if span["parent_id"] not in seen or span["start_time_ns"] < start:
            return False
        seen.add(span["span_id"])
        start = span["start_time_ns"]
    return True


def _root(spans: list[SpanFields], by_id: dict[str, SpanFields]) -> SpanFields:
    parentless = [span for span in spans if span["parent_id"] is None]
    candidates = parentless or [span for span in spans if span["parent_id"] not in by_id] or spans
    return min(candidates, key=lambda span: span["start_time_ns"])


def _attach(spans: list[SpanFields], by_id: dict[str, SpanFields], root: SpanFields, problems: Counter[str]) -> None:
    if root["parent_id"] is not None:
        known = root["parent_id"] in by_id
        problems[
            "Spans are one another's parents; the earliest was made the root." if known else "The root's parent is not in the trace."
        ] += 1
        root["parent_id"] = None
    for span in spans:
        if span is root or span["parent_id"] in by_id:
            continue
        if span["parent_id"] is None:
            problems["A second span without a parent was hung under the root."] += 1
        else:
            problems["A span whose parent is not in the trace was hung under the root."] += 1
        span["parent_id"] = root["span_id"]


def _depths(spans: list[SpanFields], by_id: dict[str, SpanFields], root: SpanFields, problems: Counter[str]) -> dict[str, int]:
    """How far each span is from the root; a cycle is cut open at its earliest span."""
    children: dict[str, list[str]] = {}
    for span in spans:
        if span["parent_id"] is not None:
            children.setdefault(span["parent_id"], []).append(span["span_id"])
    depths: dict[str, int] = {}
    _descend(root["span_id"], 0, children, depths)
    for span in spans:
        if span["span_id"] not in depths:  # below a cycle, as every orphan has been attached
            cut = _earliest_of_cycle(span, by_id)
            children[cut["parent_id"] or ""].remove(cut["span_id"])
            cut["parent_id"] = root["span_id"]
            problems["Spans are one another's parents; the earliest was hung under the root."] += 1
            _descend(cut["span_id"], 1, children, depths)
    return depths


def _descend(span_id: str, depth: int, children: dict[str, list[str]], depths: dict[str, int]) -> None:
    level = [span_id]
    while level:
        depths.update(dict.fromkeys(level, depth))
        level = [child for parent in level for child in children.get(parent, ())]
        depth += 1


def _earliest_of_cycle(span: SpanFields, by_id: dict[str, SpanFields]) -> SpanFields:
    path: dict[str, SpanFields] = {}
    while span["span_id"] not in path:
        path[span["span_id"]] = span
        span = by_id[span["parent_id"] or ""]
    ids = list(path)
    cycle = ids[ids.index(span["span_id"]) :]
    return min((path[span_id] for span_id in cycle), key=lambda member: member["start_time_ns"])
