"""Addresses as values: MAC, endpoint, and the 16-byte form in which the engine keeps every IP address.

The engine's tables hold 16 bytes an address: IPv6 as it is, IPv4 as ``::ffff:a.b.c.d`` (RFC 4291 section 2.5.5.2).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple, Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAPPED_PREFIX = bytes(10) + b"\xff\xff"


def pack(address: Address) -> bytes:
    """The engine's 16 bytes for `address`."""
    return MAPPED_PREFIX + address.packed if address.version == 4 else address.packed


def unpack(raw: bytes) -> Address:
    """The address in the engine's 16 bytes; raises ValueError for any other length."""
    if len(raw) != 16:
        raise ValueError(f"an engine address has 16 bytes, not {len(raw)}")
    return IPv4Address(raw[12:]) if raw.startswith(MAPPED_PREFIX) else IPv6Address(raw)


class Endpoint(NamedTuple):
    """An IP address and a port (0 to 65535)."""

    address: Address
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"

    @classmethod
    def of(cls, address: str | Address, port: int) -> Endpoint:
        """From text or address; raises ValueError for what is not an IP address."""
        return cls(ip_address(address) if isinstance(address, str) else address, port)


class UnixAddress(NamedTuple):
    """Where a unix socket is."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @property
    def port(self) -> int:
        """0: it has none, beside an Endpoint's."""
        return 0


class Mac(bytes):
    """An EUI-48 address: six bytes that print as ``52:54:00:12:34:56``."""

    def __new__(cls, value: bytes | str) -> Self:
        """From six bytes, or text with colons or dashes; raises ValueError for anything else."""
        raw = bytes.fromhex(value.replace(":", "").replace("-", "")) if isinstance(value, str) else bytes(value)
        if len(raw) != 6:
            raise ValueError(f"a MAC address has six bytes: {value!r}")
        return super().__new__(cls, raw)

    def __str__(self) -> str:
        return ":".join(f"{byte:02x}" for byte in self)

    def __repr__(self) -> str:
        return f"Mac('{self}')"
