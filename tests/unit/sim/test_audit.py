"""The auditor lets good segments pass and names every promise that is broken."""

from __future__ import annotations

import pytest

from pyslirp.sim.audit import AuditError, Auditor
from pyslirp.sim.link import Link
from pyslirp.sim.segment import BadFrameError, Options, Segment, Way, build_frame
from tests.unit.sim.rig import UP, frame

ISN_UP, ISN_DOWN = 0xFFFFFFF0, 7000  # the guest's numbers wrap at once


def up(flags: str, seq: int, ack: int = 1, payload: bytes = b"", window: int = 1000) -> bytes:
    return frame(flags, ISN_UP + seq, ISN_DOWN + ack, payload, window=window)


def down(flags: str, seq: int, ack: int = 1, payload: bytes = b"", window: int = 1000) -> bytes:
    return frame(flags, ISN_DOWN + seq, ISN_UP + ack, payload, way=UP.back, window=window)


def audited(*frames: bytes) -> Auditor:
    """An auditor that has seen a handshake, and these frames."""
    auditor = Auditor(1500)
    for one in (up("S", 0), down("S.", 0), up(".", 1), *frames):
        auditor.see(one, 5)
    return auditor


def test_an_honest_connection_passes() -> None:
    auditor = audited(
        up(".", 1, payload=b"a" * 100),
        down(".", 1, 101, window=900),
        up(".", 1, payload=b"a" * 100),
        up("F.", 101, payload=b"b" * 5),
        down("F.", 1, 107, window=894),
        up(".", 107, 2),
        down("R", 2),
    )
    assert (auditor.segments, auditor.resets) == (10, 1)


def sacking(*blocks: tuple[int, int]) -> bytes:
    options = Options(sack=[(ISN_UP + start & 0xFFFFFFFF, ISN_UP + end & 0xFFFFFFFF) for start, end in blocks])
    return build_frame(Segment(".", ISN_DOWN + 1, ISN_UP + 1, 1000, options=options), UP.back)


FULL = [up(".", 1 + at, payload=b"a" * 100) for at in range(0, 1000, 100)]  # the whole window
SENT = FULL[:3]


@pytest.mark.parametrize(
    ("reason", "frames"),
    [
        ("101 bytes for an MSS of 100", [up(".", 1, payload=b"a" * 101)]),
        ("a gap", [up(".", 2, payload=b"a")]),
        ("1 numbers beyond the window", [*FULL, up(".", 1001, payload=b"a")]),
        ("the acknowledgment goes back by 100", [SENT[0], down(".", 1, 101), down(".", 1, 1, window=1100)]),
        ("1 numbers acknowledged that were never sent", [SENT[0], down(".", 1, 102)]),
        ("the window is taken back by 1", [down(".", 1, window=999)]),
        ("other bytes than before", [SENT[0], up(".", 51, payload=b"a" * 49 + b"x")]),
        ("more behind the FIN", [up("F.", 1), up(".", 2, payload=b"a")]),
        ("the FIN has moved", [SENT[0], up("F.", 101), up("F.", 1, payload=b"a" * 50)]),
        ("SACK blocks make no sense", [*SENT, sacking((150, 101))]),
        ("SACK blocks make no sense", [*SENT, sacking((101, 201), (151, 251))]),
        ("SACK blocks make no sense", [*SENT, sacking((201, 302))]),
    ],
)
def test_a_broken_promise_is_named(reason: str, frames: list[bytes]) -> None:
    auditor = audited(*frames[:-1])
    with pytest.raises(AuditError, match=f"at 6 ns: {reason}"):
        auditor.see(frames[-1], 6)


def scaling(flags: str, way: Way, seq: int, ack: int, window: int) -> bytes:
    return build_frame(Segment(flags, seq, ack, window, options=Options(scale=8) if "S" in flags else Options()), way)


