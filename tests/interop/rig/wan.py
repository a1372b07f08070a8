"""A guest at the end of a bad link: of pyslirp, of another backend, or (the measure of all) of another Linux.

    with guest_of_pyslirp(topology, folder, Impairment(loss=0.01, delay_ms=10)) as road:
        mbps = carry(*road.connect("down"), seconds=2)

`wan.c` is the link: seeded, both ways alike, fast enough not to be what is measured.  `carry` compares every byte.
"""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from tests.interop.rig.backend import Pyslirp
from tests.interop.rig.compile import compile_c
from tests.interop.rig.conversation import noise
from tests.interop.rig.namespace import Namespace, accept
from tests.interop.rig.netns_guest import NetnsGuest
from tests.interop.rig.topology import FIRST_LEASE, GATEWAY, Topology

WAYS = ("up", "down")  # from the guest, to the guest
TAP_QUEUE_FRAMES = 5000  # what the kernel keeps for a link that is late, so that no end of it loses more than the other
DRAIN_SECONDS = 60.0  # for what is under way when the sender has ended
End = NetnsGuest | socket.socket
_CHUNK_BYTES = 1 << 18
_PERIOD_BYTES = 1_048_573  # a prime: no segment that comes to the wrong place has the right bytes
_STREAM = noise(_PERIOD_BYTES) * 2


class Broken(AssertionError):
    """A stream that has not come through: other bytes, fewer bytes, an error, or no end."""


@dataclass(frozen=True)
class Impairment:
    """What is wrong with each direction of a link; the fields are the options of wan.c."""

    loss: float = 0.0
    dup: float = 0.0
    mark: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    rate_mbit: float = 0.0
    queue_kb: float = 0.0
    seed: float = 1

    @classmethod
    def parse(cls, text: str) -> Impairment:
        """From words as ``loss=0.01 delay_ms=10``.  Raises ValueError for any other."""
        names = [field.name for field in fields(cls)]
        pairs = [word.partition("=") for word in text.split()]
        unknown = [name for name, _, _ in pairs if name not in names]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(names)}")
        return cls(**{name: float(value) for name, _, value in pairs})

    def __str__(self) -> str:
        """In the words of `parse`, less what is as usual."""
        return " ".join(
            f"{field.name}={getattr(self, field.name):g}"
            for field in fields(self)
            if getattr(self, field.name) != field.default or field.name in ("loss", "delay_ms")
        )


class Wan:
    """The link at work between two ends: taps of guests, or streams of QEMU's framing, which are its own from then on."""

    def __init__(self, inside: Namespace, folder: Path, ends: Sequence[End], impairment: Impairment) -> None:
        self.fates: dict[
            str, dict[str, int]
        ] = {}  #: once closed: frames by direction (``there``: from the first) and fate
        streams = [end for end in ends if isinstance(end, socket.socket)]
        words = [f"{field.name}={getattr(impairment, field.name)!r}" for field in fields(impairment)]
        argv = [str(compile_c(Path(__file__).with_name("wan.c"))), *map(_end, ends), *words]
        self._process = inside.start("wan", argv, folder, [stream.fileno() for stream in streams])
        for stream in streams:
            stream.close()
        self._process.expect("ready")

    def close(self) -> None:
        """End it, and learn the `fates` of the frames."""
        self._process.signal(signal.SIGTERM)
        status, text = self._process.wait(), self._process.text()
        self._process.stop()
        assert status == 0, text
        for line in text.splitlines()[1:]:
            direction, _, told = line.partition(": ")
            counts = (word.split() for word in told.split(", "))
            self.fates[direction] = {fate: int(number) for number, fate in counts}


def _end(end: End) -> str:
    if isinstance(end, socket.socket):
        return str(end.fileno())
    end.net.run(f"ip link set {end.interface} txqueuelen {TAP_QUEUE_FRAMES}").check()
    return f"{end.interface}@{end.net.pid}"


