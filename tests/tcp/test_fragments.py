"""TCP segments in IP fragments: their bytes lie in a buffer that the next fragment may reuse."""

from __future__ import annotations

from typing import Any

import dpkt

from pyslirp.sim.apps import pattern
from tests.tcp.bench import FAR, GATEWAY_MAC, GUEST, GUEST_MAC, Bench

PIECE = 400


def in_fragments(frame: bytes, ident: int) -> list[bytes]:
    """The same packet in fragments of PIECE bytes."""
    ethernet: Any = dpkt.ethernet.Ethernet(frame)
    body = bytes(ethernet.data.data)
    return [piece(body, at, ident, ethernet.data.p) for at in range(0, len(body), PIECE)]


def piece(body: bytes, at: int, ident: int, protocol: int) -> bytes:
    part = body[at : at + PIECE]
    more = at + PIECE < len(body)
    ip: Any = dpkt.ip.IP(src=GUEST.packed, dst=FAR.packed, p=protocol, id=ident, ttl=64, data=part)
    ip.mf, ip.offset, ip.len = int(more), at // 8, 20 + len(part)
    ip.p = protocol
    header = bytearray(bytes(ip)[:20])
    header[10:12] = bytes(2)
    header[10:12] = dpkt.in_cksum(bytes(header)).to_bytes(2, "big")
    return bytes(GATEWAY_MAC) + bytes(GUEST_MAC) + b"\x08\x00" + bytes(header) + part


def test_a_segment_in_fragments_is_read() -> None:
    bench = Bench()
    flow = bench.established()
    bench.deliver(*in_fragments(flow.frame("P.", 1, pattern(1, 1200)), 7))
    assert bench.core.stream_read(flow.handle, 5000, bench.now) == pattern(1, 1200)


def test_another_datagram_does_not_overwrite_what_a_stream_still_reads() -> None:
    """In one batch: whole segments of two flows, then a fragmented one of the first, then other fragmented segments."""
    bench = Bench()
    one, other = bench.established(40000), bench.established(40001)
    batch = [one.frame("P.", 1, pattern(1, 100)), other.frame("P.", 1, pattern(2, 100))]
    batch += in_fragments(one.frame("P.", 101, pattern(1, 1200, 100)), 1)
    batch += in_fragments(other.frame("P.", 101, pattern(2, 1200, 100)), 2)
    batch += in_fragments(one.frame("P.", 1301, pattern(1, 1200, 1300)), 3)
    bench.deliver(*batch)
    assert bench.core.stream_read(one.handle, 5000, bench.now) == pattern(1, 2500)
    assert bench.core.stream_read(other.handle, 5000, bench.now) == pattern(2, 1300)
    assert bench.core._unsound() == []


def test_a_connection_opened_in_fragments() -> None:
    bench = Bench()
    flow = bench.established()
    flow.port = 40005
    bench.deliver(*in_fragments(flow.frame("S", 0), 9))
    assert bench.core.counters()["tcp.opened_by_guest"] == 2
