"""What the scripts' guest says in each family, read by dpkt, and what the engine makes of it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import dpkt
import pytest

from pyslirp.addresses import pack
from pyslirp.engine.core import core as engine
from pyslirp.engine.core.core import Core
from pyslirp.sim.clock import SECOND_NS
from pyslirp.sim.family import FAMILIES, GATEWAY_MAC, GUEST_MAC, Family
from pyslirp.sim.segment import Segment, Way, build_frame

NOW = SECOND_NS
BOTH = pytest.mark.parametrize("family", FAMILIES.values(), ids=["ipv4", "ipv6"])


def gateway(family: Family) -> tuple[Core, int]:
    core = Core(b"0123456789abcdef", bytes(GATEWAY_MAC), mtu=1500)
    family.configure(core)
    return core, core.add_port(1500)


def opened(family: Family, core: Core) -> int:
    ends = pack(family.guest.address), family.guest.port, pack(family.far.address), family.far.port
    flow = core.open(*ends, 0, NOW)
    core.run(NOW)
    return flow


@BOTH
def test_the_gateway_hears_of_its_guest(family: Family) -> None:
    core, port = gateway(family)
    core.deliver(port, [family.hello()], NOW)
    core.collect(port)
    opened(family, core)
    (syn,) = core.collect(port)
    assert not family.asks(syn)
    assert family.icmp(syn) is None
    assert syn[:6] == GUEST_MAC


def test_the_guest_answers_where_it_is_asked() -> None:
    family = FAMILIES[6]
    core, port = gateway(family)
    opened(family, core)
    (question,) = core.collect(port)
    assert family.asks(question)
    answer = family.answer(question)
    assert answer is not None
    core.deliver(port, [answer], NOW)
    core.run(NOW)
    (syn,) = core.collect(port)
    assert not family.asks(syn)


def test_the_guest_answers_for_nobody_else() -> None:
    family = FAMILIES[6]
    core, port = gateway(family)
    core.open(pack(ip_address("fec0::16")), 1, pack(family.far.address), 2, 0, NOW)
    core.run(NOW)
    (question,) = core.collect(port)
    assert family.asks(question)
    assert family.answer(question) is None


@BOTH
@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (engine.REFUSE_PORT, "port"),
        (engine.REFUSE_HOST, "host"),
        (engine.REFUSE_NET, "net"),
        (engine.REFUSE_PROHIBITED, "prohibited"),
    ],
)
def test_errors_of_the_engine_have_their_names(family: Family, refusal: int, code: str) -> None:
    core, port = gateway(family)
    core.deliver(port, [family.hello()], NOW)
    core.collect(port)
    core.deliver(port, [syn_of(family)], NOW)
    ((_, flow, *_),) = core.punts()
    core.deny(flow, refusal, NOW)
    core.run(NOW)
    (frame,) = core.collect(port)
    assert family.icmp(frame) == family.error("unreachable", code)


@BOTH
def test_an_error_of_the_guest_is_whole(family: Family) -> None:
    """dpkt reads it: a good sum, the length of the packet that it is about, its first eight bytes of TCP, the MTU."""
    quoted = syn_of(family)[14:]
    frame = family.icmp_error(family.error("unreachable", "too_big"), quoted, 1400, 1300)
    packet: Any = dpkt.ethernet.Ethernet(frame).data
    ends = packet.src, packet.dst
    assert ends == (family.guest.address.packed, family.far.address.packed)
    message = frame[14 + family.header_bytes :]
    pseudo_header = b"" if family.version == 4 else b"".join(ends) + len(message).to_bytes(4, "big") + b"\0\0\0\x3a"
    assert dpkt.in_cksum(pseudo_header + message) == 0
    assert tuple(message[:2]) == family.error("unreachable", "too_big")
    assert int.from_bytes(message[4:8], "big") == 1300
    about = message[8:]
    length = int.from_bytes(about[2:4], "big") if family.version == 4 else 40 + int.from_bytes(about[4:6], "big")
    assert (length, about[family.header_bytes :]) == (1400, quoted[family.header_bytes :][:8])


def test_an_error_that_a_family_has_not() -> None:
    with pytest.raises(KeyError):
        FAMILIES[6].error("quench", "0")


def syn_of(family: Family) -> bytes:
    return build_frame(Segment("S", 1, window=1000), Way(GUEST_MAC, family.guest, GATEWAY_MAC, family.far))
