"""Taps inside namespaces: the errand that makes one (host/) and what it is to be there (links/), put together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

from pyslirp.addresses import Mac
from pyslirp.config.dhcp import StaticLease
from pyslirp.config.stack import Config
from pyslirp.errors import LinkError
from pyslirp.host.errand import Errand
from pyslirp.host.namespaces import create, join, keep_net_capabilities, overlay_file
from pyslirp.links.base import STREAM_MTU
from pyslirp.links.interface import InterfaceSettings, configure
from pyslirp.links.tun import open_tap

RESOLV_CONF = "/etc/resolv.conf"

_log = logging.getLogger("pyslirp.taps")


def open_inside(netns: str | None, name: str, settings: InterfaceSettings | None, userns: str | None = None) -> Errand:
    """Begin to open the tap `name`; configured, where there are settings.

    netns: the file of the network namespace that it is to be in; None: ours.  userns: that of the user namespace that is
    joined before; None: the owner of `netns`, where that is needed.
    """

    def make() -> int:
        if netns is not None:
            join(netns, userns)
        return _open(name, settings)

    return Errand(make)


def open_with_command(
    command: Sequence[str], name: str, settings: InterfaceSettings, resolv_conf: str, *, as_root: bool
) -> Errand:
    """Begin a new namespace with the tap `name` in it; after `go_on` the child becomes `command`.

    resolv_conf: the text of the /etc/resolv.conf that the command sees.
    """

    def make() -> int:
        create(as_root=as_root)
        descriptor = _open(name, settings)
        try:
            overlay_file(RESOLV_CONF, resolv_conf)
        except OSError as error:
            _log.warning("%s stays that of the host: %s", RESOLV_CONF, error.strerror)
        return descriptor

    def then() -> None:
        keep_net_capabilities()
        try:
            os.execvp(command[0], list(command))  # noqa: S606 - the command is the user's own
        except OSError as error:
            raise LinkError(error.errno, f"{command[0]}: {error.strerror}") from None

    return Errand(make, then)


def _open(name: str, settings: InterfaceSettings | None) -> int:
    descriptor = open_tap(name)
    if settings is not None:
        configure(name, settings)
    return descriptor


def first_guest(config: Config) -> tuple[Config, InterfaceSettings]:
    """What the interface of a guest without DHCP is to have: the first address of the pool, to which hostfwd leads.

    In the Config that comes back DHCP keeps that address for the interface's MAC address.
    """
    start, net = config.dhcp.start, config.network.net
    mac = next((lease.mac for lease in config.dhcp.static if lease.address == start), None)
    if mac is None:
        mac = random_mac()
        static = (*config.dhcp.static, StaticLease(mac, start))
        config = replace(config, dhcp=replace(config.dhcp, static=static))
    address = IPv4Interface((start, net.prefixlen))
    return config, InterfaceSettings(address, config.network.host, config.network.mtu or STREAM_MTU, mac)


def random_mac(numbers: Callable[[int], bytes] = os.urandom) -> Mac:
    """A locally administered unicast address (IEEE 802, section 8.4)."""
    raw = numbers(6)
    return Mac(bytes([raw[0] & 0xFC | 0x02]) + raw[1:])


def resolv_conf(config: Config) -> str:
    """The host's /etc/resolv.conf with the network's name server in place of the host's (resolv.conf(5))."""
    lines = [f"nameserver {config.dns.address}"]
    if config.dns.search:
        lines.append(f"search {' '.join(config.dns.search)}")
    ours = {line.split()[0] for line in lines}
    try:
        text = Path(RESOLV_CONF).read_text(errors="surrogateescape")
    except OSError:
        text = ""
    kept = [line for line in text.splitlines() if line.split()[:1] and line.split()[0] not in ours | {"sortlist"}]
    return "\n".join(lines + kept) + "\n"
