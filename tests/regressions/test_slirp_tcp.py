"""What has gone wrong in libslirp's TCP: each row of the survey's security history and list of latent bugs (slirp.md
section 4) that concerns TCP, and of the complaints (section 5) that are about a connection's life, as a test.

The row's id, commit or issue is in the docstring, with what it did there.
"""

from __future__ import annotations

import itertools

import pytest

from pyslirp.engine.core import core as engine
from pyslirp.sim.apps import pattern
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.segment import Options
from tests.regressions.tcp_rig import EAGAIN, ECONNRESET, EPIPE, Relay
from tests.tcp.bench import GUEST_ISN, Bench

# -- emulations -------------------------------------------------------------------------------------------------------

EMULATED = {
    "CVE-2019-6778, ident": (113, b"1" * 5000 + b",2\r\n"),
    "CVE-2019-9824, ident in part": (113, b"12345"),
    "CVE-2020-7039, IRC": (6667, b"PRIVMSG a :\1DCC SEND f 2130706433 99999\1\n" + b"\1DCC CHAT chat 1 1\1"),
    "CVE-2020-7039, realaudio": (7070, b"\x50\x4e\x41\x00" + b"\xff" * 3000),
    "CVE-2020-8608, FTP": (21, b"PORT 10,0,2,15,255,255\r\n227 Entering Passive Mode (10,0,2,15,1,1)" + b"A" * 9000),
}


@pytest.mark.parametrize("name", EMULATED)
def test_no_protocol_is_rewritten(name: str) -> None:
    """CVE-2019-6778, CVE-2019-9824, CVE-2020-7039, CVE-2020-8608: tcp_emu parsed and rewrote what passed; heap overflows.

    Bytes pass as they are, whatever the port is famous for.
    """
    port, data = EMULATED[name]
    relay = Relay()
    made, socket = relay.attached(far_port=port)
    for at in range(0, len(data), 1000):
        made.send("P.", 1 + at, data[at : at + 1000])
    assert relay.sent(socket) == data
    relay.feed(made, socket, data)
    assert b"".join(segment.payload for segment in relay.bench.taken()) == data[:14600]


# -- urgent data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pointer", [1, 2, 3, 4, 5, 1000, 65535])
@pytest.mark.parametrize("length", [0, 1, 3])
def test_an_urgent_pointer_reaches_no_further_than_the_bytes(pointer: int, length: int) -> None:
    """CVE-2026-9539: so_urgc larger than what was there underflowed; gigabytes of heap went to the peer."""
    relay = Relay()
    flow, socket = relay.attached()
    data = pattern(1, 400)
    flow.send("U.", 1, data[:length], urgent=pointer)
    flow.send("U.", 1 + length, data[length:200], urgent=pointer)
    flow.send(".", 201, data[200:])
    assert relay.sent(socket) == data
    relay.sound()


@pytest.mark.parametrize("error", [ECONNRESET, EPIPE, EAGAIN])
def test_an_urgent_byte_that_the_host_refuses(error: int) -> None:
    """e8f9abd2, db0dd60b: error returns of sosendoob were not looked at.

    The bytes wait where the host is full; else the connection is reset as for any other.
    """
    relay = Relay()
    flow, socket = relay.attached()
    relay.host.errors["urgent"] = error
    relay.host.errors["send"] = error
    sent = flow.send("U.", 1, b"!", urgent=1)
    if error == EAGAIN:
        del relay.host.errors["urgent"], relay.host.errors["send"]
        relay.host.writable(flow.handle, relay.bench.now)
        relay.bench.core.run(relay.bench.now)
        assert relay.sent(socket) == b"!"
    else:
        assert "R" in sent[-1].flags
        assert relay.reasons() == ["reset by host"]


# -- endings ----------------------------------------------------------------------------------------------------------


