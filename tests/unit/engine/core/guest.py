"""Guests of a core for tests: they write frames with dpkt, and read and check what comes back with dpkt alone.

net = Net()                          a gateway 10.0.2.2 with a DNS alias 10.0.2.3, on 10.0.2.0/24
guest = net.guest(15)                10.0.2.15, on a port of its own, known by ARP
guest.udp(b"hello", to="8.8.8.8")    frames in ...
guest.packets()                      ... and out, as dpkt.ip.IP with every checksum verified
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import dpkt

from pyslirp.addresses import pack
from pyslirp.engine.core.core import Core
from pyslirp.engine.core.fake_host import FakeHost
from tests.oracle.checksum import checksum, is_good, pseudo_header

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
START = 100 * SECOND
MAC = bytes.fromhex("52550a000202")
EVERYBODY = b"\xff" * 6
GATEWAY, ALIAS, FAR = "10.0.2.2", "10.0.2.3", "93.184.216.34"
SEED = bytes(range(16))
MTU = 1500
UDP = 17


def ip(text: str) -> bytes:
    """The engine's 16 bytes."""
    return pack(ip_address(text))


def four(text: str) -> bytes:
    """The wire's four bytes."""
    return ip_address(text).packed


def mac(number: int) -> bytes:
    return bytes.fromhex("525400000000")[:4] + number.to_bytes(2, "big")


def tcp_segment(
    flags: int,
    payload: bytes = b"",
    *,
    port: int = 80,
    source_port: int = 40000,
    seq: int = 1000,
    ack: int = 0,
    window: int = 65535,
    urgent: int = 0,
    options: bytes = b"",
    **fields: Any,
) -> tuple[Any, dict[str, Any]]:
    """A segment without its checksum, and the `fields` that are not TCP's."""
    segment = dpkt.tcp.TCP(
        sport=source_port,
        dport=port,
        seq=seq,
        ack=ack,
        flags=flags,
        win=window,
        urp=urgent,
        off=5 + len(options) // 4,
        data=payload,
    )
    segment.opts = options
    return segment, fields


class Net:
    """A core, its clock, and what it has counted."""

    def __init__(
        self,
        mtu: int = MTU,
        *,
        forwarding: bool = True,
        seed: bytes = SEED,
        net: str = "10.0.2.0",
        prefix: int = 24,
        now: int = START,
    ) -> None:
        self.core = Core(seed, MAC, mtu=mtu, forwarding=forwarding)
        self.core.set_network(ip(net), 96 + prefix)
        self.core.add_address(ip(GATEWAY))
        self.core.add_address(ip(ALIAS))
        self.host = FakeHost(self.core)
        self.now = now
        self._counted = self.core.counters()

    def guest(self, number: int = 15, *, mtu: int | None = None, burst: int = 0, known: bool = True) -> Guest:
        """A new port with a guest 10.0.2.`number`; known: the core has its MAC address, by an ARP request."""
        made = Guest(self, number, self.core.add_port(MTU if mtu is None else mtu, burst))
        if known:
            made.introduce()
        return made

    def counted(self) -> dict[str, int]:
        """What has been counted since last asked."""
        before, self._counted = self._counted, self.core.counters()
        return {name: value - before[name] for name, value in self._counted.items() if value != before[name]}

    def punts(self) -> list[tuple[Any, ...]]:
        return self.core.punts()

    def punt(self) -> tuple[Any, ...]:
        """The only one there is."""
        (only,) = self.punts()
        return only

    def flow(self) -> int:
        """The handle in the only punt there is."""
        flow: int = self.punt()[1]
        return flow

    def run(self) -> None:
        while self.core.run(self.now):
            pass

    def wait(self, seconds: float) -> None:
        """Let time pass, stopping wherever the core has asked to be run."""
        end = self.now + int(seconds * SECOND)
        while True:
            due = self.core.next_deadline()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.run()
        self.now = end
        self.run()