@dataclass(frozen=True)
class Road:
    """A guest, and who it speaks to over the link."""

    guest: Namespace
    far: Namespace
    address: str  #: where a server in `far` listens, for the guest to find it at `GATEWAY`
    wan: Wan

    def connect(self, way: str, congestion: str = "") -> tuple[socket.socket, socket.socket]:
        """A connection that the guest opens: who sends and who receives, `way` being one of `WAYS`.

        ``congestion``: of both kernels' TCP (TCP_CONGESTION); theirs where it is empty.
        """
        client, listener = self.guest.new_socket(), self.far.new_socket()
        for made in (client, listener):
            if congestion:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
        with listener:
            listener.bind((self.address, 0))
            listener.listen()
            client.connect((GATEWAY, listener.getsockname()[1]))
            server, _ = accept(listener)
        return (client, server) if way == "up" else (server, client)


@contextmanager
def _guest(topology: Topology, folder: Path) -> Iterator[NetnsGuest]:
    guest = NetnsGuest("wan guest", topology.lab, folder)
    try:
        guest.configure(FIRST_LEASE, GATEWAY)
        yield guest
    finally:
        guest.close()


@contextmanager
def guest_of_linux(topology: Topology, folder: Path, impairment: Impairment) -> Iterator[Road]:
    """Plain Linux to plain Linux over the link."""
    with _guest(topology, folder) as guest, ExitStack() as stack:
        far = NetnsGuest("wan far", topology.lab, folder, mac="52:54:00:12:34:57")
        stack.callback(far.close)
        far.configure(GATEWAY, FIRST_LEASE)
        wan = Wan(guest.net, folder, (guest, far), impairment)
        stack.callback(wan.close)
        yield Road(guest.net, far.net, GATEWAY, wan)


@contextmanager
def guest_of_stream(topology: Topology, folder: Path, impairment: Impairment, path: Path) -> Iterator[Road]:
    """A guest of a backend in `topology.host` that listens at `path`, with QEMU's framing."""
    with _guest(topology, folder) as guest:
        wan = Wan(guest.net, folder, (guest, topology.host.connect_unix(path)), impairment)
        try:
            yield Road(guest.net, topology.host, "127.0.0.1", wan)
        finally:
            wan.close()


@contextmanager
def guest_of_pyslirp(
    topology: Topology, folder: Path, impairment: Impairment, options: Sequence[str] = ()
) -> Iterator[Road]:
    """A guest of pyslirp, started with further `options`; it must still run, and end cleanly, in the end."""
    backend = Pyslirp(topology.host, folder, mtu=1500, extra=options)
    try:
        with guest_of_stream(topology, folder, impairment, backend.path) as road:
            yield road
            backend.check_alive()
    finally:
        backend.close()


def carry(source: socket.socket, sink: socket.socket, seconds: float) -> float:
    """Send for so long, receive all of it, compare every byte: the goodput, from the first byte to the end, in Mbit/s.

    Raises Broken.
    """
    sent, received, first, last = 0, 0, 0.0, time.monotonic()
    stop, patience = last + seconds, last + seconds + DRAIN_SECONDS
    sending, poll = True, select.poll()
    poll.register(source, select.POLLOUT)
    poll.register(sink, select.POLLIN)
    try:
        for sock in (source, sink):
            sock.setblocking(False)
        while True:
            if not poll.poll(max(0.0, (stop if sending else patience) - time.monotonic()) * 1000) and not sending:
                raise Broken(f"no end {DRAIN_SECONDS:g} s after the last byte was sent: {received} of {sent} bytes")
            if sending and time.monotonic() >= stop:
                sending = False
                poll.unregister(source)
                source.shutdown(socket.SHUT_WR)
            elif sending:
                sent += _send(source, sent % _PERIOD_BYTES)
            data = _receive(sink)
            if data is None:
                continue
            if not data:
                break
            first, last = first or time.monotonic(), time.monotonic()
            at = received % _PERIOD_BYTES
            if data != _STREAM[at : at + len(data)]:
                raise Broken(f"other bytes than were sent, among {len(data)} from {received} on")
            received += len(data)
    except OSError as error:
        raise Broken(f"{error} after {received} of {sent} bytes") from error
    if sending or received != sent:
        raise Broken(f"an end after {received} of {sent} bytes")
    return received * 8e-6 / max(last - first, 1e-3)


def _send(source: socket.socket, at: int) -> int:
    try:
        return source.send(_STREAM[at : at + _CHUNK_BYTES])
    except BlockingIOError:
        return 0


def _receive(sink: socket.socket) -> bytes | None:
    """What has come; nothing at the end; None where there is none yet."""
    try:
        return sink.recv(_CHUNK_BYTES)
    except BlockingIOError:
        return None
