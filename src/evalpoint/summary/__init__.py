"""Assessments -> numbers: what was measured, over how many rows, and whether the criteria are met. Pure."""

from evalpoint.summary.figures import AGGREGATIONS, Aggregation, aggregate, as_number, exact, interval, percent, shown
from evalpoint.summary.summarising import Gate, Outcome, Summary, Tally, summarise

__all__ = [
    "AGGREGATIONS",
    "Aggregation",
    "Gate",
    "Outcome",
    "Summary",
    "Tally",
    "aggregate",
    "as_number",
    "exact",
    "interval",
    "percent",
    "shown",
    "summarise",
]
