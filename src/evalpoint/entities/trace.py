"""Spans and traces: what an endpoint or a function did, as values. They read like MLflow's.

Reading gives copies: a scorer that changes `span.inputs` changes nothing for the next one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from evalpoint.entities.assessment import Assessment, Expectation, Feedback, assessment_from_fields
from evalpoint.formats import InfoFields, SpanFields, TraceFields, copy_plain, is_dict, read_trace, write_trace

__all__ = [
    "Span",
    "SpanEvent",
    "SpanLink",
    "SpanStatus",
    "SpanStatusCode",
    "SpanType",
    "Trace",
    "TraceData",
    "TraceInfo",
    "TraceState",
]

TRACE_REQUEST_ID = "mlflow.traceRequestId"
SPAN_TYPE = "mlflow.spanType"
SPAN_INPUTS = "mlflow.spanInputs"
SPAN_OUTPUTS = "mlflow.spanOutputs"
TOKEN_USAGE = "mlflow.chat.tokenUsage"  # noqa: S105 - a key, no secret
TRACE_TOKEN_USAGE = "mlflow.trace.tokenUsage"  # noqa: S105 - a key, no secret
FIRST_TOKEN_MS = "evalpoint.first_token_ms"  # noqa: S105 - a key, no secret
TOKENS_PER_SECOND = "evalpoint.tokens_per_second"


_ASSESSMENTS: Mapping[str | None, type[Assessment]] = {"feedback": Feedback, "expectation": Expectation, None: Assessment}


class SpanType:
    """MLflow's span types; any other text is accepted too."""

    LLM = "LLM"
    CHAIN = "CHAIN"
    AGENT = "AGENT"
    TOOL = "TOOL"
    CHAT_MODEL = "CHAT_MODEL"
    RETRIEVER = "RETRIEVER"
    PARSER = "PARSER"
    EMBEDDING = "EMBEDDING"
    RERANKER = "RERANKER"
    MEMORY = "MEMORY"
    UNKNOWN = "UNKNOWN"
    WORKFLOW = "WORKFLOW"
    TASK = "TASK"
    GUARDRAIL = "GUARDRAIL"
    EVALUATOR = "EVALUATOR"


class SpanStatusCode(str, Enum):
    OK = "OK"
    ERROR = "ERROR"
    UNSET = "UNSET"


class TraceState(str, Enum):
    OK = "OK"
    ERROR = "ERROR"
    IN_PROGRESS = "IN_PROGRESS"
    STATE_UNSPECIFIED = "STATE_UNSPECIFIED"


@dataclass(frozen=True, slots=True)
class SpanStatus:
    status_code: SpanStatusCode
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """Something that happened inside a span, such as an exception."""

    name: str
    timestamp: int
    """Nanoseconds since the epoch."""
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanLink:
    trace_id: str
    span_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Span:
    """One step of a trace. Built from its plain shape; every property that can hold a container gives a copy."""

    trace_id: str
    _fields: SpanFields

    @property
    def name(self) -> str:
        return self._fields["name"]

    @property
    def span_id(self) -> str:
        return self._fields["span_id"]

    @property
    def parent_id(self) -> str | None:
        return self._fields["parent_id"]

    @property
    def start_time_ns(self) -> int:
        return self._fields["start_time_ns"]

    @property
    def end_time_ns(self) -> int | None:
        return self._fields["end_time_ns"]

    @property
    def status(self) -> SpanStatus:
        return SpanStatus(SpanStatusCode(self._fields["status_code"]), self._fields["status_message"])

    @property
    def span_type(self) -> str:
        return str(self._fields["attributes"].get(SPAN_TYPE) or SpanType.UNKNOWN)

    @property
    def inputs(self) -> Any:
        return self.get_attribute(SPAN_INPUTS)

    @property
    def outputs(self) -> Any:
        return self.get_attribute(SPAN_OUTPUTS)

    @property
    def attributes(self) -> dict[str, Any]:
        """Decoded, with the trace's id under `mlflow.traceRequestId` as MLflow has it on every span."""
        return {TRACE_REQUEST_ID: self.trace_id, **copy_plain(self._fields["attributes"])}

    @property
    def events(self) -> list[SpanEvent]:
        return [
            SpanEvent(name=e["name"], timestamp=e["timestamp_ns"], attributes=copy_plain(e["attributes"])) for e in self._fields["events"]
        ]

    @property
    def links(self) -> list[SpanLink]:
        return [
            SpanLink(trace_id=link["trace_id"], span_id=link["span_id"], attributes=copy_plain(link["attributes"]))
            for link in self._fields["links"]
        ]

    def get_attribute(self, key: str) -> Any:
        """The attribute's decoded value, or None."""
        if key == TRACE_REQUEST_ID:
            return self.trace_id
        return copy_plain(self._fields["attributes"].get(key))

    def shared_fields(self) -> SpanFields:
        """The plain shape without copying: to be read, not changed."""
        return self._fields


