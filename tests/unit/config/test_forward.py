"""Host forwarding rules: the reasons are what QEMU 7.2 was seen to say for the same rule."""

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.config.forward import UNSPECIFIED, ForwardKey, HostForward
from pyslirp.errors import ConfigError

GUEST = IPv4Address("10.0.2.15")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("tcp::2222-:22", "tcp::2222-10.0.2.15:22"),
        ("::2222-:22", "tcp::2222-10.0.2.15:22"),
        ("udp::2222-:0x35", "udp::2222-10.0.2.15:53"),
        ("tcp:127.0.0.1:2222-10.0.2.99:22", "tcp:127.0.0.1:2222-10.0.2.99:22"),
        ("tcp:127.1:2222-:22", "tcp:127.0.0.1:2222-10.0.2.15:22"),
        ("tcp:0.0.0.0:2222-0.0.0.0:22", "tcp::2222-10.0.2.15:22"),
        ("tcp::0x2f50-:22", "tcp::12112-10.0.2.15:22"),
        ("tcp::02223-:22", "tcp::1171-10.0.2.15:22"),
        ("tcp:: 2223-:22", "tcp::2223-10.0.2.15:22"),
        ("tcp::+2223-:22", "tcp::2223-10.0.2.15:22"),
        ("tcp::0-:22", "tcp::0-10.0.2.15:22"),
        ("tcp::-:22", "tcp::0-10.0.2.15:22"),
        ("tcp::65535-:65535", "tcp::65535-10.0.2.15:65535"),
        # ours: QEMU cannot listen on IPv6
        ("tcp:[::1]:8080-:80", "tcp:[::1]:8080-10.0.2.15:80"),
        ("udp:[::]:53-10.0.2.20:53", "udp:[::]:53-10.0.2.20:53"),
        ("tcp:[::1]:8080-[fec0::15]:80", "tcp:[::1]:8080-[fec0::15]:80"),
        ("::8080-[FEC0:0::15]:80", "tcp::8080-[fec0::15]:80"),
        ("udp:127.1:53-[fec0::15]:53", "udp:127.0.0.1:53-[fec0::15]:53"),
        # ours: ranges, and the mark of readiness
        ("tcp::8000-8010-:9000-9010", "tcp::8000-8010-10.0.2.15:9000-9010"),
        ("udp:127.0.0.1:0x10-0x11-10.0.2.9:1-2", "udp:127.0.0.1:16-17-10.0.2.9:1-2"),
        ("tcp:[::1]:1-1-:5-5", "tcp:[::1]:1-10.0.2.15:5"),
        ("tcp::8080-:80@ready", "tcp::8080-10.0.2.15:80@ready"),
        ("tcp::8080-8081-:80-81@ready", "tcp::8080-8081-10.0.2.15:80-81@ready"),
        # QEMU's newest
        ("unix:/run/a.sock-:80", "unix:/run/a.sock-10.0.2.15:80"),
        ("unix:/run/my-vm/web.sock-10.0.2.20:80@ready", "unix:/run/my-vm/web.sock-10.0.2.20:80@ready"),
    ],
)
def test_a_rule_reads_and_prints(text: str, printed: str) -> None:
    rule = HostForward.parse(text, GUEST)
    assert str(rule) == printed
    assert HostForward.parse(printed) == rule


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("", "No : separators"),
        ("x", "No : separators"),
        ("x:", "Bad protocol name"),
        ("sctp::2222-:22", "Bad protocol name"),
        ("TCP::2222-:22", "Bad protocol name"),
        ("tcp:", "Missing : separator"),
        ("tcp:2222", "Missing : separator"),
        ("tcp:x:2222-:22", "Bad host address"),
        ("tcp:2222-:22", "Bad host address"),
        ("tcp:a-b:2222-:22", "Bad host address"),
        ("tcp:::1:2222-:22", "Bad host port"),
        ("tcp:[::x]:2222-:22", "Bad host address"),
        ("tcp:[::1:2222-:22", "Bad host address"),
        ("tcp:[fe80::1%eth0]:2222-:22", "Bad host address"),
        ("tcp::", "Bad host port separator"),
        ("tcp::1", "Bad host port separator"),
        ("tcp::2222", "Bad host port separator"),
        ("tcp::70000-:22", "Bad host port"),
        ("tcp::2223 -:22", "Bad host port"),
        ("tcp::0b11-:22", "Bad host port"),
        ("tcp::09-:22", "Bad host port"),
        ("tcp::0o11-:22", "Bad host port"),
        ("tcp::1_0-:22", "Bad host port"),
        ("tcp::x-:22", "Bad host port"),
        ("tcp::1-", "Missing guest address"),
        ("tcp::22-33", "Missing guest address"),
        ("tcp::-1-:22", "Bad guest address"),
        ("tcp::2222-x:22", "Bad guest address"),
        ("tcp::2222--1:22", "Bad guest address"),
        ("tcp::2222-[fec0::15:22", "Bad guest address"),
        ("tcp::2222-[fec0::x]:22", "Bad guest address"),
        ("tcp::2222-[]:22", "Bad guest address"),
        ("tcp::2222-[fe80::1%eth0]:22", "Bad guest address"),
        ("tcp::2222-[10.0.2.15]:22", "Bad guest address"),
        ("tcp::2222-fec0::15:22", "Bad guest address"),
        ("tcp::1-:", "Bad guest port"),
        ("tcp::1-:0", "Bad guest port"),
        ("tcp::1-:65536", "Bad guest port"),
        ("tcp::1-:-1", "Bad guest port"),
        ("tcp::2223-:22 ", "Bad guest port"),
        ("tcp::2223-:22x", "Bad guest port"),
        ("tcp::2222-:99999999999999999999", "Bad guest port"),
        ("tcp::8010-8000-:8010-8000", "Bad host port"),
        ("tcp::0-10-:1-11", "Bad host port"),
        ("tcp::8000-70000-:1-2", "Bad host port"),
        ("tcp::1-2000-:1-2000", "Bad host port"),
        ("tcp::8000-8010-:80", "Bad guest port"),
        ("tcp::8000-8010-:80-81", "Bad guest port"),
        ("tcp::8000-:80-81", "Bad guest port"),
        ("tcp::8000-8001-:65535-65536", "Bad guest port"),
        ("tcp::8000-8001-:2-1", "Bad guest port"),
        ("tcp::8080-:80@", "Bad guest port"),
        ("tcp::8080-:80@later", "Bad guest port"),
        ("udp::8080-:80@ready", "Bad guest port"),
        ("unix:/run/x", "Missing - separator"),
        ("unix:-:22", "Missing unix socket path"),
        ("unix:run/x-:22", "unix socket path must be absolute"),
        ("unix:/" + "x" * 107 + "-:22", "Unix socket path is too long"),
        ("unix:/run/x-22", "Missing guest address"),
        ("unix:/run/x-y:22", "Bad guest address"),
        ("unix:/run/x-:0", "Bad guest port"),
        ("unix:/run/x-:1-2", "Missing guest address"),
    ],
)
def test_a_rule_is_refused_in_qemus_words(rule: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HostForward.parse(rule)
    error = caught.value
    assert (error.option, error.value) == ("hostfwd", rule)
    assert error.reason == f"Invalid host forwarding rule '{rule}' ({reason})"


def test_an_empty_host_address_keeps_its_colon() -> None:
    with pytest.raises(ConfigError) as caught:
        HostForward.parse("tcp:2222-:22")
    assert caught.value.hint.endswith("with the ':' of an empty HOSTADDR")
    with pytest.raises(ConfigError) as caught:
        HostForward.parse("tcp:x:2222-:22")
    assert not caught.value.hint


ADDRESSES = st.ip_addresses().filter(lambda address: getattr(address, "scope_id", None) is None)
RULES = st.builds(
    HostForward,
    protocol=st.sampled_from(["tcp", "udp"]),
    host=ADDRESSES,
    host_port=st.integers(0, 65535),
    guest=ADDRESSES,
    guest_port=st.integers(1, 65535),
)


@st.composite
def ranges(draw: st.DrawFn) -> HostForward:
    count = draw(st.integers(1, 1024))
    ready = draw(st.booleans())
    first, guest_first = draw(st.integers(1, 65536 - count)), draw(st.integers(1, 65536 - count))
    guest = draw(ADDRESSES)
    return HostForward("tcp", draw(ADDRESSES), first, guest, guest_first, ports=count, ready=ready)


PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=25).map("/{}".format)


