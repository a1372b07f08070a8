"""The address plan of each IP version: the options that say where things are, their defaults, and QEMU's words for both.

The rows of fields.py and the rules of conflicts.py are the same for both; what differs is here.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, NamedTuple

from pyslirp.addresses import Address, Network
from pyslirp.config import ipv6
from pyslirp.config.dhcp import DhcpConfig, default_start, default_start6
from pyslirp.config.dns import DnsConfig, default_dns
from pyslirp.config.network import DEFAULT_NET, NetworkConfig, default_host
from pyslirp.config.values import Parser, ipv4_address
from pyslirp.records import dataclass


class Places(NamedTuple):
    """Where things are in one network."""

    net: IPv4Network | IPv6Network
    host: Address  #: the gateway
    dns: Address
    start: Address  #: of the pool


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPlan:
    """What the options of one IP version are called, and what they are where none is given."""

    net: str  #: options, from here on
    host: str
    dns: str
    start: str
    outbound: str
    suffix: str  #: of the attributes that hold what the options say
    word: str  #: before QEMU's "Host" and "DNS"
    dhcp: str  #: what DHCP is called
    type: type[Any]  #: of an address
    address: Callable[[str, str], Parser[Any]]  #: parser of an address, of an option and QEMU's reason for what is none
    default_net: Network
    default_host: Callable[[Any], Address]  #: in a net
    default_dns: Callable[[Any], Address]
    default_start: Callable[[Any], Address]
    longest: int  #: the longest prefix of a net with room for a gateway and a guest
    first: str  #: what a net's first address is, which is the network's own
    last: str  #: the same of its last address; "": a host's
    places: Callable[[NetworkConfig, DhcpConfig, DnsConfig], Places]  #: what these sections say

    def own_address(self, net: Network, address: Address) -> str:
        """Which address of the network itself `address` is, if any."""
        return {net.broadcast_address: self.last, net.network_address: self.first}.get(address, "")


IPV4 = AddressPlan(
    net="net",
    host="host",
    dns="dns",
    start="dhcpstart",
    outbound="outbound-addr",
    suffix="",
    word="",
    dhcp="DHCP",
    type=IPv4Address,
    address=ipv4_address,
    default_net=DEFAULT_NET,
    default_host=default_host,
    default_dns=default_dns,
    default_start=default_start,
    longest=30,
    first="network",
    last="broadcast",
    places=lambda network, dhcp, dns: Places(network.net, network.host, dns.address, dhcp.start),
)
IPV6 = AddressPlan(
    net="ipv6-net",
    host="ipv6-host",
    dns="ipv6-dns",
    start="ipv6-dhcpstart",
    outbound="outbound-addr6",
    suffix="6",
    word="IPv6 ",
    dhcp="DHCPv6",
    type=IPv6Address,
    address=ipv6.ipv6_address,
    default_net=ipv6.DEFAULT_PREFIX,
    default_host=ipv6.default_host,
    default_dns=ipv6.default_dns,
    default_start=default_start6,
    longest=ipv6.MAX_LENGTH,
    first="subnet-router anycast",  # RFC 4291 section 2.6.1
    last="",
    places=lambda network, dhcp, dns: Places(network.prefix6, network.host6, dns.address6, dhcp.start6),
)
PLANS = (IPV4, IPV6)


def plan_of(address: Address) -> AddressPlan:
    """The plan of an address's version."""
    return IPV4 if address.version == 4 else IPV6