@pytest.mark.parametrize(("window", "broken"), [(65535, False), (65534, True)])
def test_a_syn_ack_that_comes_again_offers_what_fits_without_scale(window: int, broken: bool) -> None:
    """RFC 7323 section 2.2: the window of a SYN is never scaled, that of an ACK before its repetition was."""
    auditor = Auditor(1500)
    auditor.see(scaling("S", UP, ISN_UP, 0, 65535), 5)
    auditor.see(scaling("S.", UP.back, ISN_DOWN, ISN_UP + 1, 65535), 5)
    auditor.see(scaling(".", UP.back, ISN_DOWN + 1, ISN_UP + 1, 2000), 5)
    again = scaling("S.", UP.back, ISN_DOWN, ISN_UP + 1, window)
    if broken:
        with pytest.raises(AuditError, match="taken back"):
            auditor.see(again, 6)
    else:
        auditor.see(again, 6)
        with pytest.raises(AuditError, match="taken back"):
            auditor.see(scaling(".", UP.back, ISN_DOWN + 1, ISN_UP + 1, 1999), 7)


def capable(flags: str, seq: int, payload: bytes = b"") -> bytes:
    """A segment of the guest with ECT(0)."""
    return build_frame(Segment(flags, ISN_UP + seq, ISN_DOWN + 1, 1000, payload, mark=2), UP)


AGREED = up("SEW", 0), down("S.E", 0), up(".", 1)


def test_new_data_are_capable_where_both_have_agreed() -> None:
    auditor = Auditor(1500)
    for one in (*AGREED, capable(".W", 1, b"a"), up(".", 1, payload=b"a"), capable("F.", 2, b"b")):
        auditor.see(one, 5)
    assert auditor.segments == 6


@pytest.mark.parametrize(
    ("reason", "frames"),
    [
        ("capable without agreement", [up("SEW", 0), down("S.", 0), capable(".", 1, b"a")]),
        ("capable without agreement", [up("SEW", 0), up("S", 0), down("S.E", 0), capable(".", 1, b"a")]),
        ("capable, but not new data", [*AGREED, capable(".", 1)]),
        ("capable, but not new data", [*AGREED, capable(".", 1, b"a"), capable(".", 1, b"a")]),
        ("capable, but not new data", [*AGREED, up(".W", 1)]),
        ("a SYN is capable", [capable("SEW", 0)]),
    ],
)
def test_nothing_else_is_capable(reason: str, frames: list[bytes]) -> None:
    auditor = Auditor(1500)
    for one in frames[:-1]:
        auditor.see(one, 5)
    with pytest.raises(AuditError, match=reason):
        auditor.see(frames[-1], 6)


def test_good_sack_blocks_pass() -> None:
    assert audited(*SENT, sacking((101, 151), (201, 301))).segments == 7


def test_a_byte_that_changes_is_no_matter_where_nothing_is_kept() -> None:
    auditor = Auditor(1500, keep=False)
    for one in (up("S", 0), up(".", 1, payload=b"a"), up(".", 1, payload=b"x")):
        auditor.see(one, 5)
    assert auditor.segments == 3


def test_a_new_syn_forgets_what_the_ends_have_said() -> None:
    again = audited(up("F.", 1), frame("S", 12345), frame(".", 12346, ISN_DOWN + 9000, b"new"))
    assert again.segments == 6


def test_a_frame_longer_than_the_mtu() -> None:
    with pytest.raises(AuditError, match="a frame of 615 bytes for an MTU of 600"):
        Auditor(600).see(bytes(615), 0)


def test_a_bad_checksum_is_found_and_what_is_no_tcp_is_not_counted() -> None:
    auditor = Auditor(1500)
    with pytest.raises(BadFrameError):
        auditor.see(frame("S", 1)[:-1] + b"\xff", 0)
    auditor.see(bytes(12) + b"\x88\xb5" + bytes(46), 0)
    assert auditor.segments == 0


def test_a_watched_link_shows_both_directions_and_still_carries() -> None:
    auditor = Auditor(1500)
    link = auditor.watch(Link.plain())
    link.to_b.push([up("S", 0)], 0)
    link.to_a.push([down("S.", 0)], 0)
    assert auditor.segments == 2
    assert (link.to_b.due(0), link.to_a.due(0)) == ([up("S", 0)], [down("S.", 0)])
    with pytest.raises(AuditError, match="never sent"):
        link.to_b.push([up(".", 1, 500)], 0)


def test_another_connection_has_its_own_numbers() -> None:
    other = Way(UP.source_mac, UP.source._replace(port=40001), UP.destination_mac, UP.destination)
    assert audited(frame("S", 1, way=other), frame(".", 2, 1, b"x", way=other)).segments == 5
