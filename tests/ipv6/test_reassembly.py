"""IPv6 fragments in the table (RFC 8200 section 4.5, RFC 5722): what the unit tests of the table say of IPv4, here."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyslirp.engine.tables.reassembly import _Table
from tests.oracle.headers_ipv6 import DESTINATION, FRAGMENT, HOP_BY_HOP, UDP, fragment, headers, options
from tests.oracle.reassembly import Datagram, Fragment
from tests.oracle.status import name_of

PAYLOAD = bytes(range(256)) * 256
PLAIN = (HOP_BY_HOP, options((1, bytes(4))))
LONG = (DESTINATION, options((1, bytes(230)), (1, bytes(200))))


def piece(
    start: int, length: int, more: bool, *, ident: int = 1, protocol: int = UDP, chain: tuple[tuple[int, bytes], ...] = ()
) -> bytes:
    data = PAYLOAD[start : start + length]
    chain = (*chain, (FRAGMENT, fragment(start, more, ident)))
    return headers(len(data), protocol, chain=chain) + data


def add(table: _Table, packet: bytes) -> str:
    return name_of(table.add(packet, 0)[0])


@pytest.mark.parametrize("chain", [(), (PLAIN,), (PLAIN, LONG)])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_headers_in_front_are_those_of_the_whole(order: tuple[int, ...], chain: tuple[tuple[int, bytes], ...]) -> None:
    table = _Table()
    pieces = [piece(at, 1000, at < 2000, chain=chain) for at in range(0, 3000, 1000)]
    for index in order[:-1]:
        assert add(table, pieces[index]) == "fragment.received"
    status, whole = table.add(pieces[order[-1]], 0)
    assert name_of(status) == "fragment.reassembled"
    assert whole == headers(3000, UDP, chain=chain) + PAYLOAD[:3000]
    assert (table.count, table.held_bytes) == (0, 0)


def test_the_protocol_is_that_of_the_first_fragment() -> None:
    """The others' is not part of the datagram's name (RFC 8200 section 4.5)."""
    table = _Table()
    assert add(table, piece(8, 24, more=False, protocol=6)) == "fragment.received"
    _, whole = table.add(piece(0, 8, more=True), 0)
    assert whole == headers(32, UDP) + PAYLOAD[:32]


@pytest.mark.parametrize(
    ("chain", "last", "status"),
    [
        ((), 65535 - 65528, "fragment.reassembled"),
        ((), 65536 - 65528, "fragment.too_big"),
        ((PLAIN,), 65527 - 65520, "fragment.reassembled"),
        ((PLAIN,), 65528 - 65520, "fragment.too_big"),
    ],
)
def test_the_largest_datagram(chain: tuple[tuple[int, bytes], ...], last: int, status: str) -> None:
    """A payload length has 16 bits and counts extension headers: the ping of death of IPv6."""
    table = _Table()
    end = 65520 if chain else 65528
    for at in range(0, end, 8184):
        assert add(table, piece(at, min(8184, end - at), more=True, chain=chain)) == "fragment.received"
    assert add(table, piece(end, last, more=False, chain=chain)) == status


def test_identifications_have_32_bits() -> None:
    table = _Table()
    assert add(table, piece(0, 8, more=True, ident=1)) == "fragment.received"
    assert add(table, piece(8, 8, more=False, ident=0x10001)) == "fragment.received"
    assert table.count == 2


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 80), st.booleans()), max_size=12))
def test_any_fragments_come_to_what_the_twin_says(places: list[tuple[int, int, bool]]) -> None:
    """An overlap drops all of them (RFC 5722), and nothing but an exact duplicate is none."""
    table, twin = _Table(), Datagram()
    for unit, length, more in places:
        start = unit * 8
        if (not more and start == 0) or (start == 0 and length < 8):
            continue  # a whole datagram; a first fragment without its transport header
        new = Fragment(40, start, PAYLOAD[start : start + length], more)
        status, whole = table.add(piece(start, length, more), 0)
        expected, payload = twin.add(new._replace(header_bytes=20))
        assert name_of(status) == expected
        assert (None if whole is None else whole[40:]) == payload
        if payload is not None:
            twin = Datagram()
