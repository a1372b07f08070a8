"""The networks around a guest, and the addresses in them that answer, refuse or stay silent.

    host    127.0.0.1 and 192.0.2.1: where pyslirp runs; default route through the router
    router  192.0.2.2 and 198.51.100.1: forwards; one hop more for traceroute; source of ICMP errors
    far     198.51.100.2: a machine on the other side

All are documentation addresses (RFC 5737) or those for benchmarks (RFC 2544), and exist only in the lab's namespaces.
"""

from __future__ import annotations

from pathlib import Path

from tests.interop.rig.namespace import Namespace, join

HOST = "192.0.2.1"
ROUTER = "192.0.2.2"
FAR = "198.51.100.2"

NO_ROUTE = "198.18.0.1"  # the host's own routing table says unreachable: connect() fails at once
PROHIBITED = "198.18.1.1"  # the host's own routing table says prohibited
FAR_UNREACHABLE = "203.0.113.1"  # the router answers with ICMP host unreachable
SILENT = "203.0.113.201"  # the router drops it and says nothing

GATEWAY = "10.0.2.2"
DNS = "10.0.2.3"
FIRST_LEASE = "10.0.2.15"


class Topology:
    """The lab with its three namespaces; guests are made as further ones with `Namespace.child`.

    ``may_ping``: ordinary users of the host can make ping sockets, which the kernel's default does not let them.
    """

    def __init__(self, folder: Path, may_ping: bool = True) -> None:
        self.folder = folder
        self.lab = Namespace.lab()
        self.host = self.lab.child("host")
        self.router = self.lab.child("router")
        self.far = self.lab.child("far")
        join(self.host, f"{HOST}/24", self.router, f"{ROUTER}/24")
        join(self.router, "198.51.100.1/24", self.far, f"{FAR}/24")
        self.host.run(
            f"ip route add default via {ROUTER} &&"
            " ip route add unreachable 198.18.0.0/24 && ip route add prohibit 198.18.1.0/24"
        ).check()
        self.router.run("ip route add unreachable 203.0.113.0/25 && ip route add blackhole 203.0.113.128/25").check()
        self.far.run("ip route add default via 198.51.100.1").check()
        self.router.sysctl("net.ipv4.ip_forward", "1")
        for namespace in (self.host, self.router, self.far):
            # An error for every cause.  (Not icmp_ratelimit=0: that takes the tokens away on which "unreachable" routes
            # live, whose own limit, five at once and then one a second, cannot be changed.)
            namespace.sysctl("net.ipv4.icmp_ratemask", "0")
        if may_ping:  # for the lab's only group; taking it back is beyond what the lab's root may do
            self.host.sysctl("net.ipv4.ping_group_range", "0 0")
        self._resolv_conf = folder / "resolv.conf"
        self.set_resolvers("127.0.0.1")
        self.lab.run(f"mount --bind {self._resolv_conf} /etc/resolv.conf").check()

    def set_resolvers(self, *addresses: str) -> None:
        """Make these the nameservers of the host's /etc/resolv.conf (the file is rewritten in place)."""
        self._resolv_conf.write_text("".join(f"nameserver {address}\n" for address in addresses))

    def close(self) -> None:
        """Close every namespace."""
        for namespace in (self.far, self.router, self.host, self.lab):
            namespace.close()
