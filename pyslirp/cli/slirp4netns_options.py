"""The command line of slirp4netns 1.3 (main.c, parse_args), read as it reads it and refused in its words.

A refusal is a UsageError; most of them are followed by the usage, as there.  What slirp4netns only warns of, on
standard output, is collected in the order in which it prints them, up to the refusal if there is one.  Of several mistakes
the one is told that slirp4netns tells.

Stricter than there: a MAC address has six bytes (there the missing ones are zero), no number is empty or larger than an
int.  Of an interface the IPv6 address is found too (there the name of --outbound-addr is looked up by mistake).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address

from pyslirp._version import __version__
from pyslirp.addresses import Mac
from pyslirp.cli.getopt_long import Getopt, GetoptError, Option
from pyslirp.host.interfaces import ipv4_of_interface, ipv6_of_interface

VERSION = "1.3.1"  #: whose command line this is
CONFIG_VERSION = 4  #: SlirpConfig's version whose features there are: 2 outbound address, 3 disable-dns (libslirp.h)
DEFAULT_MTU, MAX_MTU = 1500, 65521
DEFAULT_CIDR = "10.0.2.0/24"
INTERFACE_NAME_BYTES = 15  #: a longer name is cut, as by strncpy there

#: In the order of main.c, in which getopt_long lists what an abbreviation may mean.
OPTIONS = (
    Option("configure", "c"),
    Option("exit-fd", "e", takes_value=True),
    Option("ready-fd", "r", takes_value=True),
    Option("mtu", "m", takes_value=True),
    Option("cidr", takes_value=True),
    Option("disable-host-loopback"),
    Option("no-host-loopback"),
    Option("netns-type", takes_value=True),
    Option("userns-path", takes_value=True),
    Option("api-socket", "a", takes_value=True),
    Option("enable-ipv6", "6"),
    Option("enable-sandbox"),
    Option("create-sandbox"),
    Option("enable-seccomp"),
    Option("help", "h"),
    Option("version", "v"),
    Option("outbound-addr", takes_value=True),
    Option("outbound-addr6", takes_value=True),
    Option("disable-dns"),
    Option("macaddress", takes_value=True),
    Option("target-type", takes_value=True),
)

USAGE = """\
Usage: {program} [OPTION]... PID|PATH|FD [TAPNAME]
User-mode networking for unprivileged network namespaces.

