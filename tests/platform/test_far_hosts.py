"""What the host learns of the network beyond it reaches the guest, and the guest's TTL reaches the network.

Each case runs in a namespace whose only way out is in our hands: what leaves is looked at, and answered as a router
or a far host would.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import dpkt
import pytest

from pyslirp.addresses import pack
from pyslirp.engine.core import core as kinds
from pyslirp.engine.edge import errqueue
from tests.platform import namespace
from tests.platform.namespace import Wire
from tests.unit.engine.edge.guest import ENGINE_MAC, GUEST, GUEST_MAC, Punt, Rig

FAR = ip_address("198.51.100.7")
ROUTER = ip_address("203.0.113.1")
HERE = ip_address("192.0.2.1")
TCP, UDP, ICMP = 6, 17, 1
ECHO_REPLY, UNREACHABLE, ECHO, TIME_EXCEEDED = 0, 3, 8, 11
HOST, TOO_BIG, PROHIBITED = 1, 4, 13
IP_MTU_DISCOVER, PMTUDISC_DO = 10, 2
GROUPS = Path("/proc/sys/net/ipv4/ping_group_range")


def verdict(rig: Rig, punt: Punt) -> None:
    """Everything goes where it wants to; pings that are not permitted are prohibited."""
    _, flow, (protocol, _, _, far, port), _, _ = punt
    if protocol == TCP:
        rig.engine.connect_stream(flow, far, port, 0)
    elif protocol == UDP:
        rig.engine.connect_datagram(flow, far, port, 0)
    else:
        try:
            rig.engine.connect_echo(flow, far, 0)
        except PermissionError:
            rig.engine.core.deny(flow, kinds.REFUSE_PROHIBITED, rig.engine.now())


def packet_of_guest(protocol: int, payload: bytes, ttl: int, tos: int = 0) -> bytes:
    return bytes(dpkt.ip.IP(src=GUEST[12:], dst=FAR.packed, p=protocol, ttl=ttl, tos=tos, data=payload))


def segment(
    port: int = 80, flags: int = dpkt.tcp.TH_SYN, source_port: int = 4000, seq: int = 1000, ack: int = 0, data: bytes = b""
) -> bytes:
    """TCP with its checksum, as the guest sends it."""
    made = bytearray(
        bytes(dpkt.tcp.TCP(sport=source_port, dport=port, seq=seq, ack=ack, flags=flags, win=65535, data=data))
    )
    pseudo = GUEST[12:] + FAR.packed + struct.pack("!HH", TCP, len(made))
    made[16:18] = struct.pack("!H", dpkt.in_cksum(pseudo + bytes(made)))
    return bytes(made)


def send(rig: Rig, packet: bytes) -> None:
    frame = ENGINE_MAC + GUEST_MAC + b"\x08\x00" + packet
    rig.guest.link.sendall(len(frame).to_bytes(4) + frame)
    rig.handle(rig.engine.process())


def next_packet(rig: Rig, protocol: int) -> dpkt.ip.IP:
    """The next one of this kind that the guest gets."""
    while True:
        rig.handle(rig.engine.process())
        for frame in rig.guest.frames():
            ip = dpkt.ethernet.Ethernet(frame).data
            if isinstance(ip, dpkt.ip.IP) and ip.p == protocol:
                return ip
        rig.handle(rig.engine.run(20_000_000))


def next_icmp(rig: Rig) -> tuple[bytes, dpkt.icmp.ICMP]:
    """The next ICMP message that the guest gets, and from whom."""
    ip = next_packet(rig, ICMP)
    return ip.src, ip.data


def icmp_about(packet: bytes, kind: int, code: int) -> bytes:
    """What ROUTER says about a packet that has left."""
    body = dpkt.icmp.ICMP(type=kind, code=code, data=bytes(4) + packet[:28])
    return bytes(dpkt.ip.IP(src=ROUTER.packed, dst=HERE.packed, p=ICMP, ttl=64, data=bytes(body)))


# -- in the namespace --------------------------------------------------------------------------------------------------


def udp_hops(wire: Wire) -> None:
    rig = Rig(verdict)
    for ttl in (1, 2, 64, 3):
        send(rig, packet_of_guest(UDP, bytes(dpkt.udp.UDP(sport=4000, dport=33434 + ttl, ulen=12, data=b"hops")), ttl))
        left = dpkt.ip.IP(wire.wait())
        assert (left.ttl, left.dst, left.data.data) == (ttl, FAR.packed, b"hops")
        wire.put(icmp_about(bytes(left), TIME_EXCEEDED, 0))
        source, message = next_icmp(rig)
        assert (source, message.type, message.code) == (ROUTER.packed, TIME_EXCEEDED, 0)
        quoted = bytes(message)[8:]
        assert (quoted[9], quoted[12:16], quoted[16:20]) == (UDP, GUEST[12:], FAR.packed)
        assert struct.unpack_from("!HH", quoted, 20) == (4000, 33434 + ttl)
    assert rig.engine.snapshot()["sockets"] == 1


def tcp_hops(wire: Wire) -> None:
    rig = Rig(verdict)
    for ttl in (1, 2, 31):
        send(rig, packet_of_guest(TCP, segment(source_port=4000 + ttl), ttl))
        left = dpkt.ip.IP(wire.wait())
        assert (left.ttl, left.dst, left.data.dport, left.data.flags & 0x3F) == (ttl, FAR.packed, 80, dpkt.tcp.TH_SYN)
        wire.put(icmp_about(bytes(left), TIME_EXCEEDED, 0))
        source, message = next_icmp(rig)
        assert (source, message.type) == (ROUTER.packed, TIME_EXCEEDED)
        assert struct.unpack_from("!HHI", bytes(message), 28) == (4000 + ttl, 80, 1000)
    assert rig.engine.snapshot()["sockets"] == 0


def tcp_marks(wire: Wire) -> None:
    """The Differentiated Services field of the guest's SYN is that of ours."""
    rig = Rig(verdict)
    for port, tos in enumerate((0xB8, 0x2B, 0)):
        send(rig, packet_of_guest(TCP, segment(source_port=4000 + port), 64, tos))
        left = dpkt.ip.IP(wire.wait())
        assert (left.data.dport, left.tos) == (80, tos & 0xFC)


