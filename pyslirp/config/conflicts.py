"""What options get wrong together: the rules between them, in QEMU's order and words (net/slirp.c, net_slirp_init).

Each rule that does not hold is yielded as a Conflict, which names the options that the rule looks at.  Where one of
these could not be read, nothing can be said: `Config.assemble` drops such conflicts, so that one mistake is told once.

Beyond QEMU's rules stand ours, for what QEMU takes and what cannot work: addresses that are the network's own or its
broadcast address, and rules that lead out of the network.  They leave the pool one address at least, its first.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from pyslirp.addresses import Mac
from pyslirp.config.dhcp import DhcpConfig, default_start
from pyslirp.config.dns import DnsConfig, default_dns
from pyslirp.config.forward import ForwardConfig, ForwardKey
from pyslirp.config.network import NetworkConfig, default_host
from pyslirp.errors import ConfigError

MAX_LENGTH = 30  #: the longest prefix with room for a gateway and a guest beside its network and broadcast address


class Conflict(NamedTuple):
    """A rule that does not hold."""

    reads: frozenset[str]  #: the options that the rule looks at
    error: ConfigError


def conflicts(network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig, forward: ForwardConfig) -> Iterator[Conflict]:
    """Every rule between options that these sections break."""
    yield from _addresses(network, dhcp, dns)
    yield from _own_addresses(network, dhcp, dns)
    yield from _static_leases(network, dhcp, dns)
    yield from _rules(network, dhcp, dns, forward)


def _conflict(reads: str, option: str, value: object, reason: str, hint: str = "") -> Conflict:
    return Conflict(frozenset(reads.split()), ConfigError(option, value, reason, hint))


def _addresses(network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig) -> Iterator[Conflict]:
    """QEMU's rules."""
    net, host, start = network.net, network.host, dhcp.start
    if not network.ipv4:
        yield _conflict("ipv4", "ipv4", "off", "IPv4 and IPv6 disabled", "IPv6 is not supported yet")
    if host not in net:
        yield _conflict("net host", "host", host, "Host doesn't belong to network", f"which is {net}")
    if network.restrict and dns.address not in net:
        yield _conflict("net dns restrict", "dns", dns.address, "DNS doesn't belong to network", f"which is {net}")
    if dns.address == host:
        hint = _if_default(dns.address, default_dns(net), net)
        yield _conflict("net host dns", "dns", dns.address, "DNS must be different from host", hint)
    if start not in net:
        yield _conflict("net dhcpstart", "dhcpstart", start, "DHCP doesn't belong to network", f"which is {net}")
    if start in (host, dns.address):
        reason = "DHCP must be different from host and DNS"
        hint = _if_default(start, default_start(net), net)
        yield _conflict("net host dns dhcpstart", "dhcpstart", start, reason, hint)


def _if_default(value: IPv4Address, default: IPv4Address, net: IPv4Network) -> str:
    """Tells the user where a value comes from that may not have been given."""
    return f"the default in {net}" if value == default else ""


def _own_address(net: IPv4Network, address: IPv4Address) -> str:
    """Which address of the network itself `address` is, if any."""
    if address == net.network_address:
        return "network"
    return "broadcast" if address == net.broadcast_address else ""


def _own_addresses(network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig) -> Iterator[Conflict]:
    net = network.net
    if net.prefixlen > MAX_LENGTH:
        yield _conflict("net", "net", net, "there is no room for a guest", f"at most /{MAX_LENGTH}")
        return
    for option, address, default in (
        ("host", network.host, default_host(net)),
        ("dns", dns.address, default_dns(net)),
        ("dhcpstart", dhcp.start, default_start(net)),
    ):
        if which := _own_address(net, address):
            hint = _if_default(address, default, net)
            yield _conflict(f"net {option}", option, address, f"this is the {which} address of {net}", hint)


def _static_leases(network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig) -> Iterator[Conflict]:
    seen: set[Mac | IPv4Address] = set()
    for lease in dhcp.static:
        reason = _not_a_guest(lease.address, network, dns)
        if not reason and not seen.isdisjoint((lease.mac, lease.address)):
            reason = "another dhcp-host has this MAC or IPv4 address already"
        if reason:
            yield _conflict("net host dns", "dhcp-host", lease, reason)
        seen.update((lease.mac, lease.address))


def _not_a_guest(address: IPv4Address, network: NetworkConfig, dns: DnsConfig) -> str:
    """Why no guest can have `address`, or nothing."""
    if address not in network.net:
        return f"{address} doesn't belong to network {network.net}"
    if address == network.host:
        return f"{address} is the host's address"
    if address == dns.address:
        return f"{address} is the DNS address"
    which = _own_address(network.net, address)
    return f"{address} is the {which} address of {network.net}" if which else ""


def _rules(network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig, forward: ForwardConfig) -> Iterator[Conflict]:
    seen: set[ForwardKey] = set()
    for rule in forward.hostfwd:
        text = str(rule)
        # Where the start of the pool is wrong, it has been said of the pool.
        reason = "" if rule.guest == dhcp.start else _not_a_guest(rule.guest, network, dns)
        if reason:
            invalid = f"Invalid host forwarding rule '{text}' (Bad guest address)"
            yield _conflict("net host dns dhcpstart", "hostfwd", text, invalid, reason)
        if rule.key in seen:
            reason = f"Could not set up host forwarding rule '{text}'"
            yield _conflict("", "hostfwd", text, reason, f"another rule has {rule.key} already")
        if rule.host_port:
            seen.add(rule.key)
