"""Assessments -> numbers: what was measured, over how many rows, and whether the criteria are met. Pure."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, Literal, Protocol

from evalpoint.entities import Evaluation, RowKey, RowState, ScorerSpec, Verdict
from evalpoint.summary.figures import Aggregation, aggregate, as_number, exact, interval, shown

__all__ = ["Gate", "Outcome", "Summary", "Tally", "summarise"]

Outcome = Literal["passed", "failed", "inconclusive", "ungated"]

MAX_LABELS = 20
"""Labels of a metric that get a share of their own; the rarer ones share one."""
KEPT_LABELS = 1000
"""Different labels that are counted at all: a scorer that writes free text must not fill the memory."""
MAX_LABEL = 200
"""Characters of a label that are kept."""
OTHER_LABELS = "other labels"
_BY_RANK: tuple[tuple[bool | None, Outcome, str], ...] = (
    (None, "inconclusive", "Too little is known: "),
    (False, "failed", ""),
    (True, "passed", ""),
)
"""What a gate came to, and the verdict if any gate came to that: the first that applies."""
_NO_ANSWER = (RowState.TARGET_ERROR, RowState.TIMEOUT, RowState.SKIPPED_BUDGET, RowState.CANCELLED, RowState.PENDING)


class Judged(Protocol):
    """What one scorer said about one row: `VerdictRecord` and the event `Scored` are such."""

    @property
    def key(self) -> RowKey: ...
    @property
    def scorer(self) -> str: ...
    @property
    def verdict(self) -> Verdict: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One metric with its counts. `asked` is `scored + failed + other + missing`; rows that the scorer skipped are not asked."""

    name: str
    scorer: str
    asked: int
    scored: int
    """Rows with a number or a label under this name."""
    skipped: int
    failed: int
    """Rows on which the scorer failed, or gave an error under this name."""
    other: int
    """Rows that it answered without a number or a label under this name: a list, a dict, or only other names."""
    missing: int
    """Rows that it was never asked about, because there is no answer to judge or the run was interrupted."""
    numbers: int = 0
    """Values in the mean; more than `scored` where a row holds several of this name, fewer where some are labels."""
    mean: float | None = None
    """None over nothing: neither 0 nor NaN."""
    low: float | None = None
    """The 95 % interval of the mean, where there is enough for one."""
    high: float | None = None
    labels: Mapping[str, int] = field(default_factory=dict[str, int])
    """Texts that are no yes and no no, with yes and no beside them where they occur; the most frequent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A scorer's criterion and how it came out."""

    scorer: str
    met: bool | None
    """None when too little is known."""
    valid: int
    """Rows asked that have a value that the criterion can use."""
    asked: int
    threshold: float | None
    value: float | None
    """The mean, or the share of passing rows; None over nothing."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of an evaluation, and the verdict over them."""

    metrics: dict[str, float]
    """`<name>/<aggregation>` and `<name>/share/<label>`."""
    tallies: tuple[Tally, ...]
    gates: tuple[Gate, ...]
    verdict: Outcome
    reason: str
    """One sentence, fit for a notification."""
    states: Mapping[str, int]
    """Rows per state; only states that occur."""
    problems: tuple[str, ...] = ()
    """Aggregations of the user's own that failed, in sentences."""

    @property
    def passed(self) -> bool | None:
        """None when it is inconclusive, or when there is no criterion."""
        return {"passed": True, "failed": False}.get(self.verdict)

    @property
    def rows(self) -> int:
        return sum(self.states.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as the store keeps them."""
        return {
            "metrics": dict(self.metrics),
            "tallies": [{**asdict(tally), "labels": dict(tally.labels)} for tally in self.tallies],
            "gates": [asdict(gate) for gate in self.gates],
            "verdict": self.verdict,
            "reason": self.reason,
            "states": dict(self.states),
            "problems": list(self.problems),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Summary:
        """What `to_dict` gave."""
        return cls(
            metrics=dict(data["metrics"]),
            tallies=tuple(Tally(**tally) for tally in data["tallies"]),
            gates=tuple(Gate(**gate) for gate in data["gates"]),
            verdict=data["verdict"],
            reason=data["reason"],
            states=dict(data["states"]),
            problems=tuple(data["problems"]),
        )


def summarise(
    evaluation: Evaluation,
    states: Mapping[RowState, int],
    verdicts: Iterable[Judged],
    aggregations: Mapping[str, Sequence[Aggregation]] | None = None,
) -> Summary:
    """The figures of an evaluation, and the verdict over them. Of the values only numbers and labels are kept.

    Args:
        evaluation: Its scorers, their criteria, and `min_valid`.
        states: Rows per state: all rows and repeats of the evaluation.
        verdicts: What the scorers said, row by row, as the store gives it.
        aggregations: Per scorer, in the place of the names that the evaluation keeps: needed for functions of the user's own.
    """
    total = sum(states.values())
    scorers = {spec.name: _Collected(spec) for spec in evaluation.scorers}
    with_value = unasked = 0
    for _, records in groupby(verdicts, key=lambda record: record.key):
        said = [scorers.setdefault(r.scorer, _Collected(ScorerSpec(name=r.scorer))).take(r.verdict) for r in records]
        with_value += any(said)
        unasked += len(said) == len(scorers) and all(answer is None for answer in said)
    metrics: dict[str, float] = {}
    tallies: list[Tally] = []
    problems: list[str] = []
    gates: list[Gate] = []
    shown_names = _shown_names(scorers.values())
    for name, collected in scorers.items():
        wanted = collected.spec.aggregations if aggregations is None else aggregations.get(name, collected.spec.aggregations)
        mine = [collected.tally(metric, total) for metric in collected.names or {name: _Named()}]
        for tally in mine:
            values = collected.names.get(tally.name, _Named()).numbers
            shown_name = shown_names[name, tally.name]
            tallies.append(tally)
            metrics.update(_aggregated(shown_name, values, tally, wanted, problems))
        if collected.spec.threshold is not None or collected.spec.has_pass_if:
            gates.append(_gate(collected, total, shown_names, evaluation.min_valid))
    verdict, reason = _verdict(evaluation, gates, states, with_value if scorers else None, total - unasked)
    counted = {state.value: count for state, count in states.items() if count}
    return Summary(
        metrics=metrics,
        tallies=tuple(tallies),
        gates=tuple(gates),
        verdict=verdict,
        reason=reason,
        states=counted,
        problems=tuple(problems),
    )


@dataclass(slots=True)
class _Named:
    """What came under one name of one scorer."""

    numbers: array[float] = field(default_factory=lambda: array("d"))
    labels: Counter[str] = field(default_factory=Counter[str])
    scored: int = 0
    numbered: int = 0
    """Rows with a number."""
    failed: int = 0
    in_errors: int = 0
    """Rows on which the scorer failed as a whole and yet gave this name."""


@dataclass(slots=True)
class _Collected:
    """What one scorer said, row by row."""

    spec: ScorerSpec
    names: dict[str, _Named] = field(default_factory=dict[str, _Named])
    answered: int = 0
    skipped: int = 0
    errors: int = 0
    judged: int = 0
    """Rows on which `pass_if` was asked."""
    passing: int = 0

    def take(self, verdict: Verdict) -> bool | None:
        """Counts one row in; whether it has any value, None where the scorer skipped it."""
        self.answered += 1
        if verdict.skipped:
            self.skipped += 1
            return None
        self.errors += verdict.error is not None
        values: dict[str, list[Any]] = {}
        wrong = {f.name for f in verdict.feedback if f.error is not None}
        for feedback in verdict.feedback:
            values.setdefault(feedback.name, []).append(feedback.value)
        for name, given in values.items():
            named = self.names.setdefault(name, _Named())
            numbers = [number for number in map(as_number, given) if number is not None]
            labels = [_label(value) for value in given if isinstance(value, str)]
            named.numbers.extend(numbers)
            named.labels.update(label if label in named.labels or len(named.labels) < KEPT_LABELS else OTHER_LABELS for label in labels)
            named.numbered += bool(numbers)
            named.scored += bool(numbers or labels)
            named.failed += not (numbers or labels) and (name in wrong or verdict.error is not None)
            named.in_errors += verdict.error is not None
        asked = [passed for passed in verdict.passed if passed is not None]
        self.judged += bool(asked)
        self.passing += bool(asked) and all(asked)
        return any(value is not None for given in values.values() for value in given)

    def tally(self, name: str, total: int) -> Tally:
        named = self.names.get(name, _Named())
        failed = named.failed + self.errors - named.in_errors
        low, high = interval(named.numbers) or (None, None)
        only_yes_and_no = all(as_number(label) is not None for label in named.labels)
        return Tally(
            name=name,
            scorer=self.spec.name,
            asked=total - self.skipped,
            scored=named.scored,
            skipped=self.skipped,
            failed=failed,
            other=self.answered - self.skipped - named.scored - failed,
            missing=total - self.answered,
            numbers=len(named.numbers),
            mean=aggregate(named.numbers, "mean"),
            low=low,
            high=high,
            labels={} if only_yes_and_no else _frequent(named.labels),
        )


def _label(text: str) -> str:
    """The label of a text: yes and no in one spelling, everything else as it is."""
    label = text.strip()
    return label.lower() if as_number(label) is not None else label[:MAX_LABEL]


def _frequent(labels: Counter[str]) -> dict[str, int]:
    """The most frequent labels, and the rest as one."""
    ordered = sorted(labels.items(), key=lambda item: (item[0] == OTHER_LABELS, -item[1], item[0]))
    kept = dict(ordered[:MAX_LABELS])
    if rest := sum(count for _, count in ordered[MAX_LABELS:]):
        kept[OTHER_LABELS] = kept.get(OTHER_LABELS, 0) + rest
    return kept


def _shown_names(scorers: Iterable[_Collected]) -> dict[tuple[str, str], str]:
    """A metric's name per scorer and name. Where two scorers give one name, the scorer of that name keeps it, else the first."""
    pairs = [(collected.spec.name, name) for collected in scorers for name in collected.names or (collected.spec.name,)]
    owner: dict[str, str] = {name: scorer for scorer, name in pairs if scorer == name}
    return {(scorer, name): name if owner.setdefault(name, scorer) == scorer else f"{scorer}/{name}" for scorer, name in pairs}


def _aggregated(
    name: str, values: Sequence[float], tally: Tally, wanted: Sequence[Aggregation], problems: list[str]
) -> Iterator[tuple[str, float]]:
    for how in wanted:
        called = how if isinstance(how, str) else how.__name__
        try:
            figure = aggregate(values, how)
        except Exception as error:  # noqa: BLE001 - the user's own function, after all the scoring has been paid for
            problems.append(f"Aggregation {called!r} of {name!r} failed: {type(error).__name__}: {error}"[:500])
            continue
        if figure is not None:
            yield f"{name}/{called}", figure
    shares: Counter[str] = Counter()
    if wanted:
        for label, count in tally.labels.items():
            shares["".join(c if c.isalnum() or c in "_-. :/" else "_" for c in label)[:100] or "empty"] += count
    for label, count in shares.items():
        yield f"{name}/share/{label}", count / (sum(tally.labels.values()) or 1)


def _gate(collected: _Collected, total: int, shown_names: Mapping[tuple[str, str], str], min_valid: float) -> Gate:
    """How a scorer's criterion came out: its mean against the threshold, or `pass_if` on every row, or the share that passes it."""
    spec, asked = collected.spec, total - collected.skipped
    value: float | None = None
    name = spec.name
    if spec.has_pass_if:
        valid = collected.judged
        value = collected.passing / valid if valid else None
    else:
        numbered = {n: named for n, named in collected.names.items() if named.numbers}
        judged = {spec.name: numbered[spec.name]} if spec.name in numbered else numbered
        valid = min((named.numbered for named in judged.values()), default=0)
        means = {n: aggregate(named.numbers, "mean") or 0.0 for n, named in judged.items()}
        if means:
            name = min(means, key=lambda n: means[n])
            value = means[name]
    counts = f"{valid} of {asked} rows{_lost(collected.tally(name, total), valid)}"
    metric = shown_names.get((spec.name, name), name)
    if value is None or valid + 1e-9 < min_valid * asked:
        too_few = "" if value is None else f", fewer than {min_valid * 100:.10g} %"
        reason = f"{metric} has a usable value for {counts}{too_few}" if asked else f"{metric} was asked about none of the rows"
        return Gate(scorer=spec.name, met=None, valid=valid, asked=asked, threshold=spec.threshold, value=value, reason=reason)
    wanted = 1.0 if spec.threshold is None else spec.threshold
    if math.isclose(value, wanted, rel_tol=1e-12, abs_tol=1e-12):  # a sum's last bit decides nothing
        value = wanted
    met = value >= wanted
    compared = f"{'at least' if met else 'below'} {exact(wanted)}, over {counts}"
    if not spec.has_pass_if:
        reason = f"{metric}/mean is {shown(value, wanted)}, {compared}"
    elif spec.threshold is None:
        on = "every row" if met else f"{collected.passing} rows and not on {valid - collected.passing}"
        reason = f"{spec.name} passes on {on}, over {counts}"
    else:
        reason = f"{spec.name} passes on a share of {shown(value, wanted)}, {compared}"
    return Gate(scorer=spec.name, met=met, valid=valid, asked=asked, threshold=spec.threshold, value=value, reason=reason)


def _lost(tally: Tally, valid: int) -> str:
    """Why rows have no value, in brackets."""
    unusable = tally.asked - tally.failed - tally.missing - valid
    parts = [(tally.failed, "failed"), (tally.missing, "without an answer"), (unusable, "without a usable value")]
    said = [f"{count} {what}" for count, what in parts if count > 0]
    return f" ({', '.join(said)})" if said else ""


def _verdict(
    evaluation: Evaluation, gates: Sequence[Gate], states: Mapping[RowState, int], with_value: int | None, asked: int
) -> tuple[Outcome, str]:
    """Inconclusive goes before failed, failed before passed. `with_value` is None where nothing scores: then an answer is a value."""
    for met, verdict, opening in _BY_RANK:
        reasons = [gate.reason for gate in gates if gate.met is met]
        if reasons:
            more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
            return verdict, opening + "; ".join(reasons[:3]) + more + "."
    what = "an answer" if with_value is None else "a value"
    if with_value is None:
        with_value = asked - sum(states.get(state, 0) for state in _NO_ANSWER)
    without = sum(states.get(state, 0) for state in _NO_ANSWER)
    lost = f" ({without} without an answer)" if without and what == "a value" else ""
    counts = f"{with_value} of {asked} rows have {what}{lost}"
    if not asked or with_value + 1e-9 < evaluation.min_valid * asked:
        return "inconclusive", f"Too little is known: {counts}, fewer than {evaluation.min_valid * 100:.10g} %."
    return "ungated", f"No criterion was set; {counts}."
