"""What is decided about a new flow.  Asked once; the engine remembers the answer with the flow.

Addresses are the engine's 16 bytes (`pyslirp.addresses.pack`): a verdict is made for every connection of every guest.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

ICMP = 1
TCP = 6
UDP = 17
PROTOCOLS = {ICMP: "icmp", TCP: "tcp", UDP: "udp"}  #: IANA protocol numbers of flows
NUMBERS = {name: number for number, name in PROTOCOLS.items()}


class FlowName(NamedTuple):
    """Who wants to speak with whom, as it stands in the guest's packet."""

    protocol: int  #: ICMP, TCP or UDP
    guest: bytes
    guest_port: int  #: of an ICMP echo: its identifier
    far: bytes
    far_port: int  #: of an ICMP echo: 0


class How(IntEnum):
    """How a flow is refused; the numbers are the engine's (core/flows.pxd Denial)."""

    RESET = 1  #: TCP: a reset, as from a port where nobody listens; UDP: port unreachable
    PORT_UNREACHABLE = 2
    HOST_UNREACHABLE = 3
    NET_UNREACHABLE = 4
    PROHIBITED = 5  #: communication administratively prohibited (RFC 1812 section 5.2.7.1)
    SILENT = 6  #: nothing is said


class Allow(NamedTuple):
    """The flow goes to a host socket connected to `address`:`port` (of an echo: `address`)."""

    address: bytes
    port: int


class Attach(NamedTuple):
    """The TCP flow goes to a connected stream socket that `open` makes for it."""

    open: Callable[[int], int]  #: is given the flow, returns a descriptor that the caller owns; raises OSError
    target: str  #: what events call it


class Deny(NamedTuple):
    """The flow is refused."""

    how: How
    reason: str  #: for events and logs


class Serve(NamedTuple):
    """A server in this process answers: the one registered as `name`."""

    name: str


Verdict = Allow | Attach | Deny | Serve
