"""Traces that are not as they should be: `trace=damaged("cycle")`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from evalpoint.errors import ConfigurationError

__all__ = ["Damage", "Damaged", "damaged"]

Damage = Literal[
    "cycle", "orphan", "no_root", "two_roots", "duplicate_ids", "no_spans", "no_data", "no_info", "null_info", "null_span",
    "bad_ids", "bad_times", "bad_attributes", "unfinished", "text", "list", "legacy",
]  # fmt: skip
"""cycle: two spans are each other's parent. orphan: a parent that is not there. no_root: every span has a parent.
two_roots: a second span without a parent. duplicate_ids: all spans have one id. no_spans, no_data, no_info, null_info,
null_span: missing parts. bad_ids, bad_times, bad_attributes: values of another form. unfinished: no end, state IN_PROGRESS.
text, list: no object at all. legacy: the steps of very old agents."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """What is done to the trace of an answer."""

    damage: Damage

    def __call__(self, trace: dict[str, Any]) -> Any:
        return _WHOLE[self.damage](copy.deepcopy(trace))


def damaged(damage: Damage) -> Damaged:
    """The answer's own trace, damaged in this way.

    Raises:
        ConfigurationError: There is no such damage.
    """
    if damage not in get_args(Damage):
        raise ConfigurationError(f"damaged({damage!r}): it should be one of {', '.join(map(repr, get_args(Damage)))}.")
    return Damaged(damage)


Trace = dict[str, Any]


def _spans(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Trace], Any]:
    def apply(trace: Trace) -> Trace:
        spans: list[dict[str, Any]] = trace["data"]["spans"]
        if len(spans) == 1:  # most damage needs two
            spans.append({**spans[0], "span_id": "AAAAAAAAAAE=", "parent_span_id": spans[0]["span_id"], "name": "inner"})
        change(spans)
        return trace

    return apply


def _cycle(spans: list[dict[str, Any]]) -> None:
    spans[0]["parent_span_id"] = spans[1]["span_id"]
    spans[1]["parent_span_id"] = spans[0]["span_id"]


def _each(**values: Any) -> Callable[[Trace], Any]:
    def change(spans: list[dict[str, Any]]) -> None:
        for span in spans:
            span.update(values)

    return _spans(change)


def _unfinished(trace: Trace) -> Trace:
    trace["info"].update({"state": "IN_PROGRESS", "execution_duration_ms": None})
    for span in trace["data"]["spans"]:
        span["end_time_unix_nano"] = None
    return trace


_WHOLE: dict[Damage, Callable[[Trace], Any]] = {
    "cycle": _spans(_cycle),
    "orphan": _spans(lambda spans: spans[-1].update(parent_span_id="AAAAAAAAAAk=")),
    "no_root": _each(parent_span_id="AAAAAAAAAAk="),
    "two_roots": _spans(lambda spans: spans[-1].update(parent_span_id=None)),
    "duplicate_ids": _each(span_id="AAAAAAAAAAE="),
    "no_spans": lambda trace: {**trace, "data": {"spans": []}},
    "no_data": lambda trace: {"info": trace["info"]},
    "no_info": lambda trace: {"data": trace["data"]},
    "null_info": lambda trace: {**trace, "info": None},
    "null_span": _spans(lambda spans: spans.append(None)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - that is the damage
    "bad_ids": _each(trace_id="not an id", span_id=7),
    "bad_times": _each(start_time_unix_nano="yesterday", end_time_unix_nano=-1),
    "bad_attributes": _each(attributes={"mlflow.spanInputs": "{not JSON", "mlflow.spanType": 7, "mlflow.spanOutputs": None}),
    "unfinished": _unfinished,
    "text": lambda trace: "no trace",
    "list": lambda trace: [trace],
    "legacy": lambda trace: {"steps": [{"name": "predict", "input": "…"}]},
}
