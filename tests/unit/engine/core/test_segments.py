"""Payload on its way to a guest: copied or sent from the chunks that it lies in, it is the same on the wire."""

from __future__ import annotations

from typing import Any

import dpkt
import pytest

from tests.unit.engine.core.guest import FAR, Guest, Net, payload
from tests.unit.engine.core.offload_guest import OffloadGuest

SYN, RST, ACK = dpkt.tcp.TH_SYN, dpkt.tcp.TH_RST, dpkt.tcp.TH_ACK
PORT_TX_BYTES = 1_048_576
CHUNK = 16384
REFER_FROM = 512
MTU = 65_520
MSS = MTU - 40
PATTERN = bytes(range(251)) * 1200  # a prime period: no shift goes unseen


class Reader:
    """A guest that has asked for a stream and reads it."""

    def __init__(self, net: Net, guest: Guest, mss: int = MSS, source_port: int = 40_000) -> None:
        self.net, self.guest, self.source_port = net, guest, source_port
        self.read = b""
        self.send(SYN, seq=1000, options=b"\2\4" + mss.to_bytes(2) + b"\1\3\3\7")
        self.flow = net.flow()
        self.socket = net.host.attach(self.flow, net.now)
        net.host.connected(self.flow, net.now)
        net.run()
        self.first = guest.packet().data.seq + 1
        self.acknowledge(0)

    def send(self, flags: int, **fields: Any) -> None:
        self.guest.tcp(flags, **{"to": FAR, "source_port": self.source_port, "seq": 1001, **fields})

    def acknowledge(self, length: int) -> None:
        self.send(ACK, ack=(self.first + length) % 2**32, window=65_535)

    def hear(self, packets: list[Any] | None = None) -> list[bytes]:
        """The payloads that have come (or are among `packets`); every checksum is verified."""
        found = []
        for packet in self.guest.packets() if packets is None else packets:
            data = payload(packet)[packet.data.off * 4 :]
            at = (packet.data.seq - self.first) % 2**32
            if data and packet.data.dport == self.source_port:
                self.read = self.read[:at].ljust(at, b"?") + data + self.read[at + len(data) :]
                found.append(data)
        return found

    def feed(self, data: bytes) -> None:
        self.net.host.feed(self.flow, self.socket, data, self.net.now)
        self.net.run()

    def buffers(self) -> int:
        return int(self.net.core.ports()[self.guest.port]["buffer_bytes"])


def known(net: Net, guest: Guest) -> Guest:
    """It has proved that it takes frames as long as its link's."""
    guest.udp(bytes(MTU - 28), port=68, to=FAR)
    net.punts()
    guest.frames()
    return guest


@pytest.fixture
def reader() -> Reader:
    net = Net(mtu=MTU)
    return Reader(net, known(net, net.guest(mtu=MTU)))


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("length", [1, 5, 6, 7, REFER_FROM - 1, REFER_FROM, REFER_FROM + 1, 1460, 1461, 20_001])
def test_payload_of_any_length_from_anywhere_in_its_chunks(length: int, odd: int, *, offload: bool) -> None:
    net = Net()
    guest: Guest = OffloadGuest(net) if offload else net.guest()
    reader = Reader(net, guest, 1460)
    start = CHUNK - REFER_FROM // 2 - odd  # so that the next crosses the end of a chunk
    read = 0
    for data in (PATTERN[:start], PATTERN[start : start + length]):
        reader.feed(data)
        while reader.hear():
            reader.acknowledge(len(reader.read))
        read += len(data)
    assert reader.read == PATTERN[:read]
    assert reader.buffers() == 0


@pytest.mark.parametrize("start", [0, 1, 777, CHUNK - 1])
def test_a_frame_of_many_chunks(reader: Reader, start: int) -> None:
    reader.feed(PATTERN[:start])
    reader.hear()
    reader.acknowledge(start)
    for _ in range(3):  # until the window takes a whole one
        reader.feed(PATTERN[len(reader.read) : len(reader.read) + MSS])
        while reader.hear():
            reader.acknowledge(len(reader.read))
    reader.feed(PATTERN[len(reader.read) : len(reader.read) + MSS])
    assert [len(data) for data in reader.hear()] == [MSS]
    assert reader.read == PATTERN[: len(reader.read)]


def test_frames_outlive_their_connection(reader: Reader) -> None:
    reader.feed(PATTERN[:8000])
    reader.send(RST)
    assert reader.net.host.sockets == {}
    assert reader.buffers() == CHUNK
    reader.hear()
    assert reader.read == PATTERN[:8000]
    assert reader.buffers() == 0


def test_what_a_guest_acknowledges_before_it_has_fetched_it_stays_charged_to_it(reader: Reader) -> None:
    reader.feed(PATTERN[:8000])
    reader.acknowledge(8000)
    assert reader.net.core.flow(reader.flow)["send_queue"] == 0
    assert reader.buffers() == CHUNK
    reader.feed(PATTERN[8000:10_000])  # into a chunk of its own
    reader.acknowledge(10_000)
    assert reader.buffers() == 2 * CHUNK
    reader.hear()
    assert reader.read == PATTERN[:10_000]
    assert reader.buffers() == 0


def test_a_repetition_is_sent_from_the_same_bytes(reader: Reader) -> None:
    reader.feed(PATTERN[:4000])
    for _ in range(3):
        reader.net.wait(0.4)
    reader.feed(PATTERN[4000:6000])  # the rest of the chunk is filled while its start waits
    assert reader.buffers() == CHUNK
    assert len(reader.hear()) > 1
    reader.acknowledge(4000)
    reader.net.wait(0.3)
    reader.hear()
    assert reader.read == PATTERN[:6000]


def test_a_port_that_goes_takes_its_frames_with_it(reader: Reader) -> None:
    reader.feed(PATTERN[:8000])
    reader.acknowledge(8000)
    assert reader.net.core.memory()["buffer_bytes"] == CHUNK
    reader.net.core.remove_port(reader.guest.port)
    assert reader.net.core.memory()["buffer_bytes"] == 0


def test_all_of_it_is_captured(reader: Reader) -> None:
    reader.net.core.capturing = True
    reader.feed(PATTERN[:40_000])
    captured, lost = reader.net.core.captured()
    assert lost == 0
    frames = reader.guest.frames()
    assert any(len(frame) > CHUNK for frame in frames)
    assert [frame for _, inbound, _, frame in captured if not inbound] == frames


def test_a_full_link_counts_what_lies_in_chunks(reader: Reader) -> None:
    """The limit is in bytes of frames, wherever they lie; what it has held back comes when they have gone."""
    other = Reader(reader.net, reader.guest, source_port=40_001)
    for each in (reader, other):
        for _ in range(3):
            each.feed(PATTERN)
    port = reader.net.core.ports()[reader.guest.port]
    assert PORT_TX_BYTES - 2 * MTU < port["tx_waiting_bytes"] <= PORT_TX_BYTES
    for _ in range(50):
        packets = reader.guest.packets()
        for each in (reader, other):
            each.hear(packets)
            each.acknowledge(len(each.read))
    assert reader.read == other.read == PATTERN * 3
    assert reader.buffers() == 0