@dataclass(frozen=True, slots=True)
class TraceInfo:
    """What is known of a trace without its spans."""

    _fields: InfoFields
    assessments: tuple[Assessment, ...] = ()

    @property
    def trace_id(self) -> str:
        return self._fields["trace_id"]

    @property
    def client_request_id(self) -> str | None:
        return self._fields["client_request_id"]

    @property
    def experiment_id(self) -> str | None:
        experiment: Any = self._fields["trace_location"].get("mlflow_experiment")
        return experiment.get("experiment_id") if is_dict(experiment) else None

    @property
    def trace_location(self) -> dict[str, Any]:
        return copy_plain(self._fields["trace_location"])

    @property
    def request_time(self) -> int:
        """Milliseconds since the epoch."""
        return self._fields["request_time_ms"]

    @property
    def timestamp_ms(self) -> int:
        return self._fields["request_time_ms"]

    @property
    def execution_duration(self) -> int | None:
        """Milliseconds."""
        return self._fields["execution_duration_ms"]

    @property
    def state(self) -> TraceState:
        return TraceState(self._fields["state"])

    @property
    def status(self) -> TraceState:
        return self.state

    @property
    def trace_metadata(self) -> dict[str, str]:
        return dict(self._fields["trace_metadata"])

    @property
    def tags(self) -> dict[str, str]:
        return dict(self._fields["tags"])

    @property
    def request_preview(self) -> str | None:
        return self._fields["request_preview"]

    @property
    def response_preview(self) -> str | None:
        return self._fields["response_preview"]

    @property
    def token_usage(self) -> dict[str, int] | None:
        """`{"input_tokens", "output_tokens", "total_tokens"}` of the whole trace, or None when nobody counted."""
        try:
            usage: Any = json.loads(self._fields["trace_metadata"].get(TRACE_TOKEN_USAGE, ""))
        except (ValueError, RecursionError):  # nobody counted, or nobody can read it
            return None
        return {key: count for key, count in usage.items() if isinstance(count, int)} if is_dict(usage) else None

    @property
    def timing(self) -> dict[str, float]:
        """Of a streamed answer: `{"first_token_ms", "tokens_per_second"}`, as far as they are known."""
        kept = self._fields["trace_metadata"]
        found = {"first_token_ms": kept.get(FIRST_TOKEN_MS), "tokens_per_second": kept.get(TOKENS_PER_SECOND)}
        return {name: number for name, text in found.items() if (number := _figure(text)) is not None}

    def shared_fields(self) -> InfoFields:
        """The plain shape without copying, assessments as they were read: to be read, not changed."""
        return self._fields


@dataclass(frozen=True, slots=True)
class TraceData:
    """The spans, sorted by start time, the root first."""

    spans: tuple[Span, ...] = ()

    @property
    def request(self) -> str | None:
        """The root's inputs as JSON text."""
        return json.dumps(self.spans[0].inputs, ensure_ascii=False) if self.spans else None

    @property
    def response(self) -> str | None:
        """The root's outputs as JSON text."""
        return json.dumps(self.spans[0].outputs, ensure_ascii=False) if self.spans else None


