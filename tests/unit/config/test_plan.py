from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from pyslirp.config.fields import BY_NAME
from pyslirp.config.plan import IPV4, IPV6, PLANS, AddressPlan, plan_of
from pyslirp.config.stack import Config

CONFIG = Config.build(net="10.0.9.0/24", host="10.0.9.7", ipv6_net="fec1::/64", ipv6_dns="fec1::53")


@pytest.mark.parametrize(
    ("plan", "places"),
    [
        (IPV4, ("10.0.9.0/24", "10.0.9.7", "10.0.9.3", "10.0.9.15")),
        (IPV6, ("fec1::/64", "fec1::2", "fec1::53", "fec1::15")),
    ],
)
def test_a_plan_finds_its_places(plan: AddressPlan, places: tuple[str, ...]) -> None:
    assert tuple(map(str, plan.places(CONFIG.network, CONFIG.dhcp, CONFIG.dns))) == places


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_and_the_table_of_options_say_the_same(plan: AddressPlan) -> None:
    defaults = Config()
    places = plan.places(defaults.network, defaults.dhcp, defaults.dns)
    assert places.net == plan.default_net
    for option, address in zip((plan.host, plan.dns, plan.start), places[1:], strict=True):
        row = BY_NAME[option]
        assert (row.type, row.follows, row.default()) == (plan.type, plan.net, address)
        assert row.parse(str(address)) == address


@pytest.mark.parametrize(
    ("net", "address", "which"),
    [
        ("10.0.2.0/24", "10.0.2.0", "network"),
        ("10.0.2.0/24", "10.0.2.255", "broadcast"),
        ("10.0.2.0/24", "10.0.2.254", ""),
        ("fec0::/64", "fec0::", "subnet-router anycast"),
        ("fec0::/64", "fec0::ffff:ffff:ffff:ffff", ""),
    ],
)
def test_addresses_of_the_network_itself(net: Any, address: Any, which: str) -> None:
    address = ip_address(address)
    assert plan_of(address).type is type(address)
    assert plan_of(address).own_address(ip_network(net), address) == which
