"""Configuring an interface: what a guest's own DHCP client would do, done for it."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import NamedTuple

from pyslirp.addresses import Mac
from pyslirp.errors import LinkError
from pyslirp.links.netlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    Netlink,
    address_message,
    default_route_message,
    link_message,
)

STEP_UP, STEP_MTU, STEP_MAC, STEP_ADDRESS, STEP_ROUTE = "up", "mtu", "mac", "address", "route"  #: LinkError.step

NO_IPV6 = {errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EACCES}  #: ipv6.disable=1; net.ipv6.conf.*.disable_ipv6=1

_PUT = NLM_F_CREATE | NLM_F_REPLACE


class InterfaceSettings(NamedTuple):
    """What an interface is to have."""

    families: tuple[tuple[IPv4Interface | IPv6Interface, IPv4Address | IPv6Address], ...]  #: address, default gateway
    mtu: int  #: bytes of an IP packet
    mac: Mac | None = None  #: None: the one that the kernel has chosen


def configure(name: str, settings: InterfaceSettings) -> None:
    """Give the interface `name` of this process's network namespace its settings, and set it and `lo` up.

    Raises LinkError with the step that failed.
    """
    step, doing = STEP_UP, "find it"
    try:
        index, loopback = socket.if_nametoindex(name), socket.if_nametoindex("lo")
        with Netlink() as kernel:
            doing = "set lo up"
            kernel.ask(RTM_NEWLINK, link_message(loopback, up=True))
            step, doing = STEP_MTU, f"set MTU {settings.mtu}"
            kernel.ask(RTM_NEWLINK, link_message(index, mtu=settings.mtu))
            if settings.mac is not None:
                step, doing = STEP_MAC, f"set MAC address {settings.mac}"
                kernel.ask(RTM_NEWLINK, link_message(index, mac=settings.mac))
            step, doing = STEP_UP, "set it up"
            kernel.ask(RTM_NEWLINK, link_message(index, up=True))
            for address, gateway in settings.families:
                step, doing = STEP_ADDRESS, f"add the address {address}"
                try:
                    kernel.ask(RTM_NEWADDR, address_message(index, address), _PUT)
                except OSError as error:
                    if error.errno in NO_IPV6 and address.version == 6 and len(settings.families) > 1:
                        continue  # this kernel does without; IPv4 is enough
                    raise
                step, doing = STEP_ROUTE, f"add the default route by {gateway}"
                kernel.ask(RTM_NEWROUTE, default_route_message(index, gateway), _PUT)
    except OSError as error:
        raise LinkError(error.errno, f"{name}: cannot {doing}: {error.strerror or error}", step) from None
