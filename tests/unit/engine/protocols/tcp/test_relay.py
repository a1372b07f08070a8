"""The pump of one connection, by its handler's side: bytes in, bytes out, and what the handler is told."""

from __future__ import annotations

import pytest

from pyslirp.engine.core import core as engine
from pyslirp.sim.apps import pattern
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.segment import Options
from tests.tcp.bench import Bench, Conversation

NAMES = {
    engine.KIND_CONNECTED: "connected",
    engine.KIND_READABLE: "readable",
    engine.KIND_WRITABLE: "writable",
    engine.KIND_FINISHED: "finished",
    engine.KIND_CLOSED: "closed",
}


@pytest.fixture
def flow() -> Conversation:
    made = Bench().established(options=Options(mss=1460, scale=8))
    made.bench.events()
    return made


def told(flow: Conversation) -> list[str]:
    flow.bench.core.run(flow.bench.now)
    return [NAMES[punt[0]] for punt in flow.bench.events()]


def read(flow: Conversation, most: int = 1 << 20) -> bytes:
    return flow.bench.core.stream_read(flow.handle, most, flow.bench.now)


def test_a_handler_is_told_once_until_it_reads(flow: Conversation) -> None:
    flow.send("P.", 1, pattern(1, 100))
    assert told(flow) == ["readable"]
    flow.send("P.", 101, pattern(1, 100, 100))
    assert told(flow) == []
    assert read(flow, 150) == pattern(1, 150)
    assert told(flow) == ["readable"], "there is more"
    assert read(flow) == pattern(1, 50, 150)
    assert told(flow) == []


def test_the_end_is_told_when_all_was_read(flow: Conversation) -> None:
    flow.send("FP.", 1, pattern(1, 100))
    assert told(flow) == ["readable"]
    read(flow)
    assert told(flow) == ["finished"]
    assert told(flow) == []


def test_a_write_that_is_cut_short_is_followed_by_a_word(flow: Conversation) -> None:
    taken = flow.bench.core.stream_write(flow.handle, bytes(10_000_000))
    assert 0 < taken < 10_000_000
    assert flow.bench.core.stream_write(flow.handle, b"more") == 0
    assert told(flow) == []
    acked, events, sent = 0, list[str](), flow.bench.taken()
    while "writable" not in events:
        assert sent, "the guest has acknowledged all, and nothing more comes"
        acked += sum(len(segment.payload) for segment in sent)
        sent = flow.send(".", 1, ack=1 + acked)
        events += told(flow)
    assert flow.bench.core.stream_waiting(flow.handle) <= taken // 2
    assert flow.bench.core.stream_write(flow.handle, b"more") == 4


def test_an_empty_write_asks_for_nothing(flow: Conversation) -> None:
    assert flow.bench.core.stream_write(flow.handle, b"") == 0
    assert told(flow) == []


def test_nothing_is_written_behind_the_end(flow: Conversation) -> None:
    flow.bench.core.stream_write(flow.handle, b"last")
    flow.bench.core.stream_finish(flow.handle)
    assert flow.bench.core.stream_write(flow.handle, b"too late") == 0
    flow.bench.core.run(flow.bench.now)
    (segment,) = flow.bench.taken()
    assert (segment.flags, segment.payload) == ("FP.", b"last")


def test_a_handler_that_is_gone_has_bytes_unread(flow: Conversation) -> None:
    flow.send("P.", 1, pattern(1, 100))
    flow.bench.core.close_flow(flow.handle, flow.bench.now)
    assert [segment.flags for segment in flow.bench.taken()] == ["R."]
    assert flow.bench.core.memory()["buffer_bytes"] == 0
    with pytest.raises(KeyError):
        read(flow)


def test_reading_opens_the_window(flow: Conversation) -> None:
    sent = 0
    while (window := flow.bench.core.flow(flow.handle)["rcv_wnd"]) > 1400:
        flow.send(".", 1 + sent, pattern(1, 1400, sent))
        sent += 1400
    assert window < 1400 + 256
    assert flow.bench.wait(200 * MILLISECOND_NS) == []
    assert read(flow) == pattern(1, sent)
    flow.bench.core.run(flow.bench.now)
    (update,) = flow.bench.taken()
    assert update.window << 8 >= 200_000


def test_bytes_are_counted(flow: Conversation) -> None:
    flow.send("P.", 1, pattern(1, 100))
    read(flow)
    flow.bench.core.stream_write(flow.handle, bytes(250))
    shown = flow.bench.core.flow(flow.handle)
    assert (shown["bytes_to_host"], shown["bytes_to_guest"]) == (100, 250)


def test_a_full_link_holds_the_flow_back_and_lets_it_go_on(flow: Conversation) -> None:
    """A link that is not drained takes a mebibyte; what does not fit waits in the send queue, and no timer sends it again."""
    bench = flow.bench
    acked = 0
    for _ in range(8):  # let the congestion window grow beyond what the link holds
        bench.core.stream_write(flow.handle, bytes(4_000_000))
        bench.core.run(bench.now)
        acked += sum(len(segment.payload) for segment in bench.taken())
        bench.raw(flow.frame(".", 1, ack=1 + acked))
        bench.core.run(bench.now)
    (port,) = bench.core.ports()
    assert port["tx_waiting_bytes"] > 1_000_000
    held = bench.core.flow(flow.handle)["in_flight"]
    assert held < bench.core.flow(flow.handle)["cwnd"]
    assert bench.core._unsound() == []
    sent = sum(len(segment.payload) for segment in bench.taken())
    assert sent <= held
    bench.core.run(bench.now)
    assert bench.taken(), "there is room again"


def test_silence_costs_nothing(flow: Conversation) -> None:
    assert flow.bench.wait(3600 * SECOND_NS) == []
    assert flow.bench.core.memory()["timers"] == 1
