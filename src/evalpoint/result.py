"""What came out of an evaluation: figures with their counts, a verdict, every row, and a table that people read.

Rows and traces stay in the store and are read when they are asked for.
"""

from __future__ import annotations

import heapq
import html
import importlib
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table

from evalpoint.destination import default_uri
from evalpoint.entities import Evaluation, Feedback, Resumed, RowState, RunInfo, Spent, Verdict
from evalpoint.errors import GateFailed, Inconclusive, MissingExtra
from evalpoint.formats.plain import dump_json
from evalpoint.protocols import RowRecord, Store
from evalpoint.report import FailureGroup, badness, report, row_numbers, rows_table
from evalpoint.summary import Summary, as_number

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EvaluationResult", "FailureGroup", "run_metrics", "write_parquet"]

ROWS_NAMED = 5
"""Rows that a group of failures names."""


class EvaluationResult:
    """The outcome of one `evaluate`. `len()` is rows times repeats, always."""

    def __init__(self, store: Store, run: RunInfo, evaluation: Evaluation, summary: Summary, resumed: Resumed | None = None) -> None:
        self._store = store
        self._run = run
        self._evaluation = evaluation
        self.summary = summary
        """The figures with their counts, one tally per metric."""
        self.resumed = resumed
        """What a resume found: how many rows were kept, redone, rescored, added, removed, reordered. None for an evaluation that is new."""

    @property
    def run_id(self) -> str:
        return self._run.run_id

    @property
    def run_name(self) -> str:
        return self._run.run_name

    @property
    def evaluation_id(self) -> str:
        return self._evaluation.evaluation_id

    @property
    def metrics(self) -> dict[str, float]:
        """`{"correctness/mean": 0.82, ...}`; a metric over nothing is absent. `summary` has the counts."""
        return dict(self.summary.metrics)

    @property
    def verdict(self) -> str:
        """`passed`, `failed`, `inconclusive` or `ungated`."""
        return self.summary.verdict

    @property
    def passed(self) -> bool | None:
        """True or False where the gates say so; None when too little is known, or there is no gate."""
        return {"passed": True, "failed": False}.get(self.summary.verdict)

    @property
    def reason(self) -> str:
        """Why this verdict, in one sentence."""
        return self.summary.reason

    @property
    def states(self) -> dict[str, int]:
        """How many rows ended in which state."""
        return dict(self.summary.states)

    def __len__(self) -> int:
        return sum(self.summary.states.values())

    def check(self) -> EvaluationResult:
        """Returns the result when it passed or has no gate: for jobs that must fail loudly.

        Raises:
            GateFailed: Quality is below a threshold.
            Inconclusive: Too few rows have a value to say.
        """
        if self.verdict == "failed":
            raise GateFailed(self._notice())
        if self.verdict == "inconclusive":
            raise Inconclusive(self._notice())
        return self

    def _notice(self) -> str:
        """The sentence for a notification, then what has failed, then where to look."""
        lines = [f"Evaluation {self.run_name!r} {self.verdict}: {self.reason}"]
        lines += [f"  {g.count} x {g.where}: {g.error_code}: {g.message} (rows {row_numbers(g)})" for g in self.failures[:5]]
        return "\n".join([*lines, f"  {self.where_to_look}"])

    @property
    def where_to_look(self) -> str:
        """The command that shows it again; the store is named where it is not the one of this folder."""
        elsewhere = "" if self._store.uri == default_uri() else f" --store {self._store.uri}"
        return f"evalpoint show {self.run_id[:8]}{elsewhere}"

    @cached_property
    def failures(self) -> list[FailureGroup]:
        """What went wrong, grouped by cause, the most frequent first."""
        groups: dict[tuple[str, str, str], list[int]] = {}
        messages: dict[tuple[str, str, str], str] = {}

        for key, scorer, error in self._store.errors(self.evaluation_id):
            message = error.error_message or ""
            cause = (scorer or "prediction", error.error_code, _cause(message))
            groups.setdefault(cause, []).append(key.row)
            messages.setdefault(cause, message)
        found = [
            FailureGroup(where=where, error_code=code, message=messages[where, code, text], count=len(rows), rows=tuple(rows[:ROWS_NAMED]))
            for (where, code, text), rows in groups.items()
        ]
        return sorted(found, key=lambda group: -group.count)

    @cached_property
    def judge_usage(self) -> dict[str, Spent]:
        """Per scorer that asked a model: calls, tokens, and cost in US dollars where a price is known."""
        return {name: spent for name, spent in self._store.spent(self.evaluation_id).items() if spent.calls}

    @cached_property
    def latency(self) -> dict[str, float]:
        """`{"p50": ms, "p95": ms}` of the calls that were answered; empty when nothing was called."""
        return _percentiles(self._store.latencies(self.evaluation_id))

    @cached_property
    def first_token(self) -> dict[str, float]:
        """`{"p50": ms, "p95": ms}` until the first token of the answers that were streamed; empty where none was."""
        return _percentiles(self._store.first_tokens(self.evaluation_id))

    # ---- tables ----------------------------------------------------------------------------------------------------------

    def records(self) -> Iterator[tuple[RowRecord, dict[str, Verdict]]]:
        """Row by row in input order, with the verdicts by scorer's name; memory does not grow with the data."""
        verdicts = self._store.verdicts(self.evaluation_id)
        waiting = next(verdicts, None)
        for record in self._store.rows(self.evaluation_id):
            said: dict[str, Verdict] = {}
            while waiting is not None and waiting.key == record.row.key:
                said[waiting.scorer] = waiting.verdict
                waiting = next(verdicts, None)
            yield record, said

    @property
    def result_df(self) -> pd.DataFrame:
        """One line per row and repeat, in input order.

        `row, repeat, request_id, state, error, inputs, outputs, expectations, trace_id`, then per scorer `<name>/value`,
        `<name>/rationale`, `<name>/error_message`, then `latency_ms, tokens, cost` (the judges' cost of the row). Where answers were
        streamed, `first_token_ms, tokens_per_second` stand at the very end.
        """
        import pandas as pd

        names = self._columns()
        records: list[dict[str, Any]] = []
        for record, verdicts in self.records():
            line: dict[str, Any] = {
                "row": record.row.key.row,
                "repeat": record.row.key.repeat,
                "request_id": record.row.request_id,
                "state": record.state.value,
                "error": f"{record.error.error_code}: {record.error.error_message}" if record.error else None,
                "inputs": dict(record.row.inputs),
                "outputs": record.outputs,
                "expectations": dict(record.row.expectations),
                "trace_id": record.trace_id,
            }
            spent = Spent()
            for scorer, verdict in verdicts.items():
                line.update(_cells(scorer, verdict, names))
                spent += verdict.spent
            line["latency_ms"] = record.latency_ms
            line["tokens"] = (record.token_usage or {}).get("total_tokens")
            line["cost"] = spent.cost
            line["first_token_ms"], line["tokens_per_second"] = record.first_token_ms, record.tokens_per_second
            records.append(line)
        shown = list(dict.fromkeys(names.values()))
        columns = [*_ROW_COLUMNS, *(f"{n}/{part}" for n in shown for part in ("value", "rationale", "error_message")), *_TAIL_COLUMNS]
        columns += _STREAM_COLUMNS if any(line["first_token_ms"] is not None for line in records) else ()
        return pd.DataFrame({column: pd.Series([r.get(column) for r in records], dtype=_DTYPES.get(column, object)) for column in columns})

    def _columns(self) -> dict[tuple[str, str], str]:
        """Per scorer and name of feedback what its columns are called, as its metric is; the scorers in order, each with its own name."""
        pairs = [(spec.name, spec.name) for spec in self._evaluation.scorers if self._needs_own_column(spec.name)]
        pairs += [(tally.scorer, tally.name) for tally in self.summary.tallies]
        order = {spec.name: number for number, spec in enumerate(self._evaluation.scorers)}
        pairs = sorted(dict.fromkeys(pairs), key=lambda pair: order.get(pair[0], len(order)))
        owner = {name: scorer for scorer, name in pairs if scorer == name}
        return {(scorer, name): name if owner.setdefault(name, scorer) == scorer else f"{scorer}/{name}" for scorer, name in pairs}

    def _needs_own_column(self, scorer: str) -> bool:
        """A scorer that only gives other names still has a place for its own errors, where it failed."""
        mine = [tally for tally in self.summary.tallies if tally.scorer == scorer]
        return not mine or any(tally.name == scorer or tally.failed for tally in mine)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"eval_results": self.result_df}

    def to_arrow(self) -> Any:
        """A `pyarrow.Table` with one line per row, repeat and scorer, and a fixed schema: fit for a Delta table.

        Raises:
            MissingExtra: pyarrow is not installed.
        """
        arrow = _pyarrow("pyarrow")
        schema = arrow.schema([(name, arrow.type_for_alias(kind)) for name, kind in _ARROW.items()])
        lines = [line for record, verdicts in self.records() for line in self._arrow_lines(record, verdicts)]
        return arrow.Table.from_pylist(lines, schema=schema)

    def _arrow_lines(self, record: RowRecord, verdicts: Mapping[str, Verdict]) -> Iterator[dict[str, Any]]:
        base = {
            "run_id": self.run_id,
            "evaluation_id": self.evaluation_id,
            "row": record.row.key.row,
            "repeat": record.row.key.repeat,
            "request_id": record.row.request_id,
            "state": record.state.value,
            "error": f"{record.error.error_code}: {record.error.error_message}" if record.error else None,
            "inputs": dump_json(record.row.inputs),
            "outputs": dump_json(record.outputs) if record.predicted else None,
            "expectations": dump_json(record.row.expectations),
            "trace_id": record.trace_id,
            "latency_ms": record.latency_ms,
            "tokens": (record.token_usage or {}).get("total_tokens"),
        }
        found = False
        for scorer, verdict in verdicts.items():
            for feedback in verdict.feedback or ((Feedback(name=scorer, error=verdict.error),) if verdict.error else ()):
                found = True
                number = as_number(feedback.value)
                yield {
                    **base,
                    "scorer": scorer,
                    "name": feedback.name,
                    "value": None if feedback.value is None else dump_json(feedback.value),
                    "number": number,
                    "rationale": feedback.rationale,
                    "error_message": feedback.error.error_message if feedback.error else None,
                }
        if not found:
            yield base

    # ---- reading -----------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<EvaluationResult {self.run_name!r}: {self.verdict}, {len(self)} rows>"

    def __str__(self) -> str:
        return self.render()

    def render(self, width: int = 110) -> str:
        """The table as plain text."""
        text = io.StringIO()
        Console(file=text, width=width, no_color=True, legacy_windows=False).print(self, crop=False)
        return text.getvalue()

    def __rich__(self) -> RenderableType:
        return report(
            f"{self.run_name} · {len(self):,} {'row' if len(self) == 1 else 'rows'}",
            self.summary,
            failures=self.failures,
            latency=self.latency,
            first_token=self.first_token,
            judges=sum(self.judge_usage.values(), Spent()),
            where_to_look=self.where_to_look,
        )

    def _repr_html_(self) -> str:
        console = Console(file=io.StringIO(), record=True, width=120, legacy_windows=False)
        console.print(self)
        text = console.export_html(inline_styles=True, code_format="{code}")
        return f'<pre style="font-family: monospace; line-height: 1.3">{text}</pre>' if text else html.escape(repr(self))

    def worst(self, count: int = 5) -> list[tuple[RowRecord, dict[str, Verdict]]]:
        """The rows that need a look first: without an answer, then with failed scorers, then with the lowest values."""
        ranked = ((badness(record, said), record.row.key, record, said) for record, said in self.records())
        found = heapq.nsmallest(count, ranked, key=lambda entry: entry[:2])
        return [(record, said) for rank, _, record, said in found if rank < (2, 1.0)]

    def worst_table(self, count: int = 5) -> Table | None:
        """`worst` as a table, or None when there is nothing to complain of."""
        found = self.worst(count)
        return rows_table(found) if found else None


