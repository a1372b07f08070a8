"""Invariant tested: whatever guests send and whatever Python and the host answer, in any order and at any time, a core

- refuses a frame for the reason that the twin of tests/oracle names, and counts it, once;
- sends only frames that the twin finds nothing wrong with, that fit the link (a segment: if its guest told no lie about
  its MSS), and that come from us or from a guest as it sent them;
- keeps its limits, and no TCP flow's state contradicts itself;
- gives everything back at the end, closes every socket once, and does the same again when told the same.

An input is a tape of bytes: the first chooses the network, the others are read as acts (ACTS) and what they need; where
the tape ends they read zeros.  The fuzz build takes every checksum for right, so that mutated frames reach past them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import TypeVar

from pyslirp.addresses import pack
from pyslirp.engine.codecs.build import _arp, _icmp, _ipv4, _tcp, _udp
from pyslirp.engine.core.core import KIND_CLOSED, KIND_FLOW, Core
from pyslirp.engine.core.fake_host import FakeHost
from pyslirp.engine.stores.checksum import _sum_is_good
from tests.oracle import headers
from tests.oracle.checksum import is_good

SUMS_PASS = _sum_is_good(0)
MILLISECOND, SECOND = 1_000_000, 1_000_000_000
STEPS = 200  #: acts of one input
TX_BYTES, REASSEMBLY_BYTES, PUNTS_MAX = 2**20, 2**21, 4096
OUR_MAC = bytes.fromhex("52550a000202")
EVERYBODY = b"\xff" * 6
MACS = [bytes.fromhex("52540000000a")[:5] + bytes([number]) for number in range(4)]
MTUS = (68, 576, 1500, 9000, 65520)
TCP, UDP, ICMP = 6, 17, 1
Thing = TypeVar("Thing")


def ip(text: str) -> bytes:
    """The engine's 16 bytes."""
    return pack(ip_address(text))


GATEWAY, ALIAS, FAR, LOOPBACK = ip("10.0.2.2"), ip("10.0.2.3"), ip("93.184.216.34"), ip("127.0.0.1")
GUESTS = [ip(f"10.0.2.{15 + number}") for number in range(4)]
ENDS = [FAR, GATEWAY, ALIAS, *GUESTS[:2], ip("10.0.2.255"), ip("255.255.255.255"), ip("8.8.8.8")]
SOURCES = [*GUESTS, ip("0.0.0.0"), ip("192.168.9.9"), GATEWAY, ip("10.0.2.255")]
REMOTES = [FAR, LOOPBACK, GUESTS[0], ip("198.51.100.7")]
PORTS = (53, 67, 80, 9, 7)
DELTAS = (0, 0, 0, 0, 1, -1, 1000, -1000, 65535, -65536, 2**31 - 1, -(2**31))
ERRORS = (0, 11, 32, 101, 104, 111, 113, 110, 13, 90)
OPTIONS = (
    b"",
    b"",
    b"\x02\x04\x05\xb4",
    b"\x02\x04\x05\xb4\x04\x02\x08\x0a\0\0\0\1\0\0\0\0\x01\x03\x03\x07",
    b"\x01\x01\x08\x0a\0\0\0\2\0\0\0\0",
    b"\x02\x04\xff\xff\x04\x02\x01\x01",
)


class Tape:
    """The input, read from its front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next `count`, with zeros for what is not there."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken.ljust(count, b"\0")

    def byte(self, below: int = 256) -> int:
        """A number from 0 to `below` - 1."""
        return self.take(1)[0] % below

    def word(self) -> int:
        """A number of 16 bits."""
        return int.from_bytes(self.take(2))

    def pick(self, things: Sequence[Thing]) -> Thing:
        """One of them."""
        return things[self.byte(len(things))]

    @property
    def ended(self) -> bool:
        """Is nothing left?"""
        return self._at >= len(self._data)


class Talk:
    """A guest's end of a connection, as far as it is needed to speak in time."""

    def __init__(self, number: int) -> None:
        self.guest = number % 2
        self.source_port, self.port = 1000 + number, PORTS[2 + number % 3]
        self.far = FAR if number % 4 < 3 else GATEWAY
        self.seq, self.ack = 1000 * number, 0


