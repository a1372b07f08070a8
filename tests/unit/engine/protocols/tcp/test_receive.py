from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyslirp.engine.protocols.tcp.receive import _Receive
from pyslirp.sim.apps import pattern
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from tests.oracle.status import name_of

WINDOW = 4000
STREAM = pattern(1, 100_000)


def piece(start: int, length: int) -> bytes:
    """The guest's stream, by sequence number (its first byte is 1)."""
    return STREAM[start - 1 : start - 1 + length]


def take(half: _Receive, start: int, length: int, fin: bool = False) -> str:
    return name_of(half.segment(start, piece(start, length), fin))


# -- what is acceptable: RFC 9293 3.10.7.4, table 6 --------------------------------------------------------------------


@given(st.integers(-10, 30), st.integers(0, 20), st.integers(0, 12))
def test_table_6(seq: int, length: int, window: int) -> None:
    half = _Receive(window=window)
    nxt, edge = 1, 1 + window
    if length == 0:
        expected = nxt <= seq <= edge  # the edge itself: a sender that has filled the window sends its ACKs from there
    elif window == 0:
        expected = False
    else:
        expected = nxt <= seq < edge or nxt <= seq + length - 1 < edge or (seq < nxt and seq + length > edge)
    assert half.acceptable(seq, length) == expected


# -- payload ----------------------------------------------------------------------------------------------------------


def test_in_order_bytes_are_handed_on_where_they_lie() -> None:
    half = _Receive()
    assert take(half, 1, 100) == "ok"
    assert take(half, 101, 50) == "ok"
    assert half.pending() == piece(1, 150)
    assert half.settle(150)
    assert half.used_bytes == 0, "nothing was copied"
    assert half.nxt == 151


def test_what_the_host_does_not_take_is_kept() -> None:
    half = _Receive()
    take(half, 1, 100)
    take(half, 101, 100)
    half.settle(130)
    assert half.read(1000) == piece(131, 70)
    assert half.used_bytes == 0


def test_outcomes() -> None:
    half = _Receive()
    assert take(half, 101, 100) == "tcp.out_of_order"
    assert take(half, 120, 50) == "tcp.duplicate"
    assert take(half, 1, 100) == "ok"
    assert half.nxt == 201
    assert take(half, 1, 100) == "tcp.duplicate"
    assert take(half, 201, 10, fin=True) == "ok"
    assert half.nxt == 212
    assert take(half, 212, 10) == "tcp.past_fin"
    assert take(half, 201, 10, fin=True) == "tcp.duplicate"
    half.settle()
    assert half.read(1000) == piece(1, 210)


def test_a_fin_with_bytes_missing_before_it_waits_for_them() -> None:
    half = _Receive()
    assert take(half, 11, 10, fin=True) == "tcp.out_of_order"
    assert half.nxt == 1
    assert take(half, 1, 5) == "ok"
    assert half.nxt == 6
    assert take(half, 6, 5) == "ok"
    assert half.nxt == 22
    assert take(half, 21, 0, fin=True) == "tcp.duplicate"
    half.settle()
    assert half.read(100) == piece(1, 20)


def test_a_bare_fin_that_is_early_waits_too() -> None:
    half = _Receive()
    assert take(half, 11, 0, fin=True) == "tcp.out_of_order"
    assert take(half, 1, 10) == "ok"
    assert half.nxt == 12


# -- window -----------------------------------------------------------------------------------------------------------


def test_the_window_is_what_may_still_come() -> None:
    half = _Receive(window=WINDOW)
    take(half, 1, 1000)
    half.settle()
    assert half.advertise() == WINDOW - 1000
    assert half.edge == 1 + WINDOW
    half.read(1000)
    assert half.advertise() == WINDOW


def test_an_update_is_worth_a_segment_or_half_of_the_buffer() -> None:
    """RFC 9293 3.8.6.2.2: no silly windows."""
    half = _Receive(window=WINDOW)
    for start in range(1, 1 + WINDOW, 500):
        take(half, start, 500)
    half.settle()
    assert half.advertise() == 0
    half.read(499)
    assert not half.update_due
    half.read(1)
    assert half.update_due


