"""Domain names on the wire, as search lists carry them: text to RFC 1035 labels.

With compression for DHCP (RFC 3397 section 2), without for DHCPv6 (RFC 8415 section 10) and for router advertisements
(RFC 8106 section 5.2), which forbid it.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_LABEL_BYTES = 63  #: RFC 1035 section 2.3.4
MAX_NAME_BYTES = 255  #: the same, with length bytes and root
MAX_POINTER = 0x4000  #: a compression pointer has 14 bits


def pack_compressed(domains: Sequence[str]) -> bytes:
    """Names with compression pointers that count from the first byte.

    Raises ValueError for what is not a DNS name (RFC 1035 section 2.3.4).
    """
    packed = bytearray()
    seen: dict[tuple[bytes, ...], int] = {}
    for domain in domains:
        labels = labels_of(domain)
        for index in range(len(labels)):
            suffix = tuple(label.lower() for label in labels[index:])
            if suffix in seen:
                packed += (0xC000 | seen[suffix]).to_bytes(2, "big")
                break
            if len(packed) < MAX_POINTER:
                seen[suffix] = len(packed)
            packed += bytes([len(labels[index])]) + labels[index]
        else:
            packed.append(0)
    return bytes(packed)


def pack_names(domains: Sequence[str]) -> bytes:
    """Names one after the other, each whole.  Raises ValueError as `pack_compressed`."""
    return b"".join(pack_labels(labels_of(domain)) + b"\0" for domain in domains)


def pack_labels(labels: Sequence[bytes]) -> bytes:
    """Labels with their lengths, and no root: the form of a partial name (RFC 4704 section 4.2)."""
    return b"".join(bytes([len(label)]) + label for label in labels)


def labels_of(domain: str) -> list[bytes]:
    """The labels of a name with or without a final dot.  Raises ValueError for what is not a DNS name."""
    labels = [label.encode("ascii", "replace") for label in domain.removesuffix(".").split(".")]
    if not domain.isascii() or any(not 1 <= len(label) <= MAX_LABEL_BYTES for label in labels):
        raise ValueError(f"not a domain name: {domain!r} (ASCII labels of 1 to 63 characters)")
    if sum(1 + len(label) for label in labels) + 1 > MAX_NAME_BYTES:
        raise ValueError(f"domain name too long: {domain!r} (255 bytes at most)")
    return labels
