"""Which column means what: the known ones, the dotted ones, those passed over knowingly, and the nearest name of every other."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from evalpoint.datasets.records import Record, missing, parse_json, shortened
from evalpoint.errors import FormatError, Problem, UsageError

__all__ = ["Cells", "Columns", "require_columns"]

KNOWN = ("inputs", "outputs", "expectations", "trace", "tags", "request_id", "source")
DOTTED = ("inputs", "outputs", "expectations", "tags")
"""A column `inputs.question` is the key `question` of `inputs`, and so for these."""

_RECORD_COLUMNS = frozenset(
    (
        *("dataset_record_id", "dataset_id", "created_time", "created_by", "create_time"),
        *("last_update_time", "last_updated_by", "source_type", "source_id"),
    )
)
"""What MLflow's EvaluationDataset says about where a row comes from."""
_INDEX_COLUMNS = frozenset(("", "Unnamed: 0", "__index_level_0__"))
"""What pandas writes for an index that nobody named."""
_TRACE_COLUMNS = frozenset(
    (
        *("trace_id", "request", "response", "client_request_id", "state", "status"),
        *("request_time", "timestamp_ms", "execution_duration", "execution_time_ms", "request_preview", "response_preview"),
        *("request_metadata", "trace_metadata", "spans", "assessments", "trace_location"),
    )
)
"""What `search_traces` puts beside `trace`; the trace itself says all of it."""

_MEANT: Mapping[str, tuple[str, ...]] = {
    "inputs": ("input", "request", "requests", "question", "questions", "query", "prompt", "messages", "message", "features", "text"),
    "outputs": ("output", "response", "responses", "answer", "answers", "prediction", "predictions", "completion"),
    "expectations": (
        *("expectation", "expected", "ground_truth", "ground_truths", "target", "targets", "label", "labels", "reference", "gold"),
        *("expected_response", "expected_facts", "expected_output", "guidelines", "expected_retrieved_context", "expected_tool_calls"),
    ),
    "request_id": ("id", "row_id", "requestid", "eval_id"),
    "tags": ("tag", "metadata"),
    "trace": ("traces", "trace_json"),
    "source": ("sources",),
}
_MEANING = {word: column for column, words in _MEANT.items() for word in words}
_WHOLE = ("input", "request", "requests", "expectation")
"""Names that mean the whole column; the others that are meant for inputs and expectations are a key inside."""
REMEMBERED = 1000
"""Layouts and unknown columns kept; data whose every row has new columns does not fill the memory."""


def _meant(name: str) -> str | None:
    """The column that somebody who wrote this name probably meant."""
    word = name.strip().lower()
    if word in _MEANING:
        return _MEANING[word]
    close = difflib.get_close_matches(word, KNOWN, n=1, cutoff=0.8)
    return close[0] if close else None


def _unknown(name: str) -> str:
    """The sentence about a column that nobody knows."""
    shown, word = repr(shortened(name)), name.strip().lower()
    parent, dot, key = name.partition(".")
    meant = _meant(parent) if dot else _meant(name)
    if dot and meant in DOTTED:
        return f"the column {shown} is unknown; did you mean {meant + '.' + shortened(key)!r}?"
    if meant in ("inputs", "expectations") and word in _MEANING and word not in _WHOLE:
        inside, beside = f'{meant}={{"{shortened(name)}": …}}', f"{meant}.{shortened(name)}"
        return f"the column {shown} is unknown; did you mean {inside}, or a column named {beside!r}?"
    if meant:
        return f"the column {shown} is unknown; did you mean {meant!r}?"
    return (
        f"the column {shown} is unknown (known are {', '.join(KNOWN)}); put what predict_fn needs into inputs, "
        "what a good answer has into expectations, what only describes the row into tags, or drop it"
    )