def test_a_connection_that_ends_while_its_packets_wait() -> None:
    """CVE-2017-13711: a socket was freed while mbufs in the interface's queue still pointed to it."""
    relay = Relay()
    flow, socket = relay.attached()
    relay.host.feed(flow.handle, socket, pattern(2, 100_000), relay.bench.now)
    relay.bench.core.run(relay.bench.now)
    relay.bench.core.close_flow(flow.handle, relay.bench.now)
    sent = relay.bench.taken()
    assert b"".join(segment.payload for segment in sent).startswith(pattern(2, 14000)[: len(sent[0].payload)])
    assert "R" in sent[-1].flags
    assert relay.bench.core.memory()["buffer_bytes"] == 0
    flow.send(".", 1)
    assert relay.bench.core.memory()["flows"] == 0


def test_a_host_that_resets_while_it_is_read() -> None:
    """cbe476c8: slirp_pollfds_poll went on with a socket that soread() had freed on an error."""
    relay = Relay()
    flow, socket = relay.attached()
    relay.host.errors["recv"] = ECONNRESET
    relay.host.feed(flow.handle, socket, b"", relay.bench.now)
    flow_frame = flow.frame("P.", 1, b"in the same batch")
    sent = relay.bench.deliver(flow_frame, flow_frame)
    assert [segment.flags for segment in sent if "R" in segment.flags][:1] == ["R."]
    assert ("close", socket, True) in relay.host.take()
    assert relay.bench.core.memory()["flows"] == 0


def test_all_connections_end_in_one_batch() -> None:
    """0b83636e: lists of sockets were walked while entries were taken off them: endless loops, use after free."""
    relay = Relay()
    flows = [relay.attached(40000 + number)[0] for number in range(50)]
    relay.bench.deliver(*(flow.frame("R", 1) for flow in flows), *(flow.frame("P.", 1, b"late") for flow in flows))
    assert relay.bench.core.memory()["flows"] == 0
    assert relay.reasons() == ["reset by guest"] * 50
    relay.sound()


def test_fin_wait_2_does_not_pile_up() -> None:
    """slirp4netns issue 350: connections in FIN_WAIT2 leaked; nothing timed them out."""
    relay = Relay()
    for number in range(20):
        flow, socket = relay.attached(40000 + number)
        relay.feed(flow, socket, b"", end=True)
        relay.bench.taken()
        flow.send(".", 1, ack=2)
        assert flow.state == "FIN_WAIT_2"
    relay.bench.wait(1200 * SECOND_NS)
    assert relay.bench.core.memory()["flows"] == 0
    assert relay.reasons() == ["timed out"] * 20


def test_fin_wait_2_of_a_guest_that_answers_probes_ends_too() -> None:
    """The same, where the guest's kernel is alive and its program has forgotten the socket."""
    relay = Relay()
    flow, socket = relay.attached()
    relay.feed(flow, socket, b"", end=True)
    relay.bench.taken()
    flow.send(".", 1, ack=2)
    for _ in range(200):
        for _probe in relay.bench.wait(60 * SECOND_NS):
            flow.send(".", 1, ack=2)
    assert relay.bench.core.memory()["flows"] == 0
    assert relay.host.sockets == {}


@pytest.mark.parametrize("first", ["guest", "host"])
def test_a_half_close_is_no_reset(first: str) -> None:
    """libslirp issue 12: a half-close was answered with a reset."""
    relay = Relay()
    flow, socket = relay.attached()
    if first == "guest":
        flow.send("F.", 1)
        assert ("finish", socket) in relay.host.take()
        relay.feed(flow, socket, b"answer", end=True)
        segments = relay.bench.taken()
        assert [segment.payload for segment in segments if segment.payload] == [b"answer"]
        flow.send(".", 2, ack=8)
    else:
        relay.feed(flow, socket, b"", end=True)
        relay.bench.taken()
        flow.send("P.", 1, b"answer", ack=2)
        assert relay.sent(socket) == b"answer"
        flow.send("F.", 7, ack=2)
        relay.bench.wait(11 * SECOND_NS)
    assert relay.reasons() == ["closed"]


# -- reassembly and windows -------------------------------------------------------------------------------------------


def test_segments_that_overlap_in_every_way() -> None:
    """e61e18f0: tcp_reass doubled packets that overlapped."""
    data = pattern(1, 40)
    for start in range(0, 40, 4):
        for end in range(start + 4, 41, 4):
            relay = Relay()
            flow, socket = relay.attached()
            flow.send("P.", 11, data[10:30])
            flow.send("P.", 1 + start, data[start:end])
            flow.send("P.", 1, data[:20])
            flow.send("P.", 21, data[20:])
            assert relay.sent(socket) == data
            relay.sound()


