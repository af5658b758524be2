"""From verdicts to metrics with their counts, and to a verdict over the run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.entities import AssessmentError, Evaluation, Feedback, RowKey, RowState, Scored, ScorerSpec, Verdict
from evalpoint.summary import Summary, Tally, aggregate, as_number, interval, percent, shown, summarise

ERROR = AssessmentError("SCORER_ERROR", "boom")
SKIP, FAIL = object(), object()


def verdict_of(answer: Any, name: str, passed: bool | None = None) -> Verdict:
    if answer is SKIP:
        return Verdict()
    if answer is FAIL:
        return Verdict(error=ERROR)
    if isinstance(answer, Verdict):
        return answer
    return Verdict(feedback=(Feedback(name, value=answer),), passed=(passed,))


def evaluation(*specs: ScorerSpec, min_valid: float = 0.95) -> Evaluation:
    return Evaluation(evaluation_id="e", run_id="r", number=1, created=0, scorers=specs, min_valid=min_valid)


def told(
    answers: dict[str, Sequence[Any]],
    rows: int | None = None,
    specs: Sequence[ScorerSpec] = (),
    pass_if: Callable[[Any], bool] | None = None,
    aggregations: Any = None,
    **more: Any,
) -> Summary:
    """The summary of so many rows, of which the first were answered and judged so."""
    known = {spec.name: spec for spec in specs}
    judged = max((len(given) for given in answers.values()), default=0)
    total = judged if rows is None else rows
    states = {RowState.OK: judged, RowState.TARGET_ERROR: total - judged}
    records: Iterable[Scored] = (
        Scored(
            key=RowKey(row),
            scorer=name,
            verdict=verdict_of(given[row], name, pass_if(given[row]) if pass_if and known[name].has_pass_if else None),
        )
        for row in range(judged)
        for name, given in answers.items()
        if row < len(given)
    )
    return summarise(evaluation(*(known.get(name, ScorerSpec(name=name)) for name in answers), **more), states, records, aggregations)


FLOATS = st.lists(st.floats(min_value=-1e9, max_value=1e9), min_size=1, max_size=40)


@settings(max_examples=200, deadline=None)
@given(values=FLOATS)
def test_aggregations_are_numpys(values: list[float]) -> None:
    """Population variance, linear percentile, and the rest as numpy has them."""
    expected = {
        "mean": np.mean(values),
        "min": np.min(values),
        "max": np.max(values),
        "median": np.median(values),
        "variance": np.var(values),
        "p90": np.percentile(values, 90),
    }
    for name, figure in expected.items():
        ours = aggregate(values, name)
        scale = max(map(abs, values)) ** (2 if name == "variance" else 1)
        assert ours == pytest.approx(figure, rel=1e-9, abs=1e-12 + 1e-14 * scale), name


@pytest.mark.parametrize("name", ["mean", "min", "max", "median", "variance", "p90"])
def test_nothing_has_no_figure(name: str) -> None:
    """An aggregate over nothing is absent: neither 0 nor NaN."""
    assert aggregate([], name) is None


def test_figures_that_are_not_finite_are_absent() -> None:
    """Sums beyond the floats are divided first; a variance beyond them is left out."""
    assert aggregate([1.7e308, 1.7e308], "mean") == pytest.approx(1.7e308)
    assert aggregate([1.7e308, -1.7e308], "variance") is None


@pytest.mark.parametrize(
    ("value", "number"),
    [(True, 1), (False, 0), (3, 3), (0.25, 0.25), ("yes", 1), ("No", 0), (" YES ", 1), ("unknown", None), ([1], None), ({"a": 1}, None),
     (None, None), (10**400, None), ("1", None)],
    ids=str,
)  # fmt: skip
def test_what_counts_in_a_mean(value: Any, number: float | None) -> None:
    """Numbers, bools, and yes and no in any case."""
    assert as_number(value) == number


def test_counts_travel_with_the_metric() -> None:
    """Rows without an answer are missing, errors failed, skipped rows not asked; and the counts add up."""
    summary = told({"tone": ["yes", "no", FAIL, SKIP, {"a": 1}, "yes"]}, rows=10)
    (tally,) = summary.tallies
    assert tally == Tally(
        name="tone", scorer="tone", asked=9, scored=3, skipped=1, failed=1, other=1, missing=4, numbers=3,
        mean=pytest.approx(2 / 3), low=tally.low, high=tally.high,
    )  # fmt: skip
    assert summary.metrics == {"tone/mean": pytest.approx(2 / 3)}
    assert (summary.rows, summary.states) == (10, {"ok": 6, "target_error": 4})


ANSWER = st.sampled_from(["yes", "no", 0.5, True, "blue", "red", SKIP, FAIL, [1], {"a": 2}]) | st.builds(
    lambda names, error: Verdict(
        feedback=tuple(Feedback(n, value=v) if v is not None else Feedback(n, error="x") for n, v in names), error=ERROR if error else None
    ),
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([1, "yes", "red", None, [2]])), min_size=1, max_size=4),
    st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(a=st.lists(ANSWER, max_size=12), b=st.lists(ANSWER, max_size=12), unanswered=st.integers(0, 5))
def test_the_counts_add_up(a: list[Any], b: list[Any], unanswered: int) -> None:
    """Whatever the scorers say, every row is in one count of each metric, and the summary survives JSON."""
    rows = max(len(a), len(b)) + unanswered
    summary = told({"a": a, "b": b}, rows=rows)
    for tally in summary.tallies:
        counts = (tally.scored, tally.failed, tally.other, tally.missing)
        assert min(*counts, tally.skipped) >= 0
        assert sum(counts) == tally.asked == rows - tally.skipped
    assert all(math.isfinite(value) for value in summary.metrics.values())
    assert Summary.from_dict(json.loads(json.dumps(summary.to_dict(), allow_nan=False))) == summary


def test_each_name_is_a_metric_of_its_own() -> None:
    """Several feedbacks of one row under different names; of one name all count in the mean, the row once."""
    both = Verdict(feedback=(Feedback("parts", value=1), Feedback("parts", value=0), Feedback("whole", value=0.5)))
    summary = told({"quality": [both, Verdict(feedback=(Feedback("whole", value=1),))]}, rows=3)
    assert summary.metrics == {"parts/mean": 0.5, "whole/mean": 0.75}
    parts, whole = summary.tallies
    assert (parts.asked, parts.scored, parts.numbers, parts.other, parts.missing) == (3, 1, 2, 1, 1)
    assert (whole.asked, whole.scored, whole.scorer) == (3, 2, "quality")


def test_one_name_of_two_scorers_is_two_metrics() -> None:
    """The scorer of that name keeps it; the other's carries the scorer's name in front."""
    other = Verdict(feedback=(Feedback("tone", value=0),))
    assert told({"judge": [other], "tone": [1]}).metrics == {"judge/tone/mean": 0.0, "tone/mean": 1.0}


def test_labels_get_shares() -> None:
    """Texts other than yes and no are counted, with yes and no beside them; unusable characters are replaced."""
    summary = told({"mood": ["happy", "angry!", "happy", "Yes", "yes"]})
    assert summary.metrics == {"mood/mean": 1.0, "mood/share/happy": 0.4, "mood/share/angry_": 0.2, "mood/share/yes": 0.4}
    assert summary.tallies[0].labels == {"happy": 2, "yes": 2, "angry!": 1}
    assert summary.tallies[0].numbers == 2


def test_free_text_does_not_become_a_thousand_metrics() -> None:
    """The twenty most frequent labels get a share, all the others one together."""
    summary = told({"words": ["often"] * 5 + [f"text {number}" for number in range(2995)]})
    assert len(summary.metrics) == 21
    assert summary.metrics["words/share/often"] == 5 / 3000
    assert summary.metrics["words/share/other labels"] == (3000 - 5 - 19) / 3000
    assert sum(summary.metrics.values()) == pytest.approx(1)


def test_aggregations_of_the_users_own() -> None:
    """By their `__name__`; one that fails or gives no number costs nothing else, and is told."""

    def spread(values: list[float]) -> float:
        return max(values) - min(values)

    def broken(values: list[float]) -> float:
        raise ZeroDivisionError("no")

    def nan(values: list[float]) -> float:
        return math.nan

    summary = told({"n": [1, 4]}, aggregations={"n": ["max", spread, broken, nan]})
    assert summary.metrics == {"n/max": 4.0, "n/spread": 3.0}
    assert summary.problems == ("Aggregation 'broken' of 'n' failed: ZeroDivisionError: no",)


def test_no_aggregation_is_no_metric() -> None:
    """An empty list is respected; the counts are there all the same."""
    summary = told({"n": [1, 4]}, specs=[ScorerSpec(name="n", aggregations=())])
    assert summary.metrics == {}
    assert summary.tallies[0].mean == 2.5


def test_aggregations_come_from_the_evaluation() -> None:
    """Another process, which has no scorers, computes the same."""
    assert told({"n": [1, 4]}, specs=[ScorerSpec(name="n", aggregations=("min", "p90"))]).metrics == {"n/min": 1.0, "n/p90": 3.7}


GATED = ScorerSpec(name="tone", threshold=0.9)
PASS_IF = ScorerSpec(name="tone", has_pass_if=True)
BOTH = ScorerSpec(name="tone", threshold=0.75, has_pass_if=True)
UNGATED = ScorerSpec(name="tone")


@pytest.mark.parametrize(
    ("spec", "answers", "rows", "verdict", "reason"),
    [
        (GATED, ["yes"] * 9 + ["no"], 10, "passed", "tone/mean is 0.90, at least 0.90, over 10 of 10 rows."),
        (GATED, [0.82] * 38 + [FAIL] * 2, 40, "failed", "tone/mean is 0.82, below 0.90, over 38 of 40 rows (2 failed)."),
        (GATED, [0.8996] * 4, 4, "failed", "tone/mean is 0.8996, below 0.90, over 4 of 4 rows."),
        (GATED, [0.9] * 3, 3, "passed", "tone/mean is 0.90, at least 0.90, over 3 of 3 rows."),
        (GATED, [1.0] * 12, 30, "inconclusive",
         "Too little is known: tone has a usable value for 12 of 30 rows (18 without an answer), fewer than 95 %."),
        (GATED, [0.0] * 12, 30, "inconclusive",
         "Too little is known: tone has a usable value for 12 of 30 rows (18 without an answer), fewer than 95 %."),
        (GATED, [1] * 10 + [SKIP] * 20, 30, "passed", "tone/mean is 1.00, at least 0.90, over 10 of 10 rows."),
        (GATED, [SKIP] * 3, 3, "inconclusive", "Too little is known: tone was asked about none of the rows."),
        (GATED, ["good"] * 3, 3, "inconclusive",
         "Too little is known: tone has a usable value for 0 of 3 rows (3 without a usable value)."),
        (GATED, ["yes"] * 9 + ["unknown"], 10, "inconclusive",
         "Too little is known: tone has a usable value for 9 of 10 rows (1 without a usable value), fewer than 95 %."),
        (GATED, [FAIL] * 3, 3, "inconclusive", "Too little is known: tone has a usable value for 0 of 3 rows (3 failed)."),
        (GATED, [], 0, "inconclusive", "Too little is known: tone was asked about none of the rows."),
        (PASS_IF, [5, 5, 5, 5], 4, "passed", "tone passes on every row, over 4 of 4 rows."),
        (PASS_IF, [5] * 19 + [2], 20, "failed", "tone passes on 19 rows and not on 1, over 20 of 20 rows."),
        (PASS_IF, [5] * 19 + [FAIL] * 2, 21, "inconclusive",
         "Too little is known: tone has a usable value for 19 of 21 rows (2 failed), fewer than 95 %."),
        (BOTH, [5, 5, 5, 2], 4, "passed", "tone passes on a share of 0.75, at least 0.75, over 4 of 4 rows."),
        (BOTH, [5, 5, 2, 2], 4, "failed", "tone passes on a share of 0.50, below 0.75, over 4 of 4 rows."),
        (UNGATED, [1, 0], 2, "ungated", "No criterion was set; 2 of 2 rows have a value."),
        (UNGATED, [1] * 12, 30, "inconclusive",
         "Too little is known: 12 of 30 rows have a value (18 without an answer), fewer than 95 %."),
        (UNGATED, [{"a": 1}] * 2, 2, "ungated", "No criterion was set; 2 of 2 rows have a value."),
        (UNGATED, [SKIP] * 2, 2, "inconclusive", "Too little is known: 0 of 0 rows have a value, fewer than 95 %."),
        (UNGATED, [FAIL] * 2, 2, "inconclusive", "Too little is known: 0 of 2 rows have a value, fewer than 95 %."),
    ],
    ids=["threshold met", "below", "just below", "met exactly", "endpoint failed 18 of 30", "unknown before failed", "skipped is not asked",
         "all skipped", "labels have no mean", "a label among yes", "all failed", "no rows",
         "pass_if met", "pass_if failed", "pass_if unknown", "share met",
         "share missed", "ungated", "ungated unknown", "a dict is a value", "all skip", "all fail"],
)  # fmt: skip
def test_the_verdict(spec: ScorerSpec, answers: list[Any], rows: int, verdict: str, reason: str) -> None:
    """Inconclusive goes before failed, failed before passed; the reason names metric, value, threshold and counts."""
    summary = told({"tone": answers}, rows=rows, specs=[spec], pass_if=lambda value: value is not FAIL and value >= 4)
    assert (summary.verdict, summary.reason) == (verdict, reason)
    assert summary.passed is {"passed": True, "failed": False}.get(verdict)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [(1, 1, "passed"), (1, 0, "failed"), (FAIL, 0, "inconclusive"), (FAIL, 1, "inconclusive"), (SKIP, 1, "inconclusive")],
    ids=["both", "one fails", "unknown and failed", "unknown and passed", "never asked"],
)
def test_every_gate_counts(first: Any, second: Any, verdict: str) -> None:
    """One gate that is not known makes the run inconclusive, one that fails makes it fail."""
    specs = [ScorerSpec(name="a", threshold=0.5), ScorerSpec(name="b", threshold=0.5), ScorerSpec(name="c")]
    summary = told({"a": [first] * 3, "b": [second] * 3, "c": [FAIL] * 3}, specs=specs)
    assert summary.verdict == verdict


def test_a_threshold_holds_for_every_name() -> None:
    """Of a scorer whose feedback has only other names, the worst is compared."""
    answer = Verdict(feedback=(Feedback("safe", value=1), Feedback("kind", value=0)))
    summary = told({"rules": [answer]}, specs=[ScorerSpec(name="rules", threshold=0.5)])
    assert (summary.verdict, summary.reason) == ("failed", "kind/mean is 0.00, below 0.50, over 1 of 1 rows.")


def test_a_threshold_is_for_the_scorers_own_name() -> None:
    """Where feedback bears it; what else the scorer says is beside the criterion."""
    answer = Verdict(feedback=(Feedback("relevance", value=1), Feedback("relevance/precision", value=0)))
    summary = told({"relevance": [answer]}, specs=[ScorerSpec(name="relevance", threshold=0.5)])
    assert (summary.verdict, summary.reason) == ("passed", "relevance/mean is 1.00, at least 0.50, over 1 of 1 rows.")


def test_any_scorer_will_do_where_nothing_is_gated() -> None:
    """With no criteria, a row has a value when one scorer gave one, and is asked when one did not skip it."""
    summary = told({"a": [1, FAIL, SKIP, SKIP], "b": [FAIL, 1, 1, SKIP]})
    assert (summary.verdict, summary.reason) == ("ungated", "No criterion was set; 3 of 3 rows have a value.")


@pytest.mark.parametrize(("answered", "verdict"), [(20, "ungated"), (19, "ungated"), (18, "inconclusive")], ids=["all", "95 %", "90 %"])
def test_without_scorers_an_answer_is_a_value(answered: int, verdict: str) -> None:
    """The rows that were answered are compared with `min_valid`."""
    summary = summarise(evaluation(), {RowState.OK: answered, RowState.TIMEOUT: 20 - answered}, ())
    assert summary.verdict == verdict
    assert f"{answered} of 20 rows have an answer" in summary.reason


@pytest.mark.parametrize(("min_valid", "verdict"), [(0.4, "passed"), (0.41, "inconclusive"), (0.0, "passed")], ids=str)
def test_min_valid_is_the_callers(min_valid: float, verdict: str) -> None:
    """12 of 30 rows are 40 %."""
    assert told({"tone": [1.0] * 12}, rows=30, specs=[GATED], min_valid=min_valid).verdict == verdict


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([1] * 10, 0.7225, 1.0),
        ([0] * 10, 0.0, 0.2775),
        ([1] * 8 + [0] * 2, 0.4902, 0.9433),
        ([1, 2, 3, 4, 5], 1.0368, 4.9632),
        ([1, 2], -4.8531, 7.8531),
    ],
    ids=["all", "none", "most", "numbers", "two"],
)
def test_the_interval(values: list[float], low: float, high: float) -> None:
    """Wilson's for yes and no, Student's t for numbers: figures from tables."""
    found = interval(values)
    assert found is not None
    assert found == (pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3))


@pytest.mark.parametrize("values", [[], [0.5]], ids=["none", "one"])
def test_too_little_has_no_interval(values: list[float]) -> None:
    """One number says nothing about its spread."""
    assert interval(values) is None


@pytest.mark.parametrize(
    ("value", "against", "text"),
    [(0.8996, (0.9,), "0.8996"), (0.82, (0.9,), "0.82"), (0.9, (0.9,), "0.90"), (0.9996, (), "0.9996"), (1, (), "1.00"),
     (0.001, (), "0.001"), (0, (), "0.00"), (-0.0, (), "0.00"), (0.905, (0.905,), "0.905"), (1e-20, (), "1e-20"), (3.14159, (), "3.14"),
     (0.9004, (0.9,), "0.9004")],
    ids=str,
)  # fmt: skip
def test_a_shown_number_never_lies(value: float, against: tuple[float, ...], text: str) -> None:
    """It looks like 0, 1 or the threshold only when it is."""
    assert shown(value, *against) == text


@settings(max_examples=200, deadline=None)
@given(value=st.floats(-10, 10), threshold=st.sampled_from([0.0, 0.5, 0.9, 0.95, 1.0]))
def test_shown_numbers_stay_on_their_side(value: float, threshold: float) -> None:
    """Read back, the text compares with the threshold as the value does."""
    read = float(shown(value, threshold))
    assert (read < threshold, read > threshold) == (value < threshold, value > threshold)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "–"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 3, "33 %"),
        (999, 1000, "99.9 %"),
        (99_999, 100_000, "99.9 %"),
        (1, 100_000, "0.1 %"),
    ],
    ids=str,
)
def test_percents_never_lie(part: int, whole: int, text: str) -> None:
    """100 % only when all, 0 % only when none, and a dash for none of none."""
    assert percent(part, whole) == text
