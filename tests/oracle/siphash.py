"""SipHash-1-3 in the words of its paper (Aumasson and Bernstein, 2012, section 2), with Python's own integers."""

from __future__ import annotations

import struct

WORD = 2**64


def rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) % WORD


def sip_round(v: list[int]) -> None:
    for a, b, c, d, by_b, by_d in ((0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)):
        v[a] = (v[a] + v[b]) % WORD
        v[c] = (v[c] + v[d]) % WORD
        v[b] = rotate(v[b], by_b) ^ v[a]
        v[d] = rotate(v[d], by_d) ^ v[c]
        v[a] = rotate(v[a], 32)


def siphash13(data: bytes, key0: int, key1: int) -> int:
    """One round for each word of the message, three at the end."""
    v = [
        key0 ^ int.from_bytes(b"somepseu"),
        key1 ^ int.from_bytes(b"dorandom"),
        key0 ^ int.from_bytes(b"lygenera"),
        key1 ^ int.from_bytes(b"tedbytes"),
    ]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        sip_round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]