@dataclass(frozen=True, slots=True)
class Trace:
    """What an endpoint or a function did for one request."""

    info: TraceInfo
    data: TraceData

    @classmethod
    def from_fields(cls, fields: TraceFields) -> Trace:
        """The trace of a plain shape; it keeps the shape, so do not change it afterwards."""
        info = fields["info"]
        assessments = tuple(a for a in map(assessment_from_fields, info["assessments"]) if a is not None)
        return cls(TraceInfo(info, assessments), TraceData(tuple(Span(info["trace_id"], span) for span in fields["spans"])))

    def to_fields(self) -> TraceFields:
        """A plain shape, safe to change."""
        return copy_plain(self.shared_fields())

    def shared_fields(self) -> TraceFields:
        """The plain shape without copying: to be read, not changed."""
        info = self.info.shared_fields()
        assessments = [assessment.to_fields() for assessment in self.info.assessments]
        spans = [span.shared_fields() for span in self.data.spans]
        return {"info": {**info, "assessments": assessments}, "spans": spans, "problems": []}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trace:
        """A trace from the JSON of any MLflow since 2.14, `to_dict` or REST.

        Raises:
            FormatError: Nothing in it can be read as a trace.
        """
        return cls.from_fields(read_trace(data))

    @classmethod
    def from_json(cls, text: str) -> Trace:
        """A trace from JSON text; see `from_dict`."""
        return cls.from_fields(read_trace(text))

    def to_dict(self) -> dict[str, Any]:
        """The JSON that MLflow 3's `Trace.from_dict` reads."""
        return write_trace(self.shared_fields())

    def to_json(self, pretty: bool = False) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2 if pretty else None)

    @property
    def root(self) -> Span | None:
        """The first span without a parent."""
        return next((span for span in self.data.spans if span.parent_id is None), None)

    def search_spans(
        self,
        span_type: str | None = None,
        name: str | None = None,
        span_id: str | None = None,
        predicate: Callable[[Span], bool] | None = None,
    ) -> list[Span]:
        """The spans that meet every condition given, in order of start."""
        return [
            span
            for span in self.data.spans
            if (span_type is None or span.span_type == span_type)
            and (name is None or span.name == name)
            and (span_id is None or span.span_id == span_id)
            and (predicate is None or predicate(span))
        ]

    def search_assessments(
        self,
        name: str | None = None,
        *,
        type: str | None = None,  # noqa: A002 - MLflow's name for it
        span_id: str | None = None,
        all: bool = False,  # noqa: A002 - MLflow's name for it
    ) -> list[Assessment]:
        """The assessments that meet every condition; those that were overridden only with `all=True`.

        Args:
            name: The assessment's name.
            type: `"feedback"` or `"expectation"`.
            span_id: The span that it is about.
            all: Also those that another one has replaced.
        """
        if type not in _ASSESSMENTS:
            raise ValueError(f'type {type!r} is neither "feedback" nor "expectation"')
        return [
            a
            for a in self.info.assessments
            if isinstance(a, _ASSESSMENTS[type])
            and (name is None or a.name == name)
            and (span_id is None or a.span_id == span_id)
            and (all or not isinstance(a, Feedback) or a.valid)
        ]

    def with_assessments(self, assessments: Sequence[Assessment]) -> Trace:
        """The same trace with these assessments in place of its own."""
        return Trace(replace(self.info, assessments=tuple(assessments)), self.data)

    def __repr__(self) -> str:
        started = datetime.fromtimestamp(self.info.request_time / 1000, timezone.utc)
        return f"Trace({self.info.trace_id}, {len(self.data.spans)} spans, {self.info.state.value}, {started:%Y-%m-%d %H:%M:%S}Z)"


def _figure(text: str | None) -> float | None:
    """A finite number, 0 or more, out of metadata that anybody may have written."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