-c, --configure          bring up the interface
-e, --exit-fd=FD         specify the FD for terminating slirp4netns
-r, --ready-fd=FD        specify the FD to write to when the network is configured
-m, --mtu=MTU            specify MTU (default=1500, max=65521)
-6, --enable-ipv6        enable IPv6 (experimental)
-a, --api-socket=PATH    specify API socket path
--cidr=CIDR              specify network address CIDR (default=10.0.2.0/24)
--disable-host-loopback  prohibit connecting to 127.0.0.1:* on the host namespace
--netns-type=TYPE        specify network namespace type ([path|pid|tapfd], default=pid)
--userns-path=PATH       specify user namespace path
--enable-sandbox         create a new mount namespace (and drop all caps except CAP_NET_BIND_SERVICE if running as the \
root)
--enable-seccomp         enable seccomp to limit syscalls (experimental)
--outbound-addr=IPv4     sets outbound ipv4 address to bound to (experimental)
--outbound-addr6=IPv6    sets outbound ipv6 address to bound to (experimental)
--disable-dns            disables 10.0.2.3 (or configured internal ip) to host dns redirect (experimental)
--macaddress=MAC         specify the MAC address of the TAP (only valid with -c)
--target-type=TYPE       specify the target type ([netns|bess], default=netns)
-h, --help               show this help and exit
-v, --version            show version and exit
"""

# Patterns are compiled where they are used: a command line needs few of them.
_NUMBER = r"\s*[+-]?[0-9]{1,18}"
_MAC = r"[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{1,2}){5}"
_CIDR = r"(([0-9]{1,3}\.){3}[0-9]{1,3})/([0-9]{1,2})"


class UsageError(Exception):
    """The command line cannot be carried out; `str()` is what slirp4netns says."""

    def __init__(self, text: str, *, usage: bool = True) -> None:
        super().__init__(text)
        self.usage = usage  #: the usage follows


class Slirp4netnsOptions:
    """What was asked for."""

    def __init__(self, warnings: list[str]) -> None:
        self.configure = False
        self.exit_fd: int | None = None
        self.ready_fd: int | None = None
        self.mtu = DEFAULT_MTU
        self.net = IPv4Network(DEFAULT_CIDR)
        self.host_loopback = True
        self.netns_type = "pid"
        self.userns_path: str | None = None
        self.api_socket: str | None = None
        self.ipv6 = False
        self.sandbox = False
        self.seccomp = False
        self.outbound: IPv4Address | None = None
        self.outbound6: IPv6Address | None = None
        self.dns = True
        self.mac: Mac | None = None
        self.target_type = "netns"
        self.target = ""  #: PID, PATH, FD or, for bess, the socket's path
        self.tap_name = ""
        self.warnings = warnings

    @property
    def gateway(self) -> IPv4Address:
        """+2, the host."""
        return self.net[2]

    @property
    def dns_address(self) -> IPv4Address:
        """+3."""
        return self.net[3]

    @property
    def dhcp_start(self) -> IPv4Address:
        """+15."""
        return self.net[15]

    @property
    def dhcp_end(self) -> IPv4Address:
        """+30: what slirp4netns says; there are more in our pool."""
        return self.net[30]

    @property
    def guest(self) -> IPv4Address:
        """+100: the recommended address, which a configured tap gets."""
        return self.net[100]


def read_options(program: str, arguments: Sequence[str], warnings: list[str]) -> Slirp4netnsOptions | str:
    """The options; or the text that ``--help`` or ``--version`` wants.  Warnings are added.  Raises UsageError."""
    options = Slirp4netnsOptions(warnings=warnings)
    line = Getopt(OPTIONS, arguments, permute="POSIXLY_CORRECT" not in os.environ)
    texts: dict[str, str] = {}
    try:
        for name, value in line.options():
            if name == "help":
                return usage(program)
            if name == "version":
                return version()
            texts[name] = value
            _take(options, name, value)
    except GetoptError as error:
        raise UsageError(f"{program}: {error}") from None
    _check(options, texts)
    if options.target_type == "bess":
        _take_bess(options, texts, line.words)
    else:
        _take_words(options, line.words)
    _work_out(options, texts)
    return options


def usage(program: str) -> str:
    """What ``--help`` prints."""
    return USAGE.format(program=program)


def version() -> str:
    """What ``--version`` prints: slirp4netns's five fields, each saying what is really here."""
    return (
        f"slirp4netns version {VERSION}+pyslirp{__version__}\n"
        f"commit: pyslirp {__version__}\n"
        f"libslirp: none (pyslirp {__version__})\n"
        f"SLIRP_CONFIG_VERSION_MAX: {CONFIG_VERSION}\n"
        "libseccomp: none (a filter of our own)\n"
    )


# -- one option at a time ----------------------------------------------------------------------------------------------


def _take(options: Slirp4netnsOptions, name: str, value: str) -> None:
    """Take an option whose value is looked at, or that is warned of, as soon as it comes."""
    match name:
        case "configure":
            options.configure = True
        case "exit-fd":
            options.exit_fd = _descriptor(name, value)
        case "ready-fd":
            options.ready_fd = _descriptor(name, value)
        case "mtu":
            options.mtu = _number(value, 1, MAX_MTU, f"MTU must be a positive integer (< {MAX_MTU + 1})")
        case "netns-type":
            options.netns_type = value
        case "userns-path":
            if not os.path.exists(value):  # noqa: PTH110 - any file will do
                raise UsageError(f"userns path doesn't exist: {value}")
            options.userns_path = value
        case "api-socket":
            options.api_socket = value
        case "target-type":
            options.target_type = value
        case _:
            _take_switch(options, name)


def _take_switch(options: Slirp4netnsOptions, name: str) -> None:
    match name:
        case "disable-host-loopback" | "no-host-loopback":
            options.host_loopback = False
            _deprecated(options, name, "no-host-loopback", "disable-host-loopback")
        case "enable-sandbox" | "create-sandbox":
            options.sandbox = True
            _deprecated(options, name, "create-sandbox", "enable-sandbox")
        case "enable-ipv6":
            options.ipv6 = True
            options.warnings.append("WARNING: Support for IPv6 is experimental")
        case "enable-seccomp":
            options.seccomp = True
            options.warnings.append("WARNING: Support for seccomp is experimental")
        case "disable-dns":
            options.dns = False
        case "outbound-addr" | "outbound-addr6":
            options.warnings.append(f"WARNING: Support for --{name} is experimental")


def _deprecated(options: Slirp4netnsOptions, name: str, old: str, new: str) -> None:
    if name == old:
        options.warnings.append(
            f"WARNING: --{old} is deprecated and will be removed in future releases, please use --{new} instead."
        )


