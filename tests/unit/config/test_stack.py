"""The whole configuration: built, merged, printed as settings."""

from dataclasses import FrozenInstanceError
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import Endpoint, Mac
from pyslirp.config.dhcp import DhcpConfig, StaticLease
from pyslirp.config.dns import DnsConfig
from pyslirp.config.fields import FIELDS
from pyslirp.config.forward import ForwardConfig, HostForward
from pyslirp.config.network import NetworkConfig
from pyslirp.config.smb import SmbConfig
from pyslirp.config.stack import Config, Options
from pyslirp.errors import ConfigError, ConfigErrors


def errors_of(**options: Any) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        Config.build(**options)
    return [str(error) for error in caught.value.errors]


def test_the_default_is_qemus() -> None:
    config = Config()
    assert config == Config.build()
    assert config.network.net == IPv4Network("10.0.2.0/24")
    assert config.network.host == IPv4Address("10.0.2.2")
    assert config.dns.address == IPv4Address("10.0.2.3")
    assert config.dhcp.start == IPv4Address("10.0.2.15")
    assert config.dhcp.lease_seconds == 86_400
    assert config.network.mtu is None
    assert not config.network.restrict
    assert config.forward.hostfwd == ()
    assert config.settings() == []


def test_the_keywords_are_those_of_the_table() -> None:
    assert set(Options.__annotations__) == {field.keyword for field in FIELDS}


def test_build_from_text_and_from_values_is_the_same() -> None:
    from_text = Config.build(
        net="192.168.76.0/24",
        host="192.168.76.9",
        dns="192.168.76.10",
        dhcpstart="192.168.76.20",
        restrict="on",
        mtu="9000",
        lease_time="600",
        dhcp_host=["52:54:00:12:34:56=192.168.76.50"],
        dns_upstream=["9.9.9.9", "[::1]:5353"],
        hostfwd=["tcp::2222-:22"],
    )
    from_values = Config.build(
        net=IPv4Network("192.168.76.0/24"),
        host=IPv4Address("192.168.76.9"),
        dns=IPv4Address("192.168.76.10"),
        dhcpstart=IPv4Address("192.168.76.20"),
        restrict=True,
        mtu=9000,
        lease_time=600,
        dhcp_host=[StaticLease(Mac("52:54:00:12:34:56"), IPv4Address("192.168.76.50"))],
        dns_upstream=[Endpoint.of("9.9.9.9", 53), Endpoint.of("::1", 5353)],
        hostfwd=[HostForward("tcp", IPv4Address(0), 2222, IPv4Address("192.168.76.20"), 22)],
    )
    assert from_text == from_values
    assert hash(from_text) == hash(from_values)


def test_addresses_follow_the_net() -> None:
    config = Config.build(net="192.168.76.0/24", hostfwd=["::80-:80"])
    assert str(config.network.host) == "192.168.76.2"
    assert str(config.dns.address) == "192.168.76.3"
    assert str(config.dhcp.start) == "192.168.76.15"
    assert str(config.forward.hostfwd[0]) == "tcp::80-192.168.76.15:80"


def test_rules_without_a_guest_lead_to_the_pools_first_address() -> None:
    config = Config.build(dhcpstart="10.0.2.100", hostfwd=["::80-:80", "::81-10.0.2.20:81"])
    assert [str(rule.guest) for rule in config.forward.hostfwd] == ["10.0.2.100", "10.0.2.20"]


def test_none_is_not_given() -> None:
    assert Config.build(net=None, mtu=None, hostfwd=None) == Config()


def test_one_text_for_a_list_is_one_item() -> None:
    options: dict[str, Any] = {"hostfwd": "::80-:80"}
    assert Config.build(**options) == Config.build(hostfwd=["::80-:80"])


