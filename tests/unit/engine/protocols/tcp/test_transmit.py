from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyslirp.engine.protocols.tcp.transmit import _Send

MSS = 1000
WIDE = 1 << 30  # a window that does not matter


def sent(segments: int, *, window: int = WIDE) -> _Send:
    """So many segments in flight, each sent at a time of its own (1, 2, ...)."""
    half = _Send(MSS, window)
    half.write(bytes(segments * MSS))
    for number in range(segments):
        assert half.send(WIDE, number + 1) == (1 + number * MSS, MSS, False, False)
    return half


def words(half: _Send) -> list[str]:
    return [word for _, _, word in half.conditions()]


# -- what goes next ---------------------------------------------------------------------------------------------------


def test_whole_segments_within_the_windows() -> None:
    half = _Send(MSS, 2500)
    half.write(bytes(5000))
    assert half.send(WIDE, 1) == (1, 1000, False, False)
    assert half.send(WIDE, 1) == (1001, 1000, False, False)
    assert half.send(WIDE, 1) is None, "500 bytes of window: less than a segment, less than half of the largest window"
    assert half.send(WIDE, 1, force=True) == (2001, 500, False, False)


def test_half_of_the_largest_window_will_do() -> None:
    half = _Send(MSS, 800)
    half.write(bytes(5000))
    assert half.send(WIDE, 1) == (1, 800, False, False)  # RFC 9293 3.8.6.2.1 (3)


def test_the_last_of_the_data_needs_no_whole_segment() -> None:
    half = _Send(MSS)
    half.write(bytes(1300))
    half.finish()
    assert half.send(WIDE, 1) == (1, 1000, False, False)
    assert half.send(WIDE, 1) == (1001, 300, True, False)
    assert half.send(WIDE, 1) is None


def test_a_fin_that_the_window_has_no_number_for_waits() -> None:
    half = _Send(MSS, 1000)
    half.write(bytes(1000))
    half.finish()
    assert half.send(WIDE, 1) == (1, 1000, False, False)
    assert half.send(WIDE, 1) is None
    half.acknowledged(1001, 2)
    assert half.send(WIDE, 2) == (1001, 0, True, False)
    assert half.acknowledged(1002, 3) == (1, 1, True)


@given(st.integers(1, 20_000), st.integers(0, 30_000), st.integers(1, 10))
def test_the_congestion_window_bounds_the_flight(cwnd: int, amount: int, segments: int) -> None:
    half = _Send(MSS)
    half.write(bytes(amount))
    while half.send(max(cwnd, MSS), 1, most=segments * MSS) is not None:
        pass
    assert half.flight <= max(cwnd, MSS)
    assert half.sound


# -- acknowledgments --------------------------------------------------------------------------------------------------


def test_the_youngest_gives_the_sample() -> None:
    half = sent(3)
    assert half.acknowledged(2001, 50) == (2000, 48, False)
    assert half.una == 2001
    half.acknowledged(3001, 60)
    assert half.used_bytes == 0, "nothing in flight, nothing held"


def test_what_was_repeated_gives_none() -> None:
    half = sent(3)
    half.lose_first()
    assert half.send(WIDE, 40) == (1, 1000, False, True)
    assert half.acknowledged(3001, 50) == (3000, 0, False), "Karn; and what lay above the hole has waited for it"


def test_an_ack_at_the_time_of_sending_is_a_sample() -> None:
    half = _Send(MSS)
    half.write(bytes(10))
    half.send(WIDE, 7)
    assert half.acknowledged(11, 7) == (10, 1, False)


def test_an_ack_inside_a_segment() -> None:
    half = sent(2)
    half.acknowledged(501, 9)
    assert half.conditions() == [(501, 1001, "flight"), (1001, 2001, "flight")]
    assert half.sound


# -- SACK -------------------------------------------------------------------------------------------------------------


def test_a_lost_repetition_is_lost_again() -> None:
    half = sent(5)
    half.sacked(1001, 3001, now=103)
    assert half.find_losses(103)[0] == 1000
    half.send(WIDE, 110)
    assert half.find_losses(110) == (0, None)
    half.write(bytes(MSS))
    half.send(WIDE, 120)
    half.sacked(5001, 6001, now=220)
    assert half.find_losses(220)[0] == 3000, "it was sent before what has arrived, and so were the fourth and fifth"
    assert words(half)[0] == "lost"


# -- repeating --------------------------------------------------------------------------------------------------------


def test_what_is_lost_goes_before_what_is_new() -> None:
    half = sent(3)
    half.write(bytes(MSS))
    half.lose_first()
    assert half.send(WIDE, 9) == (1, 1000, False, True)
    assert half.send(WIDE, 9) == (3001, 1000, False, False)


def test_the_first_repetition_waits_for_no_window() -> None:
    half = sent(10)
    half.lose_first()
    assert half.send(MSS, 20) == (1, 1000, False, True)
    assert half.send(MSS, 20) is None


def test_a_timeout_loses_all_but_what_is_sacked() -> None:
    half = sent(4)
    half.sacked(2001, 3001)
    half.lose_all()
    assert words(half) == ["lost", "lost", "sacked", "lost"]
    assert half.send(MSS, 9) == (1, 1000, False, True)
    assert half.send(MSS, 9) is None, "one segment"


