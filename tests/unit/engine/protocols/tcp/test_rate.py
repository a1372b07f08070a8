from __future__ import annotations

from pyslirp.engine.protocols.tcp.rate import _Rate

MS = 1_000_000


def test_a_flight_gives_its_rate() -> None:
    """A thousand bytes a millisecond, each delivered 20 ms later, without a pause: a million bytes a second."""
    rate = _Rate()
    bytes_per_second = prior = 0
    limited = True
    for now in range(60):
        if now >= 20:
            rate.deliver(now - 20, 1000, now * MS)
            bytes_per_second, prior, limited = rate.take()
        rate.send(now * MS, idle=now == 0)
    assert bytes_per_second == 1_000_000
    assert prior == 20_000, "delivered when the youngest left"
    assert not limited


def test_bunched_acks_do_not_say_too_much() -> None:
    """Sent over ten milliseconds and acknowledged at one instant: the time of sending counts."""
    rate = _Rate()
    flight = [rate.send(number * MS, idle=number == 0) for number in range(11)]
    for number in flight:
        rate.deliver(number, 1000, 10 * MS)
    assert rate.take()[0] <= 1_100_000


def test_less_than_a_round_trip_is_no_sample() -> None:
    rate = _Rate()
    rate.deliver(rate.send(0, idle=True), 1000, 5 * MS)
    assert rate.take(minimum_rtt=6 * MS)[0] == 0
    rate.deliver(rate.send(5 * MS, idle=True), 1000, 15 * MS)
    assert rate.take(minimum_rtt=6 * MS)[0] == 100_000


def test_nothing_delivered_is_no_sample() -> None:
    assert _Rate().take() == (0, 0, False)


def test_a_sender_with_nothing_to_say_is_told() -> None:
    rate = _Rate()
    first = rate.send(0, idle=True)
    rate.limited(1000)
    second = rate.send(MS)
    rate.deliver(first, 1000, 10 * MS)
    assert rate.take()[2] is False
    rate.deliver(second, 1000, 11 * MS)
    assert rate.take()[2] is True
    third = rate.send(11 * MS)
    rate.deliver(third, 1000, 21 * MS)
    assert rate.take()[2] is False, "all that was in flight when it had nothing more to say is delivered"
