"""`filter_string` and `order_by` of the searches -> SQL in which everything from outside is a bound value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from evalpoint.entities import RunStatus, TraceState
from evalpoint.errors import UsageError
from evalpoint.stores.text import as_text

__all__ = ["RUNS", "TRACES", "Condition", "Search", "Searched", "experiment_key", "filter_sql", "order_sql", "search_sql"]

MAX_VALUES = 400
"""In one filter, and of experiments; SQLite before 3.32 takes 999 values in all."""
MAX_ORDERS = 20
MAX_PATTERN = 5_000
"""Characters of a LIKE pattern; SQLite refuses longer ones than 50,000 bytes."""
MAX_CONDITIONS = 100


class Condition(NamedTuple):
    """An SQL expression and the values for its question marks."""

    sql: str
    values: tuple[str | float | int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """Something that can be compared: where its value comes from, and of which kind it is."""

    expression: Condition
    numeric: bool = False
    known: tuple[str, ...] = ()
    """All the values there are, where a misspelt one should be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What can be searched: its attributes under all their names, and its families of keys such as `tags.<key>`."""

    noun: str
    attributes: Mapping[str, _Field]
    families: Mapping[str, Callable[[str], _Field]]
    prefixes: tuple[str, ...]
    """What may stand before an attribute's name and a dot."""
    default_order: str
    tie: str = field(default="")
    """What makes every order total, so that the same search gives the same list."""


def _text(sql: str, known: tuple[str, ...] = ()) -> _Field:
    return _Field(expression=Condition(sql), known=known)


def _number(sql: str) -> _Field:
    return _Field(expression=Condition(sql), numeric=True)


def _run_metric(key: str) -> _Field:
    latest = (
        "(SELECT value FROM metrics WHERE metrics.run_id = runs.run_id AND metrics.key = ?"
        " ORDER BY step DESC, timestamp DESC, metric_id DESC LIMIT 1)"
    )
    return _Field(expression=Condition(latest, (key,)), numeric=True)


def _run_param(key: str) -> _Field:
    return _Field(expression=Condition("(SELECT value FROM params WHERE params.run_id = runs.run_id AND params.key = ?)", (key,)))


def _run_tag(key: str) -> _Field:
    tag = "(SELECT value FROM tags WHERE tags.run_id = runs.run_id AND tags.key = ?)"
    if key == "mlflow.runName":  # MLflow keeps the name as a tag too
        tag = f"coalesce({tag}, runs.run_name)"
    return _Field(expression=Condition(tag, (key,)))


def _trace_tag(key: str) -> _Field:
    return _Field(expression=Condition("member(traces.tags, ?)", (key,)))


def _trace_metadata(key: str) -> _Field:
    return _Field(expression=Condition("member(traces.metadata, ?)", (key,)))


_RUN_STATUS = _text("runs.status", tuple(status.value for status in RunStatus))
_TRACE_STATE = _text("traces.state", tuple(state.value for state in TraceState))
_TRACE_TIME = _number("traces.request_time_ms")
_TRACE_DURATION = _number("traces.execution_duration_ms")
_TRACE_RUN = _Field(
    expression=Condition("EXISTS (SELECT 1 FROM run_traces WHERE run_traces.trace_id = traces.trace_id AND run_traces.run_id {})")
)

