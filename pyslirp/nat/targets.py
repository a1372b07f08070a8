"""Where an address of the guest's world really is (libslirp socket.c:sotranslate_out, without its leaks).

===============================  =====================================================================
the guest speaks to              it reaches
===============================  =====================================================================
the host alias (``host=``, .2;   the host's loopback of the same family (127.0.0.1, ::1), same port; with
``ipv6-host=``, ::2, fe80::2)    host-loopback=off it is net unreachable
the DNS alias (``dns=``, .3;     the DNS service at port 53; any other port is net unreachable; with dns-forward=off
``ipv6-dns=``, ::3, fe80::3)     nothing, and nothing is said
an address of a Python server    that server at its port; any other port is refused
another address of the net       host unreachable: nobody is there (libslirp sends it to the real network, and all of
                                 the IPv6 prefix to the host's ::1)
127.0.0.0/8, 0.0.0.0/8, ::/96    net unreachable: the host's own loopback has the host alias
240.0.0.0/4, fe80::/10           net unreachable: reserved, and the host's own link
multicast, broadcast             nothing, and nothing is said (RFC 1122 section 3.2.2); the engine drops it before
anything else                    that address, by the host's own routes
===============================  =====================================================================

With ``restrict=on`` only the services and the Python servers are left, which are asked before this table: TCP is reset,
UDP is silent, a ping is prohibited (libslirp's rules).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from pyslirp.addresses import MAPPED_PREFIX, Address, pack
from pyslirp.config.ipv6 import ROUTER_LINK_LOCAL
from pyslirp.config.network import NetworkConfig
from pyslirp.verdicts import ICMP, TCP, Allow, Deny, FlowName, How, Verdict

LOOPBACK = pack(IPv4Address("127.0.0.1"))
LOOPBACK6 = pack(IPv6Address("::1"))
BROADCAST = pack(IPv4Address("255.255.255.255"))

_NOBODY = Deny(How.HOST_UNREACHABLE, "no such guest")
_NO_SERVER = Deny(How.RESET, "no server at this port")
_NOT_HERE = Deny(How.NET_UNREACHABLE, "not reachable from a guest")
_NO_SERVICE = Deny(How.NET_UNREACHABLE, "the DNS alias answers at port 53 only")
_NO_LOOPBACK = Deny(How.NET_UNREACHABLE, "host-loopback=off")
_NO_DNS = Deny(How.SILENT, "dns-forward=off")
_FOR_ALL = Deny(How.SILENT, "multicast and broadcast end here")
_RESTRICTED = {
    TCP: Deny(How.RESET, "restrict=on"),
    ICMP: Deny(How.PROHIBITED, "restrict=on"),
}
_RESTRICTED_SILENT = Deny(How.SILENT, "restrict=on")


class Targets:
    """The address plan of one network as a decision."""

    def __init__(
        self,
        network: NetworkConfig,
        dns: Iterable[Address],
        *,
        dns_forward: bool = True,
    ) -> None:
        """`dns`: the DNS aliases of this network, none where it has none."""
        net, prefix = network.net, network.prefix6
        self._shift = 32 - net.prefixlen
        self._net = int(net.network_address) >> self._shift
        self._net_broadcast = pack(net.broadcast_address)
        self._shift6 = 128 - prefix.prefixlen
        self._net6 = int(prefix.network_address) >> self._shift6
        self._hosts = {pack(network.host): LOOPBACK}
        self._hosts |= {pack(address): LOOPBACK6 for address in (network.host6, ROUTER_LINK_LOCAL)}
        self._at_host = None if network.host_loopback else _NO_LOOPBACK
        self._dns = {pack(address) for address in dns}
        self._at_dns = _NO_SERVICE if dns_forward else _NO_DNS
        self._servers: set[bytes] = set()
        self.restrict = network.restrict  #: may be changed while the network runs (Stack.set_restrict)

    def add_server(self, address: bytes) -> None:
        """`address`, 16 engine bytes, is that of a Python server from now on."""
        self._servers.add(address)

    def decide(self, name: FlowName) -> Verdict:
        """Where this new flow of a guest goes."""
        if self.restrict:
            return _RESTRICTED.get(name.protocol, _RESTRICTED_SILENT)
        far = name.far
        loopback = self._hosts.get(far)
        if loopback is not None:
            return self._at_host or Allow(loopback, name.far_port)
        if far in self._dns:
            return self._at_dns
        if far in self._servers:
            return _NO_SERVER
        elsewhere = self._elsewhere4(far) if far.startswith(MAPPED_PREFIX) else self._elsewhere6(far)
        return elsewhere or Allow(far, name.far_port)

    def _elsewhere4(self, far: bytes) -> Deny | None:
        """Why an IPv4 address is not one of the host's network; None where it is."""
        first = far[12]
        if 224 <= first < 240 or far in (BROADCAST, self._net_broadcast):
            return _FOR_ALL
        if first in {0, 127} or first >= 240:
            return _NOT_HERE
        return _NOBODY if int.from_bytes(far[12:]) >> self._shift == self._net else None

    def _elsewhere6(self, far: bytes) -> Deny | None:
        """Why an IPv6 address is not one of the host's network; None where it is."""
        if far[0] == 0xFF:
            return _FOR_ALL
        link_local = far[0] == 0xFE and far[1] & 0xC0 == 0x80
        if link_local or far[:12] == bytes(12):
            return _NOT_HERE
        return _NOBODY if int.from_bytes(far) >> self._shift6 == self._net6 else None
