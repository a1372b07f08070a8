from __future__ import annotations

from ipaddress import IPv4Address
from itertools import pairwise, permutations
from typing import Any

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyslirp.engine.tables.reassembly import _Table
from tests.oracle.checksum import is_good
from tests.oracle.headers import GUEST, HOST, ipv4, udp
from tests.oracle.reassembly import Datagram, Fragment
from tests.oracle.status import name_of

SECOND = 1_000_000_000
NEVER = 2**63 - 1
DATAGRAMS, PER_SOURCE, BYTES, PIECES, SECONDS = 64, 16, 2 * 2**20, 2048, 30

PAYLOAD = bytes(range(256)) * 256


def fragment(payload: bytes, start: int, more: bool, *, ident: int = 1, source: bytes = GUEST,
             destination: bytes = HOST, protocol: int = 17, options: bytes = b"", **fields: int) -> bytes:
    return ipv4(payload, protocol, source=source, destination=destination, options=options, id=ident, mf=int(more),
                offset=start // 8, **fields)


def fragments(payload: bytes, size: int) -> list[bytes]:
    """`payload` in pieces of `size` bytes, a multiple of eight."""
    return [fragment(payload[at : at + size], at, at + size < len(payload)) for at in range(0, len(payload), size)]


def begin(table: _Table, number: int, ident: int = 1, start: int = 0, payload: bytes = bytes(8)) -> None:
    """A datagram of source `number` that lacks its end."""
    assert add(table, fragment(payload, start, more=True, ident=ident, source=source(number))) == "fragment.received"


def add(table: _Table, datagram: bytes, now: int = 0) -> str:
    return name_of(table.add(datagram, now)[0])


def add_all(table: _Table, pieces: list[bytes], now: int = 0) -> bytes:
    """The whole that comes of it with the last piece, and not before."""
    for piece in pieces[:-1]:
        assert add(table, piece, now) == "fragment.received"
    status, whole = table.add(pieces[-1], now)
    assert name_of(status) == "fragment.reassembled"
    assert whole is not None
    return whole


def source(number: int) -> bytes:
    return IPv4Address(f"10.0.3.{number}").packed


# -- what an honest guest sends ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_udp_fragments_in_any_order(order: tuple[int, ...]) -> None:
    """QEMU 7.2's slirp crashes on some of these."""
    table = _Table()
    datagram = bytes(udp(PAYLOAD[:4000]))
    pieces = fragments(datagram, 1480 // 8 * 8 - 408)
    assert len(pieces) == 4
    whole = add_all(table, [pieces[index] for index in order])
    assert whole == ipv4(datagram, 17, id=1)
    assert (table.count, table.held_bytes, table.deadline()) == (0, 0, NEVER)


@given(st.integers(9, 65515), st.integers(1, 200), st.data())
@settings(max_examples=30)
def test_up_to_the_largest_datagram(length: int, units: int, data: st.DataObject) -> None:
    size = max(8 * min(units, (length - 1) // 8), length // 40 // 8 * 8)
    pieces = fragments(PAYLOAD[:length], size)
    order = data.draw(st.permutations(range(len(pieces))))
    assert add_all(_Table(), [pieces[index] for index in order])[20:] == PAYLOAD[:length]


def test_the_whole_has_the_header_of_its_first_fragment() -> None:
    table = _Table()
    first = fragment(PAYLOAD[:16], 0, more=True, options=b"\x94\x04\0\0", ttl=9, tos=0x10, df=1)
    last = fragment(PAYLOAD[16:20], 16, more=False, ttl=200, tos=0x20)
    whole = add_all(table, [last, first])
    read = dpkt.ip.IP(whole)
    assert is_good(whole[:24])
    assert (read.len, read.hl, read.opts, read.ttl, read.tos) == (24 + 20, 6, b"\x94\x04\0\0", 9, 0x10)
    assert (read.mf, read.offset, read.df, read.id) == (0, 0, 0, 1)
    assert (read.src, read.dst, whole[24:]) == (GUEST, HOST, PAYLOAD[:20])


def test_exact_duplicates_change_nothing() -> None:
    pieces = fragments(PAYLOAD[:40], 16)
    table = _Table()
    assert add_all(table, [pieces[2], pieces[2], pieces[0], pieces[0], pieces[2], pieces[1]])[20:] == PAYLOAD[:40]
    assert table.count == 0


def test_datagrams_are_told_apart_by_all_of_their_key() -> None:
    table = _Table()
    keys: list[dict[str, Any]] = [{}, {"ident": 2}, {"source": source(1)}, {"destination": source(2)}, {"protocol": 6}]
    for number, key in enumerate(keys):
        assert add(table, fragment(bytes([number]) * 8, 0, more=True, **key)) == "fragment.received"
    assert table.count == len(keys)
    for number, key in enumerate(keys):
        status, whole = table.add(fragment(b"end", 8, more=False, **key), 0)
        assert name_of(status) == "fragment.reassembled"
        assert whole is not None
        assert whole[20:] == bytes([number]) * 8 + b"end"


def test_the_whole_stays_until_the_next_call() -> None:
    table = _Table()
    assert add_all(table, fragments(PAYLOAD[:32], 16))[20:] == PAYLOAD[:32]
    assert add_all(table, fragments(PAYLOAD[:48], 16))[20:] == PAYLOAD[:48]


# -- what is contradicted ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(
    ("start", "length", "more"),
    [
        (8, 8, True),  # inside (teardrop)
        (0, 16, True),
        (16, 16, True),  # over its end
        (0, 8, True),
        (0, 40, True),  # all around it
        (8, 24, True),
        (16, 8, False),
        (8, 16, True),  # its end alone
    ],
)
def test_an_overlap_drops_the_datagram(start: int, length: int, more: bool) -> None:
    table = _Table()
    assert add(table, fragment(bytes(24), 0, more=True)) == "fragment.received"
    assert add(table, fragment(bytes(length), start, more=more)) == "fragment.overlap"
    assert table.held_bytes == 0
    assert table.count == 1


def test_a_duplicate_with_other_bytes_is_a_contradiction() -> None:
    table = _Table()
    assert add(table, fragment(b"A" * 16, 0, more=True)) == "fragment.received"
    assert add(table, fragment(b"A" * 15 + b"B", 0, more=True)) == "fragment.overlap"


@pytest.mark.parametrize("second", [(16, 8, False), (32, 8, False), (32, 8, True), (24, 8, True), (16, 16, True)])
def test_two_ends_are_a_contradiction(second: tuple[int, int, bool]) -> None:
    start, length, more = second
    table = _Table()
    assert add(table, fragment(bytes(8), 24, more=False)) == "fragment.received"
    assert add(table, fragment(bytes(length), start, more=more)) == "fragment.overlap"


@pytest.mark.parametrize("first", [(24, 8), (32, 8), (16, 16)])
def test_an_end_before_what_has_come_is_a_contradiction(first: tuple[int, int]) -> None:
    start, length = first
    table = _Table()
    assert add(table, fragment(bytes(length), start, more=True)) == "fragment.received"
    assert add(table, fragment(bytes(8), 24, more=False)) == "fragment.overlap"


def test_a_dropped_datagram_is_not_begun_again() -> None:
    table = _Table()
    pieces = fragments(PAYLOAD[:40], 16)
    assert add(table, pieces[0]) == "fragment.received"
    assert add(table, fragment(bytes(24), 0, more=True)) == "fragment.overlap"
    assert [add(table, piece) for piece in pieces] == ["fragment.overlap"] * 3
    assert table.expire(SECONDS * SECOND) == 0, "it was counted when it was dropped"
    assert table.count == 0
    assert add_all(table, pieces, SECONDS * SECOND)[20:] == PAYLOAD[:40]


# -- hostile input, by name --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("length", [0, 1, 7, 9, 1479])
def test_a_piece_that_cannot_have_a_next_one_is_malformed(length: int) -> None:
    table = _Table()
    assert add(table, fragment(bytes(length), 0, more=True)) == "fragment.malformed"
    assert table.count == 0


def test_a_last_piece_of_nothing_is_malformed() -> None:
    table = _Table()
    assert add(table, fragment(bytes(16), 0, more=True)) == "fragment.received"
    assert add(table, fragment(b"", 16, more=False)) == "fragment.malformed"
    assert add(table, fragment(b"x", 16, more=False)) == "fragment.reassembled"


@pytest.mark.parametrize(("start", "length"), [(65528, 8), (65520, 16), (65512, 8), (65512, 4), (64000, 1516)])
def test_ping_of_death(start: int, length: int) -> None:
    """The last fragment ends behind 65,535 bytes, header included."""
    table = _Table()
    assert add(table, fragment(bytes(8), 0, more=True, protocol=1)) == "fragment.received"
    assert add(table, fragment(bytes(length), start, more=False, protocol=1)) == "fragment.too_big"
    assert table.held_bytes == 0
    assert add(table, fragment(bytes(8), 8, more=True, protocol=1)) == "fragment.overlap"


def test_the_last_byte_that_fits() -> None:
    table = _Table()
    assert add(table, fragment(bytes(65504), 0, more=True)) == "fragment.received"
    status, whole = table.add(fragment(bytes(11), 65504, more=False), 0)
    assert name_of(status) == "fragment.reassembled"
    assert whole is not None
    assert len(whole) == 65535


@pytest.mark.parametrize("last_first", [False, True])
def test_options_of_the_first_fragment_count_too(last_first: bool) -> None:
    """CVE-2018-11806: m_cat of libslirp appended fragments with more header than it had reckoned with."""
    first = fragment(bytes(65472), 0, more=True, options=b"\x01" * 40)
    last = fragment(bytes(4), 65472, more=False)  # 60 + 65476: one byte too many
    table = _Table()
    pieces = [last, first] if last_first else [first, last]
    assert [add(table, piece) for piece in pieces] == ["fragment.received", "fragment.too_big"]
    assert table.held_bytes == 0


def test_a_first_fragment_larger_than_any_buffer_to_begin_with() -> None:
    """CVE-2019-14378: ip_reass computed with the wrong buffer when the first fragment had outgrown the mbuf."""
    table = _Table()
    assert add_all(table, [fragment(PAYLOAD[60000:60008], 60000, more=False), fragment(PAYLOAD[:60000], 0, more=True)])[
        20:] == PAYLOAD[:60008]


def test_the_first_fragment_comes_last_and_the_buffer_grows_for_it() -> None:
    """CVE-2019-15890 and CVE-2020-1983: ip_reass went on with pointers into a buffer that had moved."""
    pieces = fragments(PAYLOAD[:65512], 8 * 500)
    for order in (pieces[::-1], pieces[1:] + pieces[:1], pieces[8:] + pieces[:8], pieces[::2] + pieces[1::2]):
        assert add_all(_Table(), order)[20:] == PAYLOAD[:65512]


def test_pieces_are_bounded() -> None:
    table = _Table()
    for index in range(PIECES):
        assert add(table, fragment(bytes(8), 16 * index, more=True)) == "fragment.received"
    assert add(table, fragment(bytes(8), 16 * PIECES, more=True)) == "fragment.table_full"
    assert table.held_bytes == 0
    assert add(table, fragment(bytes(8), 8, more=True)) == "fragment.overlap"


def test_a_datagram_over_the_smallest_link_of_rfc_791() -> None:
    assert add_all(_Table(), fragments(PAYLOAD[:65515], 48)[::-1])[20:] == PAYLOAD[:65515]


# -- limits ------------------------------------------------------------------------------------------------------------

def test_a_source_has_its_share_and_its_oldest_makes_room() -> None:
    table = _Table()
    begin(table, 99)
    for ident in range(1, PER_SOURCE + 4):
        begin(table, 1, ident)
    assert table.count == PER_SOURCE + 1
    assert table.evicted() == 3
    assert table.evicted() == 0
    assert add(table, fragment(b"x", 8, more=False, ident=4, source=source(1))) == "fragment.reassembled"
    assert add(table, fragment(b"x", 8, more=False, ident=3, source=source(1))) == "fragment.received", "begun anew"
    assert add(table, fragment(b"x", 8, more=False, source=source(99))) == "fragment.reassembled"


def test_a_full_table_takes_from_the_source_that_has_most() -> None:
    table = _Table()
    for number in range(5):
        for ident in range(PER_SOURCE - number * 2):
            begin(table, number, ident)
    for number in range(10, 20):
        begin(table, number)
    assert table.count == DATAGRAMS
    assert table.evicted() == 80 - 20 + 10 - DATAGRAMS
    for number in range(10, 20):
        assert add(table, fragment(b"x", 8, more=False, source=source(number))) == "fragment.reassembled"


def test_bytes_are_bounded_over_all_datagrams() -> None:
    """libslirp has no limit on fragments: memory for the asking."""
    table = _Table()
    for number in range(DATAGRAMS):
        begin(table, number // 4, number, 8, bytes(65496))
        assert table.held_bytes <= BYTES
    assert table.count == BYTES // (60 + 65535)
    assert table.evicted() == DATAGRAMS - table.count
    assert table.expire(NEVER) == BYTES // (60 + 65535)
    assert table.held_bytes == 0


def test_a_buffer_that_grows_does_not_evict_itself() -> None:
    table = _Table()
    assert add(table, fragment(bytes(8), 0, more=True)) == "fragment.received"  # the oldest from now on
    for number in range(BYTES // (60 + 65535)):
        begin(table, number, start=8, payload=bytes(65496))
    assert table.evicted() == 0
    rest = [fragment(bytes(3), 60000, more=False), fragment(bytes(59992), 8, more=True)]
    assert len(add_all(table, rest)) == 20 + 60003
    assert table.evicted() == 1
    assert table.held_bytes <= BYTES


def test_among_sources_alike_the_oldest_goes() -> None:
    table = _Table()
    for number in range(DATAGRAMS + 1):
        begin(table, number)
    assert add(table, fragment(b"x", 8, more=False, source=source(0))) == "fragment.received", "begun anew"
    assert add(table, fragment(b"x", 8, more=False, source=source(2))) == "fragment.reassembled"


def test_a_dropped_datagram_that_makes_room_is_not_counted_again() -> None:
    table = _Table()
    begin(table, 0)
    assert add(table, fragment(bytes(24), 0, more=True, source=source(0))) == "fragment.overlap"
    for number in range(1, DATAGRAMS + 1):
        begin(table, number)
    assert table.count == DATAGRAMS
    assert table.evicted() == 0


def test_time_runs_out_from_the_first_piece() -> None:
    table = _Table()
    assert table.deadline() == NEVER
    add(table, fragment(bytes(8), 0, more=True), 5 * SECOND)
    add(table, fragment(bytes(8), 0, more=True, ident=2), 6 * SECOND)
    add(table, fragment(bytes(8), 8, more=True), 20 * SECOND)
    assert table.deadline() == (5 + SECONDS) * SECOND
    assert table.expire((5 + SECONDS) * SECOND - 1) == 0
    assert table.expire((5 + SECONDS) * SECOND) == 1
    assert table.deadline() == (6 + SECONDS) * SECOND
    assert table.expire(NEVER) == 1
    assert (table.count, table.held_bytes, table.deadline()) == (0, 0, NEVER)


def test_a_piece_of_a_datagram_past_its_time_begins_a_new_one() -> None:
    table = _Table()
    add(table, fragment(bytes(8), 0, more=True), 0)
    assert add(table, fragment(b"x", 8, more=False), SECONDS * SECOND) == "fragment.received"
    assert table.count == 1
    assert table.expire(SECONDS * SECOND) == 1, "the old one is counted though nobody had asked in time"
    assert table.count == 1


# -- against the twin --------------------------------------------------------------------------------------------------

@st.composite
def streams(draw: st.DrawFn) -> list[Fragment]:
    """The pieces of a datagram of up to 80 bytes, some of them lost, doubled, moved or changed."""
    length = draw(st.integers(9, 80))
    cuts = sorted(draw(st.sets(st.integers(1, (length - 1) // 8), min_size=1, max_size=5)))
    bounds = [0, *(8 * cut for cut in cuts), length]
    pieces = [Fragment(20 + 4 * (start % 3), start, PAYLOAD[start:end], end < length)
              for start, end in pairwise(bounds)]
    strays = st.builds(
        Fragment, st.just(20), st.integers(0, 11).map(lambda unit: unit * 8),
        st.one_of(st.integers(0, 4).map(lambda unit: PAYLOAD[: 8 * unit]), st.binary(max_size=20)),
        st.booleans()).filter(lambda piece: piece.more or piece.start > 0)
    extra = draw(st.lists(st.one_of(st.sampled_from(pieces), strays), max_size=3))
    return draw(st.permutations(pieces + extra))


@settings(max_examples=500)
@given(streams())
def test_any_stream_of_fragments_comes_to_what_the_twin_says(stream: list[Fragment]) -> None:
    table, twin = _Table(), Datagram()
    for piece in stream:
        options = b"\x01" * (piece.header_bytes - 20)
        status, whole = table.add(fragment(piece.payload, piece.start, more=piece.more, options=options), 0)
        expected, payload = twin.add(piece)
        assert name_of(status) == expected
        if payload is None:
            assert whole is None
            continue
        assert whole is not None
        assert whole[whole[0] % 16 * 4 :] == payload
        assert is_good(whole[: whole[0] % 16 * 4])
        twin = Datagram()