@pytest.mark.parametrize(
    ("options", "errors"),
    [
        ({"bogus": 1}, ["bogus: Invalid parameter 'bogus'"]),
        ({"hostfwds": []}, ["hostfwds: Invalid parameter 'hostfwds' (did you mean 'hostfwd'?)"]),
        ({"hostfwd": 5}, ["hostfwd=5: Parameter 'hostfwd' expects RULE"]),
        (
            {"hostfwd": ["x", 5]},
            [
                "hostfwd=x: Invalid host forwarding rule 'x' (No : separators)",
                "hostfwd=5: Parameter 'hostfwd' expects RULE",
            ],
        ),
        ({"mtu": 1.5}, ["mtu=1.5: Parameter 'mtu' expects BYTES"]),
        ({"restrict": 1}, ["restrict=1: Parameter 'restrict' expects on|off"]),
        ({"net": IPv4Network("0.0.0.0/0")}, ["net=0.0.0.0/0: Invalid netmask provided (must be in range 4-32)"]),
    ],
)
def test_build_refuses(options: dict[str, Any], errors: list[str]) -> None:
    assert errors_of(**options) == errors


@pytest.mark.parametrize(
    "option", [{"net": "10.0.0.0/8"}, {"host": "10.0.2.9"}, {"dns": "10.0.2.9"}, {"ip": "10.0.2.0"}]
)
def test_addresses_without_ipv4_are_refused_in_qemus_words(option: dict[str, str]) -> None:
    assert errors_of(ipv4=False, ipv6=True, **option) == ["ipv4=off: IPv4 disabled but netmask/host/dns provided"]


@pytest.mark.parametrize(
    ("options", "prefix"),
    [
        ({"ipv6_prefix": "fd00::"}, "fd00::/64"),
        ({"ipv6_prefix": "fd00::5"}, "fd00::/64"),
        ({"ipv6_prefixlen": 48}, "fec0::/48"),
        ({"ipv6_prefixlen": 0}, "fec0::/64"),
        ({"ipv6_prefix": "fd00::", "ipv6_prefixlen": "0x30"}, "fd00::/48"),
        ({"ipv6_net": "fd01::/56", "ipv6_prefix": "fd00::", "ipv6_prefixlen": "48"}, "fd01::/56"),
        ({"ipv6_net": "fd01::", "ipv6_prefixlen": "48"}, "fd01::/64"),
    ],
)
def test_the_prefix_and_its_halves(options: dict[str, Any], prefix: str) -> None:
    network = Config.build(ipv6=True, **options).network
    assert str(network.prefix6) == prefix
    assert network.host6 == network.prefix6.network_address + 2


def test_halves_that_make_no_prefix_are_refused() -> None:
    assert errors_of(ipv6=True, ipv6_prefix="fe80::", ipv6_host="fe80::2") == [
        "ipv6-net=fe80::/64: no guest can have an address of fe80::/10"
    ]


def test_both_families_are_printed_where_one_is_not_at_its_default() -> None:
    for families in ((True, True), (True, False), (False, True)):
        config = Config(network=NetworkConfig(ipv4=families[0], ipv6=families[1]))
        assert {name for name, _ in config.settings()} in (set(), {"ipv4", "ipv6"})
        assert Config.assemble(config.settings()) == config


def test_a_family_that_is_off_keeps_no_addresses() -> None:
    with pytest.raises(ConfigErrors, match="IPv4 disabled but netmask/host/dns provided"):
        Config(network=NetworkConfig(ipv4=False, ipv6=True, host=IPv4Address("10.0.2.9")))
    with pytest.raises(ConfigErrors, match="IPv6 disabled but prefix/host6/dns6 provided"):
        Config(network=NetworkConfig(ipv6=False, host6=IPv6Address("fec0::9")))


def test_net_wins_over_its_legacy_spelling() -> None:
    assert Config.build(ip="10.0.3.0").network.net == IPv4Network("10.0.3.0/24")
    assert Config.build(ip="10.0.3.0", net="10.0.4.0/28") == Config.build(net="10.0.4.0/28")
    assert errors_of(ip="x", net="10.0.4.0/24", host="1.1.1.1") == [
        "ip=x: Failed to parse netmask (use net=ADDR/LENGTH)",
        "host=1.1.1.1: Host doesn't belong to network (which is 10.0.4.0/24)",
    ]


def test_of_a_scalar_given_twice_the_last_is_read_alone() -> None:
    config = Config.assemble([("host", "x"), ("mtu", "1500"), ("host", "10.0.2.9")])
    assert config == Config.build(host="10.0.2.9", mtu=1500)


