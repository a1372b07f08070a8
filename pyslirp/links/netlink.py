"""rtnetlink(7), as much of it as an interface of ours needs: set a link, add an address, add a route.

Why not pyroute2, which knows all of it: importing it takes 180 ms of processor time where Python itself takes 13 and this
module with all it needs 20, and whoever makes a tap waits for it (tests/meta/test_startup.py).  For four messages that never
change that is too much; the tests hold them against pyroute2's reading of them.

A message is a header, a fixed part and attributes (type, length, value), each aligned to four bytes, in the byte order of
the machine.  Every request wants an acknowledgement, which says 0 or an errno.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from types import TracebackType
from typing import Self

RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 20, 24
NLMSG_ERROR = 2
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
IFF_UP = 0x1
IFLA_ADDRESS, IFLA_MTU = 1, 4
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
IFA_F_NODAD = 0x02
RTA_OIF, RTA_GATEWAY = 4, 5
RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST = 254, 4, 0, 1

ANSWER_BYTES = 16_384

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ERROR = struct.Struct("=i")  # struct nlmsgerr, whose rest is our request
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, which flags
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, lengths, tos, table, protocol, scope, type, flags
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_NUMBER = struct.Struct("=I")


def link_message(index: int, *, up: bool = False, mtu: int | None = None, mac: bytes | None = None) -> bytes:
    """Body of RTM_NEWLINK for an interface that is there."""
    attributes = b""
    if mtu is not None:
        attributes += _attribute(IFLA_MTU, _NUMBER.pack(mtu))
    if mac is not None:
        attributes += _attribute(IFLA_ADDRESS, mac)
    flag = IFF_UP if up else 0
    return _LINK.pack(socket.AF_UNSPEC, 0, index, flag, flag) + attributes


def address_message(index: int, address: IPv4Interface | IPv6Interface) -> bytes:
    """Body of RTM_NEWADDR.  An IPv6 address is good at once: duplicates are not looked for."""
    raw, broadcast = address.ip.packed, address.network.broadcast_address.packed
    family, flags = (socket.AF_INET, 0) if address.version == 4 else (socket.AF_INET6, IFA_F_NODAD)
    body = _ADDRESS.pack(family, address.network.prefixlen, flags, RT_SCOPE_UNIVERSE, index)
    body += _attribute(IFA_LOCAL, raw) + _attribute(IFA_ADDRESS, raw)
    return body + _attribute(IFA_BROADCAST, broadcast) if address.version == 4 else body


def default_route_message(index: int, gateway: IPv4Address | IPv6Address) -> bytes:
    """Body of RTM_NEWROUTE for the default route of the gateway's family."""
    family = socket.AF_INET if gateway.version == 4 else socket.AF_INET6
    fixed = _ROUTE.pack(family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
    return fixed + _attribute(RTA_GATEWAY, gateway.packed) + _attribute(RTA_OIF, _NUMBER.pack(index))


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """A whole request."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST | NLM_F_ACK, sequence, 0) + body


class Netlink:
    """A conversation with the kernel about the network namespace that this process is in."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sequence = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Make one request and wait until it is carried out.  Raises OSError with the kernel's errno."""
        sequence = next(self._sequence)
        self._socket.send(message(kind, flags, sequence, body))
        while True:
            answer = self._socket.recv(ANSWER_BYTES)
            _, answered, _, to, _ = _HEADER.unpack_from(answer)
            if answered == NLMSG_ERROR and to == sequence:
                break
        number = -_ERROR.unpack_from(answer, _HEADER.size)[0]
        if number:
            raise OSError(number, os.strerror(number))
