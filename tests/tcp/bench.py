"""One core and a guest of frames, for tests that the scripts' notation does not fit: several flows, fragments, floods.

Builders are named by the state that they reach: `offered`, `established`, `close_wait`, `fin_wait_2`, `time_wait`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

import dpkt

from pyslirp.addresses import Endpoint, Mac, pack
from pyslirp.engine.core import core as engine
from pyslirp.engine.core.core import Core
from pyslirp.sim.clock import SECOND_NS
from pyslirp.sim.segment import Options, Segment, Way, build_frame, read_frame

GUEST_MAC, GATEWAY_MAC = Mac("52:54:00:12:34:56"), Mac("52:55:0a:00:02:02")
GUEST, GATEWAY, FAR = (IPv4Address(text) for text in ("10.0.2.15", "10.0.2.2", "192.0.2.1"))
GUEST_ISN = 0xFFFFFF00  # sequence numbers wrap soon, always


@dataclass
class Conversation:
    """One connection as the guest sees it."""

    bench: Bench
    port: int
    handle: int = 0
    engine_isn: int = 0
    options: Options = field(default_factory=lambda: Options(mss=1460))
    far_port: int = 80

    @property
    def way(self) -> Way:
        return Way(GUEST_MAC, Endpoint(GUEST, self.port), GATEWAY_MAC, Endpoint(FAR, self.far_port))

    def frame(
        self, flags: str, seq: int, payload: bytes = b"", *, ack: int = 1, window: int = 65535, urgent: int = 0
    ) -> bytes:
        """A segment; numbers count from the initial ones.  Timestamps that were agreed on are later than the SYN's by one."""
        acked = ack + self.engine_isn if "." in flags else 0
        offered = self.options.timestamps
        options = self.options if "S" in flags else Options(timestamps=offered and (offered[0] + 1, offered[1]))
        segment = Segment(flags, seq + GUEST_ISN, acked, window, payload, urgent, options)
        return build_frame(segment, self.way)

    def send(
        self, flags: str, seq: int, payload: bytes = b"", *, ack: int = 1, window: int = 65535, urgent: int = 0
    ) -> list[Segment]:
        """Send it, and take what the engine answers to this connection."""
        return self.bench.deliver(self.frame(flags, seq, payload, ack=ack, window=window, urgent=urgent))

    @property
    def state(self) -> str:
        return str(self.bench.core.flow(self.handle)["state"])


class Bench:
    def __init__(self, *, mtu: int = 1500, memory: int | None = None) -> None:
        self.now = SECOND_NS
        self.core = Core(b"a bench for TCP.", bytes(GATEWAY_MAC), mtu=mtu)
        self.core.set_network(pack(IPv4Address("10.0.2.0")), 120)
        self.core.add_address(pack(GATEWAY))
        self.port = self.core.add_port(mtu)
        if memory is not None:
            self.core.set_memory(memory)
        hello: Any = dpkt.arp.ARP(op=2, sha=bytes(GUEST_MAC), spa=GUEST.packed, tpa=GATEWAY.packed)
        self.raw(bytes(dpkt.ethernet.Ethernet(dst=bytes(GATEWAY_MAC), src=bytes(GUEST_MAC), type=0x0806, data=hello)))

    # -- frames and time ----------------------------------------------------------------------------------------------

    def raw(self, *frames: bytes) -> None:
        self.core.deliver(self.port, list(frames), self.now)

    def deliver(self, *frames: bytes) -> list[Segment]:
        """One batch; the segments that the engine answers."""
        self.raw(*frames)
        self.core.run(self.now)
        return self.taken()

    def taken(self) -> list[Segment]:
        found = [read_frame(frame) for frame in self.core.collect(self.port)]
        self.core.run(self.now)
        return [both[0] for both in found if both is not None]

    def wait(self, duration_ns: int) -> list[Segment]:
        """Let time pass; what the engine sends meanwhile."""
        end, sent = self.now + duration_ns, self.taken()
        while (due := self.core.next_deadline()) is not None and due <= end:
            self.now = max(due, self.now)
            self.core.run(self.now)
            sent += self.taken()
        self.now = end
        self.core.run(end)
        return sent + self.taken()

    def events(self) -> list[engine._Punt]:
        return self.core.punts()

    # -- states -------------------------------------------------------------------------------------------------------

    def offered(self, port: int = 40000, options: Options | None = None, far_port: int = 80) -> Conversation:
        """The guest's SYN waits for a verdict."""
        made = Conversation(self, port, options=options or Options(mss=1460), far_port=far_port)
        made.send("S", 0)
        (punt,) = [punt for punt in self.events() if punt[0] == engine.KIND_FLOW]
        made.handle = punt[1]
        return made

    def established(self, port: int = 40000, options: Options | None = None, *, rtt_ns: int = 0) -> Conversation:
        made = self.offered(port, options)
        self.core.serve(made.handle, 0, self.now)
        self.core.run(self.now)
        (syn_ack,) = self.wait(rtt_ns)
        made.engine_isn = syn_ack.seq
        made.send(".", 1)
        return made

    def close_wait(self, port: int = 40000) -> Conversation:
        made = self.established(port)
        made.send("F.", 1)
        return made

    def fin_wait_2(self, port: int = 40000) -> Conversation:
        made = self.established(port)
        self.core.stream_finish(made.handle)
        self.core.run(self.now)
        self.taken()
        made.send(".", 1, ack=2)
        return made

    def time_wait(self, port: int = 40000) -> Conversation:
        made = self.fin_wait_2(port)
        made.send("F.", 1, ack=2)
        return made
