"""What a running network tells the outside: one frozen dataclass for each thing that happens.

`Network.events()` yields them; services and the stack make them.  `at` is the engine's clock (monotonic nanoseconds).
"""

from __future__ import annotations

from pyslirp.addresses import Address, Endpoint, Mac, UnixAddress
from pyslirp.records import dataclass

NEVER_NS = 2**63 - 1  #: `LeaseGranted.expires` of a lease without end


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    at: int  #: engine clock, nanoseconds


@dataclass(frozen=True, slots=True)
class LinkUp(Event):
    """A guest is attached: a port of the switch has come to life."""

    port: int  #: number of the switch port
    name: str  #: what the link calls it, e.g. ``127.0.0.1:1234#1``


@dataclass(frozen=True, slots=True)
class LinkDown(Event):
    """A port of the switch has gone; its leases and flows stay until they expire."""

    port: int
    name: str
    reason: str  #: "closed" when the guest's side went, else one clear line


@dataclass(frozen=True, slots=True)
class LeaseGranted(Event):
    """DHCP or DHCPv6 has acknowledged an address (a renewal grants again)."""

    address: Address
    mac: Mac
    hostname: str | None
    expires: int  #: engine clock, nanoseconds


@dataclass(frozen=True, slots=True)
class LeaseEnded(Event):
    """A lease was released, declined or has expired."""

    address: Address
    mac: Mac
    reason: str  #: "released", "declined" or "expired"


@dataclass(frozen=True, slots=True)
class FlowOpened(Event):
    """A new flow has been let through."""

    flow: int
    protocol: str  #: "tcp", "udp" or "icmp"
    guest: Endpoint
    far: Endpoint  #: the other end as the guest sees it
    target: str  #: where it really goes, e.g. ``127.0.0.1:80`` or ``handler``
    inbound: bool  #: opened towards the guest


@dataclass(frozen=True, slots=True)
class FlowDenied(Event):
    """A new flow was not let through."""

    protocol: str
    guest: Endpoint
    far: Endpoint
    reason: str


@dataclass(frozen=True, slots=True)
class FlowClosed(Event):
    """A flow has ended."""

    flow: int
    protocol: str
    guest: Endpoint
    far: Endpoint
    reason: str  #: "closed", "reset by guest", "reset by host", "timed out", "refused", "expired" ...
    bytes_to_host: int
    bytes_to_guest: int


@dataclass(frozen=True, slots=True)
class ForwardAdded(Event):
    """A host forwarding rule is there; `listen` has the port that was really chosen."""

    rule: str
    listen: Endpoint | UnixAddress


@dataclass(frozen=True, slots=True)
class ForwardReady(Event):
    """The guest's port of a rule marked ready accepts connections, or does so no more; so does the host's."""

    rule: str
    ready: bool


@dataclass(frozen=True, slots=True)
class ForwardRemoved(Event):
    """A host forwarding rule is gone."""

    rule: str


@dataclass(frozen=True, slots=True)
class TransferEnded(Event):
    """A guest's TFTP transfer is over, or was refused."""

    guest: Endpoint
    name: str
    sent: int  #: bytes of the file
    reason: str  #: "done", "given up", "aborted", "replaced", or what the guest was told


@dataclass(frozen=True, slots=True)
class NameResolved(Event):
    """A guest's DNS query was answered."""

    guest: Endpoint
    name: str
    rdtype: str
    rcode: str
    server: str  #: the resolver that answered


@dataclass(frozen=True, slots=True)
class NameFailed(Event):
    """A guest's DNS query got no answer from any resolver."""

    guest: Endpoint
    name: str
    rdtype: str
    reason: str
