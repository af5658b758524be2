"""A store in a file of its own, and short ways to make what goes into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalpoint.entities import Evaluation, Row, RowKey, Run, RunData, RunInfo, RunStatus, ScorerSpec, Trace
from evalpoint.stores import SqliteStore, open_store

NOW = 1_800_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with open_store(tmp_path / "evalpoint.db", clock=lambda: NOW) as opened:
        yield opened


@pytest.fixture
def make_run() -> Callable[..., Run]:
    def make(run_id: str = "run-1", experiment_id: str = "1", name: str = "nightly", start: int = 1000, **data: Any) -> Run:
        info = RunInfo(run_id=run_id, experiment_id=experiment_id, run_name=name, status=RunStatus.RUNNING, start_time=start)
        return Run(info=info, data=RunData(**data))

    return make


@pytest.fixture
def make_row() -> Callable[..., Row]:
    def make(row: int = 0, repeat: int = 0, **more: Any) -> Row:
        return Row(key=RowKey(row, repeat), digest=f"digest-{row}", **{"inputs": {"question": f"Q{row}"}, **more})

    return make


@pytest.fixture
def make_trace() -> Callable[..., Trace]:
    def make(trace_id: str = "tr-1", spans: int = 2, tags: dict[str, str] | None = None, **info: Any) -> Trace:
        made: list[Any] = [
            {
                "name": f"step {number}",
                "span_id": f"{number + 1:016x}",
                "parent_id": None if number == 0 else f"{1:016x}",
                "start_time_ns": 10**18 + number,
                "end_time_ns": 10**18 + number + 5,
                "status_code": "OK",
                "status_message": "",
                "attributes": {"mlflow.spanType": "AGENT", "mlflow.spanInputs": {"q": "é"}, "mlflow.spanOutputs": ["a", 1.5, None]},
                "events": [],
                "links": [],
            }
            for number in range(spans)
        ]
        fields: Any = {
            "trace_id": trace_id,
            "client_request_id": None,
            "trace_location": {},
            "request_time_ms": 5000,
            "execution_duration_ms": 20,
            "state": "OK",
            "trace_metadata": {"mlflow.trace.tokenUsage": '{"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}'},
            "tags": tags or {},
            "request_preview": "Q",
            "response_preview": "A",
            "assessments": [],
            **info,
        }
        return Trace.from_fields({"info": fields, "spans": made, "problems": []})

    return make


@pytest.fixture
def make_evaluation(store: SqliteStore, make_run: Callable[..., Run], make_row: Callable[..., Row]) -> Callable[..., Evaluation]:
    """An evaluation with so many pending rows, in a run of its own name."""

    def make(rows: int = 1, evaluation_id: str = "ev-1", run_id: str = "run-1", scorers: tuple[str, ...] = ("tone", "facts")) -> Evaluation:
        experiment = store.ensure_experiment("bot")
        if run_id not in [run.info.run_id for run in store.search_runs()]:
            store.create_run(make_run(run_id, experiment.experiment_id))
        specs = tuple(ScorerSpec(name=name) for name in scorers)
        evaluation = store.create_evaluation(
            Evaluation(evaluation_id=evaluation_id, run_id=run_id, number=1, created=1000, scorers=specs, target="endpoints:/chat")
        )
        store.add_rows(evaluation_id, (make_row(number) for number in range(rows)))
        return evaluation

    return make
