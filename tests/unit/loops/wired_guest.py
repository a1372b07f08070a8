"""The simulator's guest at the other end of a real link: a stream socket with QEMU's framing.

`Rig` drives it beside a Stack, one turn after the other; `AioGuest` lives in the asyncio loop of a Network.  Both wait
in the kernel for what they are waiting for, and give up after PATIENCE_NS.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.message
import dns.rrset

from pyslirp.addresses import Endpoint, Mac
from pyslirp.config.stack import Config
from pyslirp.engine.edge.clock import now
from pyslirp.links.base import PortSpec
from pyslirp.sim.guest import Guest, Ping
from pyslirp.stack import Stack

PATIENCE_NS = 20_000_000_000  #: far more than anything here takes
LONGEST_WAIT_NS = 50_000_000
PREFIX = 4


class WiredGuest(Guest):
    """A guest, and the socket that its frames come and go by."""

    def __init__(self, link: socket.socket, number: int = 1) -> None:
        super().__init__(number, Mac(bytes([0x52, 0x54, 0, 0, 0, number])))
        link.setblocking(False)
        self.link = link
        self._incoming = bytearray()
        self._outgoing = bytearray()

    def turn(self) -> bool:
        """Read, work, write, as far as that goes at once; False once the link has ended."""
        alive = True
        try:
            data = self.link.recv(1 << 20)
            self._incoming += data
            alive = bool(data)
        except BlockingIOError:
            pass
        except OSError:
            alive = False
        self.deliver(self._frames(), now())
        self.run(now())
        for frame in self.collect():
            self._outgoing += len(frame).to_bytes(PREFIX) + frame
        try:
            del self._outgoing[: self.link.send(self._outgoing) if self._outgoing else 0]
        except BlockingIOError:
            pass
        except OSError:
            alive = False
        return alive

    def _frames(self) -> list[bytes]:
        frames = []
        while len(self._incoming) >= PREFIX:
            end = PREFIX + int.from_bytes(self._incoming[:PREFIX])
            if len(self._incoming) < end:
                break
            frames.append(bytes(self._incoming[PREFIX:end]))
            del self._incoming[:end]
        return frames

    def wait_ns(self) -> int:
        """How long nothing will happen by itself."""
        due = self.next_deadline()
        return LONGEST_WAIT_NS if due is None else min(max(due - now(), 0), LONGEST_WAIT_NS)


class Rig:
    """A stack with guests, in a `with` block."""

    def __init__(self, config: Config | None = None) -> None:
        self.stack = Stack(config or Config())
        self.guests: list[WiredGuest] = []
        self.lost: list[str] = []

    def __enter__(self) -> Self:
        self.stack.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.close()
        for guest in self.guests:
            guest.link.close()

    def join(self, *, lease: bool = True) -> WiredGuest:
        """One more guest, with its lease."""
        ours, theirs = socket.socketpair()
        guest = WiredGuest(theirs, len(self.guests) + 1)
        self.guests.append(guest)
        ours.setblocking(False)
        spec = PortSpec(ours.detach(), "stream", self.stack.mtu, f"guest{len(self.guests)}")
        self.stack.attach(spec, self.lost.append)
        if lease:
            guest.start_dhcp(now())
            self.until(lambda: guest.lease is not None)
        return guest

    def turn(self) -> None:
        """Let everybody do what can be done at once."""
        for guest in self.guests:
            guest.turn()
        self.stack.process()

    def answered(self, address: IPv4Address, guest: WiredGuest | None = None, payload: bytes = b"ping") -> Ping:
        """A ping of a guest (default: the first) that has been answered."""
        ping = (guest or self.guests[0]).ping(address, now(), payload)
        self.until(lambda: ping.rtt_ns is not None)
        return ping

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until `condition` holds; fails when that takes for ever."""
        end = now() + PATIENCE_NS
        while not condition():
            assert now() < end, "it does not come to that"
            self.turn()
            if condition():
                return
            wait_ns = min([LONGEST_WAIT_NS, *(guest.wait_ns() for guest in self.guests)])
            watched: list[int | socket.socket] = [
                self.stack.fileno(),
                *(guest.link for guest in self.guests if guest.link.fileno() >= 0),
            ]
            select.select(watched, [], [], wait_ns / 1e9)

    def counter(self, name: str) -> int:
        return self.stack.core.counters()[name]


