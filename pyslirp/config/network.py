"""The guest network: its prefixes, the gateway's addresses in them, what is let out, and how large a packet may be.

What is special to IPv6 is in ipv6.py.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from pyslirp.addresses import Address
from pyslirp.config.ipv6 import DEFAULT_HOST6, DEFAULT_PREFIX, check_prefix
from pyslirp.config.libc import inet_aton, strtol
from pyslirp.config.values import expects, validate, within
from pyslirp.errors import ConfigError
from pyslirp.records import dataclass

DEFAULT_NET = IPv4Network("10.0.2.0/24")
DEFAULT_ID = "net0"

MIN_PREFIX_LENGTH, MAX_PREFIX_LENGTH = 4, 32  #: QEMU's limits for net=ADDR/LENGTH

MIN_MTU = 68  #: RFC 791 section 3.2 and RFC 2132 section 5.1: what every IPv4 module must be able to forward
MAX_MTU = 65521  #: what still fits with its Ethernet header into 64 KiB - 1; the limit of libslirp and slirp4netns

CONGESTION = ("reno", "cubic", "bbr")  #: what steers TCP towards guests: the names that the engine knows

#: "This network", loopback and multicast: none of their addresses can be a host's on an Ethernet.
NO_GUEST_NETS = (IPv4Network("0.0.0.0/8"), IPv4Network("127.0.0.0/8"), IPv4Network("224.0.0.0/4"))

#: The mask of a net given without one: (bits looked at, their value, prefix length), the first that fits.  QEMU's table
#: (net/slirp.c, net_slirp_init), its odd row for 224.0.0.0/3 included; whatever fits none is a /28.
_GUESSES = (
    (0x80000000, 0x00000000, 8),  # class A
    (0xFFF00000, 0xAC100000, 12),  # private, 172.16.0.0
    (0xC0000000, 0x80000000, 16),  # class B
    (0xFFFF0000, 0xC0A80000, 16),  # private, 192.168.0.0
    (0xFFFF0000, 0xC6120000, 15),  # benchmarks, 198.18.0.0
    (0xE0000000, 0xE0000000, 24),
    (0x00000000, 0x00000000, 28),
)

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")


def address_in(net: IPv4Network, number: int) -> IPv4Address:
    """The address that QEMU puts at `number` (0x0202 is 2.2) of `net`: as much of the number as the mask leaves."""
    return IPv4Address(int(net.network_address) | number & int(net.hostmask))


def default_host(net: IPv4Network) -> IPv4Address:
    """The gateway's address where none is given: .2 in a /24."""
    return address_in(net, 0x0202)


DEFAULT_HOST = default_host(DEFAULT_NET)


def parse_net(text: str) -> IPv4Network:
    """``ADDR``, ``ADDR/LENGTH`` or ``ADDR/MASK``; bits behind the mask are dropped, a missing mask is guessed.

    Deviation: QEMU takes masks with holes, and dotted masks shorter than 4 bits; neither makes a network that works.
    """
    address_text, slash, mask_text = text.partition("/")
    try:
        address = inet_aton(address_text)
    except ValueError:
        raise ConfigError("net", text, "Failed to parse netmask") from None
    length = _mask_length(text, mask_text) if slash else guess_length(address)
    return IPv4Network((address, length), strict=False)


def parse_ip(text: str) -> IPv4Network:
    """QEMU's legacy ``ip=ADDR``, which it takes for ``net=ADDR/24`` letter by letter."""
    try:
        return parse_net(f"{text}/24")
    except ConfigError as error:
        raise ConfigError("ip", text, error.reason, "use net=ADDR/LENGTH") from None


def guess_length(address: IPv4Address) -> int:
    """The prefix length that QEMU assumes for a net without a mask."""
    return next(length for bits, value, length in _GUESSES if int(address) & bits == value)


def _mask_length(text: str, mask_text: str) -> int:
    length, rest = strtol(mask_text, 10)
    if rest:
        try:
            hostmask = ~int(inet_aton(mask_text)) & 0xFFFFFFFF
        except ValueError:
            raise ConfigError("net", text, "Failed to parse netmask (trailing chars)") from None
        if hostmask & (hostmask + 1):
            raise ConfigError("net", text, "Failed to parse netmask", "the ones of a mask must have no hole")
        length = 32 - hostmask.bit_length()
    if not MIN_PREFIX_LENGTH <= length <= MAX_PREFIX_LENGTH:
        raise ConfigError("net", text, "Invalid netmask provided (must be in range 4-32)")
    return length


