from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp import addresses
from pyslirp.engine.stores import checksum
from tests.oracle.checksum import checksum as slow_checksum
from tests.oracle.checksum import folded_sum, is_good, pseudo_header

# Lengths around the words, blocks and turns of the wide loops; contents that carry a lot.
LENGTHS = [*range(20), 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 383, 384, 385, 1459, 1460, 1461, 4095]
data = st.one_of(st.binary(max_size=300), st.integers(0, 5000).map(lambda length: b"\xff" * length))
sixteen = st.binary(min_size=16, max_size=16)
sums = st.integers(0, 2**32 - 1)


def network_order(partial: int) -> int:
    """The folded sum as a number, from its bytes in memory."""
    return int.from_bytes(checksum._sum_fold(partial).to_bytes(2, "little"))


@given(data, st.integers(0, 16))
def test_sum_of_any_bytes_at_any_alignment(given_data: bytes, offset: int) -> None:
    held = bytes(offset) + given_data
    assert network_order(checksum._sum_bytes(held, offset)) == folded_sum(given_data)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("fill", [b"\x00", b"\xff", b"\x01\xfe", b"\x80\x00\x7f", b"\xff\xff\x00"])
def test_sum_of_every_length_around_a_block(length: int, fill: bytes) -> None:
    held = (fill * length)[:length]
    copy, total = checksum._sum_copy(held)
    assert copy == held
    assert total == checksum._sum_bytes(held)
    assert network_order(total) == folded_sum(held)


def test_the_largest_datagram_of_ones_does_not_overflow() -> None:
    assert network_order(checksum._sum_bytes(b"\xff" * 65535)) == folded_sum(b"\xff" * 65535)
    assert network_order(checksum._sum_bytes(b"\xff" * 4_000_000, 0, 2**32 - 1)) == 0xFFFF


@given(data, st.integers(0, 16), sums)
def test_copy_is_a_copy_and_sums_the_same(given_data: bytes, offset: int, start: int) -> None:
    held = bytes(offset) + given_data
    copy, total = checksum._sum_copy(held, offset, start)
    assert copy == given_data
    assert checksum._sum_fold(total) == checksum._sum_fold(checksum._sum_bytes(held, offset, start))


@given(st.lists(data, max_size=6))
def test_pieces_add_up_to_the_whole(pieces: list[bytes]) -> None:
    total = at = 0
    for piece in pieces:
        partial = checksum._sum_bytes(piece)
        total = checksum._sum_add(total, checksum._sum_odd(partial) if at % 2 else partial)
        at += len(piece)
    assert network_order(total) == folded_sum(b"".join(pieces))


@given(sums, sums)
def test_addition_carries_around(one: int, other: int) -> None:
    assert checksum._sum_add(one, other) == (one + other if one + other < 2**32 else one + other - 2**32 + 1)
    assert checksum._sum_fold(one) % 0xFFFF == one % 0xFFFF
    assert (checksum._sum_fold(one) == 0) == (one == 0)


@given(data)
def test_what_is_stored_makes_the_message_good(given_data: bytes) -> None:
    field = checksum._sum_store(checksum._sum_bytes(given_data))
    assert field == slow_checksum(given_data).to_bytes(2)
    whole = given_data + bytes(len(given_data) % 2) + field
    assert checksum._sum_is_good(checksum._sum_bytes(whole))
    assert is_good(whole)


@pytest.mark.parametrize("length", [20, 1460])
def test_one_wrong_bit_is_seen(length: int) -> None:
    body = bytes(range(256)) * 6
    whole = body[: length - 2] + checksum._sum_store(checksum._sum_bytes(body[: length - 2]))
    for at in range(length):
        wrong = whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
        assert not checksum._sum_is_good(checksum._sum_bytes(wrong))


def test_silence_is_not_a_good_sum() -> None:
    assert not checksum._sum_is_good(checksum._sum_bytes(bytes(40)))


def test_rfc_1071_example() -> None:
    held = bytes.fromhex("0001f203f4f5f6f7")  # section 3
    assert network_order(checksum._sum_bytes(held)) == 0xDDF2


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(0, 255), st.integers(0, 65535))
def test_pseudo_header_of_ipv4(one: addresses.Address, other: addresses.Address, protocol: int, length: int) -> None:
    total = checksum._sum_pseudo(addresses.pack(one), addresses.pack(other), protocol, length)
    assert network_order(total) == folded_sum(pseudo_header(one.packed, other.packed, protocol, length))


@given(sixteen, sixteen, st.integers(0, 255), sums)
def test_pseudo_header_of_ipv6(one: bytes, other: bytes, protocol: int, length: int) -> None:
    total = checksum._sum_pseudo(b"\x20" + one[1:], other, protocol, length)
    assert network_order(total) == folded_sum(pseudo_header(b"\x20" + one[1:], other, protocol, length))
