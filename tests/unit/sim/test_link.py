from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import Endpoint, Mac
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.link import Link, OversizeError, Pipe, Wire, mark
from pyslirp.sim.segment import Segment, Way, build_frame, read_frame


def frames(count: int, length: int = 100) -> list[bytes]:
    return [number.to_bytes(4, "big") + bytes(length - 4) for number in range(count)]


def drained(wire: Wire) -> list[tuple[int, bytes]]:
    arrived = []
    while (due := wire.next_deadline()) is not None:
        assert wire.due(due - 1) == []
        arrived += [(due, frame) for frame in wire.due(due)]
    return arrived


def test_delay() -> None:
    wire = Wire(Pipe(delay_ns=7))
    wire.push(frames(2), 100)
    assert [when for when, _ in drained(wire)] == [107, 107]


def test_rate() -> None:
    """100 bytes at 8 kbit/s take 100 ms each, one behind the other."""
    wire = Wire(Pipe(rate_bits=8000))
    wire.push(frames(3), 0)
    assert [when for when, _ in drained(wire)] == [SECOND_NS // 10, SECOND_NS // 5, 3 * SECOND_NS // 10]
    wire.push(frames(1), SECOND_NS)
    assert wire.next_deadline() == SECOND_NS + SECOND_NS // 10, "the line was idle"


def test_a_full_queue_drops_the_tail() -> None:
    wire = Wire(Pipe(rate_bits=8000, queue_bytes=250))
    wire.push(frames(5), 0)
    assert wire.dropped == 3
    assert [frame for _, frame in drained(wire)] == frames(2)


WAYS = [
    Way(Mac(b"a" * 6), Endpoint.of("10.0.2.15", 1), Mac(b"b" * 6), Endpoint.of("10.0.2.2", 2)),
    Way(Mac(b"a" * 6), Endpoint.of("fd00::15", 1), Mac(b"b" * 6), Endpoint.of("fd00::2", 2)),
]


@pytest.mark.parametrize("way", WAYS, ids=["ipv4", "ipv6"])
@given(st.integers(0, 3), st.integers(0, 0xFFFFFFFF), st.binary(max_size=9))
def test_a_mark_is_for_who_takes_part_and_changes_nothing_else(way: Way, field: int, seq: int, payload: bytes) -> None:
    segment = Segment(".", seq, 2, 3, payload, mark=field)
    marked = mark(build_frame(segment, way))
    if field == 0:
        assert marked is None
        return
    assert marked is not None
    assert read_frame(marked) == (replace(segment, mark=3), way), "and the checksums are right"


def test_only_tcp_over_ip_is_marked() -> None:
    assert mark(b"\xff" * 12 + b"\x08\x06" + b"\xff" * 46) is None


def test_a_long_queue_marks() -> None:
    one = build_frame(Segment(".", 1, 2, 3, bytes(46), mark=2), WAYS[0])
    assert len(one) == 100
    wire = Wire(Pipe(rate_bits=8000, mark_bytes=150))
    wire.push([one] * 4, 0)
    assert [found[0].mark for _, frame in drained(wire) if (found := read_frame(frame))] == [2, 2, 3, 3]
    assert (wire.marked, wire.dropped, wire.longest) == (2, 0, 400)


@given(st.integers(0, 5 * MILLISECOND_NS), st.integers(0, 99))
def test_jitter_keeps_the_order(jitter: int, seed: int) -> None:
    wire = Wire(Pipe(delay_ns=MILLISECOND_NS, jitter_ns=jitter), seed)
    wire.push(frames(50), 0)
    arrived = drained(wire)
    assert [frame for _, frame in arrived] == frames(50)
    assert all(MILLISECOND_NS <= when <= MILLISECOND_NS + jitter for when, _ in arrived)


def test_unless_it_may_reorder() -> None:
    wire = Wire(Pipe(jitter_ns=MILLISECOND_NS, reorder=True), 1)
    wire.push(frames(50), 0)
    arrived = [frame for _, frame in drained(wire)]
    assert arrived != frames(50)
    assert sorted(arrived) == frames(50)


def test_a_seed_repeats_and_another_differs() -> None:
    def times(seed: int) -> list[int]:
        wire = Wire(Pipe(jitter_ns=MILLISECOND_NS), seed)
        wire.push(frames(20), 0)
        return [when for when, _ in drained(wire)]

    assert times(1) == times(1) != times(2)


def test_a_frame_too_long_is_the_sender_s_fault() -> None:
    wire = Wire(Pipe(mtu=1500))
    wire.push([bytes(1514)], 0)
    with pytest.raises(OversizeError):
        wire.push([bytes(1515)], 0)


def test_a_link_has_two_directions() -> None:
    link = Link.plain(delay_ns=3)
    link.to_a.push([b"to a"], 0)
    assert link.to_b.next_deadline() is None
    assert link.to_a.due(3) == [b"to a"]
