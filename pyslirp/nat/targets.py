"""Where an address of the guest's world really is (libslirp socket.c:sotranslate_out, without its leaks).

===============================  =====================================================================
the guest speaks to              it reaches
===============================  =====================================================================
the host alias (``host=``, .2)   the host's loopback, same port
the DNS alias (``dns=``, .3)     the DNS service at port 53; any other port is unreachable
another address of the net       host unreachable: nobody is there (libslirp sends it to the real network)
127.0.0.0/8, 0.0.0.0/8, ::1      net unreachable: the host's own loopback has the host alias
a multicast or broadcast address net unreachable
anything else                    that address, by the host's own routes
===============================  =====================================================================

With ``restrict=on`` only the services are left: TCP is reset, UDP is silent, a ping is prohibited (libslirp's rules).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from pyslirp.addresses import MAPPED_PREFIX, pack
from pyslirp.verdicts import ICMP, TCP, Allow, Deny, FlowName, How, Verdict

LOOPBACK = pack(IPv4Address("127.0.0.1"))

_NOBODY = Deny(How.HOST_UNREACHABLE, "no such guest")
_NOT_HERE = Deny(How.NET_UNREACHABLE, "not reachable from a guest")
_NO_SERVICE = Deny(How.NET_UNREACHABLE, "the DNS alias answers at port 53 only")
_RESTRICTED = {
    TCP: Deny(How.RESET, "restrict=on"),
    ICMP: Deny(How.PROHIBITED, "restrict=on"),
}
_RESTRICTED_SILENT = Deny(How.SILENT, "restrict=on")


class Targets:
    """The address plan of one network as a decision."""

    def __init__(self, net: IPv4Network, host: IPv4Address, dns: IPv4Address | None, *, restrict: bool) -> None:
        """`dns`: the DNS alias, or None where this network has none."""
        self._prefix = net.prefixlen
        self._net = int(net.network_address) >> (32 - net.prefixlen) if net.prefixlen else 0
        self._host = pack(host)
        self._dns = pack(dns) if dns is not None else None
        self.restrict = restrict  #: may be changed while the network runs; established flows stay

    def decide(self, name: FlowName) -> Verdict:
        """Where this new flow of a guest goes."""
        if self.restrict:
            return _RESTRICTED.get(name.protocol, _RESTRICTED_SILENT)
        far = name.far
        if far == self._host:
            return Allow(LOOPBACK, name.far_port)
        if far == self._dns:
            return _NO_SERVICE
        if far.startswith(MAPPED_PREFIX):
            first = far[12]
            if first in {0, 127} or first >= 224:
                return _NOT_HERE
            if int.from_bytes(far[12:]) >> (32 - self._prefix) == self._net:
                return _NOBODY
        elif far[0] == 0xFF or far[:15] == bytes(15):
            return _NOT_HERE
        return Allow(far, name.far_port)
