"""Every row of the table in nat/targets.py."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pyslirp.addresses import Address, pack
from pyslirp.config.network import NetworkConfig
from pyslirp.errors import ConfigErrors
from pyslirp.nat.targets import Targets
from pyslirp.verdicts import ICMP, TCP, UDP, Allow, Deny, FlowName, How, Verdict

DNS, DNS6, DNS6_LINK_LOCAL = (ip_address(text) for text in ("10.0.2.3", "fec0::3", "fe80::3"))
GUEST = pack(IPv4Address("10.0.2.15"))
LOOPBACK, LOOPBACK6 = pack(IPv4Address("127.0.0.1")), pack(IPv6Address("::1"))
SERVER = "10.0.2.100"


def targets(*dns: Address, dns_forward: bool = True, **changes: Any) -> Targets:
    network = NetworkConfig(ipv6=True, **changes)
    made = Targets(network, dns or (DNS, DNS6, DNS6_LINK_LOCAL), dns_forward=dns_forward)
    made.add_server(pack(ip_address(SERVER)))
    return made


def name(far: str, port: int = 80, protocol: int = TCP) -> FlowName:
    return FlowName(protocol, GUEST, 40000, pack(ip_address(far)), port)


def how(verdict: Verdict) -> How:
    assert isinstance(verdict, Deny)
    assert verdict.reason
    return verdict.how


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("port", [1, 53, 80, 65535])
def test_the_host_alias_is_the_hosts_loopback(protocol: int, port: int) -> None:
    assert targets().decide(name("10.0.2.2", port, protocol)) == Allow(LOOPBACK, port)


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("port", [1, 53, 80, 65535])
@pytest.mark.parametrize("far", ["fec0::2", "fe80::2"])
def test_the_host_alias_is_the_hosts_loopback_in_ipv6(far: str, protocol: int, port: int) -> None:
    assert targets().decide(name(far, port, protocol)) == Allow(LOOPBACK6, port)


@pytest.mark.parametrize("protocol", [TCP, UDP, ICMP])
@pytest.mark.parametrize("far", ["192.0.2.1", "8.8.8.8", "10.0.1.255", "10.0.3.0", "172.16.1.1", "169.254.169.254"])
def test_elsewhere_is_itself(far: str, protocol: int) -> None:
    assert targets().decide(name(far, 443, protocol)) == Allow(pack(ip_address(far)), 443)


@pytest.mark.parametrize("far", ["2001:db8::1", "64:ff9b::808:808", "fd00::1", "fec0:0:0:1::2"])
def test_elsewhere_in_ipv6_is_itself(far: str) -> None:
    assert targets().decide(name(far)) == Allow(pack(ip_address(far)), 80)


@pytest.mark.parametrize(
    ("far", "expected"),
    [
        ("10.0.2.3", How.NET_UNREACHABLE),
        (SERVER, How.RESET),
        ("10.0.2.1", How.HOST_UNREACHABLE),
        ("10.0.2.15", How.HOST_UNREACHABLE),
        ("10.0.2.254", How.HOST_UNREACHABLE),
        ("127.0.0.1", How.NET_UNREACHABLE),
        ("127.255.255.254", How.NET_UNREACHABLE),
        ("0.0.0.0", How.NET_UNREACHABLE),
        ("0.1.2.3", How.NET_UNREACHABLE),
        ("240.0.0.1", How.NET_UNREACHABLE),
        ("::1", How.NET_UNREACHABLE),
        ("::", How.NET_UNREACHABLE),
        ("fe80::1", How.NET_UNREACHABLE),
        ("febf::1", How.NET_UNREACHABLE),
        ("224.0.0.251", How.SILENT),
        ("239.255.255.250", How.SILENT),
        ("255.255.255.255", How.SILENT),
        ("10.0.2.255", How.SILENT),
        ("ff02::fb", How.SILENT),
        ("ff02::1", How.SILENT),  # libslirp leads it to ::1
        ("fec0::3", How.NET_UNREACHABLE),
        ("fe80::3", How.NET_UNREACHABLE),
        ("fec0::", How.HOST_UNREACHABLE),
        ("fec0::15", How.HOST_UNREACHABLE),
        ("fec0::ffff:ffff:ffff:ffff", How.HOST_UNREACHABLE),
        ("::7f00:1", How.NET_UNREACHABLE),
    ],
)
@pytest.mark.parametrize("protocol", [TCP, UDP, ICMP])
def test_what_is_not_reached(far: str, expected: How, protocol: int) -> None:
    assert how(targets().decide(name(far, 80, protocol))) is expected


def test_without_a_dns_alias_its_address_is_nobodys() -> None:
    plan = Targets(NetworkConfig(ipv6=True), ())
    for far in ("10.0.2.3", "fec0::3"):
        assert how(plan.decide(name(far, 53))) is How.HOST_UNREACHABLE


def test_a_dns_alias_outside_the_net_is_still_the_dns_alias() -> None:
    assert how(targets(IPv4Address("192.0.2.53")).decide(name("192.0.2.53", 80))) is How.NET_UNREACHABLE


@pytest.mark.parametrize(
    ("protocol", "expected"), [(TCP, How.RESET), (UDP, How.SILENT), (ICMP, How.PROHIBITED)], ids=["tcp", "udp", "icmp"]
)
@pytest.mark.parametrize(
    "far", ["10.0.2.2", "10.0.2.3", SERVER, "10.0.2.99", "8.8.8.8", "127.0.0.1", "2001:db8::1", "fec0::2"]
)
def test_restrict_leaves_nothing(far: str, protocol: int, expected: How) -> None:
    assert how(targets(restrict=True).decide(name(far, 80, protocol))) is expected


@pytest.mark.parametrize("port", [22, 53])
def test_without_host_loopback_the_host_alias_leads_nowhere(port: int) -> None:
    plan = targets(host_loopback=False)
    for far in ("10.0.2.2", "fec0::2", "fe80::2"):
        assert how(plan.decide(name(far, port))) is How.NET_UNREACHABLE
    assert isinstance(plan.decide(name("8.8.8.8", port)), Allow)


def test_without_dns_forward_the_dns_alias_is_silent() -> None:
    plan = targets(dns_forward=False)
    for far in ("10.0.2.3", "fec0::3", "fe80::3"):
        assert how(plan.decide(name(far, 53, UDP))) is How.SILENT


def test_restrict_may_change() -> None:
    plan = targets()
    plan.restrict = True
    assert how(plan.decide(name("8.8.8.8"))) is How.RESET
    plan.restrict = False
    assert isinstance(plan.decide(name("8.8.8.8")), Allow)


@given(st.ip_addresses(v=4), st.integers(4, 31), st.ip_addresses(v=4))
def test_no_address_of_the_net_is_let_out(first: IPv4Address, prefix: int, far: IPv4Address) -> None:
    net = IPv4Network((first, prefix), strict=False)
    host = net.network_address
    verdict = Targets(_network(net=net, host=host), ()).decide(name(str(far)))
    if far == host:
        assert verdict == Allow(LOOPBACK, 80)
    elif far in net or far.is_loopback or far.packed[0] == 0 or far.packed[0] >= 224:
        assert isinstance(verdict, Deny)
    else:
        assert verdict == Allow(pack(far), 80)


@given(st.ip_addresses(v=6), st.integers(1, 126), st.integers(0, 2**128 - 1), st.booleans())
def test_no_address_of_the_prefix_is_let_out(first: IPv6Address, length: int, far: int, inside: bool) -> None:
    prefix = IPv6Network((int(first), length), strict=False)
    address = IPv6Address(int(prefix.network_address) | far & int(prefix.hostmask) if inside else far)
    host = prefix.network_address + 1
    assume(address.ipv4_mapped is None)
    verdict = Targets(_network(prefix6=prefix, host6=host), ()).decide(name(str(address)))
    if address in (host, IPv6Address("fe80::2")):
        assert verdict == Allow(LOOPBACK6, 80)
    elif address in prefix or address.is_link_local or address.is_multicast or int(address) < 2**32:
        assert isinstance(verdict, Deny)
    else:
        assert verdict == Allow(pack(address), 80)


def _network(**changes: Any) -> NetworkConfig:
    try:
        return NetworkConfig(ipv6=True, **changes)
    except ConfigErrors:
        assume(False)
        raise