class AioGuest(WiredGuest):
    """A guest in the running loop; `close` takes it out of it."""

    def __init__(self, link: socket.socket, number: int = 1) -> None:
        super().__init__(link, number)
        self._loop = asyncio.get_running_loop()
        self._turned = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(link, self.attend)

    def attend(self) -> None:
        """Do what can be done; whoever waits looks again."""
        if self.link.fileno() < 0:
            return
        if not self.turn():
            self._loop.remove_reader(self.link)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self.wait_ns() / 1e9, self.attend)
        self._turned.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop run until `condition` holds."""
        async with asyncio.timeout(PATIENCE_NS / 1e9):
            while not condition():
                self._turned.clear()
                self.attend()
                if condition():
                    return
                self._turned.clear()
                await self._turned.wait()

    def reconnect(self, link: socket.socket) -> None:
        """The plug goes into another socket."""
        self._loop.remove_reader(self.link)
        self.link.close()
        link.setblocking(False)
        self.link = link
        self._incoming.clear()
        self._outgoing.clear()
        self._loop.add_reader(link, self.attend)

    async def take_lease(self) -> None:
        """Ask for an address and get one."""
        self.start_dhcp(now())
        await self.until(lambda: self.lease is not None)

    def close(self) -> None:
        """Pull the plug."""
        if self._timer is not None:
            self._timer.cancel()
        if self.link.fileno() >= 0:
            self._loop.remove_reader(self.link)
            self.link.close()


def dial(port: int, *, udp: bool = False, host: str = "127.0.0.1") -> socket.socket:
    """A non-blocking socket connected to a port of the host."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    client = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    try:
        client.connect((host, port))
    except OSError:
        client.close()
        raise
    client.setblocking(False)
    return client


def dial_unix(path: Path) -> socket.socket:
    """A non-blocking socket connected to a unix socket."""
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    client.setblocking(False)
    return client


def answer(port: int = 0, *, udp: bool = False, host: str = "127.0.0.1") -> socket.socket:
    """A non-blocking socket bound to the host's loopback, listening where it is of TCP."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    try:
        server.bind((host, port))
    except OSError:
        server.close()
        raise
    if not udp:
        server.listen()
    server.setblocking(False)
    return server


def answer_unix(path: Path) -> socket.socket:
    """A non-blocking unix socket that listens."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    server.setblocking(False)
    return server


def taken(end: socket.socket) -> bytes | None:
    """What a socket has; None while there is nothing, b"" at the end."""
    try:
        return end.recv(1 << 20)
    except BlockingIOError:
        return None


def readable(end: socket.socket) -> bool:
    """Is there something to take?"""
    return bool(select.select([end], [], [], 0)[0])


def arrived(rig: Rig, end: socket.socket) -> bytes:
    """The first that comes to `end`, which is closed."""
    with end:
        rig.until(lambda: readable(end))
        return end.recv(65536)


def descriptors() -> dict[int, str]:
    """What this process has open."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that reads the folder
            found[int(entry.name)] = str(entry.readlink())
    return found


def was_reset(end: socket.socket) -> bool:
    """Has the other side reset the connection?"""
    try:
        return end.recv(1) is None
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


class NameServer:
    """A resolver on the host's loopback that knows one name; `serve` answers what has come."""

    def __init__(self, address: IPv4Address, host: str = "127.0.0.1") -> None:
        self.socket = answer(udp=True, host=host)
        self.asked: list[str] = []
        self._address = address

    @property
    def upstream(self) -> str:
        """As --dns-upstream has it."""
        return str(Endpoint.of(*self.socket.getsockname()[:2]))

    def serve(self) -> bool:
        """Answer what has come; never true, so that it fits in front of a condition."""
        while True:
            try:
                message, client = self.socket.recvfrom(4096)
            except BlockingIOError:
                return False
            query = dns.message.from_wire(message)
            name = query.question[0].name
            self.asked.append(str(name))
            reply = dns.message.make_response(query)
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", str(self._address)))
            self.socket.sendto(reply.to_wire(), client)


def until(guests: list[WiredGuest], condition: Callable[[], object]) -> None:
    """Let guests of a network in another process go on until `condition` holds."""
    end = now() + PATIENCE_NS
    while not condition():
        assert now() < end, "it does not come to that"
        for guest in guests:
            guest.turn()
        if condition():
            return
        wait_ns = min([LONGEST_WAIT_NS, *(guest.wait_ns() for guest in guests)])
        select.select([guest.link for guest in guests], [], [], wait_ns / 1e9)
