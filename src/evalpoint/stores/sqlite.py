"""The embedded store: one SQLite file, any number of threads and processes, every write one short transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any

from evalpoint.entities import (
    Assessment,
    AssessmentError,
    Evaluation,
    Event,
    Feedback,
    Lease,
    Row,
    RowKey,
    RowState,
    Spent,
    Trace,
)
from evalpoint.errors import ConfigurationError
from evalpoint.protocols import Clock, RowRecord, Staging, Task, VerdictRecord
from evalpoint.stores import assessments, evaluations, experiments, leases, migrations, recording, traces
from evalpoint.stores.connections import Connections
from evalpoint.stores.filters import Search, experiment_key
from evalpoint.stores.runs import Runs
from evalpoint.stores.staging import Staged
from evalpoint.stores.translation import translated

__all__ = ["SqliteStore", "open_store"]

ADDED_AT_ONCE = 500
"""Rows written by one transaction."""
READ_AT_ONCE = 100
"""Rows read by one statement; between two of them no cursor is open, so that others may write."""
WHOLE_AT_ONCE = 20
"""The same where each comes with its trace."""


def open_store(
    uri_or_path: str | Path, *, clock: Clock = time.time, process: Callable[[], leases.Process] = leases.this_process
) -> SqliteStore:
    """The store in a file, which is made when it is not there yet.

    Args:
        uri_or_path: A path, `sqlite:///file` or `sqlite:////absolute/file`.
        clock: Seconds since the epoch.
        process: Who writes.

    Raises:
        ConfigurationError: The address is none of a file, or its folder does not exist.
        StoreError: The file cannot be used: it is another program's, a newer evalpoint's, damaged, or cannot be written.
    """
    path = _path(uri_or_path)
    if path.is_dir():
        raise ConfigurationError(f"The store {str(path)!r} is a folder; give a file in it, such as {str(path / 'evalpoint.db')!r}.")
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"The store {str(path)!r} cannot be made, because its folder {str(path.parent)!r} does not exist. Make it first."
        )
    connections = Connections(path)
    try:
        with translated(path):
            migrations.bring_up_to_date(connections.mine(), path)
    except BaseException:
        connections.close()
        raise
    return SqliteStore(connections, clock=clock, process=process)


def _path(uri_or_path: str | Path) -> Path:
    text = str(uri_or_path)
    if text.startswith("sqlite:///"):
        text = text[len("sqlite:///") :].partition("?")[0]
    elif "://" in text or text.startswith("sqlite:"):
        raise ConfigurationError(f"{text!r} is no address of an embedded store; give a path, sqlite:///file or sqlite:////absolute/file.")
    if not text or text == ":memory:" or "\0" in text:
        raise ConfigurationError(f"The store needs a file, and {text!r} is none: threads and later processes read what this one writes.")
    return Path(text).expanduser().absolute()


class SqliteStore(Runs):
    """Implements `protocols.Store`. Get one from `open_store`; end it with `close()` or a `with` block."""

    # evaluations and their rows

    def create_evaluation(self, evaluation: Evaluation) -> Evaluation:
        """The evaluation as written: with the next number within its run."""
        with self.writing() as connection:
            return evaluations.create_evaluation(connection, evaluation, self.uri)

    def evaluations(self, run_id: str) -> list[Evaluation]:
        with self.reading() as connection:
            return evaluations.evaluations_of(connection, run_id)

    def last_evaluation(self, experiment_id: str, *, like: Evaluation | None = None, run_name: str | None = None) -> Evaluation | None:
        """The last evaluation of the newest run that has one.

        Args:
            experiment_id: Where to look.
            like: Only an unfinished one that nobody works on, with the same target, scorers, repeats and name of the data.
            run_name: Only in runs of this name.
        """
        with self.reading() as connection:
            for name, found, finished in evaluations.last_evaluations(connection, experiment_key(experiment_id)):
                if run_name is not None and name != run_name:
                    continue
                if like is None:
                    return found
                if not finished and found.fingerprint == like.fingerprint and not self.held(connection, found.run_id):
                    return found
        return None

    def evaluation(self, evaluation_id: str) -> Evaluation:
        with self.reading() as connection:
            return evaluations.find_evaluation(connection, evaluation_id, self.uri)

    def add_rows(self, evaluation_id: str, rows: Iterable[Row]) -> int:
        """Writes rows as pending, as they come and a batch at a time; how many there were."""
        self.evaluation(evaluation_id)
        source, count = iter(rows), 0
        while batch := list(islice(source, ADDED_AT_ONCE)):
            with self.writing() as connection:
                evaluations.add_rows(connection, evaluation_id, batch)
            count += len(batch)
        return count

    def discard_evaluation(self, evaluation_id: str) -> None:
        """Removes an evaluation that must not have been: with its rows and verdicts, not with its traces."""
        with self.writing() as connection:
            evaluations.discard_evaluation(connection, evaluation_id)

    def staging(self, evaluation_id: str) -> AbstractContextManager[Staging]:
        """A place for the rows of the data beside this evaluation's, on this thread."""
        return Staged(self, evaluation_id)

    def pending(self, evaluation_id: str) -> Iterator[Task]:
        """The rows without a final state, in order, with what of them is there.

        Rows that get a final state meanwhile are left out; recording on any thread is fine.
        """
        self.evaluation(evaluation_id)
        return self._pending(evaluation_id)

    def _pending(self, evaluation_id: str) -> Iterator[Task]:
        after: RowKey | None = evaluations.BEFORE_ALL
        while after is not None:
            with self.reading() as connection:
                page = evaluations.pending_page(connection, evaluation_id, after, READ_AT_ONCE)
            for row, answered in page:
                yield self._begun(evaluation_id, row) if answered else Task(row=row)
            after = page[-1][0].key if page else None

    def _begun(self, evaluation_id: str, row: Row) -> Task:
        with self.reading() as connection:
            reply, answered = evaluations.reply_of(connection, evaluation_id, row.key)
        return Task(row=row, reply=reply, answered=answered)

    def record(self, evaluation_id: str, events: Sequence[Event], *, lease: Lease | None = None) -> None:
        """Writes what happened, all of it or nothing.

        Args:
            evaluation_id: Whose rows it happened to.
            events: In their order.
            lease: Write only while this holds.

        Raises:
            StoreError: It could not be written, or tells of rows that the evaluation does not have, or another process has taken over.
        """
        if not events:
            return
        with self.writing() as connection:
            if lease is not None:
                leases.require_lease(connection, lease)
            recording.record(connection, evaluation_id, events, self.stamp())

    def finish_evaluation(
        self, evaluation_id: str, *, unfinished: RowState, dataset_digest: str | None = None, summary: Mapping[str, Any] | None = None
    ) -> int:
        """Gives the rows that have no final state this one, and keeps the final figures; how many rows there were."""
        self.evaluation(evaluation_id)
        with self.writing() as connection:
            return evaluations.finish_evaluation(connection, evaluation_id, unfinished, dataset_digest, summary)

    def state_counts(self, evaluation_id: str) -> Mapping[RowState, int]:
        """How many rows are in each state that occurs."""
        with self.reading() as connection:
            return evaluations.state_counts(connection, evaluation_id)

    def rows(self, evaluation_id: str, *, with_traces: bool = False) -> Iterator[RowRecord]:
        """All rows in order, read as they are asked for."""
        self.evaluation(evaluation_id)
        return self._rows(evaluation_id, with_traces=with_traces)

    def _rows(self, evaluation_id: str, *, with_traces: bool) -> Iterator[RowRecord]:
        after: RowKey | None = evaluations.BEFORE_ALL
        limit = WHOLE_AT_ONCE if with_traces else READ_AT_ONCE
        while after is not None:
            with self.reading() as connection:
                page = evaluations.rows_page(connection, evaluation_id, after, limit, with_traces=with_traces)
            yield from page
            after = page[-1].row.key if page else None

    def verdicts(self, evaluation_id: str, *, brief: bool = False) -> Iterator[VerdictRecord]:
        """All verdicts in order of row and repeat, then of the evaluation's scorers; read as they are asked for.

        With `brief` the feedback has a name, a value or an error, and nothing else: enough for metrics, and faster.
        """
        order = {spec.name: number for number, spec in enumerate(self.evaluation(evaluation_id).scorers)}
        return self._verdicts(evaluation_id, order, brief=brief)

    def _verdicts(self, evaluation_id: str, order: Mapping[str, int], *, brief: bool) -> Iterator[VerdictRecord]:
        after: RowKey | None = evaluations.BEFORE_ALL
        while after is not None:
            with self.reading() as connection:
                page, after = evaluations.verdicts_page(connection, evaluation_id, order, after, READ_AT_ONCE, brief=brief)
            yield from page

    def spent(self, evaluation_id: str) -> Mapping[str, Spent]:
        """What each scorer's calls have cost."""
        with self.reading() as connection:
            return evaluations.spent_per_scorer(connection, evaluation_id)

    def latencies(self, evaluation_id: str) -> list[float]:
        """Of the calls that were answered, in milliseconds, the shortest first."""
        with self.reading() as connection:
            return evaluations.latencies(connection, evaluation_id)

    def first_tokens(self, evaluation_id: str) -> list[float]:
        """Of the answers that were streamed, milliseconds to the first token, the shortest first."""
        with self.reading() as connection:
            return evaluations.first_tokens(connection, evaluation_id)

    def errors(self, evaluation_id: str) -> list[tuple[RowKey, str | None, AssessmentError]]:
        """Everything that failed, in order of rows: the row, the scorer (None for the prediction), and what it said, without the stack."""
        with self.reading() as connection:
            scorers = {spec.name for spec in evaluations.find_evaluation(connection, evaluation_id, self.uri).scorers}
            return evaluations.errors_of(connection, evaluation_id, scorers)

    # traces and assessments

    def save_trace(self, trace: Trace, *, experiment_id: str, run_id: str | None = None) -> None:
        """Writes a trace that belongs to no row; one of the same id is replaced, and what was said about it stays."""
        with self.writing() as connection:
            experiments.find_experiment(connection, experiment_id, self.uri)
            if run_id is not None:
                experiments.require_run(connection, run_id, self.uri)
            traces.write_trace(connection, trace, self.stamp(), experiment_id=experiment_key(experiment_id), run_id=run_id)

    def trace(self, trace_id: str) -> Trace | None:
        """The trace with everything that is said about it; None when it is not here."""
        with self.reading() as connection:
            return next(iter(traces.find_traces(connection, [trace_id]).values()), None)

    def search_traces(
        self,
        experiment_ids: Sequence[str] | None = None,
        *,
        run_id: str | None = None,
        filter_string: str = "",
        max_results: int = 100,
        order_by: Sequence[str] = (),
        include_spans: bool = True,
    ) -> list[Trace]:
        """Traces of these experiments, or of all, and of this run; the latest first unless ordered otherwise."""
        search = Search(
            experiment_ids=experiment_ids, run_id=run_id, filter_string=filter_string, max_results=max_results, order_by=order_by
        )
        with self.reading() as connection:
            return traces.search_traces(connection, search, include_spans=include_spans)

    def add_assessment(self, trace_id: str, assessment: Assessment) -> Assessment:
        """The assessment as written: with its trace, id and times. Raises: NotFound: The trace is not here."""
        with self.writing() as connection:
            return assessments.add_assessment(connection, trace_id, assessment, self.stamp(), self.uri)

    def override_feedback(self, trace_id: str, assessment_id: str, feedback: Feedback) -> Feedback:
        """Puts new feedback in the place of an old one, which stays readable and is no longer valid.

        Raises:
            NotFound: The trace or the assessment is not here.
            UsageError: The assessment is an expectation, or has been overridden already.
        """
        with self.writing() as connection:
            return assessments.override_feedback(connection, trace_id, assessment_id, feedback, self.stamp(), self.uri)
