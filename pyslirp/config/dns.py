"""The name server that guests are told of, the domains they search, and the resolvers that are asked for them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

from pyslirp.addresses import Endpoint
from pyslirp.config import ipv6
from pyslirp.config.libc import inet_aton, strtol
from pyslirp.config.network import DEFAULT_NET, address_in
from pyslirp.config.values import validate
from pyslirp.errors import ConfigError
from pyslirp.records import dataclass

DNS_PORT = 53
MAX_LABEL_BYTES = 63  #: RFC 1035 section 2.3.4
MAX_DOMAIN_BYTES = 255  #: RFC 1035 section 2.3.4, with length bytes and root


def default_dns(net: IPv4Network) -> IPv4Address:
    """The name server's address where none is given: .3 in a /24."""
    return address_in(net, 0x0203)


DEFAULT_DNS = default_dns(DEFAULT_NET)


def parse_upstream(text: str) -> Endpoint:
    """``ADDR``, ``ADDR:PORT``, ``V6`` or ``[V6]:PORT``; the port is 53 where none is given.  Raises ConfigError."""
    address_text, port_text = _split_port(text)
    try:
        address = ip_address(address_text) if ":" in address_text else inet_aton(address_text)
    except ValueError:
        hint = "write ADDR, ADDR:PORT or [V6]:PORT"
        raise ConfigError("dns-upstream", text, f"'{address_text}' is not an IP address", hint) from None
    port, rest = strtol(port_text, 10)
    if rest or not port_text:
        raise ConfigError("dns-upstream", text, f"'{port_text}' is not a port")
    return Endpoint(address, port)


def _split_port(text: str) -> tuple[str, str]:
    """Address and port as text; an IPv6 address may go without brackets where no port follows."""
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if ":" in address and bracket and rest[:1] in ("", ":"):
            return address, rest[1:] if rest else str(DNS_PORT)
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, port
    return text, str(DNS_PORT)


def check_upstream(server: Endpoint) -> None:
    """A resolver must be one address and port that a datagram can be sent to."""
    address = server.address
    if not 1 <= server.port <= 65535:
        raise ConfigError("dns-upstream", server, "a port is a number from 1 to 65535")
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ConfigError("dns-upstream", server, "an address with a zone is not supported")
    if address.is_unspecified or address.is_multicast or address == IPv4Address("255.255.255.255"):
        raise ConfigError("dns-upstream", server, f"{address} is not the address of one server")


def check_search(domain: str) -> None:
    """A domain name in ASCII (RFC 1035 section 2.3.4), with or without a final dot; libslirp's words."""
    labels = domain.removesuffix(".").split(".")
    wire_bytes = sum(1 + len(label) for label in labels) + 1
    fits = all(1 <= len(label) <= MAX_LABEL_BYTES for label in labels) and wire_bytes <= MAX_DOMAIN_BYTES
    if not fits or "\0" in domain:
        raise ConfigError("dnssearch", domain, f"failed to parse domain name '{domain}'")
    if not domain.isascii():
        raise ConfigError("dnssearch", domain, f"failed to parse domain name '{domain}'", "write its xn-- form")


def _check_all_search(domains: tuple[str, ...]) -> None:
    for domain in domains:
        check_search(domain)


def _check_all_upstream(servers: tuple[Endpoint, ...]) -> None:
    for server in servers:
        check_upstream(server)


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """Names for the guests.  Raises ConfigErrors for a field that cannot work by itself.

    An `address` inside the net is an alias: pyslirp answers there, by asking `upstream`.  One outside (``dns=9.9.9.9``,
    refused with restrict=on as in QEMU) is only announced: guests ask that server through the NAT, like any other.
    `address6` is the same in IPv6.
    """

    address: IPv4Address = DEFAULT_DNS  #: what DHCP announces as the name server
    address6: IPv6Address = ipv6.DEFAULT_DNS6  #: what router advertisements and DHCPv6 announce
    forward: bool = True  #: an alias answers; else it is silent, and DHCP announces no name server
    search: tuple[str, ...] = ()  #: DHCP option 119, in order
    upstream: tuple[Endpoint, ...] = ()  #: resolvers to ask, in order; empty: the host's, from resolv.conf

    def __post_init__(self) -> None:
        """Refuse what one field alone has wrong."""
        validate((_check_all_search, self.search), (_check_all_upstream, self.upstream))
