"""What a guest without a DHCP client is given: an interface's settings, and a resolv.conf."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path

from pyslirp.addresses import Mac
from pyslirp.config.dhcp import StaticLease
from pyslirp.config.ipv6 import ROUTER_LINK_LOCAL
from pyslirp.config.stack import Config
from pyslirp.links.base import STREAM_MTU
from pyslirp.links.interface import InterfaceSettings

RESOLV_CONF = Path("/etc/resolv.conf")


def first_guest(config: Config) -> tuple[Config, InterfaceSettings]:
    """What the interface of a guest without DHCP is to have: the first address of the pool, to which hostfwd leads.

    In the Config that comes back DHCP keeps that address for the interface's MAC address.  It is one of IPv6 only where
    there is no IPv4; beside IPv4 the guest's kernel configures itself.
    """
    network = config.network
    start = config.dhcp.default_guest(network)
    mac = next((lease.mac for lease in config.dhcp.static if lease.address == start), None)
    if mac is None:
        mac = random_mac()
        static = (*config.dhcp.static, StaticLease(mac, start))
        config = replace(config, dhcp=replace(config.dhcp, static=static))
    length = network.net.prefixlen if start.version == 4 else network.prefix6.prefixlen
    gateway = network.host if start.version == 4 else ROUTER_LINK_LOCAL
    address = ip_interface((start, length))
    return config, InterfaceSettings(address, gateway, network.mtu or STREAM_MTU, mac)


def random_mac(numbers: Callable[[int], bytes] = os.urandom) -> Mac:
    """A locally administered unicast address (IEEE 802, section 8.4)."""
    raw = numbers(6)
    return Mac(bytes([raw[0] & 0xFC | 0x02]) + raw[1:])


def resolv_conf(config: Config) -> str:
    """The host's /etc/resolv.conf with the network's name server in place of the host's (resolv.conf(5))."""
    lines = [f"nameserver {config.dns.address if config.network.ipv4 else config.dns.address6}"]
    if config.dns.search:
        lines.append(f"search {' '.join(config.dns.search)}")
    ours = {line.split()[0] for line in lines}
    try:
        text = RESOLV_CONF.read_text(errors="surrogateescape")
    except OSError:
        text = ""
    kept = [line for line in text.splitlines() if line.split()[:1] and line.split()[0] not in ours | {"sortlist"}]
    return "\n".join(lines + kept) + "\n"
