"""What address a client of the host is shown under to a guest (libslirp socket.c:sotranslate_accept).

The client's own, so that the guest's logs and rules see who it is; but a loopback client, one of another IP version, and
one whose address the guest would look for inside its own network are shown as the gateway.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from pyslirp.addresses import Address, unpack


def shown_as(client: bytes, net: IPv4Network, gateway: IPv4Address) -> Address:
    """The far address of an inbound flow; `client`: the engine's 16 bytes."""
    address = unpack(client)
    if (
        isinstance(address, IPv4Address)
        and not address.is_loopback
        and not address.is_unspecified
        and address not in net
    ):
        return address
    return gateway
