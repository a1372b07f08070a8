"""The one table of options: every way to configure a network, and its documentation, is generated from it.

``-netdev user,...`` strings (qemu.py), ``--name value`` arguments (argv.py) and keywords of `Config.build` (stack.py)
have the same names.  A new option is one row here, one field of its section's dataclass, and its tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from pyslirp.addresses import Endpoint, Network
from pyslirp.config import ipv6
from pyslirp.config.boot import (
    BootConfig,
    ClientBootfile,
    check_bootfile,
    check_server_name,
    check_tftp,
    parse_text,
)
from pyslirp.config.dhcp import (
    DhcpConfig,
    StaticLease,
    check_domainname,
    check_hostname,
    check_lease_time,
    parse_hostname,
)
from pyslirp.config.dns import DnsConfig, check_search, check_upstream, parse_upstream
from pyslirp.config.forward import ForwardConfig, HostForward
from pyslirp.config.guestfwd import GuestForward
from pyslirp.config.network import (
    CONGESTION,
    NetworkConfig,
    check_congestion,
    check_id,
    check_mtu,
    check_net,
    parse_ip,
    parse_net,
)
from pyslirp.config.plan import PLANS
from pyslirp.config.smb import SmbConfig, check_folder
from pyslirp.config.smb import default_server as default_smb
from pyslirp.config.values import Check, Parser, anything, boolean, expects, ipv4_address, number, on_off
from pyslirp.records import dataclass

Section = NetworkConfig | DhcpConfig | DnsConfig | ForwardConfig | BootConfig | SmbConfig

#: The sections of a Config as they are when nothing is given; a field's default is read off them.
DEFAULTS: dict[str, Section] = {
    "network": NetworkConfig(),
    "dhcp": DhcpConfig(),
    "dns": DnsConfig(),
    "forward": ForwardConfig(),
    "boot": BootConfig(),
    "smb": SmbConfig(),
}

#: What addresses follow that are not given, by the option's name.
DEFAULT_NETS: dict[str, Network] = {plan.net: plan.default_net for plan in PLANS}


class Source(Enum):
    """Who gave an option its name and meaning."""

    QEMU = "QEMU"
    OURS = "pyslirp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One option."""

    name: str  #: as it is written, e.g. ``dns-upstream``
    section: str  #: key of DEFAULTS: the part of Config that holds the value
    attribute: str  #: of the section
    type: type[Any]  #: of the value; of one of them where the option is a list
    parse: Parser[Any]  #: text to value
    check: Check[Any] = anything  #: judges a value by itself
    render: Callable[[Any], str] = str  #: value to text that `parse` reads back
    metavar: str  #: stands for the value in help texts
    help: str  #: one line
    source: Source = Source.QEMU
    many: bool = False  #: may be given repeatedly; the section holds a tuple
    derive: Callable[[Any], Any] | None = None  #: the default where it depends on a net
    follows: str = "net"  #: which net that is, a key of DEFAULT_NETS
    legacy: bool = False  #: an older spelling of the option that has this attribute, which wins

    @property
    def keyword(self) -> str:
        """The name as a Python keyword."""
        return self.name.replace("-", "_")

    def default(self, nets: Mapping[str, Network] = DEFAULT_NETS) -> Any:
        """The value where none is given, in a network with the prefixes `nets` (which has the keys of DEFAULT_NETS)."""
        return self.derive(nets[self.follows]) if self.derive else getattr(DEFAULTS[self.section], self.attribute)

    def read(self, given: object) -> Any:
        """The value that `given` (text, or a value already) stands for; raises ConfigError."""
        if isinstance(given, str):
            value = self.parse(given)
        elif isinstance(given, self.type) and isinstance(given, bool) == (self.type is bool):
            value = given
        else:
            raise expects(self.name, given, self.metavar)
        self.check(value)
        return value


def _switch(name: str, section: str, sentence: str, source: Source = Source.QEMU, attribute: str = "") -> Field:
    """The row of an option that is on or off; its attribute is its name where none is given."""
    return Field(
        name=name,
        section=section,
        attribute=attribute or name.replace("-", "_"),
        type=bool,
        parse=boolean(name),
        render=on_off,
        metavar="on|off",
        help=sentence,
        source=source,
    )


