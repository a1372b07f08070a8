"""What address a client of the host is shown under to a guest (libslirp socket.c:sotranslate_accept).

The client's own, so that the guest's logs and rules see who it is; but a client at the host's loopback, one of the other
IP version, and one whose address the guest would look for on its own link are shown as the gateway.
"""

from __future__ import annotations

from pyslirp.addresses import MAPPED_PREFIX, pack, unpack
from pyslirp.config.network import NetworkConfig


class Clients:
    """The address plan of one network, seen from its guests."""

    def __init__(self, network: NetworkConfig) -> None:
        self._network = network
        self._gateways = {version: pack(network.gateway(version)) for version in (4, 6)}

    def shown_as(self, client: bytes, guest: bytes) -> bytes:
        """The far address of a flow that `client` opens towards `guest`; all are 16 engine bytes."""
        v4 = client.startswith(MAPPED_PREFIX)
        gateway = self._gateways[4 if guest.startswith(MAPPED_PREFIX) else 6]
        if v4 != guest.startswith(MAPPED_PREFIX):
            return gateway
        near = client[12] in {0, 127} if v4 else _is_near6(client)
        return gateway if near or self._network.holds(unpack(client)) else client


def _is_near6(client: bytes) -> bool:
    """Unspecified, ::1, or of a link: not an address that a guest could answer to."""
    return client[:12] == bytes(12) or (client[0] == 0xFE and client[1] & 0xC0 == 0x80)
