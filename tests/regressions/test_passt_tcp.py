"""What has gone wrong in passt's TCP: the classes of faults mended from 2025 to 2026, and its limits towards the guest
(modern-stacks.md 1.6), as tests.  The number of the bug or issue is in the docstring, with what it was about.
"""

from __future__ import annotations

import pytest

from pyslirp.addresses import pack
from pyslirp.sim.apps import pattern
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.segment import Options, Segment, build_frame
from tests.regressions.tcp_rig import Relay
from tests.tcp.bench import GUEST_ISN, Conversation

# -- FIN, RST, half-close ---------------------------------------------------------------------------------------------


def test_a_fin_with_the_last_bytes_is_passed_on_when_they_are() -> None:
    """Bugs 126, 191: a FIN overtook bytes that the socket had not taken yet."""
    relay = Relay()
    flow, socket = relay.attached()
    relay.host.room = 0
    flow.send("FP.", 1, pattern(1, 1000))
    assert ("finish", socket) not in relay.host.take()
    relay.host.room = None
    relay.host.writable(flow.handle, relay.bench.now)
    relay.bench.core.run(relay.bench.now)
    calls = relay.host.take()
    assert b"".join(call[2] for call in calls if call[0] == "send") == pattern(1, 1000)
    assert calls[-1] == ("finish", socket)


def test_bytes_behind_the_hosts_fin_are_none_and_the_guests_go_on() -> None:
    """Bugs 193, 195: after one side's FIN the other side's bytes stopped."""
    relay = Relay()
    flow, socket = relay.attached()
    relay.feed(flow, socket, b"all there is", end=True)
    assert "F" in relay.bench.taken()[-1].flags
    for turn in range(100):
        flow.send("P.", 1 + 100 * turn, pattern(1, 100, 100 * turn), ack=14)
    assert relay.sent(socket) == pattern(1, 10_000)


def test_both_ends_at_once_is_an_orderly_end() -> None:
    """Bug 202: FINs that crossed left the connection behind."""
    relay = Relay()
    flow, socket = relay.attached()
    relay.host.feed(flow.handle, socket, b"", relay.bench.now, True)
    flow.send("F.", 1)
    flow.send(".", 2, ack=2)
    relay.bench.wait(11 * SECOND_NS)
    assert relay.reasons() == ["closed"]
    assert relay.host.sockets == {}


def test_a_fin_whose_ack_was_lost_is_acknowledged_again() -> None:
    """podman issues 25959, 26073, 27179: a repeated FIN was answered by a reset, or by nothing."""
    relay = Relay()
    flow, socket = relay.attached()
    flow.send("F.", 1)
    (again,) = flow.send("F.", 1)
    assert (again.flags, (again.ack - 0xFFFFFF00) % 2**32) == (".", 2)
    relay.feed(flow, socket, b"", end=True)
    relay.bench.taken()
    flow.send(".", 2, ack=2)
    assert relay.reasons() == ["closed"]
    assert [segment.flags for segment in flow.send("F.", 1, ack=2)] == ["R"]


@pytest.mark.parametrize("off", [-100_000, -1, 1, 1000, 60_000, 2**31 - 1])
def test_a_reset_needs_the_right_number(off: int) -> None:
    """tcp.c: any RST with the right ports ended the flow (RFC 5961 section 3)."""
    relay = Relay()
    flow, socket = relay.attached()
    flow.send("R", 1 + off)
    assert flow.state == "ESTABLISHED"
    flow.send("R", 1)
    assert ("close", socket, True) in relay.host.take()


# -- handshake --------------------------------------------------------------------------------------------------------


def test_a_syn_that_the_guest_did_not_hear_is_sent_again() -> None:
    """Bug 153: SYN towards the guest was not retried."""
    relay = Relay()
    flow, _ = relay.host.open(*ends(relay, 22), relay.bench.now)
    syns = [segment for segment in relay.bench.wait(8 * SECOND_NS) if segment.flags == "S"]
    assert len(syns) == 4
    assert len({segment.seq for segment in syns}) == 1
    assert relay.bench.core.flow(flow)["state"] == "SYN_SENT"


def ends(relay: Relay, port: int) -> tuple[bytes, int, bytes, int]:
    """Guest and far end of a connection that the host opens."""
    way = Conversation(relay.bench, port).way
    return pack(way.source.address), port, pack(way.destination.address), 6000


