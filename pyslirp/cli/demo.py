"""``pyslirp demo``: what a guest gets, shown without QEMU.

A built-in guest (the engine's own TCP in the client's role, pyslirp/sim/guest.py) is joined to a real network by a link in
memory.  It takes a lease, pings, resolves a name, downloads and uploads through pyslirp to a server on the host's loopback.
Name server and file server are the demo's own, so it needs no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address

from pyslirp._version import __version__
from pyslirp.cli.arguments import HOST_ERROR, Parser, complain
from pyslirp.config.stack import Config
from pyslirp.errors import SlirpError
from pyslirp.sim.guest import Guest
from pyslirp.sim.stream import Stream
from pyslirp.stack import Stack

NAME = "files.pyslirp.test"
MIB = 1 << 20
STEP_SECONDS = 10.0  #: longest that any one step may take
IDLE_SECONDS = 0.05  #: longest sleep between two looks at the guest
CHUNK_BYTES = 256 * 1024


class DemoError(SlirpError):
    """A step has failed."""


class World:
    """The network, the guest, and the link in memory between them."""

    def __init__(self, stack: Stack, guest: Guest) -> None:
        self.stack = stack
        self.guest = guest
        self._port = stack.core.add_port(stack.mtu)
        self._poll = select.poll()
        self._poll.register(stack.fileno(), select.POLLIN)

    @property
    def now(self) -> int:
        """The engine's clock, nanoseconds."""
        return self.stack.engine.now()

    def step(self) -> bool:
        """Move what there is to move; False when that was nothing."""
        self.stack.process()
        now = self.now
        to_guest = self.stack.core.collect(self._port)
        if to_guest:
            self.guest.deliver(to_guest, now)
        self.guest.run(now)
        from_guest = self.guest.collect()
        if from_guest:
            self.stack.core.deliver(self._port, from_guest, self.now)
            self.stack.kick()
        return bool(to_guest or from_guest)

    def until(self, done: Callable[[], bool], what: str) -> float:
        """Go on until `done`; seconds that it took.  Raises DemoError after STEP_SECONDS."""
        begun = time.monotonic()
        while not done():
            if time.monotonic() - begun > STEP_SECONDS:
                raise DemoError(f"{what}: nothing after {STEP_SECONDS:.0f} s")
            if not self.step():
                due = self.guest.next_deadline()
                wait = IDLE_SECONDS if due is None else min(IDLE_SECONDS, max(0.0, (due - self.now) / 1e9))
                self._poll.poll(wait * 1000)
        return time.monotonic() - begun


# -- the host's side ------------------------------------------------------------------------------------------------------


def _answer_names(server: socket.socket) -> None:
    """A name server that knows one name (RFC 1035 section 4.1): every question is answered with the gateway's address."""
    while True:
        try:
            query, client = server.recvfrom(4096)
        except OSError:
            return
        if not query:  # shut down (see _stop)
            return
        question = query[12:]
        answer = b"\xc0\x0c\x00\x01\x00\x01" + (60).to_bytes(4) + b"\x00\x04" + IPv4Address("10.0.2.2").packed
        server.sendto(query[:2] + b"\x81\x80" + b"\x00\x01\x00\x01\x00\x00\x00\x00" + question + answer, client)


