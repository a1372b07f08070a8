"""A guest at the other end of a link: a Core as a plain host, behind one end of a socket pair, and nothing that waits.

`Rig` is an engine as the stack makes one, with that guest on its only link.  `turn` lets both sides do what they can at
once; `until` goes on, asleep in the kernel where nothing can be done, until a condition holds.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from pyslirp.addresses import pack
from pyslirp.engine.core import core as kinds
from pyslirp.engine.core.core import Core
from pyslirp.engine.edge.clock import now
from pyslirp.engine.reactor import Engine

PATIENCE_NS = 10_000_000_000  #: of `until`; far more than anything here takes
PREFIX = 4
SOURCE_PORT = 40_000
SEED = b"edge test seed 1"
ENGINE_MAC = bytes.fromhex("525500000002")
GUEST_MAC = bytes.fromhex("525400123456")
LOOPBACK = pack(IPv4Address("127.0.0.1"))
NET, GATEWAY, GUEST, ELSEWHERE = (pack(IPv4Address(a)) for a in ("10.0.2.0", "10.0.2.2", "10.0.2.15", "198.51.100.7"))

Punt = tuple[Any, ...]


def to_loopback(rig: Rig, punt: Punt) -> None:
    """The verdict: the same port of the host's loopback."""
    _, flow, (protocol, _, _, _, port), _, _ = punt
    if protocol == 6:
        assert rig.engine.connect_stream(flow, LOOPBACK, port, flow) == 0
    else:
        assert rig.engine.connect_datagram(flow, LOOPBACK, port, flow) == 0


class Peer:
    """The host's end of a stream, and what came by it."""

    def __init__(self, made: socket.socket) -> None:
        made.setblocking(False)
        self.socket = made
        self.received = bytearray()
        self.ended = False

    def turn(self) -> bool:
        """Take what is there; always True, so that a condition can begin with it."""
        while not self.ended:
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                break
            self.ended = not data
            self.received += data
        return True

    def send_some(self, data: bytes) -> int:
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0


class Guest:
    """A host on the link."""

    def __init__(self, link: socket.socket, mtu: int = 1500, mac: bytes = GUEST_MAC, address: bytes = GUEST) -> None:
        link.setblocking(False)
        self.link = link
        self.address = address
        self.core = Core(SEED[::-1], mac, mtu=mtu, forwarding=False)
        self.core.set_network(NET, 120)
        self.core.set_router(GATEWAY)
        self.core.add_address(address)
        self.port = self.core.add_port(mtu)
        self.core.deliver(self.port, [(b"\xff" * 6 + ENGINE_MAC + b"\x88\xb5").ljust(60, b"\0")], now())
        self.core.learn(GATEWAY, ENGINE_MAC, now())  # as after ARP
        self.punts: list[Punt] = []
        self.received = bytearray()  #: of all streams that were opened
        self._read = bytearray()
        self._unsent = bytearray()

    def turn(self) -> None:
        """Read what is there, work on it, write what the link takes."""
        self.core.deliver(self.port, self.frames(), now())
        self._take_punts()
        self.core.run(now())
        self._take_punts()
        for frame in self.core.collect(self.port):
            self._unsent += len(frame).to_bytes(PREFIX) + frame
        with contextlib.suppress(BlockingIOError):
            del self._unsent[: self.link.send(self._unsent) if self._unsent else 0]

    def _take_punts(self) -> None:
        for punt in self.core.punts():
            self.punts.append(punt)
            if punt[0] == kinds.KIND_READABLE:
                while data := self.core.stream_read(punt[1], 1 << 20, now()):
                    self.received += data

    def frames(self) -> list[bytes]:
        with contextlib.suppress(BlockingIOError):
            self._read += self.link.recv(1 << 20)
        frames = []
        while len(self._read) >= PREFIX:
            end = PREFIX + int.from_bytes(self._read[:PREFIX])
            if len(self._read) < end:
                break
            frames.append(bytes(self._read[PREFIX:end]))
            del self._read[:end]
        return frames

    def connect(self, far: bytes, port: int, source_port: int = SOURCE_PORT) -> int:
        """Open a TCP stream; its handle."""
        return self.core.open(far, port, self.address, source_port, 0, now())

    def of_kind(self, kind: int) -> list[Punt]:
        return [punt for punt in self.punts if punt[0] == kind]


class Rig:
    """An engine with one guest.  `verdict` answers each KIND_FLOW; other punts are kept in `punts`."""

    def __init__(self, verdict: Callable[[Rig, Punt], None] | None = None, mtu: int = 1500) -> None:
        core = Core(SEED, ENGINE_MAC, mtu=mtu)
        core.set_network(NET, 120)
        core.add_address(GATEWAY)
        self.engine = Engine(core)
        self.verdict = verdict
        self.punts: list[Punt] = []
        self.peers: list[Peer] = []
        ours, theirs = socket.socketpair()
        self.port = self.engine.attach_link(ours.detach(), mtu)
        self.guest = Guest(theirs, mtu)

    def handle(self, punts: list[Punt]) -> None:
        while punts:
            for punt in punts:
                if punt[0] == kinds.KIND_FLOW and self.verdict is not None:
                    self.verdict(self, punt)
                else:
                    self.punts.append(punt)
            self.engine.flush()
            punts = self.engine.core.punts()

    def peer(self, made: socket.socket) -> Peer:
        """The host's end of a flow; closed with the rig."""
        self.peers.append(Peer(made))
        return self.peers[-1]

    def turn(self) -> None:
        self.guest.turn()
        self.handle(self.engine.process())

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until `condition` holds; fails when that takes for ever."""
        end = now() + PATIENCE_NS
        while not condition():
            assert now() < end, f"it does not come to that; {self.punts=} {self.guest.punts=}"
            self.turn()
            if condition():
                return
            due = self.guest.core.next_deadline()
            wait = 0.05 if due is None else min(max(due - now(), 0) / 1e9, 0.05)
            select.select([self.engine.fileno(), self.guest.link.fileno()], [], [], wait)

    def flow(self, source_port: int = SOURCE_PORT) -> dict[str, Any]:
        """The engine's flow of that port of the guest."""
        return next(flow for flow in self.engine.core.flows() if flow["guest_port"] == source_port)

    def of_kind(self, kind: int) -> list[Punt]:
        return [punt for punt in self.punts if punt[0] == kind]

    def counter(self, name: str) -> int:
        return self.engine.core.counters()[name]

    def close(self) -> None:
        self.engine.close()
        self.guest.link.close()
        for peer in self.peers:
            peer.socket.close()