def require_columns(names: Iterable[Any], what: str) -> None:
    """Refuses a table from which no row can be made, before its first row is read.

    Raises:
        UsageError: A name comes twice, or there are neither `inputs` nor `trace`; it says how to form them.
    """
    columns = [str(name) for name in names]
    twice = sorted({shortened(name) for name in columns if columns.count(name) > 1})
    if twice:
        raise UsageError(f"{what} has more than one column named {', '.join(map(repr, twice))}; rename or drop the others")
    if not columns or any(name in ("inputs", "trace") or name.startswith("inputs.") for name in columns):
        return
    own = [name for name in columns if name not in _RECORD_COLUMNS | _INDEX_COLUMNS | set(KNOWN)]
    groups: dict[str, list[str]] = {"inputs": [], "outputs": [], "expectations": []}
    for name in own[:20]:
        column = _meant(name)
        groups[column if column in groups else "inputs"].append(shortened(name))
    renamed = [f"{column}.{name}" if column != "outputs" else column for column, members in groups.items() for name in members[:3]]
    listed = ", ".join(repr(shortened(name)) for name in columns[:20]) + (", …" if len(columns) > 20 else "")
    advice = f", for instance {', '.join(map(repr, renamed))}" if renamed else ""
    raise UsageError(
        f"{what} has no column 'inputs' (and no 'trace'); its columns are {listed or 'none'}. "
        f"Give each row its inputs as one dict (or JSON text), or name the columns after what they are{advice}."
    )


class Cells(NamedTuple):
    """The cells of one row that hold something, under the names of the known columns."""

    values: dict[str, Any]
    explained: frozenset[str]
    """Columns whose absence a problem has explained already, because a misspelt one stands in their place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How rows with one set of keys are read."""

    is_trace: bool
    known: tuple[str, ...]
    dotted: tuple[tuple[str, str, str], ...]
    """(column, parent, key)"""
    explained: frozenset[str]

    def cells(self, record: Record) -> Cells:
        values, text = record.values, record.origin.text
        if self.is_trace:
            return Cells({"trace": values}, self.explained)
        found: dict[str, Any] = {}
        for name in self.known:
            value = values[name]
            if not missing(value) and not (text and value == ""):
                found[name] = _opened(value) if text and name == "outputs" else value
        for column, parent, key in self.dotted:
            value = values[column]
            if not missing(value) and not (text and value == ""):
                found.setdefault(parent, {})[key] = _opened(value) if text else value
        return Cells(found, self.explained)


def _opened(text: str) -> Any:
    """A cell of CSV: JSON objects and lists are read, everything else is the text it is, numbers too."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return parse_json(text)
    except FormatError:
        return text


class Columns:
    """Reads the columns of one pass over the data, and tells each unknown one once."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[Any, ...], _Layout] = {}
        self._told: set[str] = set()

    def cells(self, record: Record) -> tuple[Cells, list[Problem]]:
        """The row's cells, and problems about columns that have not been told yet."""
        keys = tuple(record.values)
        layout = self._layouts.get(keys)
        if layout is not None:
            return layout.cells(record), []
        layout, sentences = _layout(keys)
        if len(self._layouts) < REMEMBERED:
            self._layouts[keys] = layout
        problems = [Problem(message=sentence) for name, sentence in sentences.items() if name not in self._told]
        self._told.update(list(sentences)[: max(0, REMEMBERED - len(self._told))])
        return layout.cells(record), problems


def _layout(keys: tuple[Any, ...]) -> tuple[_Layout, dict[str, str]]:
    """How rows with these keys are read, and a sentence for each key that cannot be."""
    names = [key for key in keys if isinstance(key, str)]
    if _looks_like_trace(names):
        return _Layout(is_trace=True, known=(), dotted=(), explained=frozenset()), {}
    known = tuple(name for name in names if name in KNOWN)
    dotted: list[tuple[str, str, str]] = []
    explained: set[str] = set()
    sentences: dict[str, str] = {}
    ignored = _RECORD_COLUMNS | _INDEX_COLUMNS
    if "trace" in names:
        ignored |= _TRACE_COLUMNS
    for key in keys:
        name = key if isinstance(key, str) else str(key)
        parent, dot, rest = name.partition(".")
        if (isinstance(key, str) and key in known) or name in ignored:
            continue
        if dot and rest and parent in DOTTED:
            if parent in known:
                sentences[name] = f"there are both a column {parent!r} and a column {shortened(name)!r}; keep one of the two forms"
            else:
                dotted.append((name, parent, rest))
            continue
        sentences[name] = _unknown(name)
        meant = _meant(parent if dot else name)
        if meant is not None:
            explained.add(meant)
    return _Layout(is_trace=False, known=known, dotted=tuple(dotted), explained=frozenset(explained)), sentences


def _looks_like_trace(names: list[str]) -> bool:
    """Whether the keys are those of a trace's own JSON, `to_dict` or REST, and of no row."""
    has = set(names)
    return not has & set(KNOWN) and ({"info", "data"} <= has or ("trace_info" in has and bool(has & {"spans", "trace_data", "data"})))
