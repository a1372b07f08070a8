"""Which addresses an interface of the host has."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from ipaddress import IPv4Address, IPv6Address

SIOCGIFADDR = 0x8915  #: netdevice(7)
INTERFACE_NAME_BYTES = 15  #: IFNAMSIZ without the NUL
IF_INET6 = "/proc/net/if_inet6"  #: proc(5): address, index, prefix length, scope, flags, name

_IFREQ = struct.Struct("16s4x4s16x")  # struct ifreq with a struct sockaddr_in: name, family and port, address
_GLOBAL_SCOPE, _HOST_SCOPE = "00", "10"  # net/ipv6.h: IPV6_ADDR_LOOPBACK is what `ip` calls host
_TENTATIVE, _DAD_FAILED = 0x40, 0x08  # linux/if_addr.h: IFA_F_*


def ipv4_of_interface(name: str) -> IPv4Address | None:
    """Its first IPv4 address; None where it has none, or is not there."""
    encoded = os.fsencode(name)
    if len(encoded) > INTERFACE_NAME_BYTES or b"\0" in encoded:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, SIOCGIFADDR, _IFREQ.pack(encoded, bytes(4)))
        except OSError:
            return None
    return IPv4Address(_IFREQ.unpack(answer)[1])


def ipv6_of_interface(name: str, table: str = IF_INET6) -> IPv6Address | None:
    """Its first IPv6 address that is good for more than its link; None where it has none, or is not there."""
    try:
        with open(table) as opened:  # noqa: PTH123 - pathlib takes longer than all the rest: see pyslirp/taps.py
            lines = opened.readlines()
    except OSError:  # a kernel without IPv6
        return None
    for line in lines:
        address, _, _, scope, flags, interface = line.split()
        usable = not int(flags, 16) & (_TENTATIVE | _DAD_FAILED)
        if interface == name and scope in {_GLOBAL_SCOPE, _HOST_SCOPE} and usable:
            return IPv6Address(int(address, 16))
    return None
