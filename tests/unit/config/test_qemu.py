"""QEMU's option strings: what is taken and what is refused is what QEMU 7.2 was seen to do with the same string."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.config.argv import format_arguments
from pyslirp.config.fields import BY_NAME
from pyslirp.config.link import ListenAddress
from pyslirp.config.qemu import (
    Netdev,
    format_netdev,
    format_options,
    parse_netdev,
    parse_options,
    peer_netdev,
    split_net,
    split_nic,
)
from pyslirp.config.stack import Config
from pyslirp.errors import ConfigErrors

ID_RULE = "(Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.)"


def errors_of(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        parse_netdev(text)
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("user,id=n", {}),
        ("user,id=n,", {}),
        ("type=user,id=n", {}),
        ("id=n,type=user", {}),
        ("user,id=n,net=192.168.76.0/24,host=192.168.76.9", {"net": "192.168.76.0/24", "host": "192.168.76.9"}),
        ("user,id=n,ip=10.0.3.0", {"net": "10.0.3.0/24"}),
        ("user,id=n,restrict=yes", {"restrict": True}),
        ("user,id=n,restrict", {"restrict": True}),
        ("user,id=n,norestrict", {}),
        ("user,id=n,restrict=on,norestrict", {}),
        ("user,id=n,restrict=x,restrict=on", {"restrict": True}),
        ("user,id=n,host=10.0.9.9,host=10.0.2.9", {"host": "10.0.2.9"}),
        ("user,id=n,ipv4,noipv6", {"ipv6": False}),
        ("user,id=n,ipv4=on,ipv6=off", {"ipv6": False}),
        ("user,id=n,hostname=", {}),
        ("user,id=n,hostname=a,,b", {"hostname": "a,b"}),
        ("user,id=n,hostname=a,,,host=10.0.2.9", {"hostname": "a,", "host": "10.0.2.9"}),
        ("user,id=n,hostname=,,", {"hostname": ","}),
        ("user,id=n,hostname=a=b", {"hostname": "a=b"}),
        ("user,id=n,hostname=αβ", {"hostname": "αβ"}),
        ("user,id=n,dnssearch=a,dnssearch=b", {"dnssearch": ["a", "b"]}),
        (
            "user,id=n,hostfwd=tcp::2222-:22,hostfwd=udp::5353-:53",
            {"hostfwd": ["tcp::2222-:22", "udp::5353-:53"]},
        ),
        ("user,id=n,dhcp-host=52:54:00:12:34:56=10.0.2.50", {"dhcp_host": ["52:54:00:12:34:56=10.0.2.50"]}),
    ],
)
def test_netdev_is_read(text: str, options: dict[str, Any]) -> None:
    assert parse_netdev(text) == Config.build(id="n", **options)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "netdev=: Parameter 'type' is missing (write user,id=NAME)"),
        ("id=n", "netdev=id=n: Parameter 'type' is missing (write user,id=NAME)"),
        ("user", "netdev=user: Parameter 'id' is missing"),
        ("user,id=1n", f"id=1n: Parameter 'id' expects an identifier {ID_RULE}"),
        ("user,id=n,,host=1", f"id=n,host=1: Parameter 'id' expects an identifier {ID_RULE}"),
        ("user,id=n,bogus=1", "bogus: Invalid parameter 'bogus'"),
        ("user,id=n,bogus", "bogus: Invalid parameter 'bogus'"),
        ("user,id=n,nobogus", "bogus: Invalid parameter 'bogus'"),
        ("user,id=n,=5", ": Invalid parameter ''"),
        ("user,id=n,hostfw=x", "hostfw: Invalid parameter 'hostfw' (did you mean 'hostfwd'?)"),
        ("user,id=n,restrict=1", "restrict=1: Parameter 'restrict' expects 'on' or 'off'"),
        ("user,id=n,restrict=", "restrict=: Parameter 'restrict' expects 'on' or 'off'"),
        ("user,id=n,restrict=on,restrict=x", "restrict=x: Parameter 'restrict' expects 'on' or 'off'"),
        ("user,id=n,ipv6=1", "ipv6=1: Parameter 'ipv6' expects 'on' or 'off'"),
        ("user,id=n,noipv4,noipv6", "ipv4=off: IPv4 and IPv6 disabled"),
        ("user,id=n,host=", "host=: Failed to parse host"),
        ("user,id=n,host", "host=on: Parameter 'host' expects ADDR"),
        ("user,id=n,hostname", "hostname=on: Parameter 'hostname' expects NAME"),
        ("user,id=n,guestfwd=x", "guestfwd=x: Invalid guest forwarding rule 'x'"),
    ],
)
def test_netdev_is_refused(text: str, error: str) -> None:
    assert errors_of(text) == [error]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("bogus,id=n", "bogus"),
        ("tap,ifname=t0", "tap"),
        ("user,id=n,type=tap", "tap"),
        (",user", ""),
        ("us,,er", "us,er"),
    ],
)
def test_another_type_is_all_that_is_said(text: str, kind: str) -> None:
    reason = f"Parameter 'type' does not accept value '{kind}'"
    assert errors_of(text) == [f"netdev={text}: {reason} (only user is a network of this program)"]


def test_everything_is_reported_at_once() -> None:
    assert errors_of("user,restrict=x,bogus=1,hostfwd=y") == [
        "netdev=user,restrict=x,bogus=1,hostfwd=y: Parameter 'id' is missing",
        "restrict=x: Parameter 'restrict' expects 'on' or 'off'",
        "bogus: Invalid parameter 'bogus'",
        "hostfwd=y: Invalid host forwarding rule 'y' (No : separators)",
    ]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("user", {}),
        ("user,", {}),
        ("user,restrict=on", {"restrict": True}),
        ("user,id=n,restrict=on", {"restrict": True, "id": "n"}),
        ("restrict,host=10.0.2.9", {"restrict": True, "host": "10.0.2.9"}),
        (
            "net=192.168.76.0/24,host=192.168.76.9,hostfwd=tcp::2222-:22",
            {"net": "192.168.76.0/24", "host": "192.168.76.9", "hostfwd": ["tcp::2222-:22"]},
        ),
    ],
)
def test_bare_options_are_read(text: str, options: dict[str, Any]) -> None:
    assert parse_options(text) == Config.build(**options)


@pytest.mark.parametrize("text", ["user=x", "users", "type=user"])
def test_bare_options_have_no_type_but_in_front(text: str) -> None:
    with pytest.raises(ConfigErrors, match=r"Invalid parameter '(users?|type)'"):
        parse_options(text)


# ------------------------------------------------------------------------------------------------ print and read back

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAME = st.one_of(
    st.text(alphabet=",=-. aZ9", min_size=1, max_size=12),  # what the syntax is made of
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=40),
)
PORT = st.integers(1, 65535)
LISTENER = st.sampled_from(["", "127.0.0.1", "[::1]", "[::]", "192.0.2.1"])
RESOLVER = st.one_of(st.sampled_from(["9.9.9.9", "2620:fe::fe", "[::1]:5353"]), PORT.map("127.0.0.1:{}".format))
ELSEWHERE = {
    "id": st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,8}", fullmatch=True),
    "restrict": st.booleans(),
    "mtu": st.integers(68, 65521),
    "lease_time": st.integers(1, 2**32 - 1),
    "hostname": NAME,
    "domainname": NAME,
    "dnssearch": st.lists(st.lists(LABEL, min_size=1, max_size=4).map(".".join), max_size=3),
    "dns_upstream": st.lists(RESOLVER, max_size=3),
}


@st.composite
def address_options(draw: st.DrawFn) -> dict[str, Any]:
    """Options that are judged together: a net, and different addresses in it."""
    net = IPv4Network((draw(st.integers(0x0A00_0000, 0x0AFF_FFFF)), draw(st.integers(8, 29))), strict=False)
    guest = st.integers(int(net.network_address) + 1, int(net.broadcast_address) - 1).map(IPv4Address)
    host, dns, start, other = draw(st.lists(guest, min_size=4, max_size=4, unique=True))
    rule = st.builds("{}:{}:{{}}-{}:{}".format, st.sampled_from(["tcp", "udp", ""]), LISTENER, st.just(other), PORT)
    rules = [draw(rule).format(port) for port in draw(st.lists(PORT, unique=True, max_size=3))]
    static = [f"52:54:00:12:34:{draw(st.integers(16, 99))}={other}"]
    options = {"host": host, "dns": dns, "dhcpstart": start, "hostfwd": rules, "dhcp_host": static}
    return {"net": net, **options}


CONFIGS = st.builds(
    lambda addresses, others: Config.build(**addresses, **others),
    st.one_of(st.just({}), address_options()),
    st.fixed_dictionaries({}, optional=ELSEWHERE),
)


@given(CONFIGS)
def test_what_is_printed_reads_back_in_every_syntax(config: Config) -> None:
    assert parse_netdev(format_netdev(config)) == config
    assert parse_options(format_options(config)) == config
    assert Config.assemble(config.settings()) == config
    assert len(format_arguments(config)) == len(config.settings())


def test_print() -> None:
    config = Config.build(id="vm", hostname="a,b", hostfwd=["::2222-:22"], restrict=True)
    assert format_options(config) == "id=vm,restrict=on,hostname=a,,b,hostfwd=tcp::2222-10.0.2.15:22"
    assert format_netdev(config) == f"user,{format_options(config)}"
    assert format_netdev(Config()) == "user,id=net0"
    assert format_options(Config()) == ""


@given(st.text(alphabet="user,=dntshofwx:-0123.9/ ", max_size=40))
def test_no_string_raises_anything_but_config_errors(text: str) -> None:
    for parse in (parse_netdev, parse_options):
        try:
            config = parse(text)
        except ConfigErrors:
            continue
        assert parse_netdev(format_netdev(config)) == config


# ----------------------------------------------------------------------------------------------------- QEMU's other end


@pytest.mark.parametrize(
    ("address", "netdev"),
    [
        (":1234", "socket,id=n,connect=127.0.0.1:1234"),
        ("0.0.0.0:1234", "socket,id=n,connect=127.0.0.1:1234"),
        ("192.0.2.1:1234", "socket,id=n,connect=192.0.2.1:1234"),
        ("[::1]:1234", "stream,id=n,server=off,addr.type=inet,addr.host=::1,addr.port=1234"),
        ("[::]:1234", "stream,id=n,server=off,addr.type=inet,addr.host=::1,addr.port=1234"),
        ("unix:/run/a,b", "stream,id=n,server=off,addr.type=unix,addr.path=/run/a,,b"),
        ("fd:3", None),
    ],
)
def test_peer_netdev(address: str, netdev: str | None) -> None:
    assert peer_netdev(ListenAddress.parse(address)) == netdev


# -- the other spellings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"user","id":"n0","restrict":true,"hostfwd":[{"str":"tcp::2222-:22"},{"str":"udp::53-:53"}]}',
        ' {"type":"user","id":"n0","restrict":"on","hostfwd":["tcp::2222-:22","udp::53-:53"]}',
        "user,id=n0,restrict,hostfwd=tcp::2222-:22,hostfwd=udp::53-:53",
    ],
)
def test_json_is_the_same_network(text: str) -> None:
    assert parse_netdev(text) == parse_netdev("user,id=n0,restrict=on,hostfwd=tcp::2222-:22,hostfwd=udp::53-:53")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "JSON parse error"),
        ("{" + '"a":[' * 100_000, "JSON parse error"),
        ('{"id":"n0"}', "Parameter 'type' is missing"),
        ('{"type":"user"}', "Parameter 'id' is missing"),
        ('{"type":"tap","id":"n0"}', "Parameter 'type' does not accept value 'tap'"),
        ('{"type":"user","id":"n0","net":{}}', "Invalid parameter type for 'net', expected: string"),
        ('{"type":"user","id":"n0","net":null}', "Invalid parameter type for 'net', expected: string"),
        ('{"type":"user","id":"n0","bogus":1}', "Invalid parameter 'bogus'"),
        ('{"type":"user","id":"n0","hostfwd":["tcp"]}', "Invalid host forwarding rule 'tcp' (No : separators)"),
    ],
)
def test_json_that_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse_netdev(text)
    assert [error.reason for error in caught.value.errors] == [reason]


def test_nic_and_net_need_no_id() -> None:
    nic = split_nic("user,model=e1000,mac=52:54:00:12:34:56,hostname=a,,b")
    assert (nic.settings, nic.errors) == ([("hostname", "a,b")], [])
    assert dict(nic.nic) == {"model": "e1000", "mac": "52:54:00:12:34:56"}
    assert split_net("user,restrict=on") == Netdev([("restrict", "on")], [], ())
    for split in (split_nic, split_net):
        assert [error.reason for error in split("tap").errors] == ["Parameter 'type' does not accept value 'tap'"]


# -- what is wrong, option by option -----------------------------------------------------------------------------------

#: Texts of QEMU and libslirp (util/id.c, net/slirp.c): the option that is blamed, what is written, the reason.
#: tests/interop/test_qemu_texts.py compares them with what the installed QEMU says.
QEMU_TEXTS = [
    ("id", "id=1n", "Parameter 'id' expects an identifier"),
    ("ipv4", "ipv4=off,ipv6=off", "IPv4 and IPv6 disabled"),
    ("ipv4", "ipv4=off,net=10.0.3.0/24", "IPv4 disabled but netmask/host/dns provided"),
    ("ipv6", "ipv6=off,ipv6-host=fec0::9", "IPv6 disabled but prefix/host6/dns6 provided"),
    ("ipv4", "ipv4=x", "Parameter 'ipv4' expects 'on' or 'off'"),
    ("ipv6", "ipv6=x", "Parameter 'ipv6' expects 'on' or 'off'"),
    ("net", "net=x", "Failed to parse netmask"),
    ("net", "net=10.0.2.0/3", "Invalid netmask provided (must be in range 4-32)"),
    ("net", "net=10.0.2.0/24x", "Failed to parse netmask (trailing chars)"),
    ("ip", "ip=x", "Failed to parse netmask"),
    ("ip", "ip=10.0.2.0/24", "Failed to parse netmask (trailing chars)"),
    ("host", "host=x", "Failed to parse host"),
    ("host", "host=10.0.3.2", "Host doesn't belong to network"),
    ("dhcpstart", "dhcpstart=x", "Failed to parse DHCP start address"),
    ("dhcpstart", "dhcpstart=10.0.3.2", "DHCP doesn't belong to network"),
    ("dhcpstart", "dhcpstart=10.0.2.2", "DHCP must be different from host and DNS"),
    ("dns", "dns=x", "Failed to parse DNS"),
    ("dns", "dns=8.8.8.8,restrict=on", "DNS doesn't belong to network"),
    ("dns", "dns=10.0.2.2", "DNS must be different from host"),
    ("ipv6-net", "ipv6-net=fec0::/x", "Parameter 'ipv6-prefixlen' expects a number"),
    ("ipv6-prefix", "ipv6-prefix=x", "Failed to parse IPv6 prefix"),
    (
        "ipv6-prefixlen",
        "ipv6-prefixlen=127",
        "Invalid IPv6 prefix provided (IPv6 prefix length must be between 0 and 126)",
    ),
    ("ipv6-host", "ipv6-host=x", "Failed to parse IPv6 host"),
    ("ipv6-host", "ipv6-host=fec1::2", "IPv6 Host doesn't belong to network"),
    ("ipv6-dns", "ipv6-dns=x", "Failed to parse IPv6 DNS"),
    ("ipv6-dns", "ipv6-dns=fec1::3,restrict=on", "IPv6 DNS doesn't belong to network"),
    ("restrict", "restrict=x", "Parameter 'restrict' expects 'on' or 'off'"),
    ("hostname", f"hostname={'x' * 256}", "'vhostname' parameter cannot exceed 255 bytes"),
    ("domainname", "domainname=", "'domainname' parameter cannot be empty"),
    ("domainname", f"domainname={'x' * 256}", "'domainname' parameter cannot exceed 255 bytes"),
    ("dnssearch", "dnssearch=a..b", "failed to parse domain name 'a..b'"),
    ("tftp-server-name", f"tftp-server-name={'x' * 256}", "'tftp-server-name' parameter cannot exceed 255 bytes"),
    ("smb", "smb=a\nb", "Error accessing shared directory 'a\nb'"),
    ("smbserver", "smbserver=x", "Failed to parse SMB address"),
    ("smbserver", "smb=/,smbserver=10.0.3.4", "Conflicting/invalid smbserver address"),
    ("bogus", "bogus=1", "Invalid parameter 'bogus'"),
]

#: hostfwd: "Invalid host forwarding rule '%s' (%s)".
HOSTFWD_REASONS = [
    ("x", "No : separators"),
    ("sctp::1-:2", "Bad protocol name"),
    ("tcp:1", "Missing : separator"),
    ("tcp:x:1-:2", "Bad host address"),
    ("tcp::1", "Bad host port separator"),
    ("tcp::65536-:2", "Bad host port"),
    ("tcp::1-2", "Missing guest address"),
    ("tcp::1-x:2", "Bad guest address"),
    ("tcp::1-:0", "Bad guest port"),
    ("unix:/run/x", "Missing - separator"),
    ("unix:-:2", "Missing unix socket path"),
    ("unix:run/x-:2", "unix socket path must be absolute"),
    (f"unix:/{'x' * 107}-:2", "Unix socket path is too long"),
]

#: guestfwd: the whole of the text, for the rule in front of it.
GUESTFWD_TEXTS = [
    ("x", "Invalid guest forwarding rule 'x'"),
    ("tcp:10.0.3.4:80-cmd:cat", "Conflicting/invalid host:port in guest forwarding rule 'tcp:10.0.3.4:80-cmd:cat'"),
    ("tcp::80-chardev:x", "Could not open guest forwarding device 'guestfwd.tcp.80'"),
]

#: Of options that QEMU has not, and of two of whose values it refuses none.
OUR_TEXTS = [
    ("tftp", "tftp=a\0b", "this is no folder's name"),
    ("bootfile", f"bootfile={'x' * 1025}", "'bootfile' parameter cannot exceed 1024 bytes"),
    ("host-loopback", "host-loopback=x", "Parameter 'host-loopback' expects 'on' or 'off'"),
    ("outbound-addr", "outbound-addr=x", "Failed to parse outbound address"),
    ("outbound-addr6", "outbound-addr6=x", "Failed to parse IPv6 outbound address"),
    ("mtu", "mtu=67", "Parameter 'mtu' expects a number from 68 to 65521"),
    ("congestion", "congestion=x", "Parameter 'congestion' expects one of reno, cubic, bbr"),
    ("ipv6-dhcpstart", "ipv6-dhcpstart=x", "Failed to parse DHCPv6 start address"),
    ("dhcp-host", "dhcp-host=x", "no address is given"),
    ("lease-time", "lease-time=0", "Parameter 'lease-time' expects a number from 1 to 4294967295"),
    ("dns-forward", "dns-forward=x", "Parameter 'dns-forward' expects 'on' or 'off'"),
    ("dns-upstream", "dns-upstream=x", "'x' is not an IP address"),
    ("bootfile-for", "bootfile-for=x", "no file is named"),
]

ERROR_TEXTS = [
    *QEMU_TEXTS,
    *(
        ("hostfwd", f"hostfwd={rule}", f"Invalid host forwarding rule '{rule}' ({reason})")
        for rule, reason in HOSTFWD_REASONS
    ),
    ("hostfwd", "hostfwd=::1-:2,hostfwd=::1-:3", "Could not set up host forwarding rule 'tcp::1-10.0.2.15:3'"),
    *(("guestfwd", f"guestfwd={rule}", reason) for rule, reason in GUESTFWD_TEXTS),
    *OUR_TEXTS,
]


@pytest.mark.parametrize(("option", "text", "reason"), ERROR_TEXTS, ids=[text[:40] for _, text, _ in ERROR_TEXTS])
def test_what_is_wrong_is_said_in_qemus_words(option: str, text: str, reason: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse_netdev(f"user,id=n,{text}")
    assert [(error.option, error.reason) for error in caught.value.errors] == [(option, reason)]


def test_every_option_has_its_error_text() -> None:
    """There is none of which every text is taken."""
    assert {option for option, _, _ in ERROR_TEXTS} - {"bogus"} == BY_NAME.keys()