def test_what_was_found_before_is_reported_too() -> None:
    before = ConfigError("netdev", "user", "Parameter 'id' is missing")
    with pytest.raises(ConfigErrors) as caught:
        Config.assemble([("host", "x")], [before])
    assert [error.option for error in caught.value.errors] == ["netdev", "host"]
    assert str(caught.value).count("\n") == 1


def test_construction_checks_the_sections_against_one_another() -> None:
    with pytest.raises(ConfigErrors, match="Host doesn't belong to network"):
        Config(network=NetworkConfig(host=IPv4Address("10.0.3.2")))
    with pytest.raises(ConfigErrors, match="DHCP doesn't belong to network"):
        Config(dhcp=DhcpConfig(start=IPv4Address("10.0.3.15")))
    with pytest.raises(ConfigErrors, match=r"Bad guest address"):
        Config(forward=ForwardConfig((HostForward.parse("tcp::80-:80"),)))


def test_a_configuration_cannot_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().network = NetworkConfig()  # type: ignore[misc]


@pytest.mark.parametrize(("dns", "alias"), [("10.0.2.7", IPv4Address("10.0.2.7")), ("9.9.9.9", None)])
def test_a_name_server_outside_the_net_is_only_announced(dns: str, alias: IPv4Address | None) -> None:
    config = Config.build(dns=dns)
    assert str(config.dns.address) == dns
    assert config.dns_alias == alias


@pytest.mark.parametrize(("dns", "alias"), [("fec0::7", IPv6Address("fec0::7")), ("2001:db8::7", None)])
def test_an_ipv6_name_server_outside_the_prefix_is_only_announced(dns: str, alias: IPv6Address | None) -> None:
    config = Config.build(ipv6=True, ipv6_dns=dns)
    assert str(config.dns.address6) == dns
    assert config.dns_alias6 == alias


@pytest.mark.parametrize(
    ("options", "own"),
    [
        ({"ipv6": False}, "10.0.2.2 10.0.2.3"),
        ({"ipv4": True, "ipv6": True}, "10.0.2.2 fec0::2 fe80::2 10.0.2.3 fec0::3 fe80::3"),
        ({"ipv6": True}, "fec0::2 fe80::2 fec0::3 fe80::3"),
        ({"ipv4": True, "ipv6": True, "dns": "9.9.9.9", "ipv6_dns": "2001:db8::9"}, "10.0.2.2 fec0::2 fe80::2"),
    ],
)
def test_own_addresses_are_the_gateways_and_the_dns_aliases(options: dict[str, Any], own: str) -> None:
    assert " ".join(map(str, Config.build(**options).own_addresses)) == own


def test_settings_leave_defaults_out_and_assemble_reads_them_back() -> None:
    config = Config(
        network=NetworkConfig(net=IPv4Network("10.9.0.0/16"), host=IPv4Address("10.9.2.2"), mtu=1500),
        dhcp=DhcpConfig(start=IPv4Address("10.9.2.20"), hostname="vm"),
        dns=DnsConfig(address=IPv4Address("10.9.2.3"), search=("a.example", "b.example")),
        forward=ForwardConfig((HostForward.parse("udp:[::1]:53-10.9.0.1:53"),)),
        smb=SmbConfig(server=IPv4Address("10.9.2.4")),
    )
    assert config.settings() == [
        ("net", "10.9.0.0/16"),
        ("mtu", "1500"),
        ("dhcpstart", "10.9.2.20"),
        ("hostname", "vm"),
        ("dnssearch", "a.example"),
        ("dnssearch", "b.example"),
        ("hostfwd", "udp:[::1]:53-10.9.0.1:53"),
    ]
    assert Config.assemble(config.settings()) == config


@given(
    st.dictionaries(
        st.sampled_from([field.keyword for field in FIELDS]),
        st.one_of(st.text(), st.integers(), st.binary(), st.booleans(), st.lists(st.text())),
        max_size=4,
    )
)
def test_build_raises_nothing_but_config_errors(options: dict[str, Any]) -> None:
    try:
        config = Config.build(**options)
    except ConfigErrors:
        return
    assert Config.assemble(config.settings()) == config
