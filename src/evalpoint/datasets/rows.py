"""A record -> a checked row, or every problem that it has. What a row means is decided here, and nowhere after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evalpoint.datasets.columns import Cells, Columns
from evalpoint.datasets.records import Origin, Record, fields_of, is_dict, is_list, is_mapping, missing, parse_json, shortened
from evalpoint.datasets.values import settled
from evalpoint.entities import Expectation, Given, Row, RowKey, Trace
from evalpoint.errors import FormatError, Problem
from evalpoint.formats import digest, dump_json, mend_text, plain

__all__ = ["RowMaker"]

SESSION = "mlflow.trace.session"
_EXAMPLES = {
    "inputs": 'make it a dict whose keys are the parameters of predict_fn, such as {"question": "…"}',
    "expectations": 'make it a dict of names, such as {"expected_response": "…"} or {"expected_facts": ["…"]}',
    "tags": 'make it a dict of strings, such as {"topic": "billing"}',
    "source": 'make it a dict such as {"source_data": {"session_id": "…"}}, or put notes about the row into tags',
}
_DROP = {
    "outputs": "drop predict_fn to score the outputs that the data has, or drop the column 'outputs' to have them predicted anew",
    "trace": "drop predict_fn to score the traces that the data has, or replace the column 'trace' by 'inputs' to have answers predicted",
}


class RowMaker:
    """Makes the rows of one pass over the data; it remembers what identity needs and nothing else."""

    def __init__(self, *, predicting: bool) -> None:
        self._predicting = predicting
        self._columns = Columns()
        self._occurrences: dict[str, int] = {}
        self._request_ids: dict[str, int] = {}
        self._conflicts: set[str] = set()

    def make(self, record: Record) -> Iterator[Row | Problem]:
        """The record's row, or its problems; before them, problems of the data as a whole that it is the first to show."""
        cells, told = self._columns.cells(record)
        yield from told
        if record.origin.blank_outputs and cells.values.get("outputs") == {}:
            del cells.values["outputs"]
        yield from self._conflict(cells)
        wrong: list[str] = []
        row = self._row(record, cells, wrong)
        where = f" ({record.place})" if record.place else ""
        for sentence in wrong:
            yield Problem(row=record.index, message=sentence + where)
        if row is not None and not wrong:
            yield row

    def _conflict(self, cells: Cells) -> Iterator[Problem]:
        """Answers that came with the data, though there is a predict_fn: told once for each column, and then passed over."""
        if not self._predicting:
            return
        for column, advice in _DROP.items():
            if column in cells.values and column not in self._conflicts:
                self._conflicts.add(column)
                yield Problem(message=f"the data has {column!r} and there is a predict_fn: {advice}")

    def _row(self, record: Record, cells: Cells, wrong: list[str]) -> Row | None:
        """The row; None, or with sentences in `wrong`, where it cannot be made."""
        values, origin = cells.values, record.origin
        trace = None if self._predicting else _trace(values, wrong)
        inputs = self._inputs(record, cells, trace, wrong)
        expectations = {**_expectations_of(trace), **_expectations(values, origin, wrong)}
        tags = _tags(values, origin, wrong)
        request_id = self._request_id(values, record, wrong)
        given = None if self._predicting else _given(record, cells, trace, wrong)
        if inputs is None or wrong:
            return None
        fingerprint = digest(inputs)
        occurrence = self._occurrences.get(fingerprint, 0)
        self._occurrences[fingerprint] = occurrence + 1
        return Row(
            key=RowKey(record.index),
            inputs=inputs,
            expectations=expectations,
            tags=tags,
            request_id=request_id,
            given=given,
            digest=fingerprint,
            occurrence=occurrence,
        )

    def _inputs(self, record: Record, cells: Cells, trace: Trace | None, wrong: list[str]) -> dict[str, Any] | None:
        if "inputs" in cells.values:
            return _object(cells.values["inputs"], "inputs", record.origin, wrong)
        if trace is not None:
            inputs: dict[str, Any] | None = _checked(_trace_inputs(trace), "inputs of the trace", json_born=True, wrong=wrong)
            return inputs
        if "trace" not in cells.values and "inputs" not in cells.explained:
            wrong.append(_no_inputs(record))
        return None

    def _request_id(self, values: Mapping[str, Any], record: Record, wrong: list[str]) -> str | None:
        value = plain(values.get("request_id"))
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # pandas writes whole numbers with gaps between them as floats
        if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
            wrong.append(
                f"request_id is {'empty' if value == '' else 'of type ' + type(value).__name__}; it is a text that no other row has"
            )
            return None
        request_id = mend_text(str(value))
        first = self._request_ids.setdefault(request_id, record.index)
        if first != record.index:
            wrong.append(f"request_id {shortened(request_id)!r} is that of row {first} already; each row needs its own")
        return request_id


def _no_inputs(record: Record) -> str:
    if "inputs" in record.values and not record.origin.table:
        return f"inputs is None; {_EXAMPLES['inputs']}"
    keys = [shortened(repr(key)) for key in list(record.values)[:5]]
    return f"it has no inputs (its keys are {', '.join(keys) or 'none'}); {_EXAMPLES['inputs'].replace('make it', 'give it')}"


