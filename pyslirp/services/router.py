"""Router advertisements: how guests learn prefix, default route, MTU and names in IPv6 (RFC 4861 section 6.2, 4862, 8106).

One message says all that there is to say, and is the same for every guest.  It is sent to all of them now and then, and
at once to each that asks.

Unsolicited, to ff02::1 of every link: the first INITIAL_COUNT within INITIAL_NS of one another, then after a random time
from MIN_INTERVAL_NS to MAX_INTERVAL_NS.

Solicited, to the one that asks: to its address, or where it has none yet to ff02::1 in a frame for its MAC alone (RFC 6085
section 3).  So nobody else is woken, and neither the delay of RFC 4861 section 6.2.6, by which many routers avoid to
answer at the same time, nor the 3 seconds between two multicasts apply: a guest has its address as early as it can.  What
a link may ask is limited to BURST answers within BURST_NS; what is beyond is counted and gets none.

What the fields say, and why:

    M, O          both: DHCPv6 (dhcp6.py) has addresses and all else, beside what is here
    lifetime      three intervals, RFC 4861's default; 0 with restrict=on: this is no way out
    prefix        on-link always; autonomous in a /64 only, since a host must ignore any other (RFC 4862 section 5.5.3)
    RDNSS, DNSSL  as long as the router; left out where nobody answers DNS
    MTU           what DHCP announces, too

Deviation: no final advertisement of lifetime 0 (RFC 4861 section 6.2.5).  The network ends by taking the links down.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from pyslirp.addresses import Mac
from pyslirp.config.ipv6 import DEFAULT_LENGTH, MIN_MTU, ROUTER_LINK_LOCAL
from pyslirp.errors import ConfigError
from pyslirp.records import dataclass, replace
from pyslirp.services.base import ROUTER_SOLICITATION, Action, Claim, Datagram, SendIcmp6, Solicitation
from pyslirp.services.dns_names import pack_names

ROUTER_ADVERTISEMENT = 134  #: ICMPv6 type (RFC 4861 section 4.2)
ALL_NODES = IPv6Address("ff02::1")

SECOND_NS = 1_000_000_000
MAX_INTERVAL_NS = 600 * SECOND_NS  #: MaxRtrAdvInterval's default (RFC 4861 section 6.2.1)
MIN_INTERVAL_NS = 200 * SECOND_NS  #: MinRtrAdvInterval
INITIAL_NS = 16 * SECOND_NS  #: MAX_INITIAL_RTR_ADVERT_INTERVAL (RFC 4861 section 10)
INITIAL_COUNT = 3  #: MAX_INITIAL_RTR_ADVERTISEMENTS
BURST, BURST_NS = 16, 3 * SECOND_NS  #: answers that a link gets, within MIN_DELAY_BETWEEN_RAS

ROUTER_SECONDS = 3 * MAX_INTERVAL_NS // SECOND_NS  #: AdvDefaultLifetime; RFC 8106 section 5.1 wants no less for names
VALID_SECONDS, PREFERRED_SECONDS = 86_400, 14_400  #: of the prefix, libslirp's
HOP_LIMIT = 64

MANAGED, OTHER = 0x80, 0x40  #: flags of the message
ON_LINK, AUTONOMOUS = 0x80, 0x40  #: flags of a prefix

SOURCE_LINK_LAYER, PREFIX_INFORMATION, MTU, RDNSS, DNSSL = 1, 3, 5, 25, 31  #: options

MAX_BODY_BYTES = MIN_MTU - 40 - 4  #: behind type, code and checksum: the message is not fragmented (RFC 6980)

COUNTERS = ("received.solicitation", "sent.solicited", "sent.unsolicited", "drop.rate_limited")


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """What is advertised."""

    prefix: IPv6Network
    mac: Mac  #: the router's
    mtu: int  #: bytes, MIN_MTU at least
    dns: IPv6Address | None  #: the name server; None: none is announced
    search: Sequence[str] = ()  #: DNSSL
    restrict: bool = False  #: no default route, no name server


class RouterService:
    """The router's side of router discovery."""

    name = "router"

    def __init__(self, settings: RouterSettings, draw: Callable[[], int], now: int) -> None:
        """`draw` gives 16 random bits.  Raises ConfigError for a search list that DNS cannot express."""
        self._settings = settings
        self._draw = draw
        self._body, self._omitted = advertisement(settings)
        self._sent = 0  # unsolicited
        self._due = now + self._random(0, INITIAL_NS)
        self._answers: dict[int, tuple[int, int]] = {}  # by link: when its time began, and answers within it
        self._counters = dict.fromkeys(COUNTERS, 0)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Router solicitations."""
        return (Claim("icmp6", None, ROUTER_SOLICITATION),)

    def handle(self, datagram: Datagram, now: int) -> list[Action]:
        """No datagram is claimed."""
        del datagram, now
        return []

    def solicited(self, solicitation: Solicitation, now: int) -> list[Action]:
        """A guest asks: it alone is told."""
        self._counters["received.solicitation"] += 1
        if not self._may_answer(solicitation.link, now):
            self._counters["drop.rate_limited"] += 1
            return []
        self._counters["sent.solicited"] += 1
        to = ALL_NODES if solicitation.source.is_unspecified else solicitation.source
        return [self._advertise(to, solicitation.mac, solicitation.link)]

    def deadline(self) -> int:
        """When all guests are told next."""
        return self._due

    def expire(self, now: int) -> list[Action]:
        """Tell all guests what they may have missed."""
        if now < self._due:
            return []
        self._sent += 1
        self._counters["sent.unsolicited"] += 1
        initial = self._sent < INITIAL_COUNT
        self._due = now + (self._random(0, INITIAL_NS) if initial else self._random(MIN_INTERVAL_NS, MAX_INTERVAL_NS))
        self._answers = {link: began for link, began in self._answers.items() if now - began[0] < BURST_NS}
        return [self._advertise(ALL_NODES, None, None)]

    def set_restrict(self, restrict: bool, now: int) -> None:
        """Be a way out, or none, from now on: all guests are told at once."""
        self._settings = replace(self._settings, restrict=restrict)
        self._body, self._omitted = advertisement(self._settings)
        self._due = now

    def snapshot(self) -> dict[str, Any]:
        """When the next unsolicited one is due, and counters."""
        return {"due": self._due, "counters": {**self._counters, "names_omitted": self._omitted}}

    def _advertise(self, to: IPv6Address, mac: Mac | None, link: int | None) -> SendIcmp6:
        return SendIcmp6(ROUTER_LINK_LOCAL, to, ROUTER_ADVERTISEMENT, 0, self._body, mac, link)

    def _may_answer(self, link: int, now: int) -> bool:
        began, answers = self._answers.get(link, (now, 0))
        if now - began >= BURST_NS:
            began, answers = now, 0
        if answers == BURST:
            return False
        self._answers[link] = began, answers + 1
        return True

    def _random(self, least: int, most: int) -> int:
        return least + (most - least) * self._draw() // 0xFFFF


def advertisement(settings: RouterSettings) -> tuple[bytes, int]:
    """The message behind type, code and checksum, and how many search domains had no room in it.  Raises ConfigError."""
    assert settings.mtu >= MIN_MTU
    lifetime = 0 if settings.restrict else ROUTER_SECONDS
    head = (
        bytes([HOP_LIMIT, MANAGED | OTHER]) + lifetime.to_bytes(2, "big") + bytes(8)
    )  # reachable, retrans: unspecified
    options = [
        _option(SOURCE_LINK_LAYER, settings.mac),
        _option(MTU, bytes(2) + settings.mtu.to_bytes(4, "big")),
        _option(PREFIX_INFORMATION, _prefix(settings.prefix)),
    ]
    seconds = ROUTER_SECONDS.to_bytes(4, "big")
    if settings.dns is not None and not settings.restrict:
        options.append(_option(RDNSS, bytes(2) + seconds + settings.dns.packed))
    body = head + b"".join(options)
    names = _search(settings.search, MAX_BODY_BYTES - len(body) - 8 - 7)  # the option's head, and its padding at most
    if names:
        body += _option(DNSSL, bytes(2) + seconds + b"".join(names))
    return body, len(settings.search) - len(names)


def _prefix(prefix: IPv6Network) -> bytes:
    flags = ON_LINK | (AUTONOMOUS if prefix.prefixlen == DEFAULT_LENGTH else 0)
    times = VALID_SECONDS.to_bytes(4, "big") + PREFERRED_SECONDS.to_bytes(4, "big")
    return bytes([prefix.prefixlen, flags]) + times + bytes(4) + prefix.network_address.packed


def _search(domains: Sequence[str], room: int) -> list[bytes]:
    """The names on the wire, from the first on, that fit into `room` bytes.  Raises ConfigError."""
    try:
        names = [pack_names([domain]) for domain in domains]
    except ValueError as error:
        raise ConfigError("dnssearch", ",".join(domains), str(error)) from error
    ends = itertools.accumulate(len(name) for name in names)
    return names[: sum(end <= room for end in ends)]


def _option(kind: int, body: bytes) -> bytes:
    """An option, padded with zeros to a multiple of 8 bytes (RFC 4861 section 4.6, RFC 8106 section 5.2)."""
    octets = (2 + len(body) + 7) // 8
    return (bytes([kind, octets]) + body).ljust(8 * octets, b"\0")
