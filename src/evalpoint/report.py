"""The tables that people read in a terminal and in a notebook. A number shown never lies, and never comes without its counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evalpoint.entities import Spent, Verdict
from evalpoint.formats.answers import question_of, text_of
from evalpoint.protocols import RowRecord
from evalpoint.summary import Gate, Summary, Tally, as_number, exact, shown

__all__ = ["FailureGroup", "badness", "report", "row_numbers", "rows_table"]

MAX_GROUPS = 10
MAX_MESSAGE = 300
VERDICT_STYLES = {"passed": "bold green", "failed": "bold red", "inconclusive": "bold yellow", "ungated": "bold"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Failures with one cause: where it happened, what it said, how often, and the first rows that it hit."""

    where: str
    """`prediction`, or the scorer's name."""
    error_code: str
    message: str
    count: int
    rows: tuple[int, ...]


def row_numbers(group: FailureGroup) -> str:
    more = f" and {group.count - len(group.rows)} more" if group.count > len(group.rows) else ""
    return ", ".join(map(str, group.rows)) + more


def report(
    title: str,
    summary: Summary,
    *,
    failures: Sequence[FailureGroup],
    latency: Mapping[str, float],
    first_token: Mapping[str, float],
    judges: Spent,
    where_to_look: str,
) -> RenderableType:
    """The whole outcome of an evaluation.

    Args:
        title: What was evaluated.
        summary: The figures and the verdict.
        failures: What went wrong, the most frequent first.
        latency: `p50` and `p95` in milliseconds, or nothing.
        first_token: The same of the time to the first token, where answers were streamed.
        judges: What the judges have spent together.
        where_to_look: The command that shows it again.
    """
    counts = ", ".join(f"{count:,} {state}" for state, count in summary.states.items())
    headline = Text.assemble((summary.verdict.upper(), VERDICT_STYLES[summary.verdict]), f"  {title}: {counts}\n{summary.reason}\n")
    parts: list[RenderableType] = [headline, _metrics_table(summary)]
    parts += [Text(problem, style="yellow") for problem in summary.problems]
    if failures:
        parts += [Text(), _failures_table(failures)]
    times = {"latency": latency, "first token": first_token}
    figures = [f"{name} p50 {found['p50']:,.0f} ms, p95 {found['p95']:,.0f} ms" for name, found in times.items() if found]
    if judges.calls:
        cost = f", ${judges.cost:,.4f}" if judges.cost is not None else ", no price known"
        figures.append(f"judges: {judges.calls:,} calls, {judges.input_tokens + judges.output_tokens:,} tokens{cost}")
    parts += [Text("\n" + " · ".join(figures), style="dim")] if figures else []
    return Group(*parts, Text(f"See it again: {where_to_look}", style="dim", no_wrap=True, overflow="ignore"))


def _metrics_table(summary: Summary) -> Table:
    table = _table()
    table.add_column("metric", overflow="fold")
    for column in ("value", "95 % CI", "scored", "skipped", "failed", "missing", "gate"):
        table.add_column(column, justify="right")
    gates = {gate.scorer: gate for gate in summary.gates}
    for tally in summary.tallies:
        gate = gates.pop(tally.scorer, None)  # shown once, beside the scorer's first metric
        counts = tuple(f"{count:,}" for count in (tally.scored, tally.skipped, tally.failed, tally.missing))
        for nth, key in enumerate(_keys(summary, tally) or [tally.name]):
            table.add_row(
                escape(key),
                _value(summary.metrics.get(key), gate),
                _interval(tally) if key.endswith("/mean") else "",
                *(counts if nth == 0 else ("",) * len(counts)),
                _gate_mark(gate) if gate and nth == 0 else "",
            )
    return table


def _keys(summary: Summary, tally: Tally) -> list[str]:
    """The metrics of one name, which another scorer's may begin with too."""
    beginnings = (f"{tally.scorer}/{tally.name}/", f"{tally.name}/")
    beginning = next((b for b in beginnings if any(key.startswith(b) for key in summary.metrics)), None)
    return [key for key in summary.metrics if beginning is not None and key.startswith(beginning)]


def _value(value: float | None, gate: Gate | None) -> str:
    if value is None:
        return "–"
    return shown(value, *([gate.threshold] if gate and gate.threshold is not None else []))


def _interval(tally: Tally) -> str:
    """Rounded outwards: what is shown holds all that was computed."""
    if tally.low is None or tally.high is None:
        return ""
    return f"{math.floor(tally.low * 100) / 100:.2f}–{math.ceil(tally.high * 100) / 100:.2f}"


def _gate_mark(gate: Gate) -> Text:
    wanted = "every row passes" if gate.threshold is None else f"≥ {exact(gate.threshold)}"
    mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}[gate.met]
    return Text(f"{wanted} {mark}", style=style)


def _failures_table(failures: Sequence[FailureGroup]) -> Table:
    table = _table("What failed")
    table.add_column("times", justify="right")
    table.add_column("where")
    table.add_column("what", overflow="fold")
    table.add_column("rows")
    for group in failures[:MAX_GROUPS]:
        what = _short(f"{group.error_code}: {group.message}", MAX_MESSAGE)
        table.add_row(f"{group.count:,}", escape(group.where), escape(what), row_numbers(group))
    if len(failures) > MAX_GROUPS:
        table.add_row("", "", f"… and {len(failures) - MAX_GROUPS} more causes", "")
    return table


def rows_table(rows: Sequence[tuple[RowRecord, Mapping[str, Verdict]]]) -> Table:
    """Rows with what is wrong with them."""
    table = _table("Worst rows")
    table.add_column("row", justify="right")
    for column in ("question", "answer", "what is wrong"):
        table.add_column(column, overflow="fold", ratio=1)
    for record, said in rows:
        texts = (question_of(record.row.inputs), text_of(record.outputs), _complaint(record, said))
        table.add_row(str(record.row.key.row), *(escape(_short(text)) for text in texts))
    return table


def badness(record: RowRecord, said: Mapping[str, Verdict]) -> tuple[int, float]:
    """Smaller is worse: no answer, then a failed scorer, then the smallest mean of its values; 1 and above is no complaint."""
    if not record.predicted:
        return (0, 0.0)
    if any(verdict.failure is not None for verdict in said.values()):
        return (1, 0.0)
    numbers = [n for verdict in said.values() for f in verdict.feedback if (n := as_number(f.value)) is not None]
    return (2, sum(numbers) / len(numbers)) if numbers else (2, math.inf)


def _complaint(record: RowRecord, said: Mapping[str, Verdict]) -> str:
    if record.error is not None:
        return f"{record.state.value}: {record.error.error_message or record.error.error_code}"
    if not record.predicted:
        return record.state.value
    parts: list[str] = []
    for name, verdict in said.items():
        if verdict.failure is not None:
            parts.append(f"{name} failed: {verdict.failure.error_message or verdict.failure.error_code}")
        parts += [f"{f.name} = {f.value}. {f.rationale or ''}" for f in verdict.feedback if as_number(f.value) not in (1.0, None)]
    return " ".join(parts)


def _short(text: str, limit: int = 200) -> str:
    flat = " ".join(text[: 4 * limit].split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _table(title: str | None = None) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
