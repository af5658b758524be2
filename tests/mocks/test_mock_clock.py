"""Time moves when told to, and a seed decides the ids."""

from __future__ import annotations

import pytest

from evalpoint.mocks import FakeClock, Ids


def test_clock() -> None:
    """The clock stands still, advances, and notes every wait."""
    clock = FakeClock(100.0)
    assert (clock(), clock()) == (100.0, 100.0)
    clock.advance(2)
    clock.sleep(0.5)
    assert (clock(), clock.slept) == (102.5, [0.5])
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_ids() -> None:
    """Ids have their length, differ from each other, and repeat with the seed."""
    ids, same, other = Ids(3), Ids(3), Ids(4)
    made = [ids.hex(32), ids.hex(16), ids.uuid()]
    assert [len(one) for one in made] == [32, 16, 36]
    assert made == [same.hex(32), same.hex(16), same.uuid()]
    assert other.hex(32) != made[0]
    assert len({Ids().hex(16) for _ in range(50)}) == 50
