"""Invariant tested: whatever IPv6 packets guests send, each is counted as the twin of tests/oracle judges it, the tables
keep their limits, what goes out is well made, and nothing is left when time has passed.

An input is a sequence of packets: a byte of guest (two bits), of what becomes of new flows (two bits) and of seconds to
pass before (four bits), two bytes of length, the packet without its Ethernet header.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from pyslirp.addresses import pack
from pyslirp.engine.core.core import KIND_FLOW, Core
from pyslirp.engine.core.fake_host import FakeHost
from pyslirp.engine.stores.checksum import _sum_is_good
from tests.oracle import headers
from tests.oracle.checksum import is_good

SUMS_PASS = _sum_is_good(0)
SECOND = 1_000_000_000
OUR_MAC = bytes.fromhex("52550a000202")
MACS = [bytes.fromhex(f"5254000000{number:02x}") for number in (0x15, 0x16, 0x17)]
OURS = [pack(ip_address(text)) for text in ("fec0::2", "fec0::3", "fe80::2", "fe80::3")]
DHCPV6 = pack(ip_address("ff02::1:2"))
TCP = 6
PACKETS, PACKET_BYTES = 60, 9000
NEIGHBORS, REASSEMBLY_BYTES, REASSEMBLY_DATAGRAMS = 4096, 2 * 2**20, 64
DENY, SERVE, ALLOW = 1, 2, 3  # and 0: wait for a verdict that does not come


def fuzz(data: bytes) -> tuple[str, ...]:
    """One input: packets."""
    net = Net()
    for head, packet in records(data):
        net.packet(head, packet)
    net.end()
    return tuple(name for name, value in net.core.counters().items() if value)


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The packets of an input."""
    at = 0
    for _ in range(PACKETS):
        if at + 3 > len(data):
            return
        length = min(int.from_bytes(data[at + 1 : at + 3]), PACKET_BYTES)
        yield data[at], data[at + 3 : at + 3 + length]
        at += 3 + length


class Net:
    """A core of both families, three guests on links of their own, and a host of lists."""

    def __init__(self) -> None:
        self.core = Core(bytes(16), OUR_MAC)
        self.core.set_families(True, True)
        self.core.set_network(pack(ip_address("fec0::")), 64)
        for address in OURS:
            self.core.add_address(address)
        self.core.claim_udp(DHCPV6, 547)
        self.host = FakeHost(self.core)
        self.now = SECOND
        self.ports = [self.core.add_port(mtu) for mtu in (1500, 1280, 9000)]

    def packet(self, head: int, packet: bytes) -> None:
        """One packet of a guest, and what follows from it."""
        guest = head % 4 % 3
        self.now += (head >> 4) * SECOND
        self.core.run(self.now)
        group = len(packet) >= 40 and packet[24] == 0xFF
        destination = b"\x33\x33" + packet[36:40] if group else OUR_MAC
        frame = destination + MACS[guest] + b"\x86\xdd" + packet
        before = self.core.counters()
        self.core.deliver(self.ports[guest], [frame], self.now)
        counted = {name for name, value in self.core.counters().items() if value != before[name]}
        wrong = headers.verdict(frame, all_good if SUMS_PASS else is_good)
        assert wrong == "ok" or counted & {wrong, "ipv6.bad_source"}, (wrong, counted)
        self.answer(head >> 2 & 3)
        self.check()

    def answer(self, what: int) -> None:
        """What becomes of new flows."""
        for punt in self.core.punts():
            if punt[0] != KIND_FLOW or what == 0:
                continue
            flow, (protocol, _, _, far, port) = punt[1], punt[2]
            if what == DENY:
                self.core.deny(flow, 1 + self.now % 6, self.now)
            elif what == SERVE or protocol == TCP:
                self.core.serve(flow, 0, self.now)
            else:
                self.host.allow(flow, far, port, self.now)
        self.core.run(self.now)

    def check(self) -> None:
        """What goes out is well made; the limits hold."""
        for port in self.ports:
            for frame in self.core.collect(port, 1 << 30):
                if frame[6:12] == OUR_MAC:  # the others are guests', passed on as they are
                    assert headers.verdict(frame, all_good if SUMS_PASS else is_good) == "ok", frame.hex()
        memory = self.core.memory()
        assert memory["reassembly_bytes"] <= REASSEMBLY_BYTES
        assert memory["reassembly_datagrams"] <= REASSEMBLY_DATAGRAMS
        assert len(self.core.neighbors()) <= NEIGHBORS
        assert not self.core._unsound()  # noqa: SLF001 - made for this

    def end(self) -> None:
        """Everything is closed, time passes, and nothing is left."""
        for flow in self.core.flows():
            self.core.close_flow(flow["flow"], self.now)
        for _ in range(3):
            self.now += 1000 * SECOND
            self.core.run(self.now)
            self.check()
        memory = self.core.memory()
        for name in ("buffer_bytes", "flows", "timers", "reassembly_bytes", "reassembly_datagrams"):
            assert memory[name] == 0, (name, memory[name])
        assert not self.host.sockets


def all_good(_: bytes) -> bool:
    """Every checksum, in the fuzz build."""
    return True
