"""Configuring an interface: what a guest's own DHCP client would do, done for it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

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

_PUT = NLM_F_CREATE | NLM_F_REPLACE


@dataclass(frozen=True, slots=True)
class InterfaceSettings:
    """What an interface is to have."""

    address: IPv4Interface
    gateway: IPv4Address  #: of the default route
    mtu: int  #: bytes of an IP packet
    mac: Mac | None = None  #: None: the one that the kernel has chosen


def configure(name: str, settings: InterfaceSettings) -> None:
    """Give the interface `name` of this process's network namespace its settings, and set it and `lo` up.

    Raises LinkError with the step that failed.
    """
    step = "find it"
    try:
        index, loopback = socket.if_nametoindex(name), socket.if_nametoindex("lo")
        with Netlink() as kernel:
            step = "set lo up"
            kernel.ask(RTM_NEWLINK, link_message(loopback, up=True))
            step = f"set MTU {settings.mtu}" + (f" and MAC address {settings.mac}" if settings.mac else "")
            kernel.ask(RTM_NEWLINK, link_message(index, mtu=settings.mtu, mac=settings.mac))
            step = "set it up"
            kernel.ask(RTM_NEWLINK, link_message(index, up=True))
            step = f"add the address {settings.address}"
            kernel.ask(RTM_NEWADDR, address_message(index, settings.address), _PUT)
            step = f"add the default route by {settings.gateway}"
            kernel.ask(RTM_NEWROUTE, default_route_message(index, settings.gateway), _PUT)
    except OSError as error:
        raise LinkError(error.errno, f"{name}: cannot {step}: {error.strerror or error}") from None
