"""Path MTU, by random ICMP errors.  (The rules one by one: tests/tcp/scripts/pmtu.)"""

from __future__ import annotations

from typing import Any

import dpkt
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.sim.segment import Options, Segment, build_frame
from tests.tcp.bench import FAR, GATEWAY_MAC, GUEST, GUEST_MAC, Bench, Conversation

HEADERS = 40
MTU_LEAST = 552


def too_big(flow: Conversation, seq: int, mtu: int, packet_bytes: int) -> bytes:
    """The guest's error about the engine's segment with that number (relative)."""
    quoted = build_frame(Segment(".", (flow.engine_isn + seq) % (1 << 32)), flow.way.back)[14:42]
    quoted = quoted[:2] + packet_bytes.to_bytes(2, "big") + quoted[4:]
    message: Any = dpkt.icmp.ICMP(type=3, code=4, data=dpkt.icmp.ICMP.Unreach(mtu=mtu, data=quoted))
    ip: Any = dpkt.ip.IP(src=GUEST.packed, dst=FAR.packed, p=1, data=message)
    ip.len = len(ip)
    return bytes(dpkt.ethernet.Ethernet(dst=bytes(GATEWAY_MAC), src=bytes(GUEST_MAC), data=ip))


@given(st.integers(-3000, 6000), st.integers(0, 65535), st.integers(0, 65535))
def test_only_errors_about_what_is_in_flight_and_too_big_count(seq: int, mtu: int, packet_bytes: int) -> None:
    bench = Bench()
    flow = bench.established(options=Options(mss=1460))
    bench.core.stream_write(flow.handle, bytes(4380))
    bench.core.run(bench.now)
    bench.taken()
    bench.raw(too_big(flow, seq, mtu, packet_bytes))
    sent = bench.taken()
    mss = bench.core.flow(flow.handle)["mss"]
    told = max(mtu, MTU_LEAST) if mtu else 1280 if packet_bytes > 1280 else MTU_LEAST
    believed = 1 <= seq < 4381 and told - HEADERS < 1460
    assert mss == (told - HEADERS if believed else 1460)
    assert (sum(len(segment.payload) for segment in sent) > 0) == believed
    assert all(len(segment.payload) <= mss for segment in sent)
    assert bench.core._unsound() == []
