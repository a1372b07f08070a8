"""What a guest without a DHCP client is given: an interface's settings, and a resolv.conf."""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from pyslirp.addresses import Address, Mac
from pyslirp.config.dhcp import StaticLease
from pyslirp.config.ipv6 import ROUTER_LINK_LOCAL
from pyslirp.config.stack import Config
from pyslirp.links.base import STREAM_MTU
from pyslirp.links.interface import InterfaceSettings
from pyslirp.records import replace

RESOLV_CONF = Path("/etc/resolv.conf")


def first_guest(config: Config) -> tuple[Config, InterfaceSettings]:
    """What the interface of a guest without DHCP is to have: the first address of each pool, to which hostfwd leads.

    In the Config that comes back DHCP and DHCPv6 keep these addresses for the interface's MAC address.
    """
    network, dhcp = config.network, config.dhcp
    families: list[tuple[IPv4Interface | IPv6Interface, Address]] = []
    if network.ipv4:
        families.append((IPv4Interface((dhcp.start, network.net.prefixlen)), network.host))
    if network.ipv6:
        families.append((IPv6Interface((dhcp.start6, network.prefix6.prefixlen)), ROUTER_LINK_LOCAL))
    addresses = [address.ip for address, _ in families]
    owners = {lease.address: lease.mac for lease in dhcp.static}
    mac = next((owners[address] for address in addresses if address in owners), None) or random_mac()
    leases = [StaticLease(mac, address) for address in addresses if address not in owners]
    config = replace(config, dhcp=replace(dhcp, static=(*dhcp.static, *leases)))
    return config, InterfaceSettings(tuple(families), network.mtu or STREAM_MTU, mac)


def random_mac(numbers: Callable[[int], bytes] = os.urandom) -> Mac:
    """A locally administered unicast address (IEEE 802, section 8.4)."""
    raw = numbers(6)
    return Mac(bytes([raw[0] & 0xFC | 0x02]) + raw[1:])


def resolv_conf(config: Config) -> str:
    """The host's /etc/resolv.conf with the network's name servers in place of the host's (resolv.conf(5))."""
    spoken = ((config.network.ipv4, config.dns.address), (config.network.ipv6, config.dns.address6))
    lines = [f"nameserver {address}" for is_spoken, address in spoken if is_spoken]
    if config.dns.search:
        lines.append(f"search {' '.join(config.dns.search)}")
    ours = {line.split()[0] for line in lines}
    try:
        text = RESOLV_CONF.read_text(errors="surrogateescape")
    except OSError:
        text = ""
    kept = [line for line in text.splitlines() if line.split()[:1] and line.split()[0] not in ours | {"sortlist"}]
    return "\n".join(lines + kept) + "\n"
