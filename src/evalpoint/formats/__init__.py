"""Pure codecs between JSON and plain values: traces in all dialects, assessments, others' vocabularies, answers of every shape."""

from evalpoint.formats.answers import error_text, finish_reason, question_of, text_of, tool_calls, usage_of
from evalpoint.formats.assessments import read_assessment, write_assessment
from evalpoint.formats.ids import new_assessment_id, new_span_id, new_trace_id, read_span_id, read_trace_hex, trace_hex
from evalpoint.formats.jsontext import as_text
from evalpoint.formats.narrowing import is_dict, is_list
from evalpoint.formats.plain import canonical_json, copy_plain, digest, dump_json, json_safe, mend_text, plain
from evalpoint.formats.shapes import AssessmentFields, ErrorFields, EventFields, InfoFields, LinkFields, SpanFields, TraceFields
from evalpoint.formats.traces import read_trace, write_trace
from evalpoint.formats.vocabularies import token_usage, translate

__all__ = [
    "AssessmentFields",
    "ErrorFields",
    "EventFields",
    "InfoFields",
    "LinkFields",
    "SpanFields",
    "TraceFields",
    "as_text",
    "canonical_json",
    "copy_plain",
    "digest",
    "dump_json",
    "error_text",
    "finish_reason",
    "is_dict",
    "is_list",
    "json_safe",
    "mend_text",
    "new_assessment_id",
    "new_span_id",
    "new_trace_id",
    "plain",
    "question_of",
    "read_assessment",
    "read_span_id",
    "read_trace",
    "read_trace_hex",
    "text_of",
    "token_usage",
    "tool_calls",
    "trace_hex",
    "translate",
    "usage_of",
    "write_assessment",
    "write_trace",
]