def _serve_files(listener: socket.socket, data: bytes, digests: list[str]) -> None:
    """GET sends `data`; PUT takes what comes, and its digest is kept."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client, contextlib.suppress(ConnectionError):  # Ctrl-C ends the network, and this with it
            if client.recv(4) == b"GET\n":
                client.sendall(data)
            else:
                seen = hashlib.sha256()
                while chunk := client.recv(CHUNK_BYTES):
                    seen.update(chunk)
                digests.append(seen.hexdigest())


def _listener(kind: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, kind)
    bound.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        bound.listen()
    return bound


def _stop(servers: Sequence[socket.socket], threads: Sequence[threading.Thread]) -> None:
    """End the servers.  Closing alone would leave each thread to wait on a number that the next socket may get."""
    for server in servers:
        with contextlib.suppress(OSError):  # a datagram socket says that it is not connected, and wakes its reader
            server.shutdown(socket.SHUT_RDWR)
    for server, thread in zip(servers, threads, strict=True):
        thread.join()
        server.close()


# -- the steps ------------------------------------------------------------------------------------------------------------


def _say(what: str, detail: str, seconds: float | None = None) -> None:
    taken = "" if seconds is None else f"{seconds * 1000:9.1f} ms"
    print(f"  {what:<10} {detail:<66}{taken}", flush=True)


def _lease(world: World) -> None:
    world.guest.start_dhcp(world.now)
    seconds = world.until(lambda: world.guest.lease is not None, "DHCP")
    lease = world.guest.lease
    assert lease is not None
    _say("DHCP", f"lease of {lease.address}, router {lease.router}, DNS {', '.join(map(str, lease.dns))}", seconds)


def _ping(world: World) -> None:
    gateway = world.stack.host
    ping = world.guest.ping(gateway, world.now)
    seconds = world.until(lambda: ping.answered_at is not None, "ping")
    _say("ping", f"{gateway} answers", seconds)


def _resolve(world: World) -> IPv4Address:
    lookup = world.guest.resolve(NAME, world.now)
    seconds = world.until(lambda: lookup.done, "DNS")
    if lookup.error or not lookup.addresses:
        raise DemoError(f"DNS: {NAME} was not resolved: {lookup.error or 'no address'}")
    _say("DNS", f"{NAME} is {lookup.addresses[0]}, says {lookup.server}", seconds)
    return lookup.addresses[0]


def _download(world: World, address: IPv4Address, port: int, data: bytes) -> None:
    seen = hashlib.sha256()
    got = 0

    def take(stream: Stream) -> None:
        nonlocal got
        while chunk := stream.read(CHUNK_BYTES):
            seen.update(chunk)
            got += len(chunk)

    stream = world.guest.connect(address, port, world.now, take)
    stream.write(b"GET\n")
    seconds = world.until(lambda: stream.ended or stream.closed is not None, "download")
    stream.finish()
    if seen.digest() != hashlib.sha256(data).digest():
        raise DemoError(f"download: {got} bytes came, and they are not the {len(data)} that were sent")
    _say("download", f"{got / MIB:.0f} MiB from {address}:{port}, SHA-256 agrees, {_rate(got, seconds)}", seconds)


def _upload(world: World, address: IPv4Address, port: int, data: bytes, digests: list[str]) -> None:
    sent = 0
    rest = memoryview(b"PUT\n" + data)

    def give(stream: Stream) -> None:
        nonlocal sent
        while sent < len(rest):
            taken = stream.write(bytes(rest[sent : sent + CHUNK_BYTES]))
            if not taken:
                return
            sent += taken
        stream.finish()

    stream = world.guest.connect(address, port, world.now, give)
    give(stream)
    seconds = world.until(lambda: bool(digests) or stream.closed not in {None, "closed"}, "upload")
    if digests != [hashlib.sha256(data).hexdigest()]:
        raise DemoError(f"upload: what came is not what was sent ({stream.closed or 'stream open'})")
    _say(
        "upload", f"{len(data) / MIB:.0f} MiB to {address}:{port}, SHA-256 agrees, {_rate(len(data), seconds)}", seconds
    )


def _rate(count: int, seconds: float) -> str:
    return f"{count * 8 / seconds / 1e6:.0f} Mbit/s"


def demo(arguments: Sequence[str]) -> int:
    """Show it; the exit status."""
    parser = Parser("pyslirp demo", "Show what a guest gets, with a built-in guest and no QEMU.")
    parser.add_argument("--mib", type=int, default=64, metavar="N", help="how much to transfer each way (default 64)")
    namespace = parser.parse_args(arguments)
    if not 1 <= namespace.mib <= 4096:
        parser.error(f"--mib {namespace.mib}: 1 to 4096 is possible")
    data = os.urandom(MIB) * namespace.mib
    names, files = _listener(socket.SOCK_DGRAM), _listener(socket.SOCK_STREAM)
    digests: list[str] = []
    threads = [
        threading.Thread(target=_answer_names, args=(names,), daemon=True),
        threading.Thread(target=_serve_files, args=(files, data, digests), daemon=True),
    ]
    for thread in threads:
        thread.start()
    resolver, port = "{}:{}".format(*names.getsockname()), files.getsockname()[1]
    stack = Stack(Config.build(dns_upstream=[resolver]))
    begun = time.monotonic()
    print(f"pyslirp {__version__}: a guest on {stack.config.network.net}, MTU {stack.mtu}, over a link in memory")
    try:
        world = World(stack, Guest(int.from_bytes(os.urandom(4)), mtu=stack.mtu))
        _lease(world)
        _ping(world)
        address = _resolve(world)
        _download(world, address, port, data)
        _upload(world, address, port, data, digests)
    except DemoError as error:
        complain(f"demo: {error}")
        return HOST_ERROR
    finally:
        stack.close()
        _stop([names, files], threads)
    print(f"all well, in {time.monotonic() - begun:.2f} s; a real guest: pyslirp --listen :1234")
    sys.stdout.flush()
    return 0
