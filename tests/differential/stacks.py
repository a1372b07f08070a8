"""The two stacks, behind the same few calls: the engine in virtual time, and Linux behind a tun device.

Both are the server of a connection that the guest opens, or open one to the guest.  What comes back from either is read by
the same witness (sim/segment.py) and made relative, so that it can be compared.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Protocol

import dpkt

from pyslirp.addresses import Endpoint, pack
from pyslirp.engine.core import core as engine
from pyslirp.sim.apps import pattern
from pyslirp.sim.clock import MILLISECOND_NS
from pyslirp.sim.link import ETH_HEADER_BYTES
from pyslirp.sim.segment import Options, Segment, Way, build_frame, read_frame
from tests.differential.steps import MSS, Case, Finish, Icmp, Read, Send, Step, Write
from tests.platform.namespace import Wire
from tests.tcp.bench import FAR, GATEWAY_MAC, GUEST, GUEST_MAC, Bench

GUEST_STREAM, HOST_STREAM = 1, 2
STAMP = 1_000_000  #: the guest's timestamp when the connection begins
LINUX, RAW_GUEST = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.15")
LINUX_STATES = {1: "ESTABLISHED", 4: "FIN_WAIT_1", 5: "FIN_WAIT_2", 6: "TIME_WAIT", 7: "CLOSED", 8: "CLOSE_WAIT"}
LINUX_STATES |= {2: "SYN_SENT", 3: "SYN_RCVD", 9: "LAST_ACK", 11: "CLOSING"}
OPENING = {"SYN_SENT", "SYN_RCVD"}
TCP_HEADER_ETHERTYPE = b"\x08\x00"


@dataclass(frozen=True, slots=True)
class Answer:
    """A segment of the stack, relative."""

    flags: str  #: without P
    seq: int
    ack: int
    length: int
    sack: tuple[tuple[int, int], ...]
    urgent: int  #: where the urgent data ends; 0: there are none


class Stack(Protocol):
    """A stack that plays a case."""

    limited: bool  #: an answer to the last step was withheld because there had been one just before

    def step(self, step: Step) -> list[Answer]:
        """Do it; what the stack answers at once."""

    def state(self) -> str:
        """Of the connection, in the words of RFC 9293."""

    def received(self) -> bytes:
        """All that the application has read."""

    def close(self) -> None:
        """End it."""


class _Peer:
    """The guest's half, as it is the same for both."""

    def __init__(self, case: Case, way: Way) -> None:
        self.case = case
        self.way = way
        self.isn = 0
        self.echo = 0
        self.now = 0

    def _opening(self) -> Options:
        options = Options(mss=MSS, scale=self.case.scale, sack_permitted=self.case.sack)
        options.timestamps = (STAMP + self.now, self.echo) if self.case.stamps else None
        return options

    def syn(self) -> bytes:
        flags = "SEW" if self.case.ecn else "S"
        return build_frame(Segment(flags, self.case.guest_isn, 0, 65535, options=self._opening()), self.way)

    def error(self, step: Icmp) -> bytes:
        """It quotes what RFC 792 wants: the IP header, and eight bytes of the segment's."""
        quoted = build_frame(Segment(".", self.isn + step.seq, 0, 0, bytes(MSS)), self.way.back)[ETH_HEADER_BYTES:][:28]
        body = struct.pack("!BBHHH", step.kind, step.code, 0, 0, step.mtu) + quoted
        body = body[:2] + struct.pack("!H", dpkt.in_cksum(body)) + body[4:]
        ip: Any = dpkt.ip.IP(
            src=self.way.source.address.packed, dst=self.way.destination.address.packed, p=1, ttl=64, data=body
        )
        ip.len = len(ip)
        ends = bytes(self.way.destination_mac) + bytes(self.way.source_mac)
        return ends + TCP_HEADER_ETHERTYPE + bytes(ip)

    def frame(self, step: Send) -> bytes:
        self.now += 1
        stamped = self.case.stamps and step.stamp is not None
        options = Options(timestamps=(STAMP + self.now - (step.stamp or 0), self.echo) if stamped else None)
        if self.case.active and "S" in step.flags and step.seq == 0:
            options = self._opening()
        payload = pattern(GUEST_STREAM, step.length, max(step.seq, 1) - 1) if step.length else b""
        ack = step.ack + self.isn if "." in step.flags else 0
        seq = step.seq + self.case.guest_isn
        return build_frame(
            Segment(step.flags, seq % (1 << 32), ack % (1 << 32), step.window, payload, options=options), self.way
        )

    def answers(self, frames: list[bytes]) -> list[Answer]:
        found = [read_frame(frame) for frame in frames]
        return [self._answer(both[0]) for both in found if both is not None and both[1] == self.way.back]

    def _answer(self, segment: Segment) -> Answer:
        if "S" in segment.flags:
            self.isn = segment.seq
        if segment.options.timestamps is not None:
            self.echo = segment.options.timestamps[0]
        isn = self.case.guest_isn
        urgent = (segment.seq - self.isn) % (1 << 32) + segment.urgent if "U" in segment.flags else 0
        blocks = tuple(((start - isn) % (1 << 32), (end - isn) % (1 << 32)) for start, end in segment.options.sack)
        ack = (segment.ack - isn) % (1 << 32) if "." in segment.flags else 0
        flags = segment.flags.replace("P", "")
        seq = (segment.seq - self.isn) % (1 << 32) if segment.seq else 0  # a reset for nobody has none
        return Answer(flags, seq, ack, len(segment.payload), blocks, urgent)