@given(RULES | ranges())
def test_every_rule_reads_back(rule: HostForward) -> None:
    assert HostForward.parse(str(rule)) == rule
    assert ForwardKey.parse(str(rule.key)) == rule.key


@given(PATHS, st.booleans())
def test_every_unix_rule_reads_back(path: str, ready: bool) -> None:
    rule = HostForward("unix", UNSPECIFIED, 0, GUEST, 22, path, ready=ready)
    assert HostForward.parse(str(rule)) == rule
    assert ForwardKey.parse(str(rule.key)) == rule.key


def test_a_range_is_as_many_rules() -> None:
    rule = HostForward.parse("tcp::8000-8002-:80-82@ready")
    assert [str(single) for single in rule.each()] == [f"tcp::{8000 + n}-:{80 + n}@ready" for n in range(3)]
    assert [str(key) for key in rule.key.each()] == ["tcp::8000", "tcp::8001", "tcp::8002"]
    assert list(HostForward.parse("tcp::0-:80").each()) == [HostForward.parse("tcp::0-:80")]


def test_a_rule_without_a_guest_goes_where_it_is_told() -> None:
    rule = HostForward.parse("tcp::2222-:22")
    assert rule.guest == UNSPECIFIED
    assert str(rule) == "tcp::2222-:22"
    assert rule.towards(GUEST).guest == GUEST
    assert rule.towards(GUEST).towards(IPv4Address("10.0.2.16")).guest == GUEST