def tcp_marks_over_ipv6(wire: Wire) -> None:
    """Whatever the guest's own family is, and as the guest changes its mind."""
    del wire
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:

        def to_loopback(rig: Rig, punt: Punt) -> None:
            rig.engine.connect_stream(punt[1], ip_address("::1").packed, listening.getsockname()[1], 0)

        rig = Rig(to_loopback)
        with sharing_the_socket(rig, packet_of_guest(TCP, segment(), 64, 0xB8)) as ours:
            assert ours.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 0xB8
            syn_ack = next_packet(rig, TCP).data
            data = segment(flags=dpkt.tcp.TH_ACK, seq=1001, ack=syn_ack.seq + 1, data=b"quiet now")
            send(rig, packet_of_guest(TCP, data, 64, 0x20))
            assert ours.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 0x20


def tcp_unreachable(wire: Wire) -> None:
    rig = Rig(verdict)
    send(rig, packet_of_guest(TCP, segment(), 64))
    left = wire.wait()
    assert left[8] == 64
    wire.put(icmp_about(left, UNREACHABLE, HOST))
    _, message = next_icmp(rig)
    assert (message.type, message.code) == (UNREACHABLE, HOST)
    assert [kinds.REASONS[punt[4]] for punt in rig.of_kind(kinds.KIND_CLOSED)] == ["unreachable"]


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}


@contextmanager
def sharing_the_socket(rig: Rig, packet: bytes) -> Iterator[socket.socket]:
    """The socket that the engine connects for this SYN of the guest."""
    before = descriptors()
    send(rig, packet)
    [made] = descriptors() - before
    with socket.socket(fileno=os.dup(int(made))) as ours:
        yield ours


@contextmanager
def router_on_a_veth() -> Iterator[None]:
    """The way to FAR ends at a router, which says so before the call that sends has returned."""
    with subprocess.Popen(["unshare", "--net", "sleep", "60"]) as router:
        theirs = Path(f"/proc/{router.pid}/ns/net")
        try:
            while theirs.readlink() == Path("/proc/self/ns/net").readlink():
                time.sleep(0.01)
            inside = f"nsenter --net={theirs}"
            for command in (
                f"ip link add out type veth peer name in netns {router.pid}",
                "ip address add 10.9.0.1/24 dev out",
                "ip link set out up",
                f"{inside} ip address add 10.9.0.2/24 dev in",
                f"{inside} ip link set in up",
                f"{inside} ip route add unreachable {FAR}",
                f"{inside} sysctl -q net.ipv4.ip_forward=1",
                f"ip route add {FAR} via 10.9.0.2",
            ):
                subprocess.run(command.split(), check=True, env={"PATH": namespace.PATH})
            yield
        finally:
            router.kill()


