"""The commands that look and change nothing: info, neighbors, leases, flows, counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyslirp.addresses import Endpoint, unpack
from pyslirp.control.command import NUMBER, Nothing, argument, from_entry, value, values
from pyslirp.control.usernet import connection_info
from pyslirp.snapshot import neighbors_of
from pyslirp.stack import Stack

NO_HUB = -1  #: what QEMU prints for a network that is in no hub
FLOWS_AT_ONCE = 1000  #: rows of an answer that asks for no other number
SECOND_NS = 1_000_000_000

_SHOWN = frozenset(
    ("flow", "protocol", "state", "guest", "guest_port", "far", "far_port", "inbound", "served", "opened")
)
_INTERNAL = frozenset(
    ("bytes_to_host", "bytes_to_guest", "tag", "waiting", "mapping", "host_port", "last_from_guest", "expires")
)


@dataclass(frozen=True, slots=True)
class Text:
    """The response of a command that QEMU answers with text."""

    text: str = value("what QEMU's monitor prints, lines ended by a line feed")


def info_usernet(stack: Stack, request: Nothing) -> Text:
    """Every connection and forwarding rule, as QEMU prints them."""
    del request
    return Text(f"Hub {NO_HUB} ({stack.config.network.id}):\n{connection_info(stack)}")


def info_network(stack: Stack, request: Nothing) -> Text:
    """The network in one line, as QEMU prints it."""
    del request
    network = stack.config.network
    restrict = "on" if stack.targets.restrict else "off"
    text = f"{network.id}: index=0,type=user,net={network.net.network_address},restrict={restrict}\n"
    return Text(text)


@dataclass(frozen=True, slots=True)
class Neighbor:
    """Who is at which MAC address."""

    address: str = value("IP address of the guest")
    mac: str = value("its MAC address")
    reachable: bool = value("false: it is being asked for, or does not answer")
    mtu: int = value("largest IP packet that it has proved to take, bytes")
    flows: int = value("its flows")


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The neighbour table."""

    neighbors: tuple[Neighbor, ...] = values("in no order", Neighbor)


def neighbors(stack: Stack, request: Nothing) -> Neighbors:
    """The guests that were heard of: ARP and neighbour discovery."""
    del request
    return Neighbors(tuple(from_entry(Neighbor, entry) for entry in neighbors_of(stack.core)))


@dataclass(frozen=True, slots=True)
class Lease:
    """An address and who has it."""

    address: str = value("IP address")
    mac: str = value("MAC address of the client")
    state: str = value("offered, bound, ended or declined")
    hostname: str | None = value("what the client calls itself")
    client_id: str = value("DHCP option 61 in hex; empty without one")
    expires_in: int | None = value("seconds until this state ends; null: never")


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases."""

    leases: tuple[Lease, ...] = values("in the order of the table", Lease)


def leases(stack: Stack, request: Nothing) -> Leases:
    """The addresses that were given out."""
    del request
    now = stack.engine.now()
    found = stack.services().values()
    return Leases(tuple(_lease(entry, now) for service in found for entry in service.get("leases", ())))


def _lease(entry: Mapping[str, Any], now: int) -> Lease:
    expires = entry["expires"]
    left = None if expires is None else max(expires - now, 0) // SECOND_NS
    return from_entry(Lease, entry, expires_in=left)


@dataclass(frozen=True, slots=True)
class Flow:
    """A conversation."""

    flow: int = value("its number")
    protocol: str = value("tcp, udp or icmp")
    state: str = value("of TCP: RFC 9293's name, or HELD while the host connects; else open or denied")
    guest: str = value("the guest's end")
    far: str = value("the other end, as the guest knows it")
    inbound: bool = value("opened towards the guest")
    served: bool = value("answered in this process, not by a socket of the host")
    age: float = value("seconds since it was opened")
    bytes_to_host: int = value("payload that has gone out")
    bytes_to_guest: int = value("payload that has come in")
    details: dict[str, Any] = value(
        "windows and queues (bytes), RTT (ns); of datagrams their number and where they really go"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowsRequest:
    """How many flows are wanted."""

    limit: int = argument(NUMBER, "LIMIT", "most flows to show", FLOWS_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Flows:
    """The flow table, or its beginning."""

    flows: tuple[Flow, ...] = values("in no order", Flow)
    more: bool = value("there are more than these")


def flows(stack: Stack, request: FlowsRequest) -> Flows:
    """The conversations of guests with the world, and their state."""
    found = stack.core.flows(request.limit + 1)
    now = stack.engine.now()
    return Flows(tuple(_flow(entry, now) for entry in found[: request.limit]), len(found) > request.limit)


def _flow(entry: Mapping[str, Any], now: int) -> Flow:
    details = {name: found for name, found in entry.items() if name not in _SHOWN | _INTERNAL}
    if "host" in details:
        details["host"] = str(Endpoint(unpack(entry["host"]), entry["host_port"]))
    return from_entry(
        Flow,
        entry,
        guest=str(Endpoint(unpack(entry["guest"]), entry["guest_port"])),
        far=str(Endpoint(unpack(entry["far"]), entry["far_port"])),
        age=round((now - entry["opened"]) / SECOND_NS, 3),
        details=details,
    )


@dataclass(frozen=True, slots=True)
class Counters:
    """Every counter."""

    counters: dict[str, int] = value("by name, as in docs/counters.md; a service's begin with its name")


def counters(stack: Stack, request: Nothing) -> Counters:
    """What has happened, how often (docs/counters.md says what each counts)."""
    del request
    counted = dict(stack.core.counters())
    for name, service in stack.services().items():
        counted |= {f"{name}.{word}": number for word, number in service.get("counters", {}).items()}
    return Counters(counted)
