"""The same segments to the engine and to a real Linux.  (More of them: `make differential`.)"""

from __future__ import annotations

import pytest

from tests.differential import compare
from tests.differential.differences import DIFFERENCES, Place, excused
from tests.differential.steps import Finish, Icmp, Read, Send, Write, case
from tests.platform import namespace


def test_linux_answers_as_we_do() -> None:
    """Up to the documented differences; the seeds are those of compare.compare()."""
    namespace.run(compare.compare)


def test_a_seed_gives_the_same_case() -> None:
    assert case(7) == case(7)
    assert case(7).steps != case(8).steps


def test_cases_hold_every_kind_of_step() -> None:
    steps = [step for seed in range(100) for step in case(seed).steps]
    assert {type(step) for step in steps} == {Send, Icmp, Write, Read, Finish}
    assert len({step.why for step in steps if isinstance(step, Send | Icmp)}) == 35
    assert any(step.urgent for step in steps if isinstance(step, Write))


def test_either_side_opens() -> None:
    cases = [case(seed) for seed in range(100)]
    assert 15 < sum(one.active for one in cases) < 50
    crossing = [
        one for one in cases if any(isinstance(step, Send) and "a SYN of its own" in step.why for step in one.steps)
    ]
    assert crossing
    assert all(one.active for one in crossing)
    assert not any(one.active and one.ecn for one in cases)


@pytest.mark.parametrize(
    ("what", "ours", "linux"),
    [
        ("ack", 1, 2),
        ("sent", (1, False), (2, False)),
        ("resets", (), (("R", 1, 0),)),
        ("state", "CLOSED", "ESTABLISHED"),
        ("echo", False, True),
        ("urgent", 101, 0),
        ("largest", 1460, 1000),
        ("syn", False, True),
        ("error taken", True, False),
    ],
)
def test_what_is_not_documented_is_a_difference(what: str, ours: object, linux: object) -> None:
    assert excused(Place(Send(".", 1, 100), 1, 1), what, ours, linux) is None


def test_every_difference_has_a_reason() -> None:
    assert all(len(known.reason) > 40 for known in DIFFERENCES)
    assert len({known.name for known in DIFFERENCES}) == len(DIFFERENCES)