def test_a_timeout_loses_the_first_and_what_is_late() -> None:
    """RFC 8985 6.3: what was sent a moment ago is not lost because the first is."""
    half = sent(4)
    half.acknowledged(1001, 101)
    half.write(bytes(MSS))
    half.send(WIDE, 200)
    half.lose_late(250, window=10)
    assert words(half) == ["lost", "lost", "lost", "flight"]
    half.lose_none()
    assert words(half) == ["flight"] * 4
    assert half.flight == 4 * MSS


def test_the_last_segment_is_the_probe() -> None:
    half = sent(3)
    half.sacked(2501, 3001, 9)
    half.lose_last()
    assert words(half) == ["flight", "flight", "lost", "sacked"]
    assert half.send(MSS, 9) == (2001, 500, False, True), "whatever the window"


def test_a_duplicate_ack_is_a_segment_less_in_flight() -> None:
    half = sent(5)
    half.guess(2 * MSS)
    assert half.flight == 3 * MSS
    half.acknowledged(2001, 9)
    assert half.flight == 2 * MSS, "one was a repetition, and one the duplicate told of"
    half.acknowledged(5001, 10)
    assert half.flight == 0
    assert half.sound


def test_a_repetition_may_be_shorter_than_what_was_sent() -> None:
    half = sent(2)
    half.lose_all()
    assert half.send(WIDE, 9, most=600) == (1, 600, False, True)
    assert half.send(WIDE, 9, most=600) == (601, 400, False, True)
    assert half.sound


class Machine(RuleBasedStateMachine):
    """Against a model: the condition of every number in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.half = _Send(MSS)
        self.written = 0
        self.now = 1
        self.model: dict[int, str] = {}
        self.when: dict[int, int] = {}
        self.youngest = 0
        self.delivered = 0
        self.fin = False

    @rule(length=st.integers(1, 5000))
    def write(self, length: int) -> None:
        if not self.fin:
            self.half.write(bytes(length))
            self.written += length

    @rule()
    def finish(self) -> None:
        self.fin = True
        self.half.finish()

    @rule(cwnd=st.integers(MSS, 20 * MSS), most=st.sampled_from([64, 964, 1000, 5000]), later=st.booleans())
    def send(self, cwnd: int, most: int, later: bool) -> None:
        self.now += later
        nxt = self.half.nxt
        lost = min((number for number, word in self.model.items() if word == "lost"), default=None)
        what = self.half.send(cwnd, self.now, most)
        if what is None:
            return
        seq, length, fin, again = what
        assert seq == (nxt if lost is None else lost)
        assert again == (lost is not None)
        assert length <= most
        assert length + fin > 0
        for number in range(seq, seq + length + fin):
            assert not again or self.model[number] == "lost"
            self.model[number] = "again" if again else "flight"
            self.when[number] = self.now

    @rule(share=st.floats(0, 1))
    def acknowledge(self, share: float) -> None:
        ack = self.half.una + round((self.half.nxt - self.half.una) * share)
        if ack > self.half.una:
            self.now += 1
            self._deliver([number for number in self.model if number < ack])
            acked, _, fin = self.half.acknowledged(ack, self.now)
            assert fin == (self.fin and ack == self.written + 2)
            gone = [number for number in self.model if number < ack]
            assert acked == len(gone)
            for number in gone:
                del self.model[number]

    @rule(start=st.floats(0, 1), length=st.integers(1, 4000))
    def sack(self, start: float, length: int) -> None:
        first = self.half.una + round((self.half.nxt - self.half.una) * start)
        last = min(first + length, self.half.nxt)
        covered = [number for number in range(first, last) if self.model[number] != "sacked"]
        self._deliver(covered)
        assert self.half.sacked(first, last, self.now) == len(covered)
        for number in covered:
            self.model[number] = "sacked"

    def _deliver(self, numbers: list[int]) -> None:
        for number in numbers:
            if self.model[number] != "sacked":
                self.delivered += 1
                if self.model[number] == "flight":
                    self.youngest = max(self.youngest, self.when[number])

    @rule()
    def find_losses(self) -> None:
        """With no window: all that was sent before the youngest that has arrived, and nothing that was sent after it.  (Of one
        instant, the order of numbers decides; of repetitions, what their round trip teaches.)"""
        before = dict(self.model)
        lost, _ = self.half.find_losses(self.now)
        for start, end, word in self.half.conditions():
            for number in range(start, end):
                self.model[number] = word
        new = [number for number, word in self.model.items() if word == "lost" and before[number] != "lost"]
        assert lost == len(new)
        assert all(before[number] in {"flight", "again"} for number in new)
        for number, word in self.model.items():
            assert word in {"lost", "sacked"} or self.when[number] >= self.youngest

    @rule()
    def time_out(self) -> None:
        reneged = self.model.get(self.half.una) == "sacked"
        for number, word in self.model.items():
            if word != "sacked" or reneged:
                self.model[number] = "lost"
        self.half.lose_all()

    @invariant()
    def agrees(self) -> None:
        assert self.half.sound
        found = {number: word for start, end, word in self.half.conditions() for number in range(start, end)}
        assert found == self.model
        assert self.half.delivered == self.delivered
        assert self.half.flight == sum(word in {"flight", "again"} for word in self.model.values())


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