def _object(value: Any, name: str, origin: Origin, wrong: list[str]) -> dict[str, Any] | None:
    """The cell as a plain dict, whatever held it: a dict, JSON text, a struct, a pydantic model, Arrow's list of pairs."""
    json_born = origin.json_born
    if isinstance(value, str):
        try:
            found = parse_json(value)
        except FormatError as error:
            reason = f" (as JSON: {error})" if value.lstrip().startswith("{") else ""
            wrong.append(f"{name} is a text and no JSON object{reason}; {_EXAMPLES[name]}")
            return None
        json_born = True
    else:
        try:
            found = fields_of(value)
        except Exception as error:  # noqa: BLE001 - a class of the user's may raise anything while it is converted; the row's problem tells it
            wrong.append(f"{name} cannot be converted: {shortened(str(error) or type(error).__name__, 200)}")
            return None
        if found is None and origin.table:
            found = _pairs(value)
    if not is_mapping(found):
        wrong.append(f"{name} is of type {type(value if found is None else found).__name__}; {_EXAMPLES[name]}")
        return None
    made: dict[str, Any] | None = _checked(found, name, json_born=json_born, wrong=wrong)
    return made


def _pairs(value: Any) -> dict[str, Any] | None:
    """A column of Arrow's map type arrives as a list of (key, value)."""
    if is_list(value) and all(type(item) is tuple and len(item) == 2 for item in value):
        return dict(value)
    return None


def _checked(value: Any, name: str, *, json_born: bool, wrong: list[str], free_keys: bool = False) -> Any:
    made, sentences = settled(value, name, json_born=json_born, free_keys=free_keys)
    wrong.extend(sentences)
    return None if sentences else made


def _expectations(values: Mapping[str, Any], origin: Origin, wrong: list[str]) -> dict[str, Any]:
    if "expectations" not in values:
        return {}
    found = _object(_without_gaps(values["expectations"], origin), "expectations", origin, wrong) or {}
    kept: dict[str, Any] = {}
    for name, value in found.items():
        if value is not None and name:
            kept[name] = value
        elif value is None and not origin.table:
            wrong.append(f"expectations.{shortened(name)} is None; leave out what is not expected")
        elif not name:
            wrong.append("expectations has a name that is empty")
    return kept


def _without_gaps(value: Any, origin: Origin) -> Any:
    """The struct without the fields that only other rows have."""
    if not origin.table or not is_dict(value):
        return value
    return {key: item for key, item in value.items() if not missing(item)}


def _tags(values: Mapping[str, Any], origin: Origin, wrong: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    if "tags" in values:
        found = _object(_without_gaps(values["tags"], origin), "tags", origin, wrong) or {}
        for name, value in found.items():
            if "trace" in values and name.startswith("mlflow."):
                continue  # what search_traces puts beside a trace are the trace's own
            if value is not None:
                tags[name] = value if isinstance(value, str) else dump_json(value) if is_dict(value) or is_list(value) else str(value)
    if "source" in values:
        source = getattr(values["source"], "source_data", values["source"])
        found = _object(source, "source", origin, wrong) or {}
        inner = found.get("source_data", found)
        session = inner.get("session_id") if is_dict(inner) else None
        if session is not None:
            tags.setdefault(SESSION, str(session))
    return tags


def _trace(values: Mapping[str, Any], wrong: list[str]) -> Trace | None:
    """The row's trace, from whatever holds it."""
    if "trace" not in values:
        return None
    try:
        trace = _read_trace(values["trace"])
    except FormatError as error:
        wrong.append(f"trace cannot be read: {shortened(str(error), 300)}")
        return None
    except Exception as error:  # noqa: BLE001 - another library's trace may raise anything while it is converted; the row's problem tells it
        wrong.append(f"trace cannot be converted: {type(error).__name__}: {shortened(str(error), 200)}")
        return None
    if trace is None:
        wrong.append(f"trace is of type {type(values['trace']).__name__}; give a Trace, its dict, or its JSON text")
    elif not trace.data.spans:
        wrong.append("trace has no spans, so there is nothing to score; fetch it with its spans, or give inputs and outputs instead")
        return None
    return trace


def _read_trace(value: Any) -> Trace | None:
    if isinstance(value, Trace):
        return value
    if isinstance(value, str):
        return Trace.from_json(value)
    if is_mapping(value):
        return Trace.from_dict(value)
    if callable(getattr(value, "to_json", None)):
        return Trace.from_json(str(value.to_json()))
    if callable(getattr(value, "to_dict", None)):
        return Trace.from_dict(value.to_dict())
    return None


def _trace_inputs(trace: Trace) -> dict[str, Any]:
    root = trace.root or trace.data.spans[0]
    inputs = root.inputs
    if is_dict(inputs):
        return inputs
    return {} if inputs is None else {"input": inputs}


def _expectations_of(trace: Trace | None) -> dict[str, Any]:
    """What people have said a good answer has, on the trace itself."""
    if trace is None:
        return {}
    return {found.name: found.value for found in trace.search_assessments(type="expectation") if isinstance(found, Expectation)}


def _given(record: Record, cells: Cells, trace: Trace | None, wrong: list[str]) -> Given | None:
    """The answer that came with the row. Explicit outputs win over the trace's."""
    if "outputs" in cells.values:
        outputs = _checked(cells.values["outputs"], "outputs", json_born=record.origin.json_born, wrong=wrong, free_keys=True)
        return Given(outputs=outputs, trace=trace)
    if trace is not None:
        root = trace.root or trace.data.spans[0]
        return Given(outputs=_checked(root.outputs, "outputs of the trace", json_born=True, wrong=wrong), trace=trace)
    if "trace" not in cells.values and "outputs" not in cells.explained:
        state = "its outputs is None" if "outputs" in record.values else "it has no outputs"
        wrong.append(f"{state} and there is no predict_fn; give the answer as outputs, or a predict_fn that gets it")
    return None
