from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyslirp.sim.apps import Echo, Transfer, pattern
from pyslirp.sim.clock import SECOND_NS
from tests.sim.pair import Pair

PORT = 80


@given(st.integers(0, 9), st.integers(0, 2000), st.integers(0, 2000))
def test_a_pattern_is_one_stream(seed: int, start: int, length: int) -> None:
    assert pattern(seed, length, start) == pattern(seed, 5000)[start : start + length]


def test_no_two_places_look_alike() -> None:
    data = pattern(1, 64_000)
    assert len({data[at : at + 24] for at in range(0, 64_000, 64)}) == 1000
    assert pattern(1, 1000) != pattern(2, 1000)


def run(guest: Transfer, host: Transfer) -> Pair:
    pair = Pair()
    pair.connect(guest, host)
    pair.rest(20 * SECOND_NS)
    return pair


def test_a_transfer_sends_receives_and_ends() -> None:
    guest, host = Transfer(b"up" * 9), Transfer(b"down" * 9)
    run(guest, host)
    assert (bytes(guest.received), bytes(host.received)) == (host.data, guest.data)
    assert (guest.closed, host.closed) == ("closed", "closed")


def test_it_can_wait_for_the_other_s_end() -> None:
    guest, host = Transfer(finish=False), Transfer(b"answer", after_end=True)
    pair = run(guest, host)
    assert host.sent == 0 or not host.finished
    assert guest.stream is not None
    guest.stream.finish()
    pair.rest(20 * SECOND_NS)
    assert host.closed == "closed"


def test_it_can_stall_and_resume() -> None:
    guest, host = Transfer(b"x" * 1000), Transfer(stalled=True)
    pair = run(guest, host)
    assert not host.received
    host.resume()
    pair.rest(20 * SECOND_NS)
    assert bytes(host.received) == guest.data


def test_an_echo_sends_back_and_finishes() -> None:
    pair = Pair()
    pair.gateway.listen(7, Echo)
    guest = Transfer(pattern(1, 300_000))
    guest.stream = pair.guest.connect(pair.gateway.dns, 7, pair.world.now, guest)
    assert pair.run(lambda: guest.closed is not None)
    assert bytes(guest.received) == guest.data
    assert guest.closed == "closed"