@pytest.mark.parametrize(
    ("protocol", "host_port", "guest_port", "reason"),
    [
        ("sctp", 1, 1, "Bad protocol name"),
        ("", 1, 1, "Bad protocol name"),
        ("tcp", -1, 1, "Bad host port"),
        ("tcp", 65536, 1, "Bad host port"),
        ("tcp", 1, 0, "Bad guest port"),
        ("udp", 1, 65536, "Bad guest port"),
    ],
)
def test_construction_refuses_what_could_not_be_read(
    protocol: str, host_port: int, guest_port: int, reason: str
) -> None:
    with pytest.raises(ConfigError, match=rf"\({reason}\)$"):
        HostForward(protocol, UNSPECIFIED, host_port, GUEST, guest_port)


@pytest.mark.parametrize(
    ("text", "protocol", "host", "port"),
    [
        ("tcp::2222", "tcp", "0.0.0.0", 2222),
        ("::2222", "tcp", "0.0.0.0", 2222),
        ("udp:127.0.0.1:53", "udp", "127.0.0.1", 53),
        ("tcp:[::1]:8080", "tcp", "::1", 8080),
        ("tcp::010", "tcp", "0.0.0.0", 10),  # base ten here, as in QEMU
    ],
)
def test_removal(text: str, protocol: str, host: str, port: int) -> None:
    assert ForwardKey.parse(text) == ForwardKey(protocol, ip_address(host), port)


def test_removal_of_a_range_and_of_a_unix_socket() -> None:
    assert ForwardKey.parse("tcp::8000-8010") == ForwardKey("tcp", UNSPECIFIED, 8000, ports=11)
    assert ForwardKey.parse("unix:/run/my-vm.sock") == ForwardKey("unix", UNSPECIFIED, 0, "/run/my-vm.sock")


@pytest.mark.parametrize("text", ["tcp::8010-8000", "tcp::0-10"])
def test_removal_of_a_range_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="a range goes upwards"):
        ForwardKey.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "tcp", "tcp:2222", "x::1", "tcp:x:1", "tcp::", "tcp::0x50", "tcp::70000", "tcp::2222-:22"),
        *("unix:", "unix:x", "tcp::1-x", "tcp::1-70000"),
    ],
)
def test_removal_refuses_in_qemus_words(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ForwardKey.parse(text)
    assert str(caught.value) == f"hostfwd_remove={text}: invalid format (write tcp:[HOSTADDR]:HOSTPORT)"