def check_net(net: IPv4Network) -> None:
    """The range of prefix lengths, for a net that was not read from text, and addresses that no guest can have.

    QEMU takes the latter; no guest works with them (RFC 1122 section 3.2.1.3, RFC 6890 section 2.2.2).
    """
    if net.prefixlen < MIN_PREFIX_LENGTH:
        raise ConfigError("net", net, "Invalid netmask provided (must be in range 4-32)")
    if any(net.subnet_of(reserved) for reserved in NO_GUEST_NETS):
        raise ConfigError("net", net, f"no guest can have an address of {net}")


def check_id(name: str) -> None:
    """QEMU's rule for identifiers (util/id.c, id_wellformed)."""
    if not _IDENTIFIER.fullmatch(name):
        rule = "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter."
        raise expects("id", name, "an identifier", rule)


_check_mtu = within("mtu", MIN_MTU, MAX_MTU, "leave it out for the most that the links carry")


def check_congestion(name: str) -> None:
    """One of the engine's controllers."""
    if name not in CONGESTION:
        raise expects("congestion", name, "one of " + ", ".join(CONGESTION), "bbr, the default, suits links that lose")


def check_mtu(mtu: int | None) -> None:
    """The range of an MTU, where one is given."""
    if mtu is not None:
        _check_mtu(mtu)


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The network that guests are on.  Raises ConfigErrors for a field that cannot work by itself."""

    net: IPv4Network = DEFAULT_NET  #: the guests' prefix; every address below lies in it
    host: IPv4Address = DEFAULT_HOST  #: the gateway, which is also the alias of the host's loopback
    host_loopback: bool = True  #: the gateway's addresses lead to the host's loopback; else nowhere
    outbound: IPv4Address | None = None  #: of the host: what its IPv4 sockets for guests are bound to; None: it chooses
    outbound6: IPv6Address | None = None  #: the same for its IPv6 sockets
    restrict: bool = False  #: nothing leaves the network but what hostfwd lets in and the services here answer
    ipv4: bool = True  #: IPv4 is spoken
    ipv6: bool = True  #: IPv6 is spoken
    prefix6: IPv6Network = DEFAULT_PREFIX  #: the guests' IPv6 prefix; SLAAC works in a /64 only, DHCPv6 in any
    host6: IPv6Address = DEFAULT_HOST6  #: the gateway, alias of the host's ::1
    mtu: int | None = None  #: bytes of an IP packet, MIN_MTU to MAX_MTU; None: the most that the network's links carry
    congestion: str = "bbr"  #: congestion control of TCP towards guests, of CONGESTION
    id: str = DEFAULT_ID  #: QEMU's name for this network, which its run-time commands use

    def __post_init__(self) -> None:
        """Refuse what one field alone has wrong; what two have wrong together is refused by Config."""
        validate(
            (check_net, self.net),
            (check_prefix, self.prefix6),
            (check_mtu, self.mtu),
            (check_congestion, self.congestion),
            (check_id, self.id),
        )

    def holds(self, address: Address) -> bool:
        """Is `address` one of the guests' network, of a family that is spoken?"""
        if isinstance(address, IPv4Address):
            return self.ipv4 and address in self.net
        return self.ipv6 and address in self.prefix6

    def has_no_host(self, address: Address) -> bool:
        """Is `address` the net itself, the broadcast address, or the prefix's anycast address (RFC 4291 section 2.6.1)?"""
        return address in (self.net.network_address, self.net.broadcast_address, self.prefix6.network_address)

    def why_no_guest(self, address: Address, *, group: bool = False) -> str:
        """Why no guest answers at `address`, in words; empty where one may.  group: an address of all of them will do."""
        if not self.holds(address):
            return f"{address} is not in the guests' net {self.nets}"
        if not group and self.has_no_host(address):
            return f"{address} cannot be a guest's address in {self.nets}"
        return ""

    def gateway(self, version: int) -> Address:
        """The gateway's address of IP version 4 or 6."""
        return self.host if version == 4 else self.host6

    @property
    def nets(self) -> str:
        """The prefixes of the families that are spoken, for people."""
        spoken = ((self.ipv4, self.net), (self.ipv6, self.prefix6))
        return " and ".join(str(net) for is_spoken, net in spoken if is_spoken)