@pytest.mark.parametrize(
    "data", [b"\x02\x04\0\0", b"\x02\x04\0\1", b"\x02\x04\0\3", b"\x02\x03\5\1", b"\x02\x02", b"\x02\x06\0\0\0\0"]
)
def test_an_mss_of_almost_nothing_divides_nothing_by_zero(data: bytes) -> None:
    """2026-07: an MSS option of 0 to 3, or of a wrong length, divided by zero."""
    relay = Relay()
    flow, socket = relay.attached(options=Options(raw=data))
    relay.feed(flow, socket, pattern(2, 3000))
    got = b"".join(segment.payload for segment in relay.bench.taken())
    assert got
    assert pattern(2, 3000).startswith(got)


def test_a_short_frame_is_padded_and_its_padding_is_no_payload() -> None:
    """Bug 166: frames under 60 bytes were sent; and padding that comes is cut off."""
    relay = Relay()
    flow, socket = relay.attached()
    relay.bench.raw(flow.frame("P.", 1, b"x") + bytes(5))
    frames = relay.bench.core.collect(relay.bench.port)
    assert {len(frame) for frame in frames} == {60}
    assert relay.sent(socket) == b"x"


# -- windows ----------------------------------------------------------------------------------------------------------


def test_a_host_that_stalls_and_goes_on_opens_the_window_again() -> None:
    """Bugs 138, 183, podman issue 28219: the window followed the socket's buffer and stayed shut when that drained."""
    relay = Relay()
    flow, socket = relay.attached()
    relay.host.room = 0
    at, window = 1, 65535
    while window >= 1000:
        ack = (flow.send("P.", at, pattern(1, 1000, at - 1)) or relay.bench.wait(50 * MILLISECOND_NS))[-1]
        at, window = at + 1000, ack.window
    ack = (flow.send("P.", at, pattern(1, window, at - 1)) or relay.bench.wait(50 * MILLISECOND_NS))[-1]
    at += window
    assert ack.window == 0
    relay.host.room = None
    relay.host.writable(flow.handle, relay.bench.now)
    relay.bench.core.run(relay.bench.now)
    (update,) = relay.bench.taken()
    assert update.window > 60_000
    assert relay.sent(socket) == pattern(1, at - 1)


def test_one_lost_segment_costs_one_segment() -> None:
    """No reassembly across batches, no SACK: a loss made the guest send everything again from there."""
    relay = Relay()
    flow, socket = relay.attached(options=Options(mss=1460, sack_permitted=True))
    for turn in range(1, 40):
        flow.send("P.", 1 + 1000 * turn, pattern(1, 1000, 1000 * turn))
    (ack,) = flow.send("P.", 1, pattern(1, 1000))
    assert (ack.ack - 0xFFFFFF00) % 2**32 == 40_001
    assert relay.sent(socket) == pattern(1, 40_000)


def test_a_lost_segment_to_the_guest_is_sent_again_alone() -> None:
    """tcp_rewind_seq: go-back-N on the first duplicate ACK."""
    relay = Relay()
    flow, socket = relay.attached(options=Options(mss=1000, sack_permitted=True))
    relay.feed(flow, socket, pattern(2, 8000))
    sent = relay.bench.taken()
    isn = flow.engine_isn
    told = Options(sack=[(isn + 1001, isn + 1001 + 1000 * (len(sent) - 1))])
    relay.bench.now += 20 * MILLISECOND_NS
    ack = build_frame(Segment(".", GUEST_ISN + 1, isn + 1, 65535, options=told), flow.way)
    again = [segment for segment in relay.bench.deliver(ack) if segment.payload]
    assert [(segment.seq - isn) % 2**32 for segment in again][:1] == [1]
    assert not {(segment.seq - isn) % 2**32 for segment in again} & set(range(2, 1000 * len(sent)))


# -- idle -------------------------------------------------------------------------------------------------------------


def test_an_idle_connection_lives_while_the_guest_answers() -> None:
    """Bug 179: idle connections were dropped after two hours, answered or not."""
    relay = Relay()
    flow, _ = relay.attached()
    for _ in range(200):
        for _probe in relay.bench.wait(600 * SECOND_NS):
            flow.send(".", 1)
    assert flow.state == "ESTABLISHED"
