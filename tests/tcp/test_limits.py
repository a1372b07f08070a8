"""Where a limit is reached the connection slows down or ends, and never stands still: holes, memory, records."""

from __future__ import annotations

from pyslirp.engine.core import core as engine
from pyslirp.sim.apps import pattern
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.segment import Options
from tests.tcp.bench import Bench, Conversation

HOLES_MAX = 512  # stores/ranges.pxd: RANGES_MAX
RECORDS_MAX = 32768  # protocols/tcp/scoreboard.pyx: half of RECORDS_MAX


def read(flow: Conversation) -> bytes:
    return flow.bench.core.stream_read(flow.handle, 1 << 20, flow.bench.now)


def reasons(bench: Bench) -> list[str]:
    return [engine.REASONS[punt[4]] for punt in bench.events() if punt[0] == engine.KIND_CLOSED]


# -- holes ------------------------------------------------------------------------------------------------------------


def test_bytes_in_order_pass_a_full_table_of_holes() -> None:
    """With as many holes as there may be, the segment that fills the first must not be refused: it is the way out."""
    bench = Bench()
    flow = bench.established()
    data = pattern(1, 4 * HOLES_MAX + 200)
    for number in range(HOLES_MAX + 5):
        at = 101 + 4 * number
        flow.send(".", at, data[at - 1 : at + 1])
    assert bench.core.counters()["tcp.reassembly_full"] == 5
    (ack,) = flow.send(".", 1, data[:50])[-1:]
    assert (ack.ack - 0xFFFFFF00) % 2**32 == 51
    for at in range(51, len(data), 500):
        flow.send(".", at, data[at - 1 : at + 499])
    assert read(flow) == data
    assert bench.core._unsound() == []


# -- memory -----------------------------------------------------------------------------------------------------------


def test_without_memory_nothing_is_acknowledged_and_with_it_all_goes_on() -> None:
    bench = Bench(memory=0)
    flow = bench.established()
    (ack,) = flow.send("P.", 1, pattern(1, 1000))
    assert ack.ack == 0xFFFFFF01
    assert bench.core.counters()["tcp.no_memory"] == 1
    flow.send("P.", 1001, pattern(1, 1000, 1000))  # out of order: no memory for that either
    assert bench.core._unsound() == []
    bench.core.set_memory(1 << 20)
    flow.send("P.", 1001, pattern(1, 1000, 1000))
    (ack,) = flow.send("P.", 1, pattern(1, 1000))
    assert (ack.ack - 0xFFFFFF00) % 2**32 == 2001
    assert read(flow) == pattern(1, 2000)


def test_holes_survive_a_shortage() -> None:
    """What was sacked stays, though the next segment finds no memory."""
    bench = Bench()
    flow = bench.established(options=Options(mss=1460, sack_permitted=True))
    flow.send("P.", 1001, pattern(1, 1000, 1000))
    bench.core.set_memory(0)
    (ack,) = flow.send("P.", 40001, pattern(1, 1000, 40000))
    assert [(end - start) % 2**32 for start, end in ack.options.sack] == [1000]
    bench.core.set_memory(1 << 20)
    flow.send("P.", 1, pattern(1, 1000))
    assert read(flow) == pattern(1, 2000)


def test_a_fin_that_cannot_be_kept_resets() -> None:
    """Its states have no way back; to end the connection is better than to pretend that it was closed."""
    bench = Bench(memory=0)
    flow = bench.fin_wait_2()
    bench.events()
    flow.send("FP.", 1, pattern(1, 1000), ack=2)
    assert reasons(bench) == ["no memory"]
    assert bench.core.memory()["flows"] == 0
    assert [segment.flags for segment in flow.send("FP.", 1, pattern(1, 1000), ack=2)] == ["R"]


def test_a_fin_that_cannot_be_kept_resets_while_established() -> None:
    bench = Bench(memory=0)
    flow = bench.established()
    sent = flow.send("FP.", 1, pattern(1, 1000))
    assert [segment.flags for segment in sent] == ["R."]
    assert reasons(bench) == ["no memory"]


# -- records ----------------------------------------------------------------------------------------------------------


def test_a_byte_at_a_time_to_a_guest_that_acknowledges_nothing() -> None:
    """Each byte leaves at a time of its own and has a record of its own.  At the limit nothing is sent that could not be
    accounted for, or the guest's ACK of it would seem to be a lie."""
    bench = Bench(mtu=9000)
    flow = bench.established(options=Options(mss=8960, scale=8))
    flow.send(".", 1, window=60000)
    sent = 0
    for number in range(RECORDS_MAX + 50):
        bench.now += 1
        bench.core.stream_write(flow.handle, pattern(2, 1, number))
        bench.core.run(bench.now)
        sent += len(bench.taken())
    assert bench.core.flow(flow.handle)["in_flight"] == sent == RECORDS_MAX
    assert bench.core._unsound() == []
    (rest,) = flow.send(".", 1, ack=1 + RECORDS_MAX, window=60000)
    assert rest.payload == pattern(2, 50, RECORDS_MAX)
    bench.now += SECOND_NS
    flow.send(".", 1, ack=1 + RECORDS_MAX + 50, window=60000)
    assert bench.core.flow(flow.handle)["in_flight"] == 0


def test_a_lost_head_is_repeated_at_the_limit() -> None:
    bench = Bench(mtu=9000)
    flow = bench.established(options=Options(mss=8960, scale=8))
    flow.send(".", 1, window=60000)
    for number in range(RECORDS_MAX + 1):
        bench.now += 1
        bench.core.stream_write(flow.handle, pattern(2, 1, number))
        bench.core.run(bench.now)
        bench.taken()
    repeated = bench.wait(400 * MILLISECOND_NS)
    assert repeated[0].payload == pattern(2, len(repeated[0].payload))


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_a_successor_out_of_time_wait_begins_above_its_predecessor() -> None:
    """A connection that sends faster than the ISN's clock runs (250 kB/s) must not be followed by one whose numbers are
    still on the way (RFC 9293 3.6.1 (1), RFC 6528)."""
    bench = Bench()
    flow = bench.established(options=Options(mss=1460, scale=8))
    sent = 0
    while sent < 2_000_000:
        sent += bench.core.stream_write(flow.handle, bytes(50_000))
        bench.core.run(bench.now)
        bench.taken()
        in_flight = bench.core.flow(flow.handle)["in_flight"]
        acked = bench.core.flow(flow.handle)["bytes_to_guest"] - bench.core.stream_waiting(flow.handle) + in_flight
        flow.send(".", 1, ack=1 + acked)
    while bench.core.stream_waiting(flow.handle):
        acked = sent - bench.core.stream_waiting(flow.handle) + bench.core.flow(flow.handle)["in_flight"]
        flow.send(".", 1, ack=1 + acked)
    bench.core.stream_finish(flow.handle)
    bench.core.run(bench.now)
    (fin,) = bench.taken()
    last = fin.seq
    flow.send("F.", 1, ack=sent + 2)
    assert flow.state == "TIME_WAIT"
    bench.events()
    bench.now += MILLISECOND_NS
    flow.send("S", 100_000)
    (offer,) = [punt for punt in bench.events() if punt[0] == engine.KIND_FLOW]
    bench.core.serve(offer[1], 0, bench.now)
    bench.core.run(bench.now)
    (syn_ack,) = bench.taken()
    assert 0 < (syn_ack.seq - last) % 2**32 < 2**31