class Ours:
    """The engine.  A step takes a millisecond."""

    def __init__(self, case: Case) -> None:
        self._bench = Bench()
        guest, far = Endpoint(GUEST, 40000), Endpoint(FAR, 80)
        self._peer = _Peer(case, Way(GUEST_MAC, guest, GATEWAY_MAC, far))
        self._written = 0
        self._read = bytearray()
        self.limited = False
        if case.active:
            self._flow = self._bench.core.open(pack(GUEST), guest.port, pack(FAR), far.port, 0, self._bench.now)
            self._settle()
            return
        self._bench.raw(self._peer.syn())
        self._flow = next(punt[1] for punt in self._bench.events())
        self._bench.core.serve(self._flow, 0, self._bench.now)
        self._settle()
        self._bench.raw(self._peer.frame(Send(".", 1)))

    def _settle(self) -> list[Answer]:
        """Whatever happens now."""
        frames: list[bytes] = []
        for _ in range(10):
            self._bench.core.run(self._bench.now)
            frames += self._bench.core.collect(self._bench.port)
        for punt in self._bench.events():
            if punt[0] == engine.KIND_FLOW and punt[1] != self._flow:
                self._bench.core.deny(punt[1], engine.REFUSE_RESET, self._bench.now)  # nobody listens any more
                frames += self._bench.core.collect(self._bench.port)
        return self._peer.answers(frames)

    def step(self, step: Step) -> list[Answer]:
        self._bench.now += MILLISECOND_NS
        core = self._bench.core
        limited = core.counters()["tcp.challenge_limited"]
        try:
            if isinstance(step, Send):
                self._bench.raw(self._peer.frame(step))
            elif isinstance(step, Icmp):
                self._bench.raw(self._peer.error(step))
            elif isinstance(step, Write) and self.state() not in {
                "SYN_SENT",
                "SYN_RCVD",
            }:  # as Linux's socket refuses it
                core.stream_write(self._flow, pattern(HOST_STREAM, step.length, self._written), step.urgent)
                self._written += step.length
            elif isinstance(step, Read):
                self._read += core.stream_read(self._flow, 1 << 20, self._bench.now)
            elif isinstance(step, Finish):
                core.stream_finish(self._flow)
        except KeyError:
            pass  # it is over, as Linux's socket says by an error
        answers = self._settle()
        self.limited = core.counters()["tcp.challenge_limited"] > limited
        return answers

    def state(self) -> str:
        try:
            return str(self._bench.core.flow(self._flow)["state"])
        except KeyError:
            return "CLOSED"

    def received(self) -> bytes:
        return bytes(self._read)

    def close(self) -> None:
        assert self._bench.core._unsound() == []


class Linux:
    """The kernel of this namespace, whose only interface is `wire`."""

    port = 5000
    limited = False  # tcp_invalid_ratelimit is 0

    def __init__(self, case: Case, wire: Wire) -> None:
        Linux.port = 5000 + (Linux.port - 4999) % 20000
        self._wire = wire
        guest, far = Endpoint(RAW_GUEST, 40000), Endpoint(LINUX, Linux.port)
        self._peer = _Peer(case, Way(GUEST_MAC, guest, GATEWAY_MAC, far))
        self._written = 0
        self._read = bytearray()
        self._sock = self._connecting(guest) if case.active else self._accepted()
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)  # room for all that a case writes
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)  # as a served stream of ours has them
        self._take()

    def _accepted(self) -> socket.socket:
        with socket.create_server((str(LINUX), Linux.port)) as listener:
            self._put(self._peer.syn())
            self._take()
            self._put(self._peer.frame(Send(".", 1)))
            made, _ = listener.accept()
        made.setblocking(False)
        return made

    def _connecting(self, guest: Endpoint) -> socket.socket:
        made = socket.socket()
        made.setblocking(False)
        made.bind((str(LINUX), Linux.port))
        made.connect_ex((str(guest.address), guest.port))
        return made

    def _put(self, frame: bytes) -> None:
        self._wire.put(frame[ETH_HEADER_BYTES:])

    def _take(self) -> list[Answer]:
        frames = []
        while (packet := self._wire.take()) is not None:
            frames.append(bytes(GUEST_MAC) + bytes(GATEWAY_MAC) + TCP_HEADER_ETHERTYPE + packet)
        return self._peer.answers(frames)

    def step(self, step: Step) -> list[Answer]:
        try:
            if isinstance(step, Send):
                self._put(self._peer.frame(step))
            elif isinstance(step, Icmp):
                self._put(self._peer.error(step))
            elif self.state() in OPENING:
                pass
            elif isinstance(step, Write):
                how = socket.MSG_OOB if step.urgent else 0
                self._sock.send(pattern(HOST_STREAM, step.length, self._written), how)
                self._written += step.length
            elif isinstance(step, Read):
                while data := self._sock.recv(1 << 20):  # it stops at an urgent byte
                    self._read += data
            elif isinstance(step, Finish):
                self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # nothing there, or over
        return self._take()

    def state(self) -> str:
        return LINUX_STATES[self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[0]]

    def received(self) -> bytes:
        return bytes(self._read)

    def close(self) -> None:
        """With a reset, so that nothing of it comes into the next case; and what ICMP has told of the path is forgotten."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._sock.close()
        self._take()
        Path("/proc/sys/net/ipv4/route/flush").write_text("1")
