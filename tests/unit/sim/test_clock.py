from __future__ import annotations

import pytest

from pyslirp.sim.clock import SECOND_NS, Clock, seconds


def test_it_jumps_and_never_goes_back() -> None:
    clock = Clock(5)
    clock.advance(5)
    clock.advance(700)
    assert clock.now == 700
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(699)


def test_it_does_not_begin_at_zero() -> None:
    assert Clock().now == SECOND_NS


@pytest.mark.parametrize(("number", "ns"), [(0, 0), (1, SECOND_NS), (0.04, 40_000_000), (1.5e-9, 2)])
def test_seconds(number: float, ns: int) -> None:
    assert seconds(number) == ns
