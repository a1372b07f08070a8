"""Guest forwarding rules: refusals in QEMU's words, and what they mean here."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.config.guestfwd import UNSPECIFIED, GuestForward, GuestForwardKey, Target, default_server
from pyslirp.errors import ConfigError

SERVER = IPv4Address("10.0.2.4")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("tcp:10.0.2.100:7-cmd:cat", "tcp:10.0.2.100:7-cmd:cat"),
        (":10.0.2.100:7-cmd:cat", "tcp:10.0.2.100:7-cmd:cat"),
        ("::7-cmd:sh -c 'echo a-b:c, d'", "tcp:10.0.2.4:7-cmd:sh -c 'echo a-b:c, d'"),
        ("tcp::80-tcp:127.0.0.1:8080", "tcp:10.0.2.4:80-tcp:127.0.0.1:8080"),
        ("tcp::80-tcp::8080", "tcp:10.0.2.4:80-tcp:127.0.0.1:8080"),
        ("tcp::80-tcp:localhost:8080,server=off,nodelay=on", "tcp:10.0.2.4:80-tcp:localhost:8080"),
        ("tcp::80-tcp:[::1]:8080", "tcp:10.0.2.4:80-tcp:[::1]:8080"),
        ("tcp::80-unix:/run/a-b.sock", "tcp:10.0.2.4:80-unix:/run/a-b.sock"),
        ("tcp::80-unix:/run/a,,b,server=off,nowait", "tcp:10.0.2.4:80-unix:/run/a,,b"),
        ("udp::53-udp:127.0.0.1:5353", "udp:10.0.2.4:53-udp:127.0.0.1:5353"),
        ("tcp:[fec0::4]:80-cmd:cat", "tcp:[fec0::4]:80-cmd:cat"),
        ("tcp:10.0.2.100: +7-cmd:cat", "tcp:10.0.2.100:7-cmd:cat"),
    ],
)
def test_a_rule_reads_and_prints(text: str, printed: str) -> None:
    rule = GuestForward.parse(text).towards(SERVER)
    assert str(rule) == printed
    assert GuestForward.parse(printed) == rule


@pytest.mark.parametrize(
    "rule",
    [
        *("", "tcp", "tcp:", "tcp::", "tcp::80", "80-cmd:cat", "tcp:80-cmd:cat", "sctp::80-cmd:cat", "TCP::80-cmd:cat"),
        *("tcp:x:80-cmd:cat", "tcp:[::x]:80-cmd:cat", "tcp:[fe80::1%eth0]:80-cmd:cat"),
        *("tcp::0-cmd:cat", "tcp::65536-cmd:cat", "tcp::-1-cmd:cat", "tcp::x-cmd:cat", "tcp::-cmd:cat"),
        *("tcp::0x50-cmd:cat", "tcp::80 -cmd:cat"),
        *("tcp::80-cmd:", "tcp::80-cmd: ", "tcp::80-cmd:sh -c 'x"),
        *("tcp::80-udp:127.0.0.1:80", "udp::80-tcp:127.0.0.1:80", "udp::80-cmd:cat", "udp::80-unix:/x"),
    ],
)
def test_a_rule_is_refused_in_qemus_words(rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GuestForward.parse(rule)
    error = caught.value
    assert (error.option, error.value) == ("guestfwd", rule)
    assert error.reason == f"Invalid guest forwarding rule '{rule}'"


@pytest.mark.parametrize(
    "device",
    [
        *("", "chardev:ser0", "file:/tmp/x", "pty", "null", "stdio", "pipe:/tmp/x", "vc", "cmd", "unix", "tcp"),
        *("unix:", "unix:/x,server", "unix:/x,server=on,wait=off", "unix:/x,abstract=on", "unix:a\0b"),
        *("tcp:127.0.0.1", "tcp:127.0.0.1:", "tcp:127.0.0.1:0", "tcp:127.0.0.1:http", "tcp:127.0.0.1:80,server=on"),
        *("tcp:127.0.0.1:80,telnet=on", "tcp:127.0.0.1:80,tls-creds=x", "tcp:127.0.0.1:80,wait"),
    ],
)
def test_a_device_that_cannot_serve_is_refused_in_qemus_words(device: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GuestForward.parse(f"tcp::80-{device}")
    assert caught.value.reason == "Could not open guest forwarding device 'guestfwd.tcp.80'"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("net", "server"), [("10.0.2.0/24", "10.0.2.4"), ("10.0.0.0/8", "10.0.2.4"), ("9.1.2.0/28", "9.1.2.4")]
)
def test_the_default_server(net: str, server: str) -> None:
    assert default_server(IPv4Network(net)) == IPv4Address(server)


def test_a_command_is_split_as_a_shell_would() -> None:
    rule = GuestForward.parse("tcp::80-cmd:prog 'one word' \"$HOME\" ; `id` | x")
    assert rule.target.arguments == ["prog", "one word", "$HOME", ";", "`id`", "|", "x"]


TARGETS = st.one_of(
    st.builds(Target, st.just("unix"), st.text(st.characters(exclude_characters="\0,"), min_size=1)),
    st.builds(Target, st.just("tcp"), st.ip_addresses(v=4).map(str), st.integers(1, 65535)),
)


@given(st.ip_addresses(v=4), st.integers(1, 65535), TARGETS)
def test_every_rule_reads_back(server: IPv4Address, port: int, target: Target) -> None:
    rule = GuestForward("tcp", server, port, target)
    assert GuestForward.parse(str(rule)) == rule
    assert GuestForwardKey.parse(str(rule.key)) == rule.key


@given(st.text(max_size=30))
def test_no_text_is_more_than_refused(text: str) -> None:
    try:
        rule = GuestForward.parse(text)
    except ConfigError:
        return
    assert GuestForward.parse(str(rule)) == rule


@pytest.mark.parametrize(("protocol", "port"), [("sctp", 80), ("tcp", 0), ("tcp", 65536)])
def test_construction_refuses_what_could_not_be_read(protocol: str, port: int) -> None:
    with pytest.raises(ConfigError, match="Invalid guest forwarding rule"):
        GuestForward(protocol, SERVER, port, Target("cmd", "cat"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("tcp:10.0.2.4:80", GuestForwardKey("tcp", SERVER, 80)),
        ("::80", GuestForwardKey("tcp", UNSPECIFIED, 80)),
        ("udp:[fec0::4]:53", GuestForwardKey("udp", ip_address("fec0::4"), 53)),
    ],
)
def test_removal(text: str, key: GuestForwardKey) -> None:
    assert GuestForwardKey.parse(text) == key


@pytest.mark.parametrize("text", ["", "tcp", "tcp:80", "x::80", "tcp::0", "tcp::80-cmd:cat"])
def test_removal_refuses(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid format"):
        GuestForwardKey.parse(text)


@pytest.mark.parametrize(
    ("device", "named"),
    [
        ("tcp:host.test:80", True),
        ("tcp:localhost:80", True),
        ("tcp::80", False),
        ("tcp:127.0.0.1:80", False),
        ("tcp:[::1]:80", False),
        ("unix:host.test", False),
        ("cmd:host.test", False),
    ],
)
def test_which_targets_have_to_be_looked_up(device: str, named: bool) -> None:
    assert GuestForward.parse(f"tcp::80-{device}").target.named is named
