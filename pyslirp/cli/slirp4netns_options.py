"""The command line of slirp4netns 1.3 (main.c, parse_args), read as it reads it and refused in its words.

A refusal is a UsageError; most of them are followed by the usage, as there.  What slirp4netns only warns of, on
standard output, is collected in the order in which it prints them, up to the refusal if there is one.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from getopt import GetoptError, gnu_getopt
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address

from pyslirp._version import __version__
from pyslirp.addresses import Mac

VERSION = "1.3.1"  #: whose command line this is
CONFIG_VERSION = 4  #: SlirpConfig's version whose features there are: 2 outbound address, 3 disable-dns (libslirp.h)
DEFAULT_MTU, MAX_MTU = 1500, 65521
DEFAULT_CIDR = "10.0.2.0/24"
INTERFACE_NAME_BYTES = 15  #: a longer name is cut, as by strncpy there

SHORT = "ce:r:m:a:6hv"
LONG = (
    *("configure", "exit-fd=", "ready-fd=", "mtu=", "cidr=", "disable-host-loopback", "no-host-loopback"),
    *("netns-type=", "userns-path=", "api-socket=", "enable-ipv6", "enable-sandbox", "create-sandbox"),
    *("enable-seccomp", "outbound-addr=", "outbound-addr6=", "disable-dns", "macaddress=", "target-type="),
    *("help", "version"),
)
_LONG_OF = {"-c": "configure", "-e": "exit-fd", "-r": "ready-fd", "-m": "mtu", "-a": "api-socket", "-6": "enable-ipv6"}

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

_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,18}")
_MAC = re.compile(r"[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{1,2}){5}")


class UsageError(Exception):
    """The command line cannot be carried out; `str()` is what slirp4netns says."""

    def __init__(self, text: str, *, usage: bool = True) -> None:
        super().__init__(text)
        self.usage = usage  #: the usage follows


@dataclass(slots=True)
class Slirp4netnsOptions:
    """What was asked for."""

    configure: bool = False
    exit_fd: int | None = None
    ready_fd: int | None = None
    mtu: int = DEFAULT_MTU
    net: IPv4Network = IPv4Network(DEFAULT_CIDR)  # noqa: RUF009 - an immutable value
    host_loopback: bool = True
    netns_type: str = "pid"
    userns_path: str | None = None
    api_socket: str | None = None
    ipv6: bool = False
    sandbox: bool = False
    seccomp: bool = False
    outbound: str | None = None  #: an IPv4 address, or the name of an interface
    outbound6: str | None = None
    dns: bool = True
    mac: Mac | None = None
    target_type: str = "netns"
    target: str = ""  #: PID, PATH, FD or, for bess, the socket's path
    tap_name: str = ""
    warnings: list[str] = field(default_factory=list)

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
    try:
        given, words = gnu_getopt(list(arguments), SHORT, list(LONG))
    except GetoptError as error:
        raise UsageError(f"{program}: {_getopt_said(error, arguments)}") from None
    options = Slirp4netnsOptions(warnings=warnings)
    seen = set()
    for option, value in given:
        name = _LONG_OF.get(option, option.removeprefix("--"))
        if option in ("-h", "--help"):
            return usage(program)
        if option in ("-v", "--version"):
            return version()
        seen.add(name)
        _take(options, name, value)
    _check(options, seen)
    _take_words(options, words)
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


def _getopt_said(error: GetoptError, arguments: Sequence[str]) -> str:
    """getopt_long(3)'s words for what Python's getopt has found."""
    name = error.opt
    if "not recognized" in error.msg:
        return f"invalid option -- '{name}'" if len(name) == 1 else f"unrecognized option '--{name}'"
    if "not a unique prefix" in error.msg:
        possible = [option.rstrip("=") for option in LONG if option.startswith(name)]
        written = next((word for word in arguments if word.startswith(f"--{name}")), f"--{name}")
        return f"option '{written}' is ambiguous; possibilities: " + " ".join(f"'--{option}'" for option in possible)
    if "must not have an argument" in error.msg:
        return f"option '--{name}' doesn't allow an argument"
    if len(name) == 1:
        return f"option requires an argument -- '{name}'"
    return f"option '--{name}' requires an argument"


# -- one option at a time ----------------------------------------------------------------------------------------------


def _take(options: Slirp4netnsOptions, name: str, value: str) -> None:
    match name:
        case "configure":
            options.configure = True
        case "exit-fd":
            options.exit_fd = _descriptor(name, value)
        case "ready-fd":
            options.ready_fd = _descriptor(name, value)
        case "mtu":
            options.mtu = _number(value, 1, MAX_MTU, f"MTU must be a positive integer (< {MAX_MTU + 1})")
        case "cidr":
            options.net = parse_cidr(value)
        case "netns-type":
            options.netns_type = value
        case "userns-path":
            options.userns_path = value
        case "api-socket":
            options.api_socket = value
        case "macaddress":
            options.mac = _mac(value)
        case "target-type":
            options.target_type = value
        case _:
            _take_experimental(options, name, value)


def _take_experimental(options: Slirp4netnsOptions, name: str, value: str) -> None:
    """Options that are warned of, and the switches that have an older name."""
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
        case "outbound-addr":
            options.warnings.append("WARNING: Support for --outbound-addr is experimental")
            options.outbound = _outbound(IPv4Address, value)
        case "outbound-addr6":
            options.warnings.append("WARNING: Support for --outbound-addr6 is experimental")
            options.outbound6 = _outbound(IPv6Address, value)
        case _:
            raise AssertionError(name)


def _deprecated(options: Slirp4netnsOptions, name: str, old: str, new: str) -> None:
    if name == old:
        options.warnings.append(
            f"WARNING: --{old} is deprecated and will be removed in future releases, please use --{new} instead."
        )


def _number(text: str, least: int, most: int, refusal: str) -> int:
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise UsageError(refusal)
    return int(text)


def _descriptor(name: str, text: str) -> int:
    return _number(text, 0, 2**31 - 1, f"{name} must be a non-negative integer")


def parse_cidr(text: str) -> IPv4Network:
    """A network with room for the addresses that are fixed in it, up to +100.  Raises UsageError."""
    address_text, slash, length_text = text.partition("/")
    if not slash:
        raise UsageError(f"invalid CIDR: {text}", usage=False)
    try:
        address = IPv4Address(address_text)
    except AddressValueError:
        raise UsageError(f"invalid CIDR: {text}", usage=False) from None
    if not re.fullmatch(r"[0-9]+", length_text):
        raise UsageError(f"invalid CIDR: {text}", usage=False)
    if not 1 <= int(length_text) <= 25:
        raise UsageError("prefix length needs to be 1-25", usage=False)
    net = IPv4Network((address, int(length_text)), strict=False)
    if net.network_address != address:
        example = f"CIDR needs to be a network address like {net}, not like {text}"
        raise UsageError(example, usage=False)
    return net


def _mac(text: str) -> Mac:
    if not _MAC.fullmatch(text):
        more = "  Is it too long?" if _MAC.match(text) else ""
        explained = "macaddress has to be a valid MAC address (hex string, 6 bytes, each byte separated by a ':')."
        raise UsageError(f'"{text}" is an invalid MAC address.{more}\n{explained}', usage=False)
    return Mac(bytes(int(part, 16) for part in text.split(":")))


def _outbound(kind: type[IPv4Address | IPv6Address], text: str) -> str:
    """An address, or the name of an interface."""
    with contextlib.suppress(AddressValueError):
        return str(kind(text))
    with contextlib.suppress(OSError):
        socket.if_nametoindex(text)
        return text
    family = "ipv4" if kind is IPv4Address else "ipv6"
    raise UsageError(f"outbound-addr has to be valid {family} address or interface name.", usage=False)


# -- all of them together ----------------------------------------------------------------------------------------------


def _check(options: Slirp4netnsOptions, seen: set[str]) -> None:
    if options.target_type not in ("netns", "bess"):
        raise UsageError('--target-type must be either "netns" or "bess"')
    if options.userns_path is not None and not os.path.exists(options.userns_path):  # noqa: PTH110 - any file will do
        raise UsageError(f"userns path doesn't exist: {options.userns_path}")
    if options.mac is not None and not options.configure:
        raise UsageError("--macaddr cannot be specified when --configure or -c is not specified")
    if options.target_type == "bess":
        for name in ("configure", "netns-type", "userns-path"):
            if name in seen:
                raise UsageError(f"--{name} conflicts with --target-type=bess")


def _take_words(options: Slirp4netnsOptions, words: list[str]) -> None:
    """What is no option: where the guest is."""
    needs_name = options.target_type == "netns" and options.netns_type != "tapfd"
    if len(words) < (2 if needs_name else 1):
        raise UsageError("")
    options.target = words[0]
    if options.target_type == "bess":
        options.warnings.append("WARNING: BESS mode is experimental")
        if len(words) > 1:
            raise UsageError("too many arguments")
        return
    _check_target(options)
    if needs_name:
        options.tap_name = os.fsdecode(os.fsencode(words[1])[:INTERFACE_NAME_BYTES])
    if len(words) > (2 if needs_name else 1):
        options.warnings.append("WARNING: too many arguments")


def _check_target(options: Slirp4netnsOptions) -> None:
    match options.netns_type:
        case "pid":
            _number(options.target, 1, 2**31 - 1, "PID must be a positive integer")
        case "tapfd":
            _number(options.target, 0, 2**31 - 1, "TAPFD must a file descriptor")
        case _:
            if not os.path.exists(options.target):  # noqa: PTH110 - any file will do
                raise UsageError("existing path expected when --netns-type=path: No such file or directory")
