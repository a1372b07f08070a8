from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyslirp.engine.protocols.tcp.rtt import _Rtt
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS

MIN, MAX, FIRST, AFTER_LOST_SYN = 200 * MILLISECOND_NS, 60 * SECOND_NS, SECOND_NS, 3 * SECOND_NS
samples = st.integers(1, 100 * SECOND_NS)


def test_before_any_sample() -> None:
    rtt = _Rtt()
    assert rtt.timeout == FIRST  # RFC 6298 (2.1)
    rtt.back_off()
    assert rtt.timeout == 2 * FIRST


def test_the_first_sample() -> None:
    rtt = _Rtt()
    rtt.sample(400 * MILLISECOND_NS)
    assert (rtt.srtt, rtt.rttvar) == (400 * MILLISECOND_NS, 200 * MILLISECOND_NS)  # (2.2)
    assert rtt.timeout == 1200 * MILLISECOND_NS


@given(st.lists(samples, min_size=1, max_size=50))
def test_the_estimator_is_the_rfc_s(taken: list[int]) -> None:
    """RFC 6298 (2.2) to (2.4) in floating point; whole nanoseconds make it differ by a few."""
    rtt = _Rtt()
    srtt = rttvar = 0.0
    for number, sample in enumerate(taken):
        rtt.sample(sample)
        if number == 0:
            srtt, rttvar = sample, sample / 2
        else:
            rttvar = 3 / 4 * rttvar + 1 / 4 * abs(srtt - sample)
            srtt = 7 / 8 * srtt + 1 / 8 * sample
    assert abs(rtt.srtt - srtt) < 10 * len(taken)
    assert abs(rtt.rttvar - rttvar) < 10 * len(taken)
    expected = min(MAX, max(MIN, srtt + max(4 * rttvar, MILLISECOND_NS)))
    assert abs(rtt.timeout - expected) < 100 * len(taken)


@given(st.lists(samples, max_size=5), st.integers(0, 40))
def test_backing_off_doubles_up_to_the_cap(taken: list[int], times: int) -> None:
    rtt = _Rtt()
    for sample in taken:
        rtt.sample(sample)
    first = rtt.timeout
    for _ in range(times):
        rtt.back_off()
    assert MIN <= rtt.timeout <= MAX
    assert rtt.timeout == min(MAX, first << min(times, 9))


def test_a_sample_ends_the_backoff() -> None:
    rtt = _Rtt()
    rtt.sample(MILLISECOND_NS)
    for _ in range(5):
        rtt.back_off()
    rtt.sample(MILLISECOND_NS)
    assert rtt.timeout == MIN


def test_after_a_lost_syn() -> None:
    rtt = _Rtt()
    rtt.back_off()
    rtt.lost_syn()
    assert rtt.timeout == AFTER_LOST_SYN  # (5.7)
    rtt.sample(MILLISECOND_NS)
    assert rtt.timeout == MIN
    rtt.back_off()
    rtt.lost_syn()  # with a sample there is nothing to make up for
    assert rtt.timeout == 2 * MIN


def test_a_sample_of_nothing_is_a_sample() -> None:
    rtt = _Rtt()
    rtt.sample(0)
    assert rtt.srtt == 1
