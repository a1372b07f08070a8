"""How long a datagram flow lives, and what is kept of it."""

from __future__ import annotations

import pytest

from pyslirp.engine.protocols.udp import _Peer

SECOND = 1_000_000_000
HELD_MAX = 128
DNS = 53


@pytest.mark.parametrize(
    ("to_host", "to_guest", "seconds"), [(0, 0, 30), (1, 0, 30), (0, 1, 30), (1, 1, 120), (9, 1, 120)]
)
@pytest.mark.parametrize(("guest", "host"), [(100, 0), (100, 90), (90, 100)])
def test_both_ways_live_longer_than_one(to_host: int, to_guest: int, seconds: int, guest: int, host: int) -> None:
    """RFC 4787 REQ-5; counted from the last that was heard of either side."""
    assert _Peer().deadline(guest * SECOND, host * SECOND, to_host, to_guest) == (100 + seconds) * SECOND


@pytest.mark.parametrize(
    ("to_host", "to_guest", "seconds"), [(1, 0, 30), (1, 1, 0), (2, 1, 120), (2, 2, 0), (1, 2, 0), (0, 0, 30)]
)
def test_a_dns_exchange_is_over_with_its_last_answer(to_host: int, to_guest: int, seconds: int) -> None:
    assert _Peer(DNS).deadline(99 * SECOND, 100 * SECOND, to_host, to_guest) == (100 + seconds) * SECOND


def test_what_is_held_comes_back_in_order() -> None:
    peer = _Peer()
    for number in range(HELD_MAX):
        assert peer.hold(bytes([number]) * number, number, 255 - number)
    assert not peer.hold(b"too many", 1, 1)
    assert peer.held_count == HELD_MAX
    assert [peer.release() for _ in range(HELD_MAX)] == [(bytes([n]) * n, n, 255 - n) for n in range(HELD_MAX)]
    assert (peer.release(), peer.held_count) == (None, 0)


def test_bytes_are_counted_too() -> None:
    peer = _Peer()
    assert [peer.hold(bytes(65507), 1, 1) for _ in range(3)] == [True, True, False]
    assert peer.release() is not None
    assert peer.hold(bytes(65507), 1, 1)


@pytest.mark.parametrize("length", [0, 1, 65507])
def test_of_any_length(length: int) -> None:
    peer = _Peer()
    assert peer.hold(b"\xa5" * length, 64, 0)
    assert peer.release() == (b"\xa5" * length, 64, 0)


def test_what_is_dropped_makes_room() -> None:
    peer = _Peer()
    for _ in range(3):
        while peer.hold(bytes(100), 1, 1):
            pass
        peer.drop()
        assert peer.held_count == 0
    peer.hold(b"goes with it", 1, 1)