RUNS = Searched(
    noun="runs",
    attributes={
        "status": _RUN_STATUS,
        "run_id": _text("runs.run_id"),
        "run_name": _text("runs.run_name"),
        "experiment_id": _text("CAST(runs.experiment_id AS TEXT)"),
        "start_time": _number("runs.start_time"),
        "end_time": _number("runs.end_time"),
        "created": _number("runs.start_time"),
    },
    families={
        "metrics": _run_metric,
        "metric": _run_metric,
        "params": _run_param,
        "param": _run_param,
        "parameters": _run_param,
        "tags": _run_tag,
        "tag": _run_tag,
    },
    prefixes=("attributes", "attribute", "attr", "run"),
    default_order="runs.start_time DESC",
    tie="runs.run_id",
)
TRACES = Searched(
    noun="traces",
    attributes={
        "status": _TRACE_STATE,
        "state": _TRACE_STATE,
        "timestamp_ms": _TRACE_TIME,
        "timestamp": _TRACE_TIME,
        "request_time": _TRACE_TIME,
        "execution_time_ms": _TRACE_DURATION,
        "execution_time": _TRACE_DURATION,
        "execution_duration": _TRACE_DURATION,
        "name": _text("traces.name"),
        "run_id": _TRACE_RUN,
        "trace_id": _text("traces.trace_id"),
        "request_id": _text("traces.trace_id"),
        "client_request_id": _text("traces.client_request_id"),
        "experiment_id": _text("CAST(traces.experiment_id AS TEXT)"),
    },
    families={
        "tags": _trace_tag,
        "tag": _trace_tag,
        "metadata": _trace_metadata,
        "request_metadata": _trace_metadata,
        "trace_metadata": _trace_metadata,
    },
    prefixes=("attributes", "attribute", "attr", "trace"),
    default_order="traces.request_time_ms DESC",
    tie="traces.trace_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search was asked for. No experiments given means all of them."""

    experiment_ids: Sequence[str] | None = None
    run_id: str | None = None
    filter_string: str = ""
    order_by: Sequence[str] = ()
    max_results: int = 1000


def search_sql(searched: Searched, select: str, search: Search) -> Condition:
    """The whole statement of a search, from what it selects and from where.

    Raises:
        UsageError: A part of the search cannot be read, or is out of bounds.
    """
    if search.max_results < 1:
        raise UsageError(f"max_results is {search.max_results}; it should be 1 or more.")
    where = filter_sql(searched, search.filter_string)
    order = order_sql(searched, search.order_by)
    sql, values = select + " WHERE " + where.sql, [*where.values]
    if search.experiment_ids is not None:
        ids = [experiment_key(experiment_id) for experiment_id in search.experiment_ids]
        if len(ids) > MAX_VALUES:
            raise UsageError(f"The search names {len(ids)} experiments; at most {MAX_VALUES} are possible, or none for all.")
        sql += f" AND {searched.noun}.experiment_id IN ({','.join('?' * len(ids))})"
        values += ids
    if search.run_id is not None:
        sql += " AND " + _applied(searched.attributes["run_id"], "= ?", ()).sql
        values.append(as_text(search.run_id) or "")
    return Condition(sql + " ORDER BY " + order.sql + " LIMIT ?", (*values, *order.values, min(search.max_results, 2**62)))


def experiment_key(experiment_id: str) -> int:
    """The column's value for an id; -1, which no experiment has, for what cannot be one."""
    return int(experiment_id) if experiment_id.isascii() and experiment_id.isdecimal() and len(experiment_id) < 19 else -1


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


_TOKENS = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>'(?:[^']|'')*'|"(?:[^"]|"")*")
      | (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w./-]))
      | (?P<name>[^\W\d][\w/:-]*(?:\.(?:[\w/:-]+|`[^`]*`|"[^"]*"))*|`[^`]*`)
      | (?P<operator><=|>=|!=|<>|==|=|<|>)
      | (?P<mark>[(),])""",
    re.VERBOSE | re.ASCII,
)
_NAME_PARTS = re.compile(r'`([^`]*)`|"([^"]*)"|([^.`"]+)')
_FLIPPED = {"<>": "!=", "==": "="}


class _Reader:
    """Reads one filter or order from left to right. Every complaint says where, and what is allowed there."""

    def __init__(self, text: str, what: str) -> None:
        self.text = text
        self.what = what
        self.tokens = list(self._split())
        self.next = 0

    def _split(self) -> Iterator[_Token]:
        at = 0
        while at < len(self.text):
            match = _TOKENS.match(self.text, at)
            if match is None:
                raise self.complaint(at, f"{self.text[at]!r} is not understood; text stands in quotes, odd keys in backticks")
            if match.lastgroup != "space":
                yield _Token(match.lastgroup or "", match.group(), at)
            at = match.end()

    def complaint(self, at: int, problem: str) -> UsageError:
        shown = self.text if len(self.text) <= 200 else self.text[max(0, at - 80) : at + 80]
        return UsageError(f"{self.what} {shown!r}, at character {at + 1}: {problem}.")

    def peek(self) -> _Token:
        return self.tokens[self.next] if self.next < len(self.tokens) else _Token("end", "the end", len(self.text))

    def take(self) -> _Token:
        token = self.peek()
        self.next += 1
        return token

    def takes_word(self, *words: str) -> str | None:
        token = self.peek()
        if token.kind == "name" and token.text.upper() in words:
            self.next += 1
            return token.text.upper()
        return None

    def field_of(self, searched: Searched) -> tuple[_Field, str, int]:
        token = self.take()
        if token.kind != "name":
            raise self.complaint(token.at, f"expected what to compare, such as {_example(searched)}, and found {token.text}")
        head, *rest = _name_parts(token.text)
        if rest and head in searched.families:
            key = ".".join(rest)
            if not key:
                raise self.complaint(token.at, f"{head!r} needs a key after the dot")
            return searched.families[head](as_text(key) or ""), token.text, token.at
        name = ".".join(rest) if rest and head in searched.prefixes else ".".join((head, *rest))
        attribute = searched.attributes.get(name) or searched.attributes.get(name.lower().replace(" ", "_"))
        if attribute is None:
            raise self.complaint(token.at, _unknown(name, searched))
        return attribute, token.text, token.at


def _name_parts(name: str) -> list[str]:
    return [quoted or double or bare for quoted, double, bare in _NAME_PARTS.findall(name)] or [name]


def _example(searched: Searched) -> str:
    return "status or metrics.`correctness/mean`" if "metrics" in searched.families else "status or tags.`mlflow.traceName`"


def _unknown(name: str, searched: Searched) -> str:
    known = [*searched.attributes, *(f"{family}.<key>" for family in searched.families)]
    near = difflib.get_close_matches(name, list(searched.attributes), n=1) or [
        f"{family}.{name.partition('.')[2]}" for family in difflib.get_close_matches(name.partition(".")[0], list(searched.families), n=1)
    ]
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{searched.noun} have no {name!r}.{hint} There are: {', '.join(known)}"


def filter_sql(searched: Searched, text: str) -> Condition:
    """The condition of a filter; of an empty one, a condition that always holds.

    Raises:
        UsageError: The filter cannot be read; the message points at the place and says what is allowed.
    """
    reader = _Reader(text, "filter_string")
    conditions: list[Condition] = []
    while reader.peek().kind != "end":
        if conditions and not reader.takes_word("AND"):
            token = reader.peek()
            raise reader.complaint(token.at, f"expected AND or the end, and found {token.text}; OR and NOT are not offered")
        conditions.append(_comparison(reader, searched))
        if len(conditions) > MAX_CONDITIONS:
            raise UsageError(f"filter_string has more than {MAX_CONDITIONS} comparisons.")
    values = tuple(value for condition in conditions for value in condition.values)
    if len(values) > MAX_VALUES:
        raise UsageError(f"filter_string compares with {len(values)} values; at most {MAX_VALUES} are possible.")
    return Condition(" AND ".join(condition.sql for condition in conditions) or "1", values)


def _comparison(reader: _Reader, searched: Searched) -> Condition:
    compared, name, _ = reader.field_of(searched)
    token = reader.peek()
    operator = reader.takes_word("LIKE", "ILIKE", "IN") or (reader.take().text if token.kind == "operator" else "")
    operator = _FLIPPED.get(operator, operator)
    allowed = ("=", "!=", "<", ">", "<=", ">=", "IN") if compared.numeric else ("=", "!=", "LIKE", "ILIKE", "IN")
    if operator not in allowed:
        kind = "a number" if compared.numeric else "text"
        raise reader.complaint(token.at, f"{name} is {kind} and compares with {' '.join(allowed)}; found {token.text}")
    values = _values(reader, compared, name, many=operator == "IN")
    if operator in ("LIKE", "ILIKE"):
        return _like(reader, compared, operator, str(values[0]), token.at)
    for value in values:
        if compared.known and value not in compared.known:
            near = difflib.get_close_matches(str(value).upper(), compared.known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise reader.complaint(token.at, f"{name} is never {value!r}.{hint} It is one of {', '.join(compared.known)}")
    right = f"IN ({','.join('?' * len(values))})" if operator == "IN" else f"{operator} ?"
    return _applied(compared, right, values)


def _applied(compared: _Field, right: str, values: tuple[str | float | int, ...]) -> Condition:
    expression = compared.expression
    sql = expression.sql.format(right) if "{}" in expression.sql else f"{expression.sql} {right}"
    return Condition(sql, expression.values + values)


def _values(reader: _Reader, compared: _Field, name: str, *, many: bool) -> tuple[str | float | int, ...]:
    if not many:
        return (_value(reader, compared, name),)
    opening = reader.take()
    if opening.text != "(":
        raise reader.complaint(opening.at, f"IN takes a list such as ('a', 'b'), and found {opening.text}")
    found = [_value(reader, compared, name)]
    while (token := reader.take()).text == "," and token.kind == "mark":
        found.append(_value(reader, compared, name))
    if token.text != ")" or token.kind != "mark":
        raise reader.complaint(token.at, f"expected a comma or a closing bracket, and found {token.text}")
    return tuple(found)


def _value(reader: _Reader, compared: _Field, name: str) -> str | float | int:
    token = reader.take()
    if compared.numeric:
        if token.kind != "number":
            raise reader.complaint(token.at, f"{name} is a number: compare it with one, without quotes; found {token.text}")
        whole = token.text.lstrip("+-").isdigit() and len(token.text) < 19
        return int(token.text) if whole else float(token.text)
    if token.kind != "string":
        raise reader.complaint(token.at, f"{name} is text: compare it with text in quotes, such as 'abc'; found {token.text}")
    quote = token.text[0]
    return as_text(token.text[1:-1].replace(quote * 2, quote)) or ""


def _like(reader: _Reader, compared: _Field, operator: str, pattern: str, at: int) -> Condition:
    """LIKE minds upper and lower case, as in MLflow, and ILIKE does not; SQLite's LIKE does not, its GLOB does."""
    if len(pattern) > MAX_PATTERN:
        raise reader.complaint(at, f"a pattern has at most {MAX_PATTERN:,} characters")
    if operator == "ILIKE":
        return _applied(compared, "LIKE ?", (pattern,))
    glob = re.sub(r"[*?\[]", lambda special: f"[{special.group()}]", pattern).replace("%", "*").replace("_", "?")
    return _applied(compared, "GLOB ?", (glob,))


def order_sql(searched: Searched, order_by: Sequence[str]) -> Condition:
    """The `ORDER BY` of a search: `"attributes.start_time DESC"`, ``"metrics.`m` ASC"``; ascending where nothing is said.

    Raises:
        UsageError: An entry cannot be read.
    """
    if isinstance(order_by, str):
        raise UsageError(f"order_by takes a list of texts; put {order_by!r} in square brackets.")
    if len(order_by) > MAX_ORDERS:
        raise UsageError(f"order_by has {len(order_by)} entries; at most {MAX_ORDERS} are possible.")
    parts: list[str] = []
    values: list[str | float | int] = []
    for entry in order_by:
        reader = _Reader(entry, "order_by")
        compared, name, at = reader.field_of(searched)
        if "{}" in compared.expression.sql:
            raise reader.complaint(at, f"{name} gives no order, because a trace may belong to several runs")
        direction = reader.takes_word("ASC", "DESC") or "ASC"
        token = reader.peek()
        if token.kind != "end":
            raise reader.complaint(token.at, f"expected ASC, DESC or the end, and found {token.text}")
        parts += [f"{compared.expression.sql} IS NULL", f"{compared.expression.sql} {direction}"]  # what has no value comes last
        values += [*compared.expression.values, *compared.expression.values]
    return Condition(", ".join([*parts, searched.default_order, searched.tie]), tuple(values))
