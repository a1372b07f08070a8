"""What address a client of the host is shown under to a guest (libslirp socket.c:sotranslate_accept).

The client's own, so that the guest's logs and rules see who it is; but a client at the host's loopback, one of IPv6,
and one whose address the guest would look for inside its own network are shown as the gateway.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from pyslirp.addresses import MAPPED_PREFIX, pack


class Clients:
    """The address plan of one network, seen from its guests."""

    def __init__(self, net: IPv4Network, gateway: IPv4Address) -> None:
        self._shift = 32 - net.prefixlen
        self._net = int(net.network_address) >> self._shift
        self._gateway = pack(gateway)

    def shown_as(self, client: bytes) -> bytes:
        """The far address of a flow that `client` opens towards a guest; both are 16 engine bytes."""
        if not client.startswith(MAPPED_PREFIX) or client[12] in {0, 127}:
            return self._gateway
        return self._gateway if int.from_bytes(client[12:]) >> self._shift == self._net else client
