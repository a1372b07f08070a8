"""``info usernet``: the table of connections, byte for byte as libslirp prints it (misc.c, slirp_connection_info).

Scripts read it to find the port that the host has chosen for ``hostfwd=tcp::0-:22``.  What is ours:

- IPv6 has rows of the same shape, its addresses wider than the column; libslirp leaves it out.
- Of a flow whose target is in this process the descriptor is -1: it has none.
- A guest's connection that still waits for the host is SYN_RCVD, as it is called in libslirp.
- UDP through a forwarding rule has a row for each client besides the rule's own.
- The source of a Unix socket's rule is "unix", its port 0; a rule that waits for its guest has no descriptor yet.

Like libslirp's, rows are TCP, UDP, ICMP, the newest first; forwarding rules come after the flows of their protocol.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pyslirp.addresses import Address, Endpoint, UnixAddress, unpack
from pyslirp.stack import Stack

HEADER = "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n"
SECOND_NS = 1_000_000_000
NO_DESCRIPTOR = -1

_STATES = {"HELD": "SYN_RCVD"}  #: what libslirp calls a state of ours that has another name
_ORDER = ("tcp", "udp", "icmp")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    protocol: str
    state: str
    descriptor: int
    source: Endpoint | UnixAddress
    destination: Endpoint
    receive_queue: int = 0  #: bytes from the guest that the host has not taken
    send_queue: int = 0  #: bytes for the guest that it has not acknowledged

    def __str__(self) -> str:
        name = f"  {self.protocol.upper()}[{self.state}]"
        source = _source(self.source)
        queues = f"{self.receive_queue:5d} {self.send_queue:5d}\n"
        if self.protocol == "icmp":
            return f"{name:<19} {self.descriptor:3d} {source:>15}  -    {self.destination.address!s:>15}  -    {queues}"
        return (
            f"{name:<19} {self.descriptor:3d} {source:>15} {self.source.port:5d} "
            f"{self.destination.address!s:>15} {self.destination.port:5d} {queues}"
        )


def _source(source: Endpoint | UnixAddress) -> str:
    if isinstance(source, UnixAddress):
        return "unix"
    return str(source.address) if int(source.address) else "*"


def connection_info(stack: Stack) -> str:
    """The table of one network, without the line that names it."""
    return "".join([HEADER, *map(str, rows(stack))])


def rows(stack: Stack) -> Iterable[Row]:
    """Every flow and every rule."""
    descriptors = stack.engine.descriptors()
    now = stack.engine.now()
    flows = sorted(stack.core.flows(), key=lambda flow: -flow["opened"])
    flows = [flow for flow in flows if flow["state"] != "denied"]
    for protocol in _ORDER:
        yield from (_of_flow(flow, descriptors, now) for flow in flows if flow["protocol"] == protocol)
        yield from (row for row in reversed(_of_forwards(stack)) if row.protocol == protocol)


def _of_flow(flow: Mapping[str, Any], descriptors: Mapping[int, int], now: int) -> Row:
    guest = Endpoint(unpack(flow["guest"]), flow["guest_port"])
    far = Endpoint(unpack(flow["far"]), flow["far_port"])
    if flow["protocol"] == "tcp":
        descriptor = descriptors.get(flow["flow"], NO_DESCRIPTOR)
        ends = (_local(descriptor) or far, guest) if flow["inbound"] else (guest, far)
        state = _STATES.get(flow["state"], flow["state"])
        return Row("tcp", state, descriptor, *ends, flow["receive_queue"], flow["send_queue"])
    seconds = max(flow["expires"] - now, 0) // SECOND_NS
    return Row(flow["protocol"], f"{seconds} sec", descriptors.get(flow["mapping"], NO_DESCRIPTOR), guest, far)


def _of_forwards(stack: Stack) -> list[Row]:
    return [
        Row(
            "udp" if forward.rule.protocol == "udp" else "tcp",
            "HOST_FORWARD",
            forward.descriptor,
            forward.listen,
            Endpoint(forward.rule.guest, forward.rule.guest_port),
        )
        for forward in stack.forwards
    ]


def _local(descriptor: int) -> Endpoint | None:
    """Our end of an accepted connection, which libslirp shows as its source; None where the socket has none."""
    if descriptor < 0:
        return None
    borrowed = socket.socket(fileno=descriptor)
    try:
        name = borrowed.getsockname()
    except OSError:
        return None
    finally:
        borrowed.detach()
    if not isinstance(name, tuple):
        return None  # a Unix socket's is a path
    address: Address = Endpoint.of(name[0].partition("%")[0], 0).address
    mapped = address.ipv4_mapped if address.version == 6 else None
    return Endpoint(mapped or address, name[1])
