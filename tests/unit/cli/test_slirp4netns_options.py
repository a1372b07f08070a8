"""slirp4netns's command line: what its own binary (1.2.0 and 1.3.1) was seen to say."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import Mac
from pyslirp.cli.slirp4netns_options import Slirp4netnsOptions, UsageError, parse_cidr, read_options, usage, version

OURS = "/proc/self/ns/net"


def read(*arguments: str) -> Slirp4netnsOptions:
    options = read_options("slirp4netns", arguments, [])
    assert isinstance(options, Slirp4netnsOptions)
    return options


def refusal(*arguments: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read_options("slirp4netns", arguments, [])
    return caught.value


def test_what_holds_when_nothing_is_said() -> None:
    options = read("1", "tap0")
    assert (options.target, options.tap_name, options.netns_type, options.target_type) == ("1", "tap0", "pid", "netns")
    assert (options.configure, options.mtu, options.net) == (False, 1500, IPv4Network("10.0.2.0/24"))
    assert (options.exit_fd, options.ready_fd, options.api_socket, options.mac) == (None, None, None, None)
    assert (options.host_loopback, options.dns, options.sandbox, options.seccomp) == (True, True, False, False)


def test_every_option() -> None:
    options = read(
        *("-c", "-e3", "-r", "4", "--mtu=65520", "--api-socket", "/x", "--cidr=10.9.0.0/16", "--disable-host-loopback"),
        *("--userns-path=/proc/self/ns/user", "--enable-sandbox", "--enable-seccomp", "--outbound-addr=127.0.0.1"),
        *("--outbound-addr6=::1", "--disable-dns", "--macaddress=0e:d4:18:d9:38:fb", "-6", "77", "tap11"),
    )
    assert (options.configure, options.exit_fd, options.ready_fd, options.mtu) == (True, 3, 4, 65520)
    assert (options.api_socket, options.net) == ("/x", IPv4Network("10.9.0.0/16"))
    assert (options.userns_path, options.sandbox, options.seccomp) == ("/proc/self/ns/user", True, True)
    assert (options.outbound, options.outbound6) == (IPv4Address("127.0.0.1"), IPv6Address("::1"))
    assert (options.host_loopback, options.dns, options.ipv6) == (False, False, True)
    assert options.mac == Mac("0e:d4:18:d9:38:fb")
    assert (options.target, options.tap_name) == ("77", "tap11")


def test_addresses_lie_where_they_do_in_any_net() -> None:
    options = read("--cidr", "10.0.135.128/25", "1", "tap0")
    assert (options.gateway, options.dns_address) == (IPv4Address("10.0.135.130"), IPv4Address("10.0.135.131"))
    assert (options.dhcp_start, options.dhcp_end) == (IPv4Address("10.0.135.143"), IPv4Address("10.0.135.158"))
    assert options.guest == IPv4Address("10.0.135.228")


def test_options_may_stand_anywhere_and_be_cut_short() -> None:
    options = read("1", "--conf", "tap0", "--mt=1400")
    assert (options.configure, options.mtu, options.tap_name) == (True, 1400, "tap0")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), ""),
        (("1",), ""),
        (("--netns-type=tapfd",), ""),
        (("--target-type=bess",), ""),
        (("0", "tap0"), "PID must be a positive integer"),
        (("abc", "tap0"), "PID must be a positive integer"),
        (("12x", "tap0"), "PID must be a positive integer"),
        (("--netns-type=tapfd", "x"), "TAPFD must a file descriptor"),
        (
            ("--netns-type=path", "/no/such", "tap0"),
            "existing path expected when --netns-type=path: No such file or directory",
        ),
        (
            ("--netns-type=bogus", "1", "tap0"),
            "existing path expected when --netns-type=path: No such file or directory",
        ),
        (("-m", "0", "1", "tap0"), "MTU must be a positive integer (< 65522)"),
        (("-m", "65522", "1", "tap0"), "MTU must be a positive integer (< 65522)"),
        (("-m", "12x", "1", "tap0"), "MTU must be a positive integer (< 65522)"),
        (("-e", "-3", "1", "tap0"), "exit-fd must be a non-negative integer"),
        (("-e", "x", "1", "tap0"), "exit-fd must be a non-negative integer"),
        (("-r", "-1", "1", "tap0"), "ready-fd must be a non-negative integer"),
        (("--userns-path=/no/such", "1", "tap0"), "userns path doesn't exist: /no/such"),
        (
            ("--macaddress=0e:d4:18:d9:38:fb", "1", "tap0"),
            "--macaddr cannot be specified when --configure or -c is not specified",
        ),
        (("--target-type=bogus", "1", "tap0"), '--target-type must be either "netns" or "bess"'),
        (("--target-type=bess", "-c", "/x"), "--configure conflicts with --target-type=bess"),
        (("--target-type=bess", "--netns-type=pid", "/x"), "--netns-type conflicts with --target-type=bess"),
        (("--target-type=bess", "--userns-path=/", "/x"), "--userns-path conflicts with --target-type=bess"),
        (("--target-type=bess", "/x", "/y"), "too many arguments"),
        (("--bogus",), "slirp4netns: unrecognized option '--bogus'"),
        (("-x",), "slirp4netns: invalid option -- 'x'"),
        (("--mtu",), "slirp4netns: option '--mtu' requires an argument"),
        (("-m",), "slirp4netns: option requires an argument -- 'm'"),
        (("--configure=3",), "slirp4netns: option '--configure' doesn't allow an argument"),
        (
            ("--enable",),
            (
                "slirp4netns: option '--enable' is ambiguous; possibilities: '--enable-ipv6' '--enable-sandbox'"
                " '--enable-seccomp'"
            ),
        ),
    ],
)
def test_what_is_followed_by_the_usage(arguments: tuple[str, ...], text: str) -> None:
    error = refusal(*arguments)
    assert str(error) == text
    assert error.usage


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--cidr", "24"), "invalid CIDR: 24"),
        (("--cidr", "foo"), "invalid CIDR: foo"),
        (("--cidr", "10.0.2.0"), "invalid CIDR: 10.0.2.0"),
        (("--cidr", ""), "invalid CIDR: "),
        (("--cidr", "10.0.2.0/x"), "invalid CIDR: 10.0.2.0/x"),
        (("--cidr", "10.0.2.0/24/24"), "invalid CIDR: 10.0.2.0/24/24"),
        (("--cidr", "10.0.2.100/26"), "prefix length needs to be 1-25"),
        (("--cidr", "10.0.2.0/0"), "prefix length needs to be 1-25"),
        (("--cidr", "10.0.2.0/33"), "prefix length needs to be 1-25"),
        (
            ("--cidr", "10.0.2.100/24"),
            "CIDR needs to be a network address like 10.0.2.0/24, not like 10.0.2.100/24",
        ),
        (("--cidr", "300.0.0.0/24"), "invalid network address: 300.0.0.0"),
        (("--cidr", "10.0.2.0/124"), "invalid CIDR: 10.0.2.0/124"),
        (
            ("-c", "--macaddress=zz"),
            (
                '"zz" is an invalid MAC address.\nmacaddress has to be a valid MAC address (hex string, 6 bytes, each byte'
                " separated by a ':')."
            ),
        ),
        (
            ("-c", "--macaddress=0e:d4:18:d9:38:fb:11"),
            (
                '"0e:d4:18:d9:38:fb:11" is an invalid MAC address.  Is it too long?\nmacaddress has to be a valid MAC address'
                " (hex string, 6 bytes, each byte separated by a ':')."
            ),
        ),
        (("--outbound-addr=no-such-if",), "outbound-addr has to be valid ipv4 address or interface name."),
        (("--outbound-addr6=no-such-if",), "outbound-addr6 has to be valid ipv6 address or interface name."),
    ],
)
def test_what_stands_alone(arguments: tuple[str, ...], text: str) -> None:
    error = refusal(*arguments, "1", "tap0")
    assert str(error) == text
    assert not error.usage


@given(st.text(max_size=20))
def test_a_cidr_is_read_or_refused(text: str) -> None:
    try:
        net = parse_cidr(text)
    except UsageError:
        return
    assert net.num_addresses >= 128
    assert str(net.network_address) == text.partition("/")[0]


def test_what_is_only_warned_of() -> None:
    warnings: list[str] = []
    options = read_options(
        "slirp4netns",
        ["-6", "--enable-seccomp", "--outbound-addr", "lo", "--no-host-loopback", "--create-sandbox", "1", "t", "more"],
        warnings,
    )
    assert isinstance(options, Slirp4netnsOptions)
    assert options.outbound == IPv4Address("127.0.0.1")
    assert not options.host_loopback
    assert options.sandbox
    assert warnings == [
        "WARNING: Support for IPv6 is experimental",
        "WARNING: Support for seccomp is experimental",
        "WARNING: Support for --outbound-addr is experimental",
        (
            "WARNING: --no-host-loopback is deprecated and will be removed in future releases, please use"
            " --disable-host-loopback instead."
        ),
        (
            "WARNING: --create-sandbox is deprecated and will be removed in future releases, please use --enable-sandbox"
            " instead."
        ),
        "WARNING: too many arguments",
    ]


def test_warnings_come_before_the_refusal() -> None:
    warnings: list[str] = []
    with pytest.raises(UsageError, match="too many arguments"):
        read_options("slirp4netns", ["--target-type=bess", "-6", "/x", "/y"], warnings)
    assert warnings == ["WARNING: Support for IPv6 is experimental"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("-m", "0", "--bogus"), "MTU must be a positive integer (< 65522)"),
        (("--bogus", "-m", "0"), "slirp4netns: unrecognized option '--bogus'"),
        (("--userns-path=/no", "-e", "x", "1", "t"), "userns path doesn't exist: /no"),
        (
            ("--macaddress=zz", "--target-type=bogus"),
            "--macaddr cannot be specified when --configure or -c is not specified",
        ),
        (("--cidr=x", "-c", "--macaddress=zz", "0", "t"), "PID must be a positive integer"),
        (("-c", "--macaddress=zz", "--outbound-addr=no", "--cidr=x", "1", "t"), "invalid CIDR: x"),
        (("-c", "--macaddress=zz", "--outbound-addr=no", "1", "t"), "outbound-addr has to be valid ipv4 address or"),
    ],
)
def test_which_of_two_mistakes_is_told(arguments: tuple[str, ...], text: str) -> None:
    assert str(refusal(*arguments)).startswith(text)


@pytest.mark.parametrize(("option", "made"), [("-v", version()), ("-h", usage("slirp4netns"))])
def test_version_and_help_come_before_a_later_mistake(option: str, made: str) -> None:
    warnings: list[str] = []
    assert read_options("slirp4netns", ["-6", option, "--bogus"], warnings) == made
    assert warnings == ["WARNING: Support for IPv6 is experimental"]


def test_no_option_follows_a_word_where_posix_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSIXLY_CORRECT", "")
    warnings: list[str] = []
    options = read_options("slirp4netns", ["1", "tap0", "-c"], warnings)
    assert isinstance(options, Slirp4netnsOptions)
    assert not options.configure
    assert warnings == ["WARNING: too many arguments"]


def test_a_tap_by_its_descriptor_has_no_name() -> None:
    options = read("--netns-type=tapfd", "5")
    assert (options.target, options.tap_name) == ("5", "")


def test_a_path_and_a_long_name() -> None:
    options = read("--netns-type=path", OURS, "tapnametoolongxxxxxx")
    assert (options.target, options.tap_name) == (OURS, "tapnametoolongx")


def test_help_names_every_option() -> None:
    text = read_options("/usr/bin/slirp4netns", ["-h"], [])
    assert text == usage("/usr/bin/slirp4netns")
    assert isinstance(text, str)
    assert text.startswith("Usage: /usr/bin/slirp4netns [OPTION]... PID|PATH|FD [TAPNAME]\n")
    for name in ("enable-sandbox", "enable-seccomp", "enable-ipv6", "cidr", "netns-type", "disable-host-loopback"):
        assert re.search(rf"^(-\S, )?--{name}\b", text, re.MULTILINE)


def test_version_has_the_five_fields() -> None:
    text = read_options("slirp4netns", ["--version"], [])
    assert text == version()
    assert isinstance(text, str)
    lines = text.splitlines()
    assert lines[0].startswith("slirp4netns version 1.3.1")
    fields = [line.partition(": ")[0] for line in lines[1:]]
    assert fields == ["commit", "libslirp", "SLIRP_CONFIG_VERSION_MAX", "libseccomp"]
    assert int(lines[3].partition(": ")[2]) >= 3
