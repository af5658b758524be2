"""Experiments and runs in the store."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import pytest

from evalpoint.entities import Metric, Run, RunStatus
from evalpoint.errors import NotFound, UsageError
from evalpoint.stores import SqliteStore

MakeRun = Callable[..., Run]


def test_an_experiment_is_made_once(store: SqliteStore) -> None:
    """The same name gives the same experiment, with a decimal string for an id."""
    first, second = store.ensure_experiment("/Shared/bot"), store.ensure_experiment("/Shared/bot")
    assert first == second == store.experiment(first.experiment_id)
    assert first.experiment_id.isdecimal()
    assert [e.name for e in store.experiments()] == ["/Shared/bot"]


def test_threads_that_want_one_experiment_get_one(store: SqliteStore) -> None:
    """Creation is safe from eight threads at once."""
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(store.ensure_experiment("same").experiment_id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("support-bo", "Did you mean 1 (support-bot)"),
        ("support-bot", "give that id"),
        ("99", "There are: 1 (support-bot)"),
        ("²", "There are"),
    ],
    ids=["misspelt", "a name", "no such number", "odd digit"],
)
def test_an_unknown_experiment_names_the_nearest(store: SqliteStore, asked: str, hint: str) -> None:
    """NotFound says what there is."""
    store.ensure_experiment("support-bot")
    with pytest.raises(NotFound) as caught:
        store.experiment(asked)
    assert hint in str(caught.value)


def test_an_experiment_needs_a_name(store: SqliteStore) -> None:
    """An empty name is the caller's mistake."""
    with pytest.raises(UsageError):
        store.ensure_experiment("  ")


def test_a_run_comes_back_as_it_went_in(store: SqliteStore, make_run: MakeRun) -> None:
    """Params, tags and metrics given with a new run are there."""
    store.ensure_experiment("bot")
    run = make_run(params={"model": "a"}, tags={"owner": "é"}, metrics={"score/mean": 0.5})
    store.create_run(run)
    assert store.run("run-1") == run


def test_a_run_needs_its_experiment_and_a_new_id(store: SqliteStore, make_run: MakeRun) -> None:
    """A run without its experiment, or with an id in use, is refused."""
    with pytest.raises(NotFound):
        store.create_run(make_run())
    store.ensure_experiment("bot")
    store.create_run(make_run())
    with pytest.raises(UsageError, match="exists already"):
        store.create_run(make_run())


def test_params_are_written_once(store: SqliteStore, make_run: MakeRun) -> None:
    """The same value again is fine; another value is refused, and nothing of that call is written."""
    store.ensure_experiment("bot")
    store.create_run(make_run(params={"model": "a"}))
    store.log_params("run-1", {"model": "a", "k": "3"})
    with pytest.raises(UsageError, match=r"'model'.*'a'.*'b'"):
        store.log_params("run-1", {"new": "1", "model": "b"})
    assert store.run("run-1").data.params == {"model": "a", "k": "3"}


def test_the_highest_step_is_the_metric(store: SqliteStore, make_run: MakeRun) -> None:
    """Of a history the highest step counts, then the latest time, then the order of logging; NaN survives."""
    store.ensure_experiment("bot")
    store.create_run(make_run())
    store.log_metrics(
        "run-1",
        [
            Metric(key="loss", value=1.0, timestamp=9, step=2),
            Metric(key="loss", value=2.0, timestamp=10, step=1),
            Metric(key="tie", value=1.0, timestamp=1),
            Metric(key="tie", value=2.0, timestamp=1),
            Metric(key="odd", value=math.nan, timestamp=1),
        ],
    )
    metrics = store.run("run-1").data.metrics
    assert (metrics["loss"], metrics["tie"]) == (1.0, 2.0)
    assert math.isnan(metrics["odd"])


def test_tags_and_the_end_of_a_run(store: SqliteStore, make_run: MakeRun) -> None:
    """The last tag wins, and a run ends with its state and time."""
    store.ensure_experiment("bot")
    store.create_run(make_run(tags={"a": "1"}))
    store.set_tags("run-1", {"a": "2", "b": "3"})
    store.end_run("run-1", RunStatus.FAILED, 5000)
    run = store.run("run-1")
    assert run.data.tags == {"a": "2", "b": "3"}
    assert (run.info.status, run.info.end_time) == (RunStatus.FAILED, 5000)


@pytest.mark.parametrize(
    ("asked", "found"), [("aaaa1111", "aaaa1111"), ("aaaa1", "aaaa1111"), ("weekly", "bbbb2222")], ids=["id", "prefix", "name"]
)
def test_a_run_is_found_by_what_is_unambiguous(store: SqliteStore, make_run: MakeRun, asked: str, found: str) -> None:
    """An id, the beginning of one, or a name that only one run has."""
    store.ensure_experiment("bot")
    for run_id, name in (("aaaa1111", "nightly"), ("aaaa2222", "nightly"), ("bbbb2222", "weekly")):
        store.create_run(make_run(run_id, name=name))
    assert store.run(asked).info.run_id == found


def test_of_runs_of_one_name_the_newest_is_meant(store: SqliteStore, make_run: MakeRun) -> None:
    """A nightly run is found by its name on the second night too."""
    store.ensure_experiment("bot")
    for run_id in ("aaaa1111", "bbbb2222"):
        store.create_run(make_run(run_id, name="nightly"))
    assert store.run("nightly").info.run_id == "bbbb2222"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("aaaa", "Several runs"),
        ("wekly", "Did you mean bbbb2222 (weekly)"),
        ("bbb", "bbbb2222"),
        ("%", "There are"),
    ],
    ids=["prefix of two", "misspelt", "too short", "wildcard"],
)
def test_a_run_that_is_not_clear_is_not_found(store: SqliteStore, make_run: MakeRun, asked: str, says: str) -> None:
    """NotFound lists the candidates, or the nearest."""
    store.ensure_experiment("bot")
    for run_id, name in (("aaaa1111", "nightly"), ("aaaa2222", "nightly"), ("bbbb2222", "weekly")):
        store.create_run(make_run(run_id, name=name))
    with pytest.raises(NotFound) as caught:
        store.run(asked)
    assert says in str(caught.value)


def test_writing_takes_the_whole_id(store: SqliteStore, make_run: MakeRun) -> None:
    """Nothing is written to a run by its nickname; the error says which id to give."""
    store.ensure_experiment("bot")
    store.create_run(make_run("aaaa1111"))
    with pytest.raises(NotFound, match="aaaa1111"):
        store.set_tags("nightly", {"a": "1"})


def test_runs_are_listed_the_latest_first(store: SqliteStore, make_run: MakeRun) -> None:
    """Of the experiments asked for, as many as asked for."""
    store.ensure_experiment("one")
    other = store.ensure_experiment("two").experiment_id
    for number in range(5):
        store.create_run(make_run(f"run-{number}", experiment_id=other if number == 4 else "1", start=number))
    assert [r.info.run_id for r in store.search_runs(["1"], max_results=2)] == ["run-3", "run-2"]
    assert [r.info.run_id for r in store.search_runs([other])] == ["run-4"]
    assert store.search_runs([]) == store.search_runs(["77"]) == []
    assert len(store.search_runs()) == 5


def test_text_that_is_no_unicode_is_kept_as_far_as_it_goes(store: SqliteStore, make_run: MakeRun) -> None:
    """Half of a surrogate pair becomes the replacement character, never an error."""
    store.ensure_experiment("bot")
    store.create_run(make_run(tags={"odd": "a\ud800b\0c"}))
    assert store.run("run-1").data.tags == {"odd": "a\ufffdb\0c"}
