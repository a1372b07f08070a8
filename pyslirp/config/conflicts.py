"""What options get wrong together: the rules between them, in QEMU's order and words (net/slirp.c, net_slirp_init).

Each rule that does not hold is yielded as a Conflict, which names the options that the rule looks at.  Where one of
these could not be read, nothing can be said: `Config.assemble` drops such conflicts, so that one mistake is told once.

Beyond QEMU's rules stand ours, for what QEMU takes and what cannot work: addresses that are the network's own or its
broadcast address, and rules that lead out of the network.  They leave the pool one address at least, its first.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from pyslirp.addresses import Address, Mac
from pyslirp.config import ipv6
from pyslirp.config.dhcp import DhcpConfig
from pyslirp.config.dns import DnsConfig
from pyslirp.config.forward import ForwardConfig, ForwardKey
from pyslirp.config.guestfwd import GuestForwardKey
from pyslirp.config.network import NetworkConfig
from pyslirp.config.plan import IPV4, IPV6, PLANS, AddressPlan, plan_of
from pyslirp.config.smb import PORTS, SmbConfig
from pyslirp.errors import ConfigError

IPV4_DISABLED = "IPv4 disabled but netmask/host/dns provided"
IPV6_DISABLED = "IPv6 disabled but prefix/host6/dns6 provided"

DNS_PORT = 53

_PLANS = "ipv4 net host dns ipv6 ipv6-net ipv6-host ipv6-dns"  # what says which addresses are a guest's


class Conflict(NamedTuple):
    """A rule that does not hold."""

    reads: frozenset[str]  #: the options that the rule looks at
    error: ConfigError


def conflicts(
    network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig, forward: ForwardConfig, smb: SmbConfig
) -> Iterator[Conflict]:
    """Every rule between options that these sections break."""
    yield from _families(network, dhcp, dns)
    for rules in (_addresses, _own_addresses):
        for plan in PLANS:
            yield from rules(plan, network, dhcp, dns)
    yield from _static_leases(network, dhcp, dns)
    yield from _rules(network, dhcp, dns, forward)
    yield from _guest_rules(network, dhcp, dns, forward)
    yield from _file_server(network, dhcp, dns, forward, smb)


def _conflict(reads: str, option: str, value: object, reason: str, hint: str = "") -> Conflict:
    return Conflict(frozenset(reads.split()), ConfigError(option, value, reason, hint))


def _families(network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig) -> Iterator[Conflict]:
    """QEMU's rules about what is off.  (Addresses that are given and yet the default are refused by stack.py.)"""
    for plan, option, spoken, reason in (
        (IPV4, "ipv4", network.ipv4, IPV4_DISABLED),
        (IPV6, "ipv6", network.ipv6, IPV6_DISABLED),
    ):
        net = plan.default_net
        if not spoken and plan.places(network, dhcp, dns)[:3] != (net, plan.default_host(net), plan.default_dns(net)):
            yield _conflict(f"{option} {plan.net} {plan.host} {plan.dns}", option, "off", reason)
    if not network.ipv4 and not network.ipv6:
        yield _conflict("ipv4 ipv6", "ipv4", "off", "IPv4 and IPv6 disabled")
    if network.ipv6 and network.mtu is not None and network.mtu < ipv6.MIN_MTU:
        reason = f"IPv6 needs an MTU of {ipv6.MIN_MTU} bytes at least"
        yield _conflict("mtu ipv6", "mtu", network.mtu, reason, "or ipv6=off")


def _addresses(plan: AddressPlan, network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig) -> Iterator[Conflict]:
    """QEMU's rules, of which it has two for IPv6; we hold both to all of them."""
    net, host, name_server, start = plan.places(network, dhcp, dns)
    which = f"which is {net}"
    if host not in net:
        yield _conflict(f"{plan.net} {plan.host}", plan.host, host, f"{plan.word}Host doesn't belong to network", which)
    if network.restrict and name_server not in net:
        reason = f"{plan.word}DNS doesn't belong to network"
        yield _conflict(f"{plan.net} {plan.dns} restrict", plan.dns, name_server, reason, which)
    if name_server == host:
        hint = _if_default(name_server, plan.default_dns(net), net)
        reason = f"{plan.word}DNS must be different from host"
        yield _conflict(f"{plan.net} {plan.host} {plan.dns}", plan.dns, name_server, reason, hint)
    if start not in net:
        reason = f"{plan.dhcp} doesn't belong to network"
        yield _conflict(f"{plan.net} {plan.start}", plan.start, start, reason, which)
    if start in (host, name_server):
        reason = f"{plan.dhcp} must be different from host and DNS"
        hint = _if_default(start, plan.default_start(net), net)
        yield _conflict(f"{plan.net} {plan.host} {plan.dns} {plan.start}", plan.start, start, reason, hint)


