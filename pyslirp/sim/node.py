"""What the simulator's guest and gateway have in common: one Core, its streams, and a method for each kind of punt."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import cast

from pyslirp.addresses import Address, Endpoint, Mac, pack, unpack
from pyslirp.engine.core import core as engine
from pyslirp.engine.core.core import Core
from pyslirp.services.base import Datagram, Solicitation
from pyslirp.sim.stream import App, Stream

Accept = Callable[[], App | None]  #: makes the application of one accepted stream: a class, or a function

ICMP, TCP, UDP = 1, 6, 17
ACCEPTED_KEPT = 65536
FRAME_PAUSE = 1024  #: frames given to the core in one go: its queues are bounded, and a link of a simulator is not


def v4(raw: bytes) -> IPv4Address:
    """The IPv4 address in an engine address."""
    return cast("IPv4Address", unpack(raw))


class CoreNode:
    """A core that is run, asked for punts, and run again.  It has no clock: every entry takes `now`."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.now = 0
        self.streams: dict[int, Stream] = {}
        self.accepted: deque[Stream] = deque(
            maxlen=ACCEPTED_KEPT
        )  #: the streams that `listen` has accepted, oldest first

    # -- what a World wants -------------------------------------------------------------------------------------------

    def run(self, now: int) -> None:
        """Do what is due, and answer the core's questions."""
        self.now = now
        while True:
            more = self.core.run(now)
            punts = self.core.punts()
            for punt in punts:
                self._punt(punt)
            if not more and not punts:
                return

    def next_deadline(self) -> int | None:
        """When `run` is next wanted, or None."""
        return self.core.next_deadline()

    def accept_frames(self, port: int, frames: list[bytes], now: int) -> None:
        """Frames that have come in by `port` of the core's switch."""
        for at in range(0, len(frames), FRAME_PAUSE):
            self.core.deliver(port, frames[at : at + FRAME_PAUSE], now)
            self.run(now)

    # -- punts --------------------------------------------------------------------------------------------------------

    def _punt(self, punt: engine._Punt) -> None:
        if punt[0] == engine.KIND_FLOW:
            self._new_flow(punt[1], punt[2])
        elif punt[0] == engine.KIND_DATAGRAM:
            protocol, source, source_port, destination, destination_port = punt[3]
            self._datagram(
                protocol,
                Datagram(
                    punt[1],
                    Mac(punt[2]),
                    Endpoint(unpack(source), source_port),
                    Endpoint(unpack(destination), destination_port),
                    punt[4],
                ),
            )
        elif punt[0] == engine.KIND_MESSAGE:
            self._message(punt[1], punt[3])
        elif punt[0] == engine.KIND_SOLICITATION:
            self._solicitation(Solicitation(punt[1], Mac(punt[2]), IPv6Address(punt[3])))
        else:
            self._stream_event(punt)

    def _stream_event(self, punt: engine._Punt) -> None:
        stream = self.streams.get(punt[1])
        if stream is None:
            return
        if punt[0] == engine.KIND_CONNECTED:
            stream.connected = True
        elif punt[0] == engine.KIND_FINISHED:
            stream.ended = True
        elif punt[0] == engine.KIND_CLOSED:
            stream.closed = engine.REASONS[punt[4]]
            del self.streams[punt[1]]
        if stream.app is not None:
            stream.app(stream)

    def _new_flow(self, flow: int, key: engine._Key) -> None:
        """A first packet waits for a verdict."""
        raise NotImplementedError

    def _datagram(self, protocol: int, datagram: Datagram) -> None:
        """A claimed UDP datagram, or the answer to a ping (protocol 1; ports are identifier and sequence number)."""
        raise NotImplementedError

    def _message(self, flow: int, payload: bytes) -> None:
        """A datagram of a served flow."""

    def _solicitation(self, solicitation: Solicitation) -> None:
        """A guest looks for routers."""

    # -- streams ------------------------------------------------------------------------------------------------------

    def accept(self, flow: int, key: engine._Key, make: Accept | None) -> Stream:
        """Let an application be the target of a new TCP flow."""
        _, guest, guest_port, far, far_port = key
        stream = Stream(
            self, flow, Endpoint(unpack(far), far_port), Endpoint(unpack(guest), guest_port), make and make()
        )
        self.streams[flow] = stream
        self.accepted.append(stream)
        self.core.serve(flow, 0, self.now)
        return stream

    def open_stream(self, local: Endpoint, remote: Endpoint, app: App | None, now: int) -> Stream:
        """Connect from `local`, any address, to `remote`.  Raises OSError where the pair of ends is in use."""
        self.now = now
        flow = self.core.open(pack(remote.address), remote.port, pack(local.address), local.port, 0, now)
        if flow == 0:
            raise OSError(f"{local} to {remote}: in use, or the table of flows is full")
        stream = Stream(self, flow, local, remote, app)
        self.streams[flow] = stream
        return stream


def network_of(core: Core, net: Address, prefix_length: int) -> None:
    """Tell a core which network its link is, one of each family; its own prefixes count in 128."""
    core.set_network(pack(net), prefix_length + (96 if net.version == 4 else 0))