_ROW_COLUMNS = ("row", "repeat", "request_id", "state", "error", "inputs", "outputs", "expectations", "trace_id")
_TAIL_COLUMNS = ("latency_ms", "tokens", "cost")
_STREAM_COLUMNS = ("first_token_ms", "tokens_per_second")
_DTYPES = {
    "row": "int64", "repeat": "int64", "latency_ms": "float64", "tokens": "Int64", "cost": "float64",
    "first_token_ms": "float64", "tokens_per_second": "float64",
}  # fmt: skip
_ARROW = {
    "run_id": "string", "evaluation_id": "string", "row": "int64", "repeat": "int64", "request_id": "string", "state": "string",
    "error": "string", "inputs": "string", "outputs": "string", "expectations": "string", "trace_id": "string",
    "latency_ms": "float64", "tokens": "int64", "scorer": "string", "name": "string", "value": "string", "number": "float64",
    "rationale": "string", "error_message": "string",
}  # fmt: skip


def _cells(scorer: str, verdict: Verdict, names: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    if verdict.error is not None:
        return {f"{names.get((scorer, scorer), scorer)}/error_message": verdict.error.error_message}
    cells: dict[str, Any] = {}
    for feedback in verdict.feedback:
        name = names.get((scorer, feedback.name), feedback.name)
        cells[f"{name}/value"] = feedback.value
        cells[f"{name}/rationale"] = feedback.rationale
        cells[f"{name}/error_message"] = feedback.error.error_message if feedback.error else None
    return cells


def _cause(message: str) -> str:
    """The message without what differs from row to row: numbers, ids, quoted parts."""
    return re.sub(r"'[^']{0,200}'|\"[^\"]{0,200}\"|\b[0-9a-f]{8,}\b|\d+(\.\d+)?", "…", message)[:500]


def _percentiles(times: Sequence[float]) -> dict[str, float]:
    """Of times in ascending order, by the nearest-rank method."""
    if not times:
        return {}
    return {f"p{p}": times[max(0, math.ceil(p / 100 * len(times)) - 1)] for p in (50, 95)}


def run_metrics(store: Store, evaluation: Evaluation) -> dict[str, float]:
    """What a run's list shows beside the scorers' metrics: times in ms, share of rows without an answer, judge cost."""
    states = store.state_counts(evaluation.evaluation_id)
    total = sum(states.values())
    metrics = {f"latency/{key}": value for key, value in _percentiles(store.latencies(evaluation.evaluation_id)).items()}
    metrics |= {f"first_token/{key}": value for key, value in _percentiles(store.first_tokens(evaluation.evaluation_id)).items()}
    if total:
        metrics["errors/rate"] = (total - states.get(RowState.OK, 0) - states.get(RowState.JUDGE_ERROR, 0)) / total
    spent = sum(store.spent(evaluation.evaluation_id).values(), Spent())
    if spent.cost is not None:
        metrics["judge/cost_usd"] = spent.cost
    return metrics


def write_parquet(result: EvaluationResult, path: Path) -> None:
    """The lines of `to_arrow` as a Parquet file."""
    _pyarrow("pyarrow.parquet").write_table(result.to_arrow(), path)


def _pyarrow(module: str) -> Any:
    """pyarrow has no types of its own: whatever comes from it is Any."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra("Writing Arrow tables and Parquet", "parquet") from error