def _addresses(
    place: str,
    section: str,
    attribute: str,
    what: str,
    sentences: tuple[str, str],
    sources: tuple[Source, Source] = (Source.QEMU, Source.QEMU),
) -> Iterator[Field]:
    """The rows of two options that say where something is, in IPv4 and in IPv6; `place` is their name in the plans.

    attribute: as IPv4 has it; what: the address in the words of QEMU's refusal, behind the plan's.
    """
    for plan, sentence, source in zip(PLANS, sentences, sources, strict=True):
        name = getattr(plan, place)
        yield Field(
            name=name,
            section=section,
            attribute=attribute + plan.suffix,
            type=plan.type,
            parse=plan.address(name, f"Failed to parse {what.format(plan)}"),
            metavar="ADDR",
            help=sentence,
            source=source,
            derive=getattr(plan, f"default_{place}", None),
            follows=plan.net,
        )


_HOST, _HOST6 = _addresses(
    "host",
    "network",
    "host",
    "{0.word}host",
    (
        "the gateway, by which guests also reach the host's loopback",
        "the gateway's IPv6 address, by which guests also reach the host's ::1",
    ),
)

FIELDS = (
    Field(
        name="id",
        section="network",
        attribute="id",
        type=str,
        parse=str,
        check=check_id,
        metavar="NAME",
        help="what QEMU's run-time commands call this network",
    ),
    _switch("ipv4", "network", "speak IPv4"),
    _switch("ipv6", "network", "speak IPv6"),
    Field(
        name="net",
        section="network",
        attribute="net",
        type=IPv4Network,
        parse=parse_net,
        check=check_net,
        metavar="ADDR[/MASK]",
        help="the guest network; MASK is a length from 4 to 32 or a dotted mask",
    ),
    Field(
        name="ip",
        section="network",
        attribute="net",
        type=IPv4Network,
        parse=parse_ip,
        check=check_net,
        metavar="ADDR",
        help="legacy spelling of net=ADDR/24",
        legacy=True,
    ),
    _HOST,
    Field(
        name="ipv6-net",
        section="network",
        attribute="prefix6",
        type=IPv6Network,
        parse=ipv6.parse_prefix,
        check=ipv6.check_prefix,
        metavar="ADDR[/LENGTH]",
        help="the guests' IPv6 prefix; LENGTH is at most 126, and 64 where none is given",
    ),
    Field(
        name="ipv6-prefix",
        section="network",
        attribute="prefix6",
        type=IPv6Address,
        parse=ipv6.parse_address,
        metavar="ADDR",
        help="the same without its length",
        legacy=True,
    ),
    Field(
        name="ipv6-prefixlen",
        section="network",
        attribute="prefix6",
        type=int,
        parse=number("ipv6-prefixlen"),
        check=ipv6.check_length,
        metavar="LENGTH",
        help="the length of ipv6-prefix, 0 to 126; 0 is 64",
        legacy=True,
    ),
    _HOST6,
    _switch("host-loopback", "network", "let guests reach the host's loopback by the gateway's address", Source.OURS),
    *_addresses(
        "outbound",
        "network",
        "outbound",
        "{0.word}outbound address",
        ("address of this host that its sockets for guests are bound to", "the same for IPv6"),
        (Source.OURS, Source.OURS),
    ),
    _switch("restrict", "network", "isolate the guests: only hostfwd and the services of the network itself work"),
    Field(
        name="mtu",
        section="network",
        attribute="mtu",
        type=int,
        parse=number("mtu"),
        check=check_mtu,
        metavar="BYTES",
        help="largest IP packet, 68 to 65521; by default the most that the links carry",
        source=Source.OURS,
    ),
    Field(
        name="congestion",
        section="network",
        attribute="congestion",
        type=str,
        parse=str,
        check=check_congestion,
        metavar="|".join(CONGESTION),
        help="congestion control of TCP towards guests",
        source=Source.OURS,
    ),
    *_addresses(
        "start",
        "dhcp",
        "start",
        "{0.dhcp} start address",
        (
            "first address that DHCP gives out; hostfwd rules without a guest lead to it",
            "first address that DHCPv6 gives out; hostfwd rules without a guest lead to it where there is no IPv4",
        ),
        (Source.QEMU, Source.OURS),
    ),
    Field(
        name="dhcp-host",
        section="dhcp",
        attribute="static",
        type=StaticLease,
        parse=StaticLease.parse,
        metavar="MAC=ADDR",
        help="keep ADDR, IPv4 or IPv6, for the guest with this MAC address",
        source=Source.OURS,
        many=True,
    ),
    Field(
        name="lease-time",
        section="dhcp",
        attribute="lease_seconds",
        type=int,
        parse=number("lease-time"),
        check=check_lease_time,
        metavar="SECONDS",
        help="how long a lease of DHCP and DHCPv6 lasts",
        source=Source.OURS,
    ),
    Field(
        name="hostname",
        section="dhcp",
        attribute="hostname",
        type=str,
        parse=parse_hostname,
        check=check_hostname,
        metavar="NAME",
        help="host name that DHCP gives to guests",
    ),
    Field(
        name="domainname",
        section="dhcp",
        attribute="domainname",
        type=str,
        parse=str,
        check=check_domainname,
        metavar="DOMAIN",
        help="domain name that DHCP gives to guests",
    ),
    *_addresses(
        "dns",
        "dns",
        "address",
        "{0.word}DNS",
        ("the name server's address; queries to it are forwarded", "the name server's IPv6 address"),
    ),
    _switch(
        "dns-forward",
        "dns",
        "answer queries to the name server's addresses by forwarding them; else it is silent",
        Source.OURS,
        attribute="forward",
    ),
    Field(
        name="dnssearch",
        section="dns",
        attribute="search",
        type=str,
        parse=str,
        check=check_search,
        metavar="DOMAIN",
        help="domain that guests search for short names",
        many=True,
    ),
    Field(
        name="dns-upstream",
        section="dns",
        attribute="upstream",
        type=Endpoint,
        parse=parse_upstream,
        check=check_upstream,
        metavar="ADDR[:PORT]",
        help="resolver to forward queries to, in place of the host's",
        source=Source.OURS,
        many=True,
    ),
    Field(
        name="tftp",
        section="boot",
        attribute="tftp",
        type=str,
        parse=parse_text,
        check=check_tftp,
        metavar="DIR",
        help="serve the files of this folder to guests by TFTP, read-only",
    ),
    Field(
        name="bootfile",
        section="boot",
        attribute="bootfile",
        type=str,
        parse=parse_text,
        check=check_bootfile,
        metavar="FILE",
        help="what guests boot: a name for the TFTP server, or an http or https URL",
    ),
    Field(
        name="bootfile-for",
        section="boot",
        attribute="by_client",
        type=ClientBootfile,
        parse=ClientBootfile.parse,
        metavar="CLIENT=FILE",
        help="what guests of one kind boot: bios, efi64, efi-arm64 ..., or ipxe for an iPXE that runs already",
        source=Source.OURS,
        many=True,
    ),
    Field(
        name="tftp-server-name",
        section="boot",
        attribute="server_name",
        type=str,
        parse=parse_text,
        check=check_server_name,
        metavar="NAME",
        help="the TFTP server that DHCP names in place of this network's",
    ),
    Field(
        name="smb",
        section="smb",
        attribute="folder",
        type=str,
        parse=parse_text,
        check=check_folder,
        metavar="DIR",
        help="share this folder with guests as \\\\SERVER\\qemu, by the host's Samba",
    ),
    Field(
        name="smbserver",
        section="smb",
        attribute="server",
        type=IPv4Address,
        parse=ipv4_address("smbserver", "Failed to parse SMB address"),
        metavar="ADDR",
        help="the file server's address",
        derive=default_smb,
    ),
    Field(
        name="hostfwd",
        section="forward",
        attribute="hostfwd",
        type=HostForward,
        parse=HostForward.parse,
        metavar="RULE",
        help="lead a port of the host to a guest: [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT",
        many=True,
    ),
    Field(
        name="guestfwd",
        section="forward",
        attribute="guestfwd",
        type=GuestForward,
        parse=GuestForward.parse,
        metavar="RULE",
        help="answer guests at [tcp|udp]:[SERVER]:PORT, by -cmd:COMMAND, -tcp:HOST:PORT, -unix:PATH or -udp:HOST:PORT",
        many=True,
    ),
)

BY_NAME = {field.name: field for field in FIELDS}
