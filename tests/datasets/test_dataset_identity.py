"""What a row and a dataset are known by."""

from __future__ import annotations

import random
from typing import Any

from evalpoint.datasets import RunningDigest, checked
from evalpoint.formats import digest


def value(data: Any, **options: Any) -> str:
    running = RunningDigest()
    for row in checked(data, **{"predicting": True, **options}):
        running.add(row)
    return running.value


def row(question: str, **columns: Any) -> dict[str, Any]:
    return {"inputs": {"question": question}, **columns}


def test_occurrences() -> None:
    """Equal inputs are counted, so that no two rows collide; key order and 1 or 1.0 make no difference."""
    rows = checked([{"inputs": {"a": 1, "b": 2}}, row("x"), {"inputs": {"b": 2.0, "a": 1}}, row("x"), row("x")], predicting=True)
    assert [each.occurrence for each in rows] == [0, 0, 1, 1, 2]
    assert rows[0].digest == rows[2].digest == digest({"a": 1, "b": 2})


def test_bad_rows_do_not_count() -> None:
    """A row with problems takes a row number and no occurrence."""
    good = row("x")
    from evalpoint.datasets import read
    from evalpoint.entities import Row

    made = [each for each in read([good, {**good, "tags": 3}, good], predicting=True) if isinstance(each, Row)]
    assert [(each.key.row, each.occurrence) for each in made] == [(0, 0), (2, 1)]


def test_dataset_digest() -> None:
    """The digest of a dataset is short, the same in any order and for any number of repeats."""
    data = [row(str(i), expectations={"n": i}) for i in range(20)]
    shuffled = random.Random(1).sample(data, len(data))
    assert value(data) == value(shuffled) == value(data, repeats=3)
    assert len(value(data)) <= 36


def test_dataset_digest_differs() -> None:
    """Other inputs, expectations, answers or counts of equal rows make another digest."""
    variants: list[Any] = [
        value([row("a"), row("b")]),
        value([row("a"), row("c")]),
        value([row("a")]),
        value([row("a"), row("a")]),
        value([row("a"), row("b", expectations={"n": 1})]),
        value([row("a", outputs=1), row("b", outputs=2)], predicting=False),
        value([row("a", outputs=2), row("b", outputs=1)], predicting=False),
    ]
    assert len(set(variants)) == len(variants)