def test_the_last_segment_comes_first() -> None:
    """bdba265d: the test for the last fragment of a stream was wrong."""
    relay = Relay()
    flow, socket = relay.attached()
    data = pattern(1, 3000)
    flow.send("FP.", 2001, data[2000:])
    flow.send("P.", 1001, data[1000:2000])
    assert relay.sent(socket) == b""
    flow.send("P.", 1, data[:1000])
    calls = relay.host.take()
    assert b"".join(call[2] for call in calls if call[0] == "send") == data
    assert calls[-1] == ("finish", socket)


def test_windows_that_make_no_sense_abort_nothing() -> None:
    """f1533e1b: sbuf.c ended the process by g_error() where a window and a buffer did not fit."""
    relay = Relay()
    flow, socket = relay.attached(options=Options(mss=1460, scale=14))
    relay.host.feed(flow.handle, socket, pattern(2, 300_000), relay.bench.now)
    acked = 1
    for window in (0, 1, 65535, 0, 3, 0, 65535):
        for segment in flow.send(".", 1, ack=acked, window=window):
            acked = max(acked, 1 + (segment.seq + len(segment.payload) - flow.engine_isn - 1) % 2**32)
        relay.bench.wait(300 * MILLISECOND_NS)
        relay.sound()
    flow.send(".", 1, ack=2**31 - 1, window=0)
    relay.sound()


# -- options ----------------------------------------------------------------------------------------------------------


def test_an_option_that_ends_with_the_header() -> None:
    """Latent: tcp_dooptions read one byte behind the options before it looked how many there were."""
    bench = Bench()
    for kind in (2, 3, 4, 5, 8, 28, 255):
        bench.offered(40000 + kind, Options(raw=b"\1\1\1" + bytes([kind])))
    assert bench.core.counters()["tcp.bad_options"] == 7


def test_the_guests_mss_is_kept_to() -> None:
    """Latent: the MSS of the guest's SYN was ignored, and segments were as large as our own."""
    relay = Relay()
    flow, socket = relay.attached(options=Options(mss=700))
    relay.feed(flow, socket, bytes(5000))
    assert {len(segment.payload) for segment in relay.bench.taken()} <= {700, 5000 % 700}


def test_initial_numbers_tell_nothing() -> None:
    """Latent: the ISN was a counter that went up by 64,000 for each connection."""
    bench = Bench()
    numbers = [bench.established(port).engine_isn for port in range(40000, 40050)]
    steps = {(after - before) % 2**32 for before, after in itertools.pairwise(numbers)}
    assert len(steps) == 49
    assert GUEST_ISN not in numbers


def test_packets_of_many_low_delay_sessions_stay_in_their_own_order() -> None:
    """CVE-2026-120831: moving a low-delay session's packets down the queue corrupted it."""
    relay = Relay()
    pairs = [relay.attached(40000 + number) for number in range(8)]
    for turn in range(8):
        for number, (flow, socket) in enumerate(pairs):
            relay.host.feed(flow.handle, socket, pattern(number, 1000, 1000 * turn), relay.bench.now)
            relay.bench.core.run(relay.bench.now)
    frames = relay.bench.core.collect(relay.bench.port)
    assert len(frames) == 64
    for number, (flow, _) in enumerate(pairs):
        mine = [frame for frame in frames if frame[36:38] == flow.port.to_bytes(2, "big")]
        assert b"".join(frame[54:1054] for frame in mine) == pattern(number, 8000)


def test_a_source_of_network_zero_opens_nothing() -> None:
    """76738578: a packet from 0.0.0.0/8 crashed."""
    bench = Bench()
    flow = bench.offered()
    frame = bytearray(flow.frame("S", 0))
    frame[26:30] = b"\0\0\0\5"
    frame[24:26] = b"\0\0"
    bench.raw(bytes(frame))
    assert len([punt for punt in bench.events() if punt[0] == engine.KIND_FLOW]) == 0
