"""The table that people read, compared as a whole."""

from __future__ import annotations

from typing import Any

import evalpoint
from evalpoint import scorer


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_the_whole_report() -> None:
    """Verdict and reason, every metric with its counts and gate, what failed and where to look."""

    @scorer(threshold=0.9)
    def even(outputs: Any) -> Any:
        return None if outputs == 4 else outputs % 2 == 0

    @scorer
    def shaky(outputs: Any) -> Any:
        if outputs == 2:
            raise ValueError(f"no rule for {outputs}")
        return "high" if outputs > 5 else "low"

    def predict(n: int) -> int:
        if n == 7:
            raise ConnectionError("the line is dead")
        return n

    result = evalpoint.evaluate(
        [{"inputs": {"n": n}} for n in range(8)], [even, shaky], predict, run_name="weekly", progress=False, min_valid=0.5
    )
    shown = lines(result.render(width=120))
    assert "latency p50" in shown[13]
    assert shown[14:] == [f"See it again: evalpoint show {result.run_id[:8]}"]
    del shown[13:]
    assert shown == [
        "FAILED  weekly · 8 rows: 6 ok, 1 judge_error, 1 target_error",
        "even/mean is 0.50, below 0.90, over 6 of 7 rows (1 without an answer).",
        "",
        "metric            value    95 % CI  scored  skipped  failed  missing      gate",
        "even/mean          0.50  0.18–0.82       6        1       0        1  ≥ 0.90 ✗",
        "shaky/share/low    0.83                  6        0       1        1",
        "shaky/share/high   0.17",
        "",
        "What failed",
        "times  where       what                               rows",
        "    1  shaky       SCORER_ERROR: no rule for 2        2",
        "    1  prediction  ConnectionError: the line is dead  7",
        "",
    ]


def test_markup_and_control_characters_are_shown_as_they_are() -> None:
    """What endpoints and datasets say is not a style."""
    grade = scorer(name="grade")(lambda outputs: False)
    result = evalpoint.evaluate([{"inputs": {"q": "[bold]Why?[/bold] [/]"}}], [grade], lambda q: "[red]no[/red]", progress=False)
    from rich.console import Console

    table = result.worst_table()
    console = Console(width=120)
    with console.capture() as captured:
        console.print(table)
    assert "[bold]Why?[/bold] [/]" in captured.get()
    assert "[red]no[/red]" in captured.get()


def test_a_notebook_shows_html_that_cannot_be_escaped_from() -> None:
    """Text from outside is escaped."""

    def predict(q: str) -> str:
        raise ValueError("<script>alert(1)</script>")

    result = evalpoint.evaluate([{"inputs": {"q": "x"}}], [], predict, run_name="<b>run</b>", progress=False)
    html = result._repr_html_()
    assert "INCONCLUSIVE" in html
    assert "<script>" not in html
    assert "<b>run" not in html


def test_failures_are_grouped_by_cause() -> None:
    """Messages that differ in numbers, ids and quotations are one cause, with the first rows that it hit."""

    def predict(n: int) -> int:
        if n % 2:
            raise TimeoutError(f"request {n} for 'customer {n}' took {n}.5 s")
        raise KeyError("token")

    result = evalpoint.evaluate([{"inputs": {"n": n}} for n in range(15)], [], predict, progress=False)
    assert [(g.error_code, g.count, g.rows) for g in result.failures] == [
        ("KeyError", 8, (0, 2, 4, 6, 8)),
        ("TimeoutError", 7, (1, 3, 5, 7, 9)),
    ]


def test_no_complaint_no_worst_rows() -> None:
    """Where every value is full there is nothing to look at."""
    grade = scorer(name="grade")(lambda outputs: True)
    result = evalpoint.evaluate([{"inputs": {"q": "x"}}], [grade], lambda q: q, progress=False)
    assert result.worst() == []
    assert result.worst_table() is None
