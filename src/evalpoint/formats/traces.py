"""Traces: the JSON of every dialect both ways. The reading and the writing have a module each."""

from __future__ import annotations

from evalpoint.formats.trace_reader import read_trace
from evalpoint.formats.trace_writer import write_trace

__all__ = ["read_trace", "write_trace"]
