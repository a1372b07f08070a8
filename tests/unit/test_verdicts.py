"""The numbers of verdicts are the engine's."""

from __future__ import annotations

import pytest

from pyslirp.engine.core import core as engine
from pyslirp.verdicts import ICMP, PROTOCOLS, TCP, UDP, Allow, Deny, FlowName, How


@pytest.mark.parametrize(
    ("how", "number"),
    [
        (How.RESET, engine.REFUSE_RESET),
        (How.PORT_UNREACHABLE, engine.REFUSE_PORT),
        (How.HOST_UNREACHABLE, engine.REFUSE_HOST),
        (How.NET_UNREACHABLE, engine.REFUSE_NET),
        (How.PROHIBITED, engine.REFUSE_PROHIBITED),
        (How.SILENT, engine.REFUSE_SILENT),
    ],
)
def test_each_way_to_refuse_is_the_engines(how: How, number: int) -> None:
    assert how == number


def test_there_is_no_other_way() -> None:
    assert len(How) == 6


def test_protocols_are_named_as_by_the_engine() -> None:
    assert PROTOCOLS == engine.PROTOCOLS
    assert (PROTOCOLS[ICMP], PROTOCOLS[TCP], PROTOCOLS[UDP]) == ("icmp", "tcp", "udp")


def test_a_flow_is_named_as_in_a_punt() -> None:
    name = FlowName(*(TCP, b"guest", 1, b"far", 2))
    assert (name.protocol, name.guest, name.guest_port, name.far, name.far_port) == (TCP, b"guest", 1, b"far", 2)


def test_verdicts_are_values() -> None:
    assert Allow(b"a", 1) == Allow(b"a", 1) != Allow(b"a", 2)
    assert len({Deny(How.RESET, "x"), Deny(How.RESET, "x"), Deny(How.SILENT, "x")}) == 2
