"""What a Config means to the services that announce it: DHCP, DHCPv6 and router advertisements."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from pyslirp.addresses import Mac
from pyslirp.config.boot import IPXE
from pyslirp.config.stack import Config
from pyslirp.host.names import ipv4_of
from pyslirp.services.dhcp import DhcpSettings
from pyslirp.services.dhcp_boot import BootSettings

if TYPE_CHECKING:
    from pyslirp.services.dhcp6 import Dhcp6Settings
    from pyslirp.services.router import RouterSettings


def dhcp_settings(config: Config, mtu: int) -> DhcpSettings:
    """DHCP's; `mtu` is the network's."""
    return DhcpSettings(
        net=config.network.net,
        host=config.network.host,
        dns=config.dns.address,
        dns_enabled=config.dns.forward or config.dns_alias is None,
        start=config.dhcp.start,
        static=config.dhcp.leases,
        lease_seconds=config.dhcp.lease_seconds,
        hostname=config.dhcp.hostname,
        domainname=config.dhcp.domainname,
        search=config.dns.search,
        mtu=mtu,
        restrict=config.network.restrict,
        reserved=_servers(config),
        boot=_boot(config),
    )


def dhcp6_settings(config: Config, mac: Mac) -> Dhcp6Settings:
    """DHCPv6's; `mac` is the gateway's."""
    from pyslirp.services.dhcp6 import Dhcp6Settings  # noqa: PLC0415 - who has no IPv6 need not wait for it

    boot = config.boot
    return Dhcp6Settings(
        prefix=config.network.prefix6,
        host=config.network.host6,
        mac=mac,
        start=config.dhcp.start6,
        dns=_dns6(config),
        static=config.dhcp.leases6,
        reserved=frozenset(rule.server for rule in config.forward.guestfwd if isinstance(rule.server, IPv6Address))
        | {config.dns.address6},
        lease_seconds=config.dhcp.lease_seconds,
        hostname=config.dhcp.hostname,
        domainname=config.dhcp.domainname,
        search=config.dns.search,
        restrict=config.network.restrict,
        bootfile_url=None if boot.bootfile is None else _url(config, boot.bootfile),
        bootfile_urls={number: _url(config, one.name) for one in reversed(boot.by_client) for number in one.architectures},
    )


def router_settings(config: Config, mac: Mac, mtu: int) -> RouterSettings:
    """The router's; `mac` is the gateway's, `mtu` the network's."""
    from pyslirp.services.router import RouterSettings  # noqa: PLC0415 - who has no IPv6 need not wait for it

    return RouterSettings(
        prefix=config.network.prefix6,
        mac=mac,
        mtu=mtu,
        dns=_dns6(config),
        search=config.dns.search,
        restrict=config.network.restrict,
    )


def _dns6(config: Config) -> IPv6Address | None:
    """The name server that guests are told of over IPv6: not an alias that is silent."""
    return config.dns.address6 if config.dns.forward or config.dns_alias6 is None else None


def _servers(config: Config) -> frozenset[IPv4Address]:
    """Addresses behind which something of the host answers, so that no guest gets them."""
    servers = {rule.server for rule in config.forward.guestfwd if isinstance(rule.server, IPv4Address)}
    return frozenset(servers if config.smb.folder is None else {*servers, config.smb.server})


def _boot(config: Config) -> BootSettings:
    """What DHCP tells clients that boot.  The TFTP server's name is looked up here, once."""
    boot = config.boot
    by_architecture: dict[int, str] = {}
    for one in reversed(boot.by_client):  # of two for one architecture the first counts
        by_architecture |= dict.fromkeys(one.architectures, one.name)
    for_ipxe = next((one.name for one in boot.by_client if one.client == IPXE), None)
    server = ipv4_of(boot.server_name) if boot.server_name is not None else None
    return BootSettings(boot.bootfile, by_architecture, for_ipxe, server, boot.server_name)


def _url(config: Config, name: str) -> str:
    """What DHCPv6 names: the URL as it is, or a file of the TFTP server here, or of the one that is named."""
    if "://" in name:
        return name
    server = config.boot.server_name or f"[{config.network.host6}]"
    return f"tftp://{server}/{name.lstrip('/')}"