def an_error_without_its_errno(wire: Wire) -> None:
    """The kernel wakes us for an ICMP error before there is an errno to read, as here where somebody else reads it first:
    nothing has been accepted.  The next SYN's error comes whole."""
    del wire
    rig = Rig(verdict)
    with (
        router_on_a_veth(),
        sharing_the_socket(rig, packet_of_guest(TCP, segment(), 64)) as ours,
        select.epoll() as epoll,
    ):
        epoll.register(ours, 0)
        assert epoll.poll(5) == [(ours.fileno(), select.EPOLLERR)]
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EHOSTUNREACH
        _, message = next_icmp(rig)
    assert (message.type, message.code) == (UNREACHABLE, HOST)
    assert [kinds.REASONS[punt[4]] for punt in rig.of_kind(kinds.KIND_CLOSED)] == ["unreachable"]


def over_without_a_reason(wire: Wire) -> None:
    """A connect that has ended and left no errno is no connection."""
    rig = Rig(verdict)
    with sharing_the_socket(rig, packet_of_guest(TCP, segment(), 64)) as ours, select.epoll() as epoll:
        epoll.register(ours, 0)
        wire.put(icmp_about(wire.wait(), UNREACHABLE, HOST))
        assert epoll.poll(5) == [(ours.fileno(), select.EPOLLERR | select.EPOLLHUP)]
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EHOSTUNREACH
        rig.until(lambda: rig.of_kind(kinds.KIND_CLOSED))
    assert [kinds.REASONS[punt[4]] for punt in rig.of_kind(kinds.KIND_CLOSED)] == ["reset by host"]


def tcp_unanswered(wire: Wire) -> None:
    rig = Rig(verdict)
    send(rig, packet_of_guest(TCP, segment(), 64))
    wire.wait()
    rig.handle(rig.engine.run(200_000_000))
    assert [frame for frame in rig.guest.frames() if frame[12:14] == b"\x08\x00"] == []


def echo(wire: Wire) -> None:
    GROUPS.write_text("0 0")
    rig = Rig(verdict)
    for sequence, ttl in enumerate((64, 5, 1)):
        message = dpkt.icmp.ICMP(type=ECHO, data=dpkt.icmp.ICMP.Echo(id=77, seq=sequence, data=b"ping"))
        send(rig, packet_of_guest(ICMP, bytes(message), ttl))
        left = dpkt.ip.IP(wire.wait())
        assert (left.ttl, left.data.type, left.data.data.seq, left.data.data.data) == (ttl, ECHO, sequence, b"ping")
        if ttl == 1:
            wire.put(icmp_about(bytes(left), TIME_EXCEEDED, 0))
            source, answer = next_icmp(rig)
            assert (source, answer.type) == (ROUTER.packed, TIME_EXCEEDED)
            continue
        reply = dpkt.icmp.ICMP(type=ECHO_REPLY, data=left.data.data)
        wire.put(bytes(dpkt.ip.IP(src=FAR.packed, dst=HERE.packed, p=ICMP, ttl=50, data=bytes(reply))))
        source, answer = next_icmp(rig)
        assert (source, answer.type, answer.data.id, answer.data.seq) == (FAR.packed, ECHO_REPLY, 77, sequence)
        assert answer.data.data == b"ping"
    assert rig.engine.snapshot()["sockets"] == 1


def echo_not_permitted(wire: Wire) -> None:
    rig = Rig(verdict)  # in a new namespace nobody may
    message = dpkt.icmp.ICMP(type=ECHO, data=dpkt.icmp.ICMP.Echo(id=77, seq=1, data=b"ping"))
    send(rig, packet_of_guest(ICMP, bytes(message), 64))
    _, answer = next_icmp(rig)
    assert (answer.type, answer.code) == (UNREACHABLE, PROHIBITED)
    assert wire.take() is None


def too_big_for_the_way(wire: Wire) -> None:
    """An error that no router has sent names no offender; ours is MTU and ICMP's code for it."""
    del wire
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        assert errqueue._enable(ours.fileno(), v6=False)
        ours.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DO)
        with pytest.raises(OSError, match="Message too long"):
            ours.sendto(bytes(2000), (str(FAR), 9))
        assert errqueue._take(ours.fileno()) == (errno.EMSGSIZE, UNREACHABLE, TOO_BIG, 1500, pack(FAR), 0, None, b"")


CASES = [
    too_big_for_the_way, udp_hops, tcp_hops, tcp_marks, tcp_marks_over_ipv6, tcp_unreachable,
    an_error_without_its_errno, over_without_a_reason, tcp_unanswered, echo, echo_not_permitted,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_far_hosts(case: object) -> None:
    assert callable(case)
    namespace.run(case)
