"""The Internet checksum as RFC 1071 section 1 words it: 16-bit words in network order, added with end-around carry."""

from __future__ import annotations

import struct


def folded_sum(data: bytes) -> int:
    """The one's complement sum of `data`, padded with a zero byte to whole words; 0 only where every byte is."""
    total = 0
    for (word,) in struct.iter_unpack("!H", data + b"\0" * (len(data) % 2)):
        total += word
        if total > 0xFFFF:
            total -= 0xFFFF  # the carry out of the top comes in at the bottom
    return total


def checksum(data: bytes) -> int:
    """What belongs in the checksum field of `data`, in which that field is zero."""
    return 0xFFFF - folded_sum(data)


def is_good(data: bytes) -> bool:
    """Does `data`, checksum field and all, add up?"""
    return folded_sum(data) == 0xFFFF


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """RFC 9293 section 3.1 for packed addresses of 4 bytes, RFC 8200 section 8.1 for such of 16."""
    if len(source) == 4:
        return source + destination + struct.pack("!BBH", 0, protocol, length)
    return source + destination + struct.pack("!IBBBB", length, 0, 0, 0, protocol)
