"""Invariant tested: any fragments, in any order, come to what the twin of tests/oracle says, datagram by datagram; and
from any number of datagrams and sources the table keeps its limits.

The first byte of the input chooses the game: even, few datagrams, so that no limit is met and all must agree; odd, many
datagrams, where only the limits are looked at.  A fragment is eight bytes: flags, header options in words, source,
identification, its offset in units of eight bytes, and its length, of 16 bits each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pyslirp.engine.codecs.build import _ipv4
from pyslirp.engine.tables.reassembly import _Table
from tests.oracle.reassembly import Datagram, Fragment
from tests.oracle.status import name_of

FRAGMENT = struct.Struct("<BBBBHH")
FRAGMENTS = 120
DATAGRAMS, PER_SOURCE, BYTES = 64, 16, 2 * 2**20
MAPPED = bytes(10) + b"\xff\xff"
DESTINATION = MAPPED + bytes([10, 0, 2, 2])
MORE, BIG, TWIST, TICK = 1, 2, 4, 8  # flags
SECOND = 1_000_000_000
PATTERN = bytes(range(251)) * 262
NO_FRAGMENT = "not a fragment: the whole datagram in one"


def fuzz(data: bytes) -> tuple[str, ...]:
    """One input: a byte that chooses the game, and fragments."""
    if not data:
        return ()
    count = min((len(data) - 1) // FRAGMENT.size, FRAGMENTS)
    records = FRAGMENT.iter_unpack(data[1 : 1 + count * FRAGMENT.size])
    return tuple(sorted(set(limits(records) if data[0] % 2 else agreement(records))))


def fragment_of(flags: int, options: int, start: int, length: int) -> Fragment:
    """Small ones by default, so that they meet; BIG ones reach the largest datagram."""
    if not flags & BIG:
        start, length = start % 16, length % 80
    length = length // 8 * 8 if flags & MORE and not flags & TWIST else length
    start = start % 8192 * 8
    header_bytes = 20 + options % 11 * 4
    payload = PATTERN[start % 251 :][: min(length, 65535 - header_bytes)]
    return Fragment(header_bytes, start, payload, bool(flags & MORE))


def datagram(piece: Fragment, source: int, ident: int) -> bytes:
    """The fragment as it comes from the wire."""
    options = b"\x01" * (piece.header_bytes - 20)
    header = _ipv4(MAPPED + bytes([10, 0, 3, source]), DESTINATION, 17, 64, 0, ident, len(options) + len(piece.payload),
                   piece.start, piece.more)
    return with_options(header, options) + piece.payload


def with_options(header: bytes, options: bytes) -> bytes:
    """The header made longer; its checksum is a sum, so it changes by what is added."""
    words = len(options) // 4
    changed = bytes([header[0] + words]) + header[1:10]
    added = (words << 8) + words * 0x0202
    checksum = 0xFFFF - int.from_bytes(header[10:12]) + added
    checksum = checksum % 65536 + checksum // 65536
    return changed + (0xFFFF - checksum).to_bytes(2) + header[12:] + options


def agreement(records: Iterator[tuple[int, ...]]) -> Iterator[str]:
    """Each outcome, once the twin has said the same."""
    table = _Table()
    twins: dict[tuple[int, int], Datagram] = {}
    for flags, options, source, ident, start, length in records:
        piece, key = fragment_of(flags, options, start, length), (source % 3, ident % 3)
        if not piece.more and piece.start == 0:
            yield NO_FRAGMENT
            continue
        status, whole = table.add(datagram(piece, *key), 0)
        expected, payload = twins.setdefault(key, Datagram()).add(piece)
        assert name_of(status) == expected
        assert (None if whole is None else whole[whole[0] % 16 * 4 :]) == payload
        if payload is not None:
            del twins[key]
        yield expected


def limits(records: Iterator[tuple[int, ...]]) -> Iterator[str]:
    """Each outcome, with time passing."""
    table, now = _Table(), 0
    for flags, options, source, ident, start, length in records:
        piece = fragment_of(flags, options, start, length)
        if not piece.more and piece.start == 0:
            continue
        now += 7 * SECOND if flags & TICK else 0
        status, whole = table.add(datagram(piece, source % 8 if flags & BIG else source, ident), now)
        assert (whole is not None) == (name_of(status) == "fragment.reassembled")
        assert table.count <= DATAGRAMS
        assert table.held_bytes <= BYTES
        assert table.deadline() > now - 30 * SECOND
        yield name_of(status)
        if flags & TICK:
            yield f"{min(2, table.expire(now))} expired"
            assert table.deadline() > now
        yield f"{min(2, table.evicted())} evicted"
    table.expire(2**62)
    assert (table.count, table.held_bytes) == (0, 0)
