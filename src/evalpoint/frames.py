"""Runs and traces as DataFrames with MLflow's columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evalpoint.entities import Run, Trace

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["runs_frame", "traces_frame"]


def runs_frame(runs: Sequence[Run]) -> pd.DataFrame:
    import pandas as pd

    records = [
        {
            "run_id": run.info.run_id,
            "experiment_id": run.info.experiment_id,
            "status": run.info.status.value,
            "artifact_uri": None,
            "start_time": pd.Timestamp(run.info.start_time, unit="ms", tz="UTC"),
            "end_time": pd.Timestamp(run.info.end_time, unit="ms", tz="UTC") if run.info.end_time else pd.NaT,
            **{f"metrics.{key}": value for key, value in run.data.metrics.items()},
            **{f"params.{key}": value for key, value in run.data.params.items()},
            **{f"tags.{key}": value for key, value in run.data.tags.items()},
        }
        for run in runs
    ]
    columns = ["run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time"]
    return pd.DataFrame(records) if records else pd.DataFrame(columns=columns)


def traces_frame(traces: Sequence[Trace]) -> pd.DataFrame:
    import pandas as pd

    columns = [
        "trace_id", "trace", "client_request_id", "state", "request_time", "execution_duration", "request", "response",
        "trace_metadata", "tags", "spans", "assessments",
    ]  # fmt: skip
    records: list[dict[str, Any]] = []
    for trace in traces:
        as_dict = trace.to_dict()
        root = trace.root
        records.append(
            {
                "trace_id": trace.info.trace_id,
                "trace": trace.to_json(),
                "client_request_id": trace.info.client_request_id,
                "state": trace.info.state.value,
                "request_time": trace.info.request_time,
                "execution_duration": trace.info.execution_duration,
                "request": root.inputs if root else None,
                "response": root.outputs if root else None,
                "trace_metadata": trace.info.trace_metadata,
                "tags": trace.info.tags,
                "spans": as_dict["data"]["spans"],
                "assessments": as_dict["info"].get("assessments", []),
            }
        )
    return pd.DataFrame(records, columns=columns)
