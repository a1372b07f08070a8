"""The guests' IPv6 prefix and the addresses that QEMU derives from it.

Three options say the prefix, as in QEMU: ``ipv6-net=ADDR/LENGTH``, or ``ipv6-prefix=ADDR`` and ``ipv6-prefixlen=LENGTH``,
of which ipv6-net wins (net/net.c, net_client_init).  Whatever they say, the router and the name server also answer at
the link-local addresses of libslirp, which no option moves: a router has to (RFC 4861 section 6.1.2).

Deviation: QEMU keeps bits behind the prefix and adds the default host to them; here they are dropped.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv6Address, IPv6Network

from pyslirp.config.libc import LONG_MAX, strtol
from pyslirp.config.values import Parser, expects
from pyslirp.errors import ConfigError

DEFAULT_LENGTH = 64  #: what SLAAC needs on an Ethernet (RFC 2464 section 4, RFC 4862 section 5.5.3)
MAX_LENGTH = 126  #: QEMU's limit
DEFAULT_PREFIX = IPv6Network("fec0::/64")
MIN_MTU = 1280  #: of a link that carries IPv6 (RFC 8200 section 5)

ROUTER_LINK_LOCAL = IPv6Address("fe80::2")  #: where router advertisements come from
DNS_LINK_LOCAL = IPv6Address("fe80::3")  #: the name server's other address

LINK_LOCAL = IPv6Network("fe80::/10")
MULTICAST = IPv6Network("ff00::/8")

#: Unspecified, loopback and IPv4-compatible; IPv4-mapped; link-local; multicast: no address of theirs is a global one.
NO_GUEST_PREFIXES = (IPv6Network("::/96"), IPv6Network("::ffff:0:0/96"), LINK_LOCAL, MULTICAST)

_WRONG_LENGTH = f"Invalid IPv6 prefix provided (IPv6 prefix length must be between 0 and {MAX_LENGTH})"


def address_in(prefix: IPv6Network, number: int) -> IPv6Address:
    """The address at `number` of `prefix`: as much of the number as the prefix leaves."""
    return IPv6Address(int(prefix.network_address) | number & int(prefix.hostmask))


def default_host(prefix: IPv6Network) -> IPv6Address:
    """The gateway's address where none is given: prefix::2."""
    return address_in(prefix, 2)


def default_dns(prefix: IPv6Network) -> IPv6Address:
    """The name server's address where none is given: prefix::3."""
    return address_in(prefix, 3)


def ipv6_address(option: str, reason: str) -> Parser[IPv6Address]:
    """Parser of an IPv6 address without a zone, as inet_pton reads it; `reason` is QEMU's for what is none."""

    def parse(text: str) -> IPv6Address:
        try:
            return _inet_pton(text)
        except ValueError:
            raise ConfigError(option, text, reason) from None

    return parse


DEFAULT_HOST6 = default_host(DEFAULT_PREFIX)
DEFAULT_DNS6 = default_dns(DEFAULT_PREFIX)

parse_address = ipv6_address("ipv6-prefix", "Failed to parse IPv6 prefix")  #: ``ipv6-prefix=ADDR``


def parse_prefix(text: str) -> IPv6Network:
    """``ADDR`` or ``ADDR/LENGTH``; length 0 or none is 64."""
    address_text, slash, length_text = text.partition("/")
    if not text:
        raise expects("ipv6-net", text, "a valid IPv6 prefix")
    length = DEFAULT_LENGTH
    if slash:
        length, rest = strtol(length_text, 10)
        if rest or not length_text or abs(length) == LONG_MAX:
            reason = "Parameter 'ipv6-prefixlen' expects a number"  # QEMU names the option that it would have set
            raise ConfigError("ipv6-net", text, reason)
    try:
        address = _inet_pton(address_text)
    except ValueError:
        raise ConfigError("ipv6-net", text, "Failed to parse IPv6 prefix") from None
    _check_length("ipv6-net", text, length)
    return network(address, length)


def network(address: IPv6Address, length: int) -> IPv6Network:
    """The prefix of `length` bits (0 is 64) that `address` is in."""
    return IPv6Network((address, length or DEFAULT_LENGTH), strict=False)


def check_length(length: int) -> None:
    """QEMU's range for ``ipv6-prefixlen``."""
    _check_length("ipv6-prefixlen", length, length)


def _check_length(option: str, value: object, length: int) -> None:
    if not 0 <= length <= MAX_LENGTH:
        raise ConfigError(option, value, _WRONG_LENGTH)


def check_prefix(prefix: IPv6Network) -> None:
    """The range of lengths, for a prefix that was not read from text, and addresses that no guest can have."""
    _check_length("ipv6-net", prefix, prefix.prefixlen)
    for reserved in NO_GUEST_PREFIXES:
        if prefix.overlaps(reserved):
            raise ConfigError("ipv6-net", prefix, f"no guest can have an address of {reserved}")


def _inet_pton(text: str) -> IPv6Address:
    if "%" in text:
        raise AddressValueError(f"a zone in {text!r}")
    return IPv6Address(text)
