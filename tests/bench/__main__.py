"""`make microbench`: nanoseconds of the engine by itself, without a system call; and how they grow.

A packet: TCP data of an open flow, delivered in batches of a size, acknowledged; a UDP datagram of an open flow.
A connection: from the SYN through the verdict to the handshake's end, then its reset.  Both with 1 to 50,000 flows open:
what a table costs must not grow with what is in it.  Times are the least of some repetitions: what disturbs only adds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import dpkt

from pyslirp.engine.stores.checksum import _sum_bytes, _sum_copy
from tests.oracle.checksum import checksum
from tests.unit.engine.core.guest import Guest, Net

FLOWS = (1, 10, 100, 1000, 10_000, 50_000)
GUESTS = 5
BATCHES = (1, 4, 16, 64)
REPETITIONS = 7
PACKETS = 256  #: measured at a time
MSS = 1460


def best(work: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> float:
    """Nanoseconds of the fastest of some calls."""
    times = []
    for _ in range(REPETITIONS):
        prepare()
        begun = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - begun)
    return float(min(times))


class Crowd:
    """A network with many UDP conversations open; several guests have them, because none may have them all."""

    def __init__(self, flows: int) -> None:
        self.net = Net()
        self.guests: list[Guest] = [self.net.guest(15 + number) for number in range(GUESTS)]
        self.guest = self.guests[0]
        for number in range(flows):
            self.open(number)

    def open(self, number: int) -> None:
        """One conversation that has been let through, of the guests in turn, each with an address of its own."""
        self.guests[number % GUESTS].udp(b"x", source_port=1024, to=f"198.51.{number // 250}.{1 + number % 250}")
        punt = self.net.punt()
        self.net.host.allow(punt[1], punt[2][3], punt[2][4], self.net.now)
        self.net.host.take()

    def datagram_ns(self, batch: int) -> float:
        """A datagram of an open flow on its way to the host, by itself or with others."""
        frames = [self.guest.udp_frame(bytes(1400), source_port=1024, to="198.51.0.1")] * batch
        core, port, now = self.guest.core, self.guest.port, self.net.now

        def deliver() -> None:
            for _ in range(PACKETS // batch):
                core.deliver(port, frames, now)

        return best(deliver, self.net.host.take) / (PACKETS // batch * batch)

    def connection_ns(self) -> float:
        """A TCP connection: SYN, verdict, connected, and its end."""
        core, port, host, now = self.guest.core, self.guest.port, self.net.host, self.net.now
        syns = [self.guest.tcp_frame(dpkt.tcp.TH_SYN, source_port=2000 + number) for number in range(PACKETS)]

        def connect() -> None:
            for syn in syns:
                core.deliver(port, [syn], now)
                flow = core.punts()[-1][1]  # behind the end of the one before
                host.attach(flow, now)
                host.connected(flow, now)
                core.run(now)
                core.close_flow(flow, now)
            core.collect(port)

        def tidy() -> None:
            core.punts()
            host.take()

        return best(connect, tidy) / PACKETS


class Stream:
    """A TCP flow that is open, whose guest sends."""

    def __init__(self) -> None:
        self.net = Net()
        self.guest: Guest = self.net.guest()
        self.guest.tcp(dpkt.tcp.TH_SYN)
        flow = self.net.flow()
        self.net.host.attach(flow, self.net.now)
        self.net.host.connected(flow, self.net.now)
        self.net.run()
        self.ack = self.guest.packet().data.seq + 1
        self.seq = 1001
        self.guest.tcp(dpkt.tcp.TH_ACK, seq=self.seq, ack=self.ack)
        self.guest.frames()

    def segment_ns(self, batch: int) -> float:
        """A full segment in order, to the host, with its share of an ACK."""
        waiting: list[list[bytes]] = []
        core, port, now = self.guest.core, self.guest.port, self.net.now

        def prepare() -> None:
            waiting.clear()
            self.net.host.take()
            core.collect(port)
            for _ in range(PACKETS // batch):
                frames = []
                for _ in range(batch):
                    frames.append(self.guest.tcp_frame(dpkt.tcp.TH_ACK, bytes(MSS), seq=self.seq, ack=self.ack))
                    self.seq = (self.seq + MSS) % 2**32
                waiting.append(frames)

        def deliver() -> None:
            for frames in waiting:
                core.deliver(port, frames, now)

        return best(deliver, prepare) / (PACKETS // batch * batch)


def report_packets() -> None:
    """By the size of a batch."""
    print("ns per packet, by batch    " + "".join(f"{batch:>10}" for batch in BATCHES))
    print("TCP segment, 1460 bytes    " + "".join(f"{Stream().segment_ns(batch):10.0f}" for batch in BATCHES))
    crowd = Crowd(1)
    print("UDP datagram, 1400 bytes   " + "".join(f"{crowd.datagram_ns(batch):10.0f}" for batch in BATCHES))


def report_growth(most: int) -> bool:
    """By the number of flows; False where what a packet costs has more than doubled."""
    flows = [number for number in FLOWS if number <= most]
    packets, connections = [], []
    for number in flows:
        crowd = Crowd(number)
        packets.append(crowd.datagram_ns(16))
        connections.append(crowd.connection_ns())
    print()
    print("ns, by open flows          " + "".join(f"{number:>10}" for number in flows))
    print("UDP datagram, batch of 16  " + "".join(f"{value:10.0f}" for value in packets))
    print("TCP connection             " + "".join(f"{value:10.0f}" for value in connections))
    return packets[-1] < 2 * packets[0] and connections[-1] < 2 * connections[0]


def report_checksums() -> None:
    """By length; the call from Python is part of it."""
    lengths = (20, 60, 1460, 9000, 65_000)
    times = 1000
    print()
    print("ns, checksum of bytes      " + "".join(f"{length:>10}" for length in lengths))
    for name, function in (("sum", _sum_bytes), ("sum and copy", _sum_copy)):
        cells = []
        for length in lengths:
            data = bytes(length)
            assert checksum(data) == 0xFFFF

            def work(function: Callable[[bytes], object] = function, data: bytes = data) -> None:
                for _ in range(times):
                    function(data)

            cells.append(best(work) / times)
        print(f"{name:<27}" + "".join(f"{value:10.0f}" for value in cells))


def main() -> int:
    """All of it; 1 where costs grow with the number of flows."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--flows", type=int, default=FLOWS[-1], help="at most, %(default)s")
    options = parser.parse_args()
    report_packets()
    flat = report_growth(options.flows)
    report_checksums()
    if not flat:
        print("\nWhat a packet or a connection costs grows with the number of flows.", file=sys.stderr)
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