def _number(text: str, least: int, most: int, refusal: str) -> int:
    if not re.fullmatch(_NUMBER, text) or not least <= int(text) <= most:
        raise UsageError(refusal)
    return int(text)


def _descriptor(name: str, text: str) -> int:
    return _number(text, 0, 2**31 - 1, f"{name} must be a non-negative integer")


def parse_cidr(text: str) -> IPv4Network:
    """A network with room for the addresses that are fixed in it, up to +100.  Raises UsageError."""
    found = re.fullmatch(_CIDR, text)
    if found is None:
        raise UsageError(f"invalid CIDR: {text}", usage=False)
    try:
        address = IPv4Address(found[1])
    except AddressValueError:
        raise UsageError(f"invalid network address: {found[1]}", usage=False) from None
    length = int(found[3])
    if not 1 <= length <= 25:
        raise UsageError("prefix length needs to be 1-25", usage=False)
    try:
        return IPv4Network((address, length))
    except ValueError:
        example = "CIDR needs to be a network address like 10.0.2.0/24, not like 10.0.2.100/24"
        raise UsageError(example, usage=False) from None


def _mac(text: str) -> Mac:
    if not re.fullmatch(_MAC, text):
        more = "  Is it too long?" if re.match(_MAC, text) else ""
        explained = "macaddress has to be a valid MAC address (hex string, 6 bytes, each byte separated by a ':')."
        raise UsageError(f'"{text}" is an invalid MAC address.{more}\n{explained}', usage=False)
    return Mac(bytes(int(part, 16) for part in text.split(":")))


def _outbound(text: str) -> IPv4Address:
    """An address, or the name of an interface that has one."""
    with contextlib.suppress(AddressValueError):
        return IPv4Address(text)
    address = ipv4_of_interface(text)
    if address is None:
        raise UsageError("outbound-addr has to be valid ipv4 address or interface name.", usage=False)
    return address


def _outbound6(text: str) -> IPv6Address:
    with contextlib.suppress(AddressValueError):
        return IPv6Address(text)
    address = ipv6_of_interface(text)
    if address is None:
        raise UsageError("outbound-addr6 has to be valid ipv6 address or interface name.", usage=False)
    return address


# -- all of them together ----------------------------------------------------------------------------------------------


def _check(options: Slirp4netnsOptions, texts: Mapping[str, str]) -> None:
    if "macaddress" in texts and not options.configure:
        raise UsageError("--macaddr cannot be specified when --configure or -c is not specified")
    if options.target_type not in {"netns", "bess"}:
        raise UsageError('--target-type must be either "netns" or "bess"')


def _take_bess(options: Slirp4netnsOptions, texts: Mapping[str, str], words: list[str]) -> None:
    if len(words) != 1:
        raise UsageError("too many arguments" if words else "")
    for name in ("configure", "netns-type", "userns-path"):
        if name in texts:
            raise UsageError(f"--{name} conflicts with --target-type=bess")
    options.target = words[0]
    options.warnings.append("WARNING: BESS mode is experimental")


def _take_words(options: Slirp4netnsOptions, words: list[str]) -> None:
    """What is no option: where the guest is, and what its tap is called."""
    needed = 1 if options.netns_type == "tapfd" else 2
    if len(words) < needed:
        raise UsageError("")
    if len(words) > 2:
        options.warnings.append("WARNING: too many arguments")
    options.target = words[0]
    match options.netns_type:
        case "pid":
            _number(options.target, 1, 2**31 - 1, "PID must be a positive integer")
        case "tapfd":
            _number(options.target, 0, 2**31 - 1, "TAPFD must a file descriptor")
        case _:
            if not os.path.exists(options.target):  # noqa: PTH110 - any file will do
                raise UsageError("existing path expected when --netns-type=path: No such file or directory")
    if len(words) > 1:
        options.tap_name = os.fsdecode(os.fsencode(words[1])[:INTERFACE_NAME_BYTES])


def _work_out(options: Slirp4netnsOptions, texts: Mapping[str, str]) -> None:
    """What slirp4netns looks at once the whole line has been read; no usage follows such a refusal."""
    if "cidr" in texts:
        options.net = parse_cidr(texts["cidr"])
    if "outbound-addr" in texts:
        options.outbound = _outbound(texts["outbound-addr"])
    if "outbound-addr6" in texts:
        options.outbound6 = _outbound6(texts["outbound-addr6"])
    if "macaddress" in texts:
        options.mac = _mac(texts["macaddress"])
