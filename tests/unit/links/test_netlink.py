"""rtnetlink: what is sent, as pyroute2 reads it; what the kernel answers."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

import pytest

from pyslirp.links import netlink
from pyslirp.links.netlink import Netlink, address_message, default_route_message, link_message, message

ADDRESS = IPv4Interface("10.0.2.15/24")
NOBODY = 2**31 - 1  #: no interface has this index


def read(kind: int, body: bytes) -> Any:
    """The request as pyroute2's parser of what the kernel gets."""
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

    kinds = {netlink.RTM_NEWLINK: ifinfmsg, netlink.RTM_NEWADDR: ifaddrmsg, netlink.RTM_NEWROUTE: rtmsg}
    parsed = kinds[kind](message(kind, netlink.NLM_F_CREATE, 7, body))
    parsed.decode()
    assert parsed["header"]["type"] == kind
    assert parsed["header"]["sequence_number"] == 7
    assert parsed["header"]["flags"] == netlink.NLM_F_CREATE | netlink.NLM_F_REQUEST | netlink.NLM_F_ACK
    assert parsed["header"]["length"] == len(message(kind, 0, 7, body))
    return parsed


def test_setting_a_link() -> None:
    found = read(netlink.RTM_NEWLINK, link_message(3, mtu=65_520, mac=bytes.fromhex("0ed418d938fb")))
    assert (found["index"], found["flags"], found["change"]) == (3, 0, 0)
    assert found.get_attr("IFLA_MTU") == 65_520
    assert found.get_attr("IFLA_ADDRESS") == "0e:d4:18:d9:38:fb"
    found = read(netlink.RTM_NEWLINK, link_message(3, up=True))
    assert (found["flags"], found["change"], found["attrs"]) == (1, 1, [])


def test_adding_an_address() -> None:
    found = read(netlink.RTM_NEWADDR, address_message(3, ADDRESS))
    assert (found["family"], found["prefixlen"], found["scope"], found["index"]) == (2, 24, 0, 3)
    assert found.get_attr("IFA_LOCAL") == found.get_attr("IFA_ADDRESS") == "10.0.2.15"
    assert found.get_attr("IFA_BROADCAST") == "10.0.2.255"


def test_adding_an_ipv6_address() -> None:
    """Which is good at once: IFA_F_NODAD."""
    found = read(netlink.RTM_NEWADDR, address_message(3, IPv6Interface("fec0::15/64")))
    assert (found["family"], found["prefixlen"], found["flags"], found["index"]) == (10, 64, 0x02, 3)
    assert found.get_attr("IFA_LOCAL") == found.get_attr("IFA_ADDRESS") == "fec0::15"
    assert found.get_attr("IFA_BROADCAST") is None


def test_adding_the_default_route() -> None:
    found = read(netlink.RTM_NEWROUTE, default_route_message(3, IPv4Address("10.0.2.2")))
    assert (found["family"], found["dst_len"], found["table"], found["type"]) == (2, 0, 254, 1)
    assert found.get_attr("RTA_GATEWAY") == "10.0.2.2"
    assert found.get_attr("RTA_OIF") == 3
    found = read(netlink.RTM_NEWROUTE, default_route_message(3, IPv6Address("fec0::2")))
    assert (found["family"], found["dst_len"], found.get_attr("RTA_GATEWAY")) == (10, 0, "fec0::2")


def test_an_address_and_a_route_of_ipv6() -> None:
    found = read(netlink.RTM_NEWADDR, address_message(3, IPv6Interface("fec0::15/64")))
    assert (found["family"], found["prefixlen"], found["flags"], found["scope"], found["index"]) == (10, 64, 2, 0, 3)
    assert found.get_attr("IFA_LOCAL") == found.get_attr("IFA_ADDRESS") == "fec0::15"
    assert found.get_attr("IFA_BROADCAST") is None
    found = read(netlink.RTM_NEWROUTE, default_route_message(3, IPv6Address("fe80::2")))
    assert (found["family"], found["dst_len"], found["table"], found["type"]) == (10, 0, 254, 1)
    assert found.get_attr("RTA_GATEWAY") == "fe80::2"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (netlink.RTM_NEWLINK, link_message(NOBODY, up=True)),
        (netlink.RTM_NEWADDR, address_message(NOBODY, ADDRESS)),
        (netlink.RTM_NEWROUTE, default_route_message(NOBODY, IPv4Address("10.0.2.2"))),
    ],
    ids=["link", "address", "route"],
)
def test_what_the_kernel_refuses_is_its_errno(kind: int, body: bytes) -> None:
    with Netlink() as kernel, pytest.raises(OSError, match=r"\S") as caught:
        kernel.ask(kind, body)
    assert caught.value.errno in {errno.ENODEV, errno.EPERM, errno.ENETUNREACH}
