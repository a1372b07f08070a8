from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import Endpoint, Mac
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.faults import (
    ACK,
    SYN,
    Bernoulli,
    Corrupt,
    Duplicate,
    GilbertElliott,
    Impairments,
    Loss,
    Mark,
    Outage,
    Outages,
    Tap,
    has_flags,
    impaired,
    is_syn_ack,
    tcp_flags,
)
from pyslirp.sim.link import Path, Pipe, Wire
from pyslirp.sim.segment import Segment, Way, build_frame

FRAMES = [bytes([number]) * 60 for number in range(200)]
WAY = Way(Mac(b"a" * 6), Endpoint.of("10.0.2.15", 1), Mac(b"b" * 6), Endpoint.of("10.0.2.2", 2))


def through(path: Path, frames: list[bytes], now: int = 0) -> list[bytes]:
    path.push(frames, now)
    return path.due(now)


@pytest.mark.parametrize(("probability", "kept"), [(0.0, 200), (1.0, 0)])
def test_loss_of_none_and_of_all(probability: float, kept: int) -> None:
    loss = Loss(Wire(Pipe()), Bernoulli(probability))
    assert len(through(loss, FRAMES)) == kept
    assert loss.hits == 200 - kept


def test_loss_is_as_likely_as_said() -> None:
    loss = Loss(Wire(Pipe()), Bernoulli(0.3), 5)
    for _ in range(50):
        through(loss, FRAMES)
    assert 0.27 < loss.hits / 10_000 < 0.33


def test_bursts_last_as_long_as_said() -> None:
    """Frames a millisecond apart for ten minutes: a third of the time is bad, for 20 ms on average."""
    loss = Loss(Wire(Pipe()), GilbertElliott(40 * MILLISECOND_NS, 20 * MILLISECOND_NS), 5)
    fates = [not through(loss, FRAMES[:1], now) for now in range(0, 600 * SECOND_NS, MILLISECOND_NS)]
    begins = sum(lost and not before for before, lost in zip([False, *fates], fates, strict=False))
    assert 0.3 < sum(fates) / len(fates) < 0.37
    assert 18 < sum(fates) / begins < 22


def test_a_burst_is_over_for_who_waits() -> None:
    loss = Loss(Wire(Pipe()), GilbertElliott(10 * SECOND_NS, MILLISECOND_NS), 1)
    assert sum(len(through(loss, FRAMES[:1], second * SECOND_NS)) for second in range(1000)) > 990


def test_duplicates() -> None:
    path = Duplicate(Wire(Pipe()), 1.0)
    assert through(path, FRAMES[:2]) == [FRAMES[0], FRAMES[0], FRAMES[1], FRAMES[1]]


@given(st.integers(0, 1000))
def test_one_bit_behind_the_ethernet_header_is_turned(seed: int) -> None:
    (wrong,) = through(Corrupt(Wire(Pipe()), 1.0, seed), [bytes(60)])
    assert sum(byte.bit_count() for byte in wrong) == 1
    assert wrong[:14] == bytes(14)


def test_marks_are_as_likely_as_said_and_only_for_who_takes_part() -> None:
    plain, capable = (build_frame(Segment(".", 1, 2, 3, b"x", mark=field), WAY) for field in (0, 2))
    path = Mark(Wire(Pipe()), 0.25, 1)
    assert through(path, [plain] * 1000) == [plain] * 1000
    marked = [frame for frame in through(path, [capable] * 1000) if frame != capable]
    assert 200 < len(marked) == path.hits < 300


def test_an_outage_has_a_time_a_match_and_a_number() -> None:
    outage = Outage(10, 20, lambda frame: frame[0] < 100, most=3)
    path = Outages(Wire(Pipe()), [outage])
    assert len(through(path, FRAMES[:5], 9)) == 5
    assert through(path, [FRAMES[150], FRAMES[1], FRAMES[2]], 10) == [FRAMES[150]]
    assert through(path, FRAMES[:3], 19) == FRAMES[1:3]
    assert path.hits == 3
    assert len(through(path, FRAMES[:5], 20)) == 5


def test_a_tap_sees_and_changes_nothing() -> None:
    seen: list[tuple[bytes, int]] = []
    path = Tap(Wire(Pipe(delay_ns=5)), lambda frame, now: seen.append((frame, now)))
    path.push(FRAMES[:2], 7)
    assert seen == [(FRAMES[0], 7), (FRAMES[1], 7)]
    assert path.next_deadline() == 12
    assert path.due(12) == FRAMES[:2]


def test_flags_are_found_in_frames() -> None:
    syn_ack = build_frame(Segment("S.", 1, 2, 3), WAY)
    assert tcp_flags(syn_ack) == SYN | ACK
    assert is_syn_ack(syn_ack)
    assert has_flags(SYN)(syn_ack)
    assert not is_syn_ack(build_frame(Segment("S", 1), WAY))
    for frame in (b"", bytes(60), syn_ack[:40], b"\0" * 12 + b"\x08\x06" + bytes(46)):
        assert tcp_flags(frame) is None


def test_impairments_make_the_chain() -> None:
    bad = Impairments(Pipe(delay_ns=1), 0.5, (SECOND_NS, SECOND_NS), 0.5, 0.5, (Outage(0, 1),), 0.5)
    kinds, path = [], bad.path(1)
    while not isinstance(path, Wire):
        kinds.append(type(path))
        path = path.path  # type: ignore[attr-defined]
    assert kinds == [Outages, Loss, Loss, Corrupt, Duplicate, Mark]
    assert isinstance(Impairments().path(1), Wire)


def test_directions_do_not_suffer_in_step() -> None:
    link = impaired(Impairments(loss=0.5), 1)
    assert through(link.to_a, FRAMES) != through(link.to_b, FRAMES)
    assert through(impaired(Impairments(loss=0.5), 1).to_b, FRAMES) == through(
        impaired(Impairments(loss=0.5), 1, back=Impairments()).to_b, FRAMES
    )