class Guest:
    """One guest.  Its methods that send take everything a header says; what is left out is right."""

    def __init__(self, net: Net, number: int, port: int) -> None:
        self.net = net
        self.core = net.core
        self.mac = mac(number)
        self.ip = f"10.0.2.{number}"
        self.port = port

    # -- writing ------------------------------------------------------------------------------------------------------

    def send(self, *frames: bytes) -> None:
        self.core.deliver(self.port, list(frames), self.net.now)

    def frame(self, payload: bytes, ethertype: int = 0x0800, *, to: bytes = MAC) -> bytes:
        return to + self.mac + struct.pack("!H", ethertype) + payload

    def ipv4(
        self,
        payload: bytes | dpkt.Packet,
        protocol: int,
        *,
        to: str = FAR,
        source: str | None = None,
        ttl: int = 64,
        options: bytes = b"",
        mac_to: bytes = MAC,
        **fields: int,
    ) -> bytes:
        """A frame with an IPv4 packet, lengths and checksums made by dpkt."""
        packet = dpkt.ip.IP(
            src=four(source or self.ip),
            dst=four(to),
            p=protocol,
            ttl=ttl,
            hl=5 + len(options) // 4,
            data=payload,
            **fields,
        )
        packet.opts = options
        return self.frame(bytes(packet), to=mac_to)

    def udp_frame(
        self, payload: bytes, *, to: str = FAR, port: int = 9, source_port: int = 5000, **fields: Any
    ) -> bytes:
        datagram = dpkt.udp.UDP(sport=source_port, dport=port, ulen=8 + len(payload), data=payload)
        return self.ipv4(datagram, 17, to=to, **fields)

    def udp(self, payload: bytes, **fields: Any) -> None:
        self.send(self.udp_frame(payload, **fields))

    def echo_frame(
        self, payload: bytes = b"ping", *, identifier: int = 77, sequence: int = 1, kind: int = 8, **fields: Any
    ) -> bytes:
        message = dpkt.icmp.ICMP(type=kind, data=dpkt.icmp.ICMP.Echo(id=identifier, seq=sequence, data=payload))
        return self.ipv4(message, 1, **fields)

    def echo(self, payload: bytes = b"ping", **fields: Any) -> None:
        self.send(self.echo_frame(payload, **fields))

    def tcp_frame(self, flags: int, payload: bytes = b"", **fields: Any) -> bytes:
        """`fields` are those of tcp_segment and of ipv4."""
        segment, fields = tcp_segment(flags, payload, **fields)
        return self.ipv4(segment, 6, **fields)

    def tcp(self, flags: int, payload: bytes = b"", **fields: Any) -> None:
        self.send(self.tcp_frame(flags, payload, **fields))

    def arp_frame(
        self,
        target: str,
        *,
        sender: str | None = None,
        operation: int = 1,
        sender_mac: bytes | None = None,
        target_mac: bytes = bytes(6),
        to: bytes = EVERYBODY,
    ) -> bytes:
        packet = dpkt.arp.ARP(
            op=operation,
            sha=self.mac if sender_mac is None else sender_mac,
            spa=four(sender or self.ip),
            tha=target_mac,
            tpa=four(target),
        )
        return self.frame(bytes(packet), 0x0806, to=to)

    def arp(self, target: str, **fields: Any) -> None:
        self.send(self.arp_frame(target, **fields))

    def introduce(self) -> None:
        """Ask for the gateway, as any guest does first."""
        self.arp(GATEWAY)
        assert [reply.spa for reply in self.arps()] == [four(GATEWAY)]

    def fragments(
        self, data: bytes | dpkt.Packet, protocol: int, size: int, *, ident: int = 1, **fields: Any
    ) -> list[bytes]:
        """Frames with `data` in pieces of `size` bytes (a multiple of eight); the checksum is of the whole."""
        data = self.ipv4(data, protocol, **fields)[34:]
        return [
            self.ipv4(data[at : at + size], protocol, id=ident, offset=at // 8, mf=int(at + size < len(data)), **fields)
            for at in range(0, len(data), size)
        ]

    # -- reading ------------------------------------------------------------------------------------------------------

    def frames(self) -> list[bytes]:
        return self.core.collect(self.port)

    def arps(self) -> list[Any]:
        """What came, which must be ARP."""
        return [of_type(frame, dpkt.arp.ARP).data for frame in self.frames()]

    def packets(self) -> list[Any]:
        """What came, which must be IPv4 from the gateway's MAC address to this guest's, as dpkt.ip.IP."""
        found = []
        for frame in self.frames():
            ethernet = of_type(frame, dpkt.ip.IP)
            assert (ethernet.src, ethernet.dst) == (MAC, self.mac)
            found.append(checked(frame[14:]))
        return found

    def packet(self) -> Any:
        """The only packet that came."""
        (only,) = self.packets()
        return only

    def datagram(self) -> tuple[str, int, int, bytes]:
        """The one UDP datagram that came, from fragments where it was cut: source, its port, our port, payload."""
        packet = whole(self.packets())
        assert packet.p == UDP
        return datagram_of(dotted(packet.src), payload(packet))


def of_type(frame: bytes, kind: type) -> Any:
    """The frame, read by dpkt, which must hold a `kind`, and be as long as an Ethernet frame is at the least."""
    assert len(frame) >= 60
    ethernet = dpkt.ethernet.Ethernet(frame)
    assert isinstance(ethernet.data, kind), ethernet
    return ethernet


def dotted(raw: bytes) -> str:
    return str(ip_address(raw))


def checked(raw: bytes) -> Any:
    """An IPv4 packet as dpkt reads it, with its bytes as `raw`; every checksum that can be verified has been.

    (dpkt writes anew what it has read, with a checksum in place of a zero: of a quoted packet that is another one.)
    """
    packet = dpkt.ip.IP(raw)
    packet.raw = raw[: packet.len]
    assert is_good(raw[: packet.hl * 4])
    data = payload(packet)
    if not packet.mf and not packet.offset:
        if packet.p == dpkt.ip.IP_PROTO_ICMP:
            assert is_good(data)
        else:
            check(packet.src, packet.dst, packet.p, data)
    return packet


def check(source: bytes, destination: bytes, protocol: int, data: bytes) -> None:
    """What is behind an IP header has a checksum, over the addresses too, and it is good."""
    assert is_good(pseudo_header(source, destination, protocol, len(data)) + data)
    assert protocol != UDP or data[6:8] != b"\0\0"


def datagram_of(source: str, data: bytes) -> tuple[str, int, int, bytes]:
    """Source, its port, our port and payload of a UDP datagram, which is as long as it says."""
    source_port, port, length, _ = struct.unpack("!HHHH", data[:8])
    assert length == len(data)
    return source, source_port, port, data[8:]


def payload(packet: Any) -> bytes:
    """What is behind the IPv4 header, as it came."""
    data: bytes = packet.raw[packet.hl * 4 :]
    return data


def whole(packets: Sequence[Any]) -> Any:
    """The datagram of which these are all fragments, in order; its checksums are verified."""
    first, last = packets[0], packets[-1]
    if len(packets) == 1:
        assert not first.mf
        assert not first.offset
        return first
    assert [packet.mf for packet in packets] == [1] * (len(packets) - 1) + [0]
    assert {(packet.id, packet.p, packet.src, packet.dst) for packet in packets} == {
        (first.id, first.p, first.src, first.dst)
    }
    data = b"".join(payload(packet) for packet in packets)
    assert last.offset * 8 + len(payload(last)) == len(data)
    header = (
        first.raw[:2] + struct.pack("!HHHBBH", 20 + len(data), first.id, 0, first.ttl, first.p, 0) + first.raw[12:20]
    )
    return checked(header[:10] + checksum(header).to_bytes(2) + header[12:] + data)


def described(error: Any) -> tuple[str, int, int, Any]:
    """An ICMP error: its source, type and code, and the packet that it quotes, with its first bytes as `raw`."""
    data = payload(error)
    assert len(error.raw) <= 576
    assert data[4:6] == b"\0\0"
    quoted = dpkt.ip.IP(data[8:])
    quoted.raw = data[8:]
    assert is_good(quoted.raw[:20])
    return dotted(error.src), data[0], data[1], quoted
