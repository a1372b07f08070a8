"""What links promise is what the stack and the links keep."""

from __future__ import annotations

import inspect

import pytest

from pyslirp.links.base import STREAM_MTU, Link, LinkHost, PortSpec
from pyslirp.links.connector import Connector
from pyslirp.links.listener import Listener
from pyslirp.stack import Stack
from tests.oracle import framing
from tests.unit.links.fake_host import FakeHost


def contract(protocol: type) -> dict[str, list[str]]:
    """Methods of a protocol, and their parameters."""
    return {
        name: list(inspect.signature(method).parameters)
        for name, method in vars(protocol).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }


def kept(kind: type, protocol: type) -> dict[str, list[str]]:
    """The same of a class, but for what it takes beyond the contract."""
    return {
        name: list(inspect.signature(getattr(kind, name)).parameters)[: len(parameters)]
        for name, parameters in contract(protocol).items()
    }


@pytest.mark.parametrize("link", [Listener, Connector])
def test_a_link_keeps_its_contract(link: type[Link]) -> None:
    assert kept(link, Link) == contract(Link)


@pytest.mark.parametrize("host", [Stack, FakeHost])
def test_the_stack_is_a_host_for_links(host: type[LinkHost]) -> None:
    assert kept(host, LinkHost) == contract(LinkHost)


def test_a_port_is_a_value() -> None:
    assert PortSpec(3, "stream", 1500, "a") == PortSpec(3, "stream", 1500, "a") != PortSpec(4, "stream", 1500, "a")


def test_the_mtu_that_is_announced_fits_into_a_frame_of_the_stream() -> None:
    header_with_vlan_tag = 18
    assert STREAM_MTU + header_with_vlan_tag <= framing.FRAME_MAX