class Net:
    """A core with its guests and its host, and the acts that can be done to them."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        style = tape.byte()
        self.core = Core(bytes(16), OUR_MAC, mtu=MTUS[style % 5], forwarding=style < 200)
        self.core.set_network(ip("10.0.2.0"), 120)
        self.core.add_address(GATEWAY)
        self.core.add_address(ALIAS)
        self.core.set_families(True, True)
        self.core.set_network(ip("fec0::"), 64)
        for address in ("fec0::2", "fec0::3", "fe80::2"):
            self.core.add_address(ip(address))
        self.core.claim_udp(None, 67)
        self.core.claim_udp(ALIAS, 53)
        self.core.capturing = style % 2 == 1
        self.host = FakeHost(self.core)
        self.now = SECOND
        self.ports = {number: self.core.add_port(tape.pick(MTUS), 65000 * (style % 3 == 0)) for number in range(3)}
        self.talks = [Talk(number) for number in range(8)]
        self.flows: list[int] = []
        self.waiting: list[tuple[int, int]] = []  #: new flows and their protocol
        self.sockets: dict[int, int] = {}  #: by flow
        self.mappings: list[int] = []
        self.forwarded: set[bytes] = set()
        self.log: list[object] = []
        for number, port in self.ports.items():
            self.deliver(
                port, EVERYBODY + MACS[number] + b"\x08\x06" + _arp(1, MACS[number], GUESTS[number], bytes(6), GATEWAY)
            )

    # -- a guest sends ------------------------------------------------------------------------------------------------

    def deliver(self, port: int, frame: bytes) -> None:
        """One frame; whether it is counted as it must be."""
        before, received = self.core.counters(), self.received()
        self.forwarded.add(frame)
        self.core.deliver(port, [frame], self.now)
        after = self.core.counters()
        counted = {name for name, value in after.items() if value != before[name]}
        assert self.received() == received + 1
        assert not (wrong := complaint(frame)) or counted & wrong, (wrong, counted)
        self.check_streams()
        self.take_punts()

    def received(self) -> int:
        """Frames that all guests together have sent."""
        return sum(port["rx_frames"] for port in self.core.ports())

    def port(self) -> int:
        """One of the links."""
        return self.ports[self.tape.byte(len(self.ports))]

    def raw(self) -> None:
        """A frame as it stands on the tape."""
        port = self.port()
        self.deliver(port, self.tape.take(min(self.tape.word(), 9100)))

    def ethernet(self, guest: int, payload: bytes, ethertype: int = 0x0800) -> None:
        """From a guest on its own link, mostly to us."""
        destination = self.tape.pick([OUR_MAC, OUR_MAC, OUR_MAC, EVERYBODY, *MACS])
        self.deliver(self.ports[guest], destination + MACS[guest] + struct.pack("!H", ethertype) + payload)

    def arp(self) -> None:
        """A request, reply, probe or announcement."""
        guest, tape = self.tape.byte(3), self.tape
        packet = _arp(1 + tape.byte(2), tape.pick([MACS[guest], *MACS]), tape.pick(SOURCES), bytes(6), tape.pick(ENDS))
        self.ethernet(guest, packet, 0x0806)

    def datagram(self) -> None:
        """UDP or an echo request, whole or in fragments, in any order."""
        tape, guest = self.tape, self.tape.byte(3)
        source, far, length = tape.pick([GUESTS[guest], *SOURCES]), tape.pick(ENDS), tape.word()
        data = bytes(length % 2048 if tape.byte() else length % 65508)
        protocol = tape.pick((UDP, UDP, ICMP))
        if protocol == UDP:
            packet = _udp(source, far, 1 + tape.byte(4), tape.pick(PORTS), data)
        else:
            packet = _icmp(tape.pick((8, 8, 8, 0, 3, 11, 13)), 0, tape.byte(3) << 16 | tape.byte(), data)
        ttl, size, ident = tape.pick((64, 1, 0, 255)), 8 * tape.byte() or 65536, tape.byte()
        size = max(size, len(packet) // 60 // 8 * 8)
        pieces = [
            _ipv4(source, far, protocol, ttl, 0, ident, len(part), at, at + size < len(packet)) + part
            for at in range(0, len(packet), size)
            if (part := packet[at : at + size])
        ]
        for piece in sorted(pieces, key=lambda _: tape.byte()):
            self.ethernet(guest, piece)

    def segment(self) -> None:
        """TCP, mostly as the connection stands."""
        tape = self.tape
        talk = tape.pick(self.talks)
        flags, seq, ack = (
            tape.pick((0x02, 0x10, 0x10, 0x18, 0x11, 0x04, 0x14, 0x12, 0x30, tape.byte())),
            tape.pick(DELTAS),
            tape.pick(DELTAS),
        )
        data = bytes(tape.word() % 4000 if tape.byte(3) else 0)
        options = tape.pick((*OPTIONS, tape.take(8)))
        number = (talk.seq + seq) % 2**32
        packet = _tcp(
            GUESTS[talk.guest],
            talk.far,
            talk.source_port,
            talk.port,
            number,
            (talk.ack + ack) % 2**32,
            flags,
            tape.pick((65535, 1000, 0, 1)),
            tape.word() if flags & 0x20 else 0,
            options,
            data,
        )
        if seq == 0:
            talk.seq = (talk.seq + len(data) + bool(flags & 2) + bool(flags & 1)) % 2**32
        whole = _ipv4(GUESTS[talk.guest], talk.far, TCP, 64, 0, tape.byte(), len(packet)) + packet
        half = len(packet) // 16 * 8
        if tape.byte() != 1 or not half:
            self.ethernet(talk.guest, whole)
            return
        ident = tape.byte()
        for at, part in ((0, packet[:half]), (half, packet[half:])):
            self.ethernet(
                talk.guest, _ipv4(GUESTS[talk.guest], talk.far, TCP, 64, 0, ident, len(part), at, at == 0) + part
            )

    # -- Python answers -----------------------------------------------------------------------------------------------

    def take_punts(self) -> None:
        """What has come up; new flows wait for a verdict."""
        punts = self.core.punts()
        assert len(punts) <= PUNTS_MAX + self.core.memory()["flows_limit"]
        for punt in punts:
            if punt[0] == KIND_FLOW:
                self.waiting.append((punt[1], punt[2][0]))
            elif punt[0] == KIND_CLOSED and punt[1] in self.flows:
                self.flows.remove(punt[1])
                self.sockets.pop(punt[1], None)
        self.log.append(punts)

    def verdict(self) -> None:
        """On the flow that has waited longest."""
        if not self.waiting:
            return
        flow, protocol = self.waiting.pop(0)
        how = self.tape.byte(12)
        self.flows.append(flow)
        with suppress(KeyError):  # it may have ended meanwhile
            if how < 4:
                self.core.serve(flow, how, self.now)
            elif how < 7:
                self.core.deny(flow, 1 + self.tape.byte(6), self.now)
            elif protocol == TCP:
                self.sockets[flow] = self.host.attach(flow, self.now)
                if how < 11:
                    self.host.connected(flow, self.now)
            else:
                self.mappings.append(self.host.allow(flow, self.tape.pick(REMOTES), 9, self.now))

    def flow(self) -> int:
        """One that has its verdict, or none that there is."""
        return self.tape.pick(self.flows) if self.flows else 0

    def handler(self) -> None:
        """A Python handler reads, writes, ends, answers, closes."""
        flow, what, length = self.flow(), self.tape.byte(6), self.tape.word()
        with suppress(KeyError):
            if what == 0:
                self.core.stream_write(flow, bytes(length))
            elif what == 1:
                self.core.stream_read(flow, length, self.now)
            elif what == 2:
                self.core.stream_finish(flow)
            elif what == 3:
                self.core.datagram_reply(flow, bytes(length), self.now)
            elif what == 4:
                self.core.close_flow(flow, self.now)
            else:
                self.core.stream_waiting(flow)

    def outside(self) -> None:
        """The stack sends, opens, learns; links come and go."""
        tape, what, guest = self.tape, self.tape.byte(6), self.tape.byte(4)
        if what == 0:
            flow = self.core.open(GUESTS[guest], 1 + tape.byte(), tape.pick((FAR, GATEWAY)), 80, 1, self.now)
            self.flows += [flow] if flow else []
        elif what == 1:
            flow, socket = self.host.open(GUESTS[guest], 1 + tape.byte(), tape.pick((FAR, GATEWAY)), 81, self.now)
            if flow:
                self.flows.append(flow)
                self.sockets[flow] = socket
        elif what == 2:
            port = tape.byte(5) - 1
            self.core.send_udp(GATEWAY, 67, GUESTS[guest], 68, bytes(tape.word()), self.now, EVERYBODY, port)
        elif what == 3:
            self.core.send_icmp(GATEWAY, GUESTS[guest], 8, 0, 7, bytes(tape.word()), self.now)
        elif what == 4:
            self.core.learn(GUESTS[guest], MACS[guest], self.now)
        elif guest in self.ports:
            self.core.remove_port(self.ports[guest])
            self.ports[guest] = self.core.add_port(tape.pick(MTUS))

    # -- the host answers ---------------------------------------------------------------------------------------------

    def host_stream(self) -> None:
        """A socket has connected, failed, bytes, its end, or room."""
        tape, flow = self.tape, self.flow()
        socket, what = self.sockets.get(flow, 0), self.tape.byte(6)
        with suppress(KeyError):
            if what == 0:
                self.host.connected(flow, self.now)
            elif what == 1:
                self.host.failed(flow, tape.pick(ERRORS), self.now)
            elif what == 2:
                self.host.room = tape.pick((None, 0, 1, 1000))
                self.host.writable(flow, self.now)
            elif socket in self.host.sockets:
                self.host.feed(flow, socket, bytes(tape.word()), self.now, end=what == 5)

    def host_datagram(self) -> None:
        """A datagram, an echo reply or an error has come by a mapping's socket, or a rule is made."""
        tape, what = self.tape, self.tape.byte(5)
        remote, port = tape.pick(REMOTES), tape.pick((9, 9, 53, 1000))
        if what == 0 and len(self.mappings) < 20:
            self.mappings.append(self.host.listen(GUESTS[tape.byte(4)], 1 + tape.byte(4)))
        mapping = tape.pick(self.mappings) if self.mappings else 0
        with suppress(KeyError):
            if what == 1:
                self.host.error(
                    mapping, remote, port, tape.pick([None, *REMOTES]), tape.pick((3, 11, 12, 0)), 4, self.now, 1400
                )
            elif what == 2:
                self.host.arrive(mapping, remote, 0, b"\0\0\0\0\0\7\0" + tape.take(1) + bytes(tape.word()), self.now)
            else:
                self.host.arrive(mapping, remote, port, bytes(tape.word() % 65508), self.now)

    def host_errors(self) -> None:
        """Calls fail from now on, or no more."""
        operation, error = self.tape.pick(("send", "recv", "send_to")), self.tape.pick(ERRORS)
        self.host.errors.pop(operation, None)
        if error:
            self.host.errors[operation] = error

    # -- time passes, links drain -------------------------------------------------------------------------------------

    def wait(self) -> None:
        """A moment, or until something is due."""
        due = self.core.next_deadline()
        step = self.tape.byte()
        self.now += step**2 * MILLISECOND
        if step == 0 and due is not None:
            self.now = max(self.now, due)
        self.run()

    def run(self) -> None:
        """What is due is done, and done with."""
        for _ in range(200):
            if not self.core.run(self.now, 1 + self.tape.byte(64)):
                break
        else:
            raise AssertionError("there is always more to do")
        self.check_streams()
        self.take_punts()

    def drain(self) -> None:
        """A link takes some of what waits for it."""
        number = self.tape.byte(len(self.ports))
        self.collect(number, self.tape.pick((1, 3, 1000, 1 << 30)))

    def collect(self, number: int, most: int) -> None:
        """Look at each frame that leaves."""
        mtu = next(port["mtu"] for port in self.core.ports() if port["port"] == self.ports[number])
        frames = self.core.collect(self.ports[number], most)
        self.log.append(frames)
        for frame in frames:
            if frame in self.forwarded:
                continue
            assert frame[6:12] == OUR_MAC
            assert len(frame) >= 60
            assert len(frame) <= 14 + max(mtu, 46) or frame[23] == TCP
            if frame[12:14] == b"\x08\x06":
                assert headers.verdict(frame) == "eth.unknown_type"  # the twin knows no ARP
                continue
            assert headers.verdict(frame) == "ok", headers.verdict(frame)
            self.hear(frame)

    def hear(self, frame: bytes) -> None:
        """What a segment tells the guest's end."""
        header = 14 + (frame[14] & 15) * 4
        if frame[23] != TCP or int.from_bytes(frame[20:22]) & 0x3FFF:
            return
        port, guest_port, seq = struct.unpack("!HHI", frame[header : header + 8])
        length = 14 + int.from_bytes(frame[16:18]) - header - (frame[header + 12] >> 4) * 4
        for talk in self.talks:
            if (talk.source_port, talk.port) == (guest_port, port) and not frame[header + 13] & 4:
                talk.ack = (seq + length + bool(frame[header + 13] & 3)) % 2**32

    # -- what always holds --------------------------------------------------------------------------------------------

    def check(self) -> None:
        """The limits."""
        memory = self.core.memory()
        assert memory["buffer_bytes"] <= memory["buffer_limit_bytes"]
        assert memory["flows"] <= memory["flows_limit"]
        assert memory["reassembly_bytes"] <= REASSEMBLY_BYTES
        assert memory["timers"] <= memory["flows"]
        assert all(port["tx_waiting_bytes"] <= TX_BYTES for port in self.core.ports())
        assert len(self.core.neighbors()) <= 256

    def check_streams(self) -> None:
        """Once all is done that can be done now."""
        unsound = self.core._unsound()  # noqa: SLF001 - made for this
        assert not unsound, unsound

    def end(self) -> None:
        """Everything is closed, time passes, and nothing is left."""
        for flow in self.core.flows():
            self.core.close_flow(flow["flow"], self.now)
        for mapping in self.mappings:
            self.core.close_flow(mapping, self.now)
        for _ in range(3):
            self.now += 1000 * SECOND
            for number in self.ports:
                self.collect(number, 1 << 30)
            self.run()
        memory = self.core.memory()
        for name in ("buffer_bytes", "flows", "timers", "reassembly_bytes", "reassembly_datagrams"):
            assert memory[name] == 0, (name, memory[name])
        counters = self.core.counters()
        assert counters["flow.opened"] == counters["flow.closed"]
        assert not self.host.sockets
        self.log += [counters, self.core.captured(), self.host.calls]


