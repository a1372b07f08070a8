"""Fifty thousand connections of four guests on one core: each is opened, each works, an idle one costs little.

The guests are frames made from a template, and the answers are read where they lie: so many frames by dpkt would take minutes.
"""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from pyslirp.addresses import Endpoint, Mac, pack
from pyslirp.engine.core import core as engine
from pyslirp.engine.core.core import Core
from pyslirp.sim.clock import SECOND_NS
from pyslirp.sim.segment import Options, Segment, Way, build_frame

GUESTS = 4  # a link may have as many flows as are free for all: four links a fifth each
FLOWS = 50_000 // GUESTS
IDLE_BYTES_MAX = 2048
GATEWAY_MAC, FAR = Mac("52:55:0a:00:02:02"), Endpoint(IPv4Address("192.0.2.1"), 80)
PORT_AT, SEQ_AT, ACK_AT, SUM_AT = 34, 38, 42, 50  # in an Ethernet frame with IPv4 and TCP
BATCH = 500


def changed(frame: bytearray, at: int, value: bytes) -> None:
    """Put `value` there, and mend the checksum by what has changed (RFC 1624)."""
    total = ~int.from_bytes(frame[SUM_AT : SUM_AT + 2], "big") & 0xFFFF
    for offset in range(0, len(value), 2):
        old = int.from_bytes(frame[at + offset : at + offset + 2], "big")
        total += (~old & 0xFFFF) + int.from_bytes(value[offset : offset + 2], "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    frame[at : at + len(value)] = value
    frame[SUM_AT : SUM_AT + 2] = (~total & 0xFFFF).to_bytes(2, "big")


class Crowd:
    """One guest's connections."""

    def __init__(self, core: Core, number: int) -> None:
        self.core = core
        self.port = core.add_port(1500)
        guest = Endpoint(IPv4Address("10.0.2.15") + number, 1)
        self.way = Way(Mac(f"52:54:00:00:00:{number:02x}"), guest, GATEWAY_MAC, FAR)
        core.learn(pack(guest.address), bytes(self.way.source_mac), SECOND_NS)
        self.isns: dict[bytes, int] = {}  #: the engine's numbers, by the guest's port as it stands in a frame

    def frame(self, flags: str, seq: int, ack: int = 0, payload: bytes = b"") -> bytearray:
        options = Options(mss=1460, scale=7, sack_permitted=True) if flags == "S" else Options()
        return bytearray(build_frame(Segment(flags, seq, ack, 65535, payload, options=options), self.way))

    def open(self, now: int) -> None:
        template = self.frame("S", 1000)
        for first in range(0, FLOWS, BATCH):
            frames = []
            for number in range(first, min(first + BATCH, FLOWS)):
                changed(template, PORT_AT, (10_000 + number).to_bytes(2, "big"))
                frames.append(bytes(template))
            self.core.deliver(self.port, frames, now)
            for punt in self.core.punts():
                if punt[0] == engine.KIND_FLOW:
                    self.core.serve(punt[1], 0, now)
            self.core.run(now)
            self.acknowledge(now)

    def acknowledge(self, now: int) -> None:
        """Answer every SYN,ACK that has come."""
        template, frames = self.frame(".", 1001), []
        for answer in self.core.collect(self.port):
            assert answer[47] == 0x12, "SYN,ACK"
            port = answer[36:38]
            self.isns[port] = int.from_bytes(answer[38:42], "big")
            changed(template, PORT_AT, port)
            changed(template, ACK_AT, (self.isns[port] + 1 & 0xFFFFFFFF).to_bytes(4, "big"))
            frames.append(bytes(template))
        self.core.deliver(self.port, frames, now)

    def ask(self, port: bytes, now: int) -> bytes:
        """Send a question on one connection; what its handler reads."""
        frame = self.frame("P.", 1001, 0, b"who?")
        changed(frame, PORT_AT, port)
        changed(frame, ACK_AT, (self.isns[port] + 1 & 0xFFFFFFFF).to_bytes(4, "big"))
        self.core.deliver(self.port, [bytes(frame)], now)
        (readable,) = [punt[1] for punt in self.core.punts() if punt[0] == engine.KIND_READABLE]
        return self.core.stream_read(readable, 100, now)


@pytest.mark.bulk
def test_fifty_thousand_connections() -> None:
    core = Core(b"fifty thousand..", bytes(GATEWAY_MAC))
    core.set_network(pack(IPv4Address("10.0.2.0")), 120)
    core.add_address(pack(IPv4Address("10.0.2.2")))
    guests = [Crowd(core, number) for number in range(GUESTS)]
    now = SECOND_NS
    for guest in guests:
        guest.open(now)
    memory = core.memory()
    assert memory["flows"] == GUESTS * FLOWS == sum(len(guest.isns) for guest in guests)
    assert core.counters()["tcp.evicted"] == 0
    assert memory["buffer_bytes"] == 0, "an idle flow holds no buffer"
    assert memory["stream_bytes"] < IDLE_BYTES_MAX
    assert memory["timers"] == GUESTS * FLOWS, "one each, for its keepalive"
    core.punts()
    for guest in guests:
        for port in list(guest.isns)[:: max(1, FLOWS // 50)]:
            assert guest.ask(port, now) == b"who?"
    core.run(now + 3600 * SECOND_NS)
    assert core.counters()["tcp.probe"] == 0, "an hour of silence is no work"
    assert core.memory()["flows"] == GUESTS * FLOWS