def _if_default(value: Address, default: Address, net: IPv4Network | IPv6Network) -> str:
    """Tells the user where a value comes from that may not have been given."""
    return f"the default in {net}" if value == default else ""


def _own_addresses(plan: AddressPlan, network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig) -> Iterator[Conflict]:
    net, host, name_server, start = plan.places(network, dhcp, dns)
    if net.prefixlen > plan.longest:
        yield _conflict(plan.net, plan.net, net, "there is no room for a guest", f"at most /{plan.longest}")
        return
    for option, address, default in (
        (plan.host, host, plan.default_host(net)),
        (plan.dns, name_server, plan.default_dns(net)),
        (plan.start, start, plan.default_start(net)),
    ):
        if which := plan.own_address(net, address):
            hint = _if_default(address, default, net)
            yield _conflict(f"{plan.net} {option}", option, address, f"this is the {which} address of {net}", hint)


def _static_leases(network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig) -> Iterator[Conflict]:
    seen: set[tuple[int, Mac] | Address] = set()
    for lease in dhcp.static:
        version = lease.address.version
        reason = _not_a_guest(lease.address, network, dhcp, dns)
        if not reason and not seen.isdisjoint(((version, lease.mac), lease.address)):
            reason = f"another dhcp-host has this MAC or IPv{version} address already"
        if reason:
            yield _conflict(_PLANS, "dhcp-host", lease, reason)
        seen.update(((version, lease.mac), lease.address))


def _not_a_guest(address: Address, network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig) -> str:
    """Why no guest can have `address`, or nothing."""
    if not (network.ipv4 if address.version == 4 else network.ipv6):
        return f"IPv{address.version} is off"
    plan = plan_of(address)
    net, host, name_server, _ = plan.places(network, dhcp, dns)
    if address not in net:
        return f"{address} doesn't belong to network {net}"
    if address == host:
        return f"{address} is the host's address"
    if address == name_server:
        return f"{address} is the DNS address"
    which = plan.own_address(net, address)
    return f"{address} is the {which} address of {net}" if which else ""


def _rules(network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig, forward: ForwardConfig) -> Iterator[Conflict]:
    seen: set[ForwardKey] = set()
    for rule in forward.hostfwd:
        text = str(rule)
        # Where the start of the pool is wrong, it has been said of the pool.
        reason = "" if rule.guest == dhcp.default_guest(network) else _not_a_guest(rule.guest, network, dhcp, dns)
        if reason:
            invalid = f"Invalid host forwarding rule '{text}' (Bad guest address)"
            yield _conflict(f"{_PLANS} dhcpstart ipv6-dhcpstart", "hostfwd", text, invalid, reason)
        keys = {key for key in rule.key.each() if key.host_port or key.path}
        for key in sorted(keys & seen, key=str)[:1]:
            reason = f"Could not set up host forwarding rule '{text}'"
            yield _conflict("", "hostfwd", text, reason, f"another rule has {key} already")
        seen |= keys


def _guest_rules(
    network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig, forward: ForwardConfig
) -> Iterator[Conflict]:
    seen: set[GuestForwardKey] = set()
    for rule in forward.guestfwd:
        taken = f"another rule has {rule.key} already" if rule.key in seen else ""
        reason = taken or _not_a_server(rule.server, rule.port, network, dhcp, dns)
        if reason:
            invalid = f"Conflicting/invalid host:port in guest forwarding rule '{rule}'"
            yield _conflict(f"{_PLANS} dhcp-host", "guestfwd", str(rule), invalid, reason)
        seen.add(rule.key)


def _file_server(
    network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig, forward: ForwardConfig, smb: SmbConfig
) -> Iterator[Conflict]:
    if smb.folder is None:
        return
    taken = {rule.key for rule in forward.guestfwd}
    for port in PORTS:
        key = GuestForwardKey("tcp", smb.server, port)
        reason = f"a guestfwd rule has {key}" if key in taken else _not_a_server(smb.server, port, network, dhcp, dns)
        if reason:
            reads = f"{_PLANS} dhcp-host guestfwd smb smbserver"
            yield _conflict(reads, "smbserver", smb.server, "Conflicting/invalid smbserver address", reason)
            return


def _not_a_server(server: Address, port: int, network: NetworkConfig, dhcp: DhcpConfig, dns: DnsConfig) -> str:
    """Why nothing can answer guests there, or nothing."""
    plan = plan_of(server)
    net = plan.places(network, dhcp, dns).net
    if server not in net:
        return f"{server} doesn't belong to network {net}"
    if plan.own_address(net, server):
        return f"{server} is no host's address in {net}"
    if server in (dns.address, dns.address6) and port == DNS_PORT and dns.forward:
        return f"the name server answers at {server}; give dns-forward=off, or another address"
    if any(lease.address == server for lease in dhcp.static):
        return f"{server} is kept for a guest by dhcp-host"
    return ""