ACTS: tuple[Callable[[Net], None], ...] = (
    Net.segment,
    Net.segment,
    Net.segment,
    Net.datagram,
    Net.datagram,
    Net.arp,
    Net.raw,
    Net.verdict,
    Net.verdict,
    Net.handler,
    Net.handler,
    Net.outside,
    Net.host_stream,
    Net.host_stream,
    Net.host_datagram,
    Net.host_errors,
    Net.wait,
    Net.wait,
    Net.drain,
    Net.drain,
)


def complaint(frame: bytes) -> set[str]:
    """The counters of which one must move: those of what is wrong with a frame that nobody but us is to read."""
    if len(frame) < 14:
        return {"eth.short"}
    if frame[6] & 1 or frame[6:12] == OUR_MAC:
        return {"switch.bad_source"}
    if not frame[0] & 1 and frame[:6] != OUR_MAC:
        return {"switch.flooded", "switch.forwarded", "switch.filtered"}
    if frame[12:14] == b"\x08\x06":
        return {"arp.short"} if len(frame) < 42 else set()
    wrong = headers.verdict(frame, all_good if SUMS_PASS else is_good)
    if wrong == "ok":
        return set()
    if frame[12:14] == b"\x86\xdd":
        return {wrong, "ipv6.bad_source"}
    # What is found behind the IP header is found after the source's owner has been asked.
    return {wrong, "ipv4.bad_source"} if wrong[:4] != "ipv4" or wrong == "ipv4.unknown_protocol" else {wrong}


def all_good(_: bytes) -> bool:
    """Every checksum, in the fuzz build."""
    return True


def play(data: bytes) -> Net:
    """The acts of a tape, and its end."""
    net = Net(Tape(data))
    for _ in range(STEPS):
        if net.tape.ended:
            break
        net.tape.pick(ACTS)(net)
        net.check()
    net.end()
    return net


def fuzz(data: bytes) -> tuple[str, ...]:
    """One input: a tape.  One in eight is played twice."""
    net = play(data)
    if data and data[0] % 8 == 7:
        assert play(data).log == net.log
    return tuple(name for name, value in net.core.counters().items() if value)
