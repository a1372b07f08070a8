from __future__ import annotations

from pyslirp.addresses import Endpoint
from pyslirp.services.failover import MAX_PENALTY_NS, MAX_RECORDS, PENALTY_NS, PROBE_NS, SECOND_NS, Failover

ONE, TWO, THREE = (Endpoint.of(f"192.0.2.{last}", 53) for last in (1, 2, 3))
ALL = (ONE, TWO, THREE)


def test_the_hosts_order_is_kept() -> None:
    assert Failover().order(ALL, False, 0) == [ONE, TWO, THREE]


def test_one_silence_changes_nothing_and_the_second_sets_aside() -> None:
    failover = Failover()
    failover.silent(ONE, False, 0)
    assert failover.order(ALL, False, 1) == [ONE, TWO, THREE]
    failover.silent(ONE, False, 2)
    assert failover.order(ALL, False, 3) == [TWO, THREE, ONE]


def test_unreachable_sets_aside_at_once() -> None:
    failover = Failover()
    failover.unreachable(ONE, False, 0)
    assert failover.order(ALL, False, 1) == [TWO, THREE, ONE]


def test_an_answer_clears() -> None:
    failover = Failover()
    failover.unreachable(ONE, False, 0)
    failover.answered(ONE, False)
    assert failover.order(ALL, False, 1) == [ONE, TWO, THREE]
    failover.silent(ONE, False, 2)
    assert failover.order(ALL, False, 3) == [ONE, TWO, THREE]


def test_after_the_penalty_one_query_probes_while_the_others_stay_away() -> None:
    failover = Failover()
    failover.unreachable(ONE, False, 0)
    assert failover.order(ALL, False, PENALTY_NS) == [ONE, TWO, THREE]
    assert failover.order(ALL, False, PENALTY_NS + 1) == [TWO, THREE, ONE]
    assert failover.order(ALL, False, PENALTY_NS + PROBE_NS) == [ONE, TWO, THREE]


def test_the_penalty_doubles_up_to_its_limit() -> None:
    failover, now = Failover(), 0
    for penalty in (10, 20, 40, 80, 120, 120):
        failover.unreachable(ONE, False, now)
        (record,) = failover.snapshot()
        assert record["aside_until"] == now + penalty * SECOND_NS
        now += penalty * SECOND_NS
    assert MAX_PENALTY_NS == 120 * SECOND_NS


def test_failures_of_queries_that_were_under_way_together_count_once() -> None:
    failover = Failover()
    for moment in range(100):
        failover.unreachable(ONE, False, moment)
    assert failover.order(ALL, False, PENALTY_NS) == [ONE, TWO, THREE]


def test_those_set_aside_are_asked_in_the_order_in_which_they_come_back() -> None:
    failover = Failover()
    failover.unreachable(TWO, False, 0)
    failover.unreachable(ONE, False, 1)
    failover.unreachable(THREE, False, 2)
    assert failover.order(ALL, False, 3) == [TWO, ONE, THREE]


def test_udp_and_tcp_are_told_apart() -> None:
    failover = Failover()
    failover.unreachable(ONE, True, 0)
    assert failover.order(ALL, False, 1) == [ONE, TWO, THREE]
    assert failover.order(ALL, True, 1) == [TWO, THREE, ONE]


def test_records_are_bounded() -> None:
    failover = Failover()
    for number in range(3 * MAX_RECORDS):
        failover.unreachable(Endpoint.of("192.0.2.1", number), False, number)
    assert len(failover.snapshot()) == MAX_RECORDS
