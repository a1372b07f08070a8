"""The gateway: who answers which address and port, how the rest is refused, and services."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import dpkt
import pytest

from pyslirp.addresses import Endpoint, Mac
from pyslirp.engine.core import core as engine
from pyslirp.services.base import Action, Claim, Datagram, LearnNeighbor, SendDatagram
from pyslirp.sim.apps import Echo, Transfer
from pyslirp.sim.clock import SECOND_NS
from pyslirp.sim.faults import Tap
from pyslirp.sim.host import Gateway
from pyslirp.sim.link import Link
from tests.unit.sim.rig import FAR, OWN, Rig

OTHER = IPv4Address("192.0.2.2")


def test_who_listens_serves_and_the_rest_is_refused() -> None:
    rig = Rig()
    rig.gateway.listen(80, Echo, FAR)
    app = Transfer(b"hello", finish=False)
    rig.guest.connect(FAR, 80, rig.now, app)
    elsewhere = [rig.guest.connect(OTHER, 80, rig.now), rig.guest.connect(FAR, 81, rig.now)]
    rig.world.run_for(SECOND_NS)
    assert bytes(app.received) == b"hello"
    assert [stream.closed for stream in elsewhere] == ["refused", "refused"]


def test_an_address_of_its_own_goes_before_any_address() -> None:
    rig = Rig()
    one, any_ = Transfer(b"one"), Transfer(b"any")
    rig.gateway.listen(80, lambda: any_)
    rig.gateway.listen(80, lambda: one, FAR)
    apps = [Transfer(finish=False), Transfer(finish=False)]
    for address, app in zip((FAR, OTHER), apps, strict=True):
        rig.guest.connect(address, 80, rig.now, app)
    rig.world.run_for(SECOND_NS)
    assert [bytes(app.received) for app in apps] == [b"one", b"any"]


def kind_of(frame: bytes) -> str:
    """What sort of packet the gateway has sent."""
    packet: Any = dpkt.ethernet.Ethernet(frame).data
    if packet.p == dpkt.ip.IP_PROTO_ICMP:
        return f"icmp {packet.data.type} {packet.data.code}"
    return "reset" if packet.data.flags & dpkt.tcp.TH_RST else "segment"


@pytest.mark.parametrize(
    ("how", "answer"),
    [
        (engine.REFUSE_RESET, ["reset"]),
        (engine.REFUSE_PORT, ["icmp 3 3"]),
        (engine.REFUSE_HOST, ["icmp 3 1"]),
        (engine.REFUSE_SILENT, []),
    ],
)
def test_a_refusal_is_made_as_it_was_asked_for(how: int, answer: list[str]) -> None:
    seen: list[bytes] = []
    plain = Link.plain()
    rig = Rig(link=Link(Tap(plain.to_b, lambda frame, _: seen.append(frame)), plain.to_a))
    rig.gateway.refuse(80, how, FAR)
    seen.clear()  # what ARP and the ping have brought
    stream = rig.guest.connect(FAR, 80, rig.now)
    rig.world.settle()
    assert [kind_of(frame) for frame in seen] == answer
    assert not stream.connected


def test_a_responder_may_stay_silent() -> None:
    rig = Rig()
    asked: list[bytes] = []
    rig.gateway.answer_udp(7, asked.append)
    socket = rig.guest.udp()
    socket.send(Endpoint(FAR, 7), b"one", rig.now)
    socket.send(Endpoint(FAR, 8), b"two", rig.now)
    rig.world.settle()
    assert asked == [b"one"]
    assert not socket.received


def test_a_connection_towards_a_guest() -> None:
    rig = Rig()
    rig.guest.listen(22, Echo)
    app = Transfer(b"knock", finish=False)
    rig.gateway.connect(Endpoint(OWN, 22), Endpoint(FAR, 9000), rig.now, app)
    rig.world.run_for(SECOND_NS)
    assert bytes(app.received) == b"knock"


class Diary:
    """A service that answers with what it was told, and rings once."""

    name = "diary"
    claims = (Claim("udp", IPv4Address("10.0.2.2"), 7000),)

    def __init__(self) -> None:
        self.heard: list[Datagram] = []
        self.due: int | None = None

    def handle(self, datagram: Datagram, now: int) -> list[Action]:
        self.heard.append(datagram)
        self.due = now + SECOND_NS
        return [SendDatagram(datagram.destination, datagram.source, b"noted")]

    def deadline(self) -> int | None:
        return self.due

    def expire(self, _now: int) -> list[Action]:
        self.due = None
        return [LearnNeighbor(IPv4Address("10.0.2.99"), Mac("02:00:00:00:00:99"))]

    def snapshot(self) -> dict[str, Any]:
        return {}


def test_a_service_hears_its_claims_answers_and_is_woken() -> None:
    diary = Diary()
    rig = Rig(Gateway(services=[diary]))
    socket = rig.guest.udp(6000)
    socket.send(Endpoint(rig.gateway.host, 7000), b"dear diary", rig.now)
    socket.send(Endpoint(rig.gateway.host, 7001), b"not for you", rig.now)
    rig.world.settle()
    assert [(one.payload, one.source, one.mac) for one in diary.heard] == [
        (b"dear diary", Endpoint(OWN, 6000), rig.guest.mac)
    ]
    assert list(socket.received) == [(Endpoint(rig.gateway.host, 7000), b"noted")]
    assert rig.gateway.next_deadline() is not None
    known = len(rig.gateway.core.neighbors())
    rig.world.run_for(SECOND_NS)
    assert diary.due is None
    assert len(rig.gateway.core.neighbors()) == known + 1


def test_ports_of_one_gateway_are_apart() -> None:
    gateway = Gateway()
    assert gateway.attach().number != gateway.attach(9000).number
    assert (gateway.host, gateway.dns) == (IPv4Address("10.0.2.2"), IPv4Address("10.0.2.3"))
