"""Configuring an interface: the steps, their order, and which of them is blamed."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Self

import pytest

from pyslirp.addresses import Mac
from pyslirp.errors import LinkError
from pyslirp.links import interface
from pyslirp.links.interface import InterfaceSettings, configure
from pyslirp.links.netlink import (
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    address_message,
    default_route_message,
    link_message,
)

LO, TAP = 1, 7
MAC = Mac("0e:d4:18:d9:38:fb")
ADDRESS, GATEWAY = IPv4Interface("10.0.2.15/24"), IPv4Address("10.0.2.2")
ADDRESS6, GATEWAY6 = IPv6Interface("fec0::15/64"), IPv6Address("fec0::2")
SETTINGS = InterfaceSettings(((ADDRESS, GATEWAY), (ADDRESS6, GATEWAY6)), 1500, MAC)


class Kernel:
    """Takes requests, and refuses one of them."""

    asked: list[tuple[int, bytes]]
    refused: int
    number: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def ask(self, kind: int, body: bytes, flags: int = 0) -> None:  # noqa: ARG002 - as the real one
        if len(self.asked) == self.refused:
            raise OSError(self.number, os.strerror(self.number))
        self.asked.append((kind, body))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> type[Kernel]:
    class Fresh(Kernel):
        asked: list[tuple[int, bytes]] = []  # noqa: RUF012 - one for each test
        refused = -1
        number = errno.EPERM

    monkeypatch.setattr(interface, "Netlink", Fresh)
    monkeypatch.setattr(socket, "if_nametoindex", {"lo": LO, "tap0": TAP}.__getitem__)
    return Fresh


def test_everything_in_the_order_that_works(kernel: type[Kernel]) -> None:
    configure("tap0", SETTINGS)
    assert kernel.asked == [
        (RTM_NEWLINK, link_message(LO, up=True)),
        (RTM_NEWLINK, link_message(TAP, mtu=1500)),
        (RTM_NEWLINK, link_message(TAP, mac=MAC)),
        (RTM_NEWLINK, link_message(TAP, up=True)),
        (RTM_NEWADDR, address_message(TAP, ADDRESS)),
        (RTM_NEWROUTE, default_route_message(TAP, GATEWAY)),
        (RTM_NEWADDR, address_message(TAP, ADDRESS6)),
        (RTM_NEWROUTE, default_route_message(TAP, GATEWAY6)),
    ]


@pytest.mark.parametrize(
    ("refused", "what", "step"),
    [
        (0, "set lo up", interface.STEP_UP),
        (1, "set MTU 1500", interface.STEP_MTU),
        (2, "set MAC address 0e:d4:18:d9:38:fb", interface.STEP_MAC),
        (3, "set it up", interface.STEP_UP),
        (4, "add the address 10.0.2.15/24", interface.STEP_ADDRESS),
        (5, "add the default route by 10.0.2.2", interface.STEP_ROUTE),
        (6, "add the address fec0::15/64", interface.STEP_ADDRESS),
        (7, "add the default route by fec0::2", interface.STEP_ROUTE),
    ],
)
def test_the_step_that_failed_is_named(kernel: type[Kernel], refused: int, what: str, step: str) -> None:
    kernel.refused = refused
    with pytest.raises(LinkError) as caught:
        configure("tap0", SETTINGS)
    assert caught.value.args == (errno.EPERM, f"tap0: cannot {what}: Operation not permitted")
    assert caught.value.step == step


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EACCES])
def test_a_kernel_without_ipv6_is_enough_where_there_is_ipv4(kernel: type[Kernel], number: int) -> None:
    kernel.refused, kernel.number = 6, number
    configure("tap0", SETTINGS)
    assert kernel.asked[-1] == (RTM_NEWROUTE, default_route_message(TAP, GATEWAY))
    kernel.asked.clear()
    kernel.refused = 4
    with pytest.raises(LinkError, match="tap0: cannot add the address fec0::15/64: "):
        configure("tap0", SETTINGS._replace(families=((ADDRESS6, GATEWAY6),)))


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(LinkError, match=r"no-such-tap: cannot find it: No such device|no interface with this name"):
        configure("no-such-tap", SETTINGS)
