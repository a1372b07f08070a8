"""A guest by hand, a gateway, and a host made of lists: what the TCP regressions of this folder are told with."""

from __future__ import annotations

from pyslirp.engine.core import core as engine
from pyslirp.engine.core.fake_host import FakeHost
from pyslirp.sim.segment import Options
from tests.tcp.bench import Bench, Conversation

ECONNRESET, EPIPE, EAGAIN = 104, 32, 11


class Relay:
    """A Bench whose flows have sockets of a FakeHost."""

    def __init__(self, *, mtu: int = 1500, memory: int | None = None) -> None:
        self.bench = Bench(mtu=mtu, memory=memory)
        self.host = FakeHost(self.bench.core)

    def attached(
        self, port: int = 40000, options: Options | None = None, far_port: int = 80
    ) -> tuple[Conversation, int]:
        """An established connection of the guest's, and its socket."""
        made = self.bench.offered(port, options, far_port)
        socket = self.host.attach(made.handle, self.bench.now)
        self.host.connected(made.handle, self.bench.now)
        self.bench.core.run(self.bench.now)
        (syn_ack,) = self.bench.taken()
        made.engine_isn = syn_ack.seq
        made.send(".", 1)
        self.host.take()
        return made, socket

    def sent(self, socket: int) -> bytes:
        """The bytes that this socket was given since last asked, urgent ones among them."""
        pieces = [call for call in self.host.take() if call[0] in {"send", "urgent"} and call[1] == socket]
        return b"".join(call[2] if call[0] == "send" else bytes([call[2]]) for call in pieces)

    def feed(self, flow: Conversation, socket: int, data: bytes, *, end: bool = False) -> None:
        self.host.feed(flow.handle, socket, data, self.bench.now, end)
        self.bench.core.run(self.bench.now)

    def reasons(self) -> list[str]:
        """Why flows have ended since last asked."""
        return [engine.REASONS[punt[4]] for punt in self.bench.events() if punt[0] == engine.KIND_CLOSED]

    def sound(self) -> None:
        assert self.bench.core._unsound() == []
