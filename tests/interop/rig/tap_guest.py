"""A network namespace as a user makes one for pyslirp to put a tap in: with a user namespace of its own."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from tests.interop.rig.conversation import exchange, noise
from tests.interop.rig.namespace import Namespace, accept
from tests.interop.rig.require import require, unavailable
from tests.interop.rig.topology import GATEWAY

TUN = Path("/dev/net/tun")


def tap_guest(host: Namespace) -> Namespace:
    """A namespace whose user namespace is a child of ``host``'s; nothing in it but lo, which is up."""
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as error:
        unavailable(f"{TUN}: {error.strerror}: modprobe tun, or run as root")
    return Namespace("guest", host, [require("unshare", "util-linux"), "--user", "--map-root-user", "--net"])


def address_of(guest: Namespace, interface: str = "tap0") -> str:
    """The interface's IPv4 address with its prefix length; empty where it has none."""
    found = re.search(r"inet (\S+)", guest.run(f"ip -4 addr show dev {interface}").check())
    return found[1] if found else ""


def to_host(guest: Namespace, host: Namespace) -> tuple[socket.socket, socket.socket]:
    """A connection from the guest to a server on the host's loopback: the guest's socket, the server's."""
    with host.listener() as listener:
        client = guest.connect(GATEWAY, listener.getsockname()[1])
        server, _ = accept(listener)
    return client, server


def talk(guest: Namespace, host: Namespace, size: int = 1 << 20) -> None:
    """A connection to the host's loopback carries bytes both ways."""
    client, server = to_host(guest, host)
    exchange([(client, server, noise(size, 1)), (server, client, noise(size, 2))])
