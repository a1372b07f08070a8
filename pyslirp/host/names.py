"""Names of hosts, looked up with the host's own resolver.

That may take seconds, so that it is done when a network is made and never while it runs.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address


def ipv4_of(name: str) -> IPv4Address | None:
    """The first IPv4 address of a host, None where it has none."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return None
    return IPv4Address(found[0][4][0])