@given(st.lists(st.integers(1, 40), min_size=1, max_size=200), st.integers(0, 10))
def test_a_scaled_window_neither_moves_back_nor_creeps(lengths: list[int], scale: int) -> None:
    """With a host that takes nothing: the edge stays within a step of the buffer, however small the segments; and what
    the guest is told never moves it left by a step or more (RFC 7323 2.4)."""
    half = _Receive(window=WINDOW, scale=scale)
    step, at, told = 1 << scale, 1, 1 + WINDOW
    for length in lengths:
        if not half.acceptable(at, length):
            break
        half.segment(at, piece(at, length))
        half.settle()
        at = half.nxt
        edge = half.nxt + (half.advertise() << scale)
        assert edge > told - step
        assert half.edge >= edge
        assert half.edge <= 1 + WINDOW + step
        told = edge


def test_the_window_of_a_syn_is_not_scaled() -> None:
    half = _Receive(window=300_000, scale=8)
    assert half.advertise(syn=True) == 65535
    assert half.advertise() == 1172


def test_a_fin_behind_a_full_window_does_not_open_one() -> None:
    half = _Receive(window=WINDOW)
    take(half, 1, WINDOW, fin=True)
    half.settle()
    assert half.advertise() == 0


def test_the_buffer_grows_with_what_waits_behind_a_hole() -> None:
    """That is what came in the round trip of which the hole was in the way of the host."""
    half = _Receive(window=WINDOW)
    half.set_limit_max(16 * WINDOW)
    half.segment(WINDOW // 2 - 100, bytes(100))
    assert half.limit == WINDOW, "less than half of it waits"
    half.segment(1 + WINDOW // 2 - 100, bytes(100))
    assert half.limit == 2 * WINDOW
    for number in range(5):
        half.segment(1 + 200 * number + 100, bytes(50))
    assert half.limit == 2 * WINDOW, "it is how far they reach that counts, and not how many they are"
    half.settle()
    half.advertise()
    assert half.sound


def test_it_does_not_where_the_host_has_not_read() -> None:
    half = _Receive(window=WINDOW)
    half.set_limit_max(4 * WINDOW)
    half.segment(1, bytes(100))
    half.settle()
    half.segment(1 + WINDOW - 100, bytes(100))
    assert half.limit == WINDOW


def test_the_buffer_grows_with_what_the_host_takes_in_a_round_trip() -> None:
    half, rtt = _Receive(window=WINDOW), 40 * MILLISECOND_NS
    half.set_limit_max(8 * WINDOW)
    half.took(WINDOW // 4, SECOND_NS, rtt)
    half.took(WINDOW // 4, SECOND_NS + rtt + 1, rtt)
    assert half.limit == WINDOW, "half a window, but not within a round trip"
    half.took(WINDOW // 4, SECOND_NS + 2 * rtt, rtt)
    assert half.limit == 2 * WINDOW
    half.took(WINDOW // 2, SECOND_NS + 2 * rtt + 1, rtt)
    assert half.limit == 4 * WINDOW, "what was counted before it grew still counts"
    for _ in range(20):
        half.took(WINDOW, 3 * SECOND_NS, rtt)
    assert half.limit == 8 * WINDOW


def test_a_round_trip_is_no_shorter_than_a_wake_up() -> None:
    half = _Receive(window=WINDOW)
    half.set_limit_max(8 * WINDOW)
    half.took(WINDOW // 4, SECOND_NS, MILLISECOND_NS)
    half.took(WINDOW // 4, SECOND_NS + 25 * MILLISECOND_NS, MILLISECOND_NS)
    assert half.limit == 2 * WINDOW


@given(st.sets(st.integers(0, 9)))
def test_a_sender_that_doubles_finds_room(holed: set[int]) -> None:
    """Slow start, where a segment of some rounds is lost and comes again in the next: what is sent fits always, twice."""
    half, rtt, segment = _Receive(window=40_000, scale=8), 100 * MILLISECOND_NS, 1000
    half.set_limit_max(1 << 24)
    now, nxt, flight, missing, held = SECOND_NS, 1, 10, 0, 0
    for number in range(10):
        if missing:
            half.segment(missing, bytes(segment))
            half.settle(taken=segment)
            half.read(held)
            half.took(segment + held, now, rtt)
            missing = held = 0
        for at in range(flight):
            if number in holed and at == 3:
                missing = nxt
            else:
                assert nxt + segment <= half.edge, "the window has stopped the sender"
                half.segment(nxt, bytes(segment))
                half.settle(taken=0 if missing else segment)
                if missing:
                    held += segment
                else:
                    half.took(segment, now + at * rtt // flight, rtt)
                half.advertise()
            nxt += segment
        now += rtt
        flight *= 2


# -- SACK -------------------------------------------------------------------------------------------------------------


def test_blocks_are_the_latest_first() -> None:
    half = _Receive()
    for start in (101, 301, 501, 701, 901):
        take(half, start, 100)
    assert half.sack_blocks() == [(901, 1001), (701, 801), (501, 601), (301, 401)]
    take(half, 401, 50)
    assert half.sack_blocks(2) == [(301, 451), (901, 1001)]
    assert half.islands == 5


def test_blocks_heard_often_do_not_drive_out_others() -> None:
    """RFC 2018 section 4: behind the latest come those reported last; the differential test has found this."""
    half = _Receive()
    take(half, 1001, 10)
    take(half, 7001, 10)
    for start in (4001, 4011, 4021, 4031, 4041):
        take(half, start, 10)
    take(half, 9001, 10)
    assert half.sack_blocks(3) == [(9001, 9011), (4001, 4051), (7001, 7011)]


# -- what came twice: RFC 2883 ----------------------------------------------------------------------------------------


def test_a_segment_that_comes_twice_is_reported_once_and_first() -> None:
    half = _Receive()
    take(half, 1, 100)
    take(half, 201, 100)
    take(half, 1, 100)
    assert half.sack_blocks() == [(1, 101), (201, 301)]
    half.reported()
    assert half.sack_blocks() == [(201, 301)]


def test_a_duplicate_within_an_island_is_followed_by_that_island() -> None:
    half = _Receive()
    take(half, 501, 100)
    take(half, 201, 100)
    take(half, 301, 100)
    take(half, 501, 100)
    take(half, 251, 100)
    assert half.sack_blocks() == [(251, 351), (201, 401), (501, 601)]


def test_only_the_part_that_came_twice_is_reported() -> None:
    half = _Receive()
    take(half, 1, 100)
    take(half, 51, 100)
    assert half.sack_blocks() == [(51, 101)]
    half.reported()
    take(half, 301, 100)
    take(half, 251, 100)
    assert half.sack_blocks() == [(301, 351), (251, 401)]
    half.reported()
    take(half, 151, 200)
    assert half.sack_blocks() == [(251, 351)], "what has filled the hole has also repeated something"


def test_a_duplicate_outside_the_window_is_reported_up_to_what_has_come() -> None:
    half = _Receive()
    take(half, 1, 100)
    half.duplicate(91, 191)
    assert half.sack_blocks() == [(91, 101)]
    half.reported()
    half.duplicate(101, 191)
    assert half.sack_blocks() == []


# -- silence ----------------------------------------------------------------------------------------------------------


def test_after_a_silence_the_first_segments_are_acknowledged_at_once() -> None:
    half = _Receive()
    first = half.quick
    half.heard(SECOND_NS, SECOND_NS)
    half.set_quick(0)
    half.heard(2 * SECOND_NS, SECOND_NS)
    assert half.quick == 0, "a second is no silence of more than a second"
    half.heard(3 * SECOND_NS + 1, SECOND_NS)
    assert half.quick == first > 0


def test_after_a_long_silence_the_buffer_is_small_again_and_the_promise_holds() -> None:
    half = _Receive(window=WINDOW, scale=3)
    half.set_limit_max(16 * WINDOW)
    half.heard(SECOND_NS, SECOND_NS)
    half.took(WINDOW // 2, SECOND_NS)
    assert half.limit == 2 * WINDOW
    half.advertise()
    promised = half.edge
    half.heard(12 * SECOND_NS, SECOND_NS)
    assert half.limit == WINDOW
    assert half.sound
    for start in range(1, promised, 500):
        half.advertise()
        assert promised <= half.edge < promised + 8, "what was promised is never taken back"
        take(half, start, min(500, promised - start))
        half.settle()
        assert half.sound
    assert half.advertise() <= 1
    half.read(promised)
    half.advertise()
    assert promised + WINDOW <= half.edge < promised + WINDOW + 8


def test_the_buffer_does_not_grow_while_memory_is_short() -> None:
    half = _Receive(window=WINDOW, memory=32768)
    half.set_limit_max(16 * WINDOW)
    take(half, 2001, 100)
    half.took(WINDOW // 2, SECOND_NS)
    assert half.limit == 2 * WINDOW, "half of the memory is free"
    half.set_memory(32767)
    half.took(2 * WINDOW, SECOND_NS)
    assert half.limit == 2 * WINDOW


# -- memory -----------------------------------------------------------------------------------------------------------


def test_without_memory_it_is_as_if_nothing_had_come() -> None:
    half = _Receive(memory=0)
    assert take(half, 101, 100) == "tcp.no_memory"
    assert half.islands == 0
    assert take(half, 1, 100) == "ok"
    assert not half.settle(30), "the host took thirty bytes, the rest cannot be kept"
    assert half.nxt == 31
    assert half.sound


segments = st.tuples(st.integers(-200, 300), st.integers(0, 400), st.booleans())


class Machine(RuleBasedStateMachine):
    """Batches of segments against a model: which numbers have come."""

    def __init__(self) -> None:
        super().__init__()
        self.half = _Receive(isn=0xFFFFFF00, window=WINDOW)
        self.come: set[int] = set()
        self.read = 1  # next number for the host
        self.fin: int | None = None
        self.early: int | None = None  # where a FIN is that came before its turn

    @property
    def nxt(self) -> int:
        """As the model has it, without the FIN."""
        at = self.read
        while at in self.come:
            at += 1
        return at

    @rule(batch=st.lists(segments, min_size=1, max_size=6), share=st.floats(0, 1))
    def batch(self, batch: list[tuple[int, int, bool]], share: float) -> None:
        """Segments of one batch; then the host takes a part of what lies in them, if nothing older waits for it."""
        waited = self.nxt > self.read
        for offset, length, fin in batch:
            self.segment(max(1, self.nxt + offset), length, fin)
        pending = self.half.pending()
        taken = 0 if waited else int(len(pending) * share)
        assert waited or pending == piece(self.read, len(pending))
        assert self.half.settle(taken)
        self.read += taken

    def segment(self, start: int, length: int, fin: bool) -> None:
        end, edge, in_order = start + length, self.half.edge, start <= self.nxt
        if not self.half.acceptable(start, length + fin):
            return
        if self.fin is not None and (end > self.fin or (fin and end != self.fin)):
            return  # an honest guest has nothing behind its FIN
        if fin and end <= max(self.come, default=0):
            return  # and its FIN is behind its data
        if self.early is not None and (end > self.early or (fin and end != self.early)):
            return
        outcome = take(self.half, start, length, fin)
        assert outcome in {"ok", "tcp.out_of_order", "tcp.duplicate"}, outcome
        self.come |= set(range(max(start, self.read), min(end, edge)))
        if fin and not in_order and end <= edge:
            self.early = end
        if (fin and in_order and self.nxt == end <= edge) or (self.early is not None and self.nxt == self.early):
            self.fin = self.nxt

    @rule(most=st.integers(1, 1000))
    def host_reads(self, most: int) -> None:
        data = self.half.read(most)
        assert data == piece(self.read, len(data))
        assert len(data) == min(most, self.nxt - self.read)
        self.read += len(data)

    @precondition(lambda self: self.fin is None)
    @rule()
    def advertise(self) -> None:
        self.half.advertise()

    @invariant()
    def agrees(self) -> None:
        assert self.half.nxt == self.nxt + (self.fin is not None and self.nxt == self.fin)
        assert self.half.sound
        assert self.half.used_bytes > 0 or self.nxt == self.read
        for index, (start, end) in enumerate(self.half.sack_blocks()):
            assert self.nxt < start or (index == 0 and end <= self.half.nxt), "only what came twice is below RCV.NXT"
            assert end <= self.half.nxt or self.come.issuperset(range(start, end))


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=200, stateful_step_count=20, deadline=None)
