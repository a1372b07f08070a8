"""The packet that an ICMP error quotes, read by slices: twin of codecs/quote.pyx."""

from __future__ import annotations

from typing import Any

MAPPED = bytes(10) + b"\xff\xff"


def read(data: bytes) -> dict[str, Any] | None:
    """The fields, or None where it is not the beginning of a packet with eight bytes behind its header."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20:
        header = (data[0] & 15) * 4
        if header < 20 or int.from_bytes(data[6:8], "big") & 0x1FFF:
            return None
        protocol, total = data[9], int.from_bytes(data[2:4], "big")
        source, destination = MAPPED + data[12:16], MAPPED + data[16:20]
    elif version == 6 and len(data) >= 40:
        header = 40
        protocol, total = data[6], 40 + int.from_bytes(data[4:6], "big")
        source, destination = data[8:24], data[24:40]
    else:
        return None
    body = data[header : header + 8]
    if len(body) < 8:
        return None
    return {
        "protocol": protocol,
        "source": source,
        "destination": destination,
        "source_port": int.from_bytes(body[:2], "big"),
        "destination_port": int.from_bytes(body[2:4], "big"),
        "word": int.from_bytes(body[4:], "big"),
        "packet_bytes": total,
    }
