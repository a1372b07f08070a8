from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyslirp.engine.protocols.tcp.scoreboard import _Scoreboard

MSS = 1000


def sent(segments: int) -> _Scoreboard:
    """So many segments in flight, each sent at a time of its own (1, 2, ...)."""
    board = _Scoreboard(MSS)
    for number in range(segments):
        assert board.sent(MSS, number + 1)
    return board


def words(board: _Scoreboard) -> list[str]:
    return [word for _, _, word in board.conditions()]


# -- records ----------------------------------------------------------------------------------------------------------


def test_what_leaves_at_one_instant_is_one_record_of_up_to_64_kib() -> None:
    board = _Scoreboard(MSS)
    for _ in range(70):
        board.sent(MSS, 5)
    board.sent(MSS, 6)
    assert board.conditions() == [(1, 65_001, "flight"), (65_001, 70_001, "flight"), (70_001, 71_001, "flight")]
    assert board.flight == 71 * MSS


def test_the_youngest_gives_the_sample_unless_something_was_repeated() -> None:
    board = sent(4)
    assert board.acked(2001, 50) == (48, 0)
    board.lose_first()
    assert board.repeat(60) == (2001, 3001)
    assert board.acked(4001, 90) == (0, 60), "Karn; and when the repetition had left, for its timestamp to be asked"
    assert board.conditions() == []
    assert board.sound


def test_an_ack_inside_a_record_takes_its_part_of_every_sum() -> None:
    board = sent(3)
    board.sacked(1001, 2001)
    board.lose_all()
    board.acked(501, 9)
    assert board.conditions() == [(501, 1001, "lost"), (1001, 2001, "sacked"), (2001, 3001, "lost")]
    board.acked(1501, 9)
    assert board.conditions() == [(1501, 2001, "sacked"), (2001, 3001, "lost")]
    assert board.sound
    assert board.delivered == 2000, "each number once"


def test_room_for_records_ends_and_new_ones_leave_half_of_it_to_repairs() -> None:
    board = _Scoreboard(10)
    now = 1
    while board.sent(10, now):
        now += 1
    assert len(board.conditions()) == 32768
    for start in range(1, 1001, 10):
        assert board.sacked(start + 3, start + 6) == 3, "each splits a record in three"
    assert board.sound


# -- SACK -------------------------------------------------------------------------------------------------------------


def test_blocks_mark_what_they_cover_and_no_more() -> None:
    board = sent(3)
    assert board.sacked(1501, 2501) == 1000
    assert board.conditions() == [
        (1, 1001, "flight"),
        (1001, 1501, "flight"),
        (1501, 2501, "sacked"),
        (2501, 3001, "flight"),
    ]
    assert board.sacked(1501, 2501) == 0
    assert board.flight == 2000


@given(st.integers(0, 15_000), st.integers(0, 15_000))
def test_blocks_that_make_no_sense_mark_nothing(start: int, end: int) -> None:
    board = sent(5)
    board.acked(1001, 9)
    assert board.sacked(start, end) == (end - start if 1001 <= start < end <= 5001 else 0)
    assert board.sound


def test_blocks_mark_nothing_where_nothing_is_in_flight() -> None:
    board = sent(1)
    board.acked(1001, 9)
    assert board.sacked(1, 1001) == 0
    assert board.sacked(1001, 2001) == 0
    assert board.delivered == 1000


def test_what_was_sacked_stays_one_record() -> None:
    board = _Scoreboard(MSS)
    for _ in range(50):
        board.sent(MSS, 1)
    for segment in range(1, 40):
        board.sacked(1001, 1001 + segment * MSS, now=50)
    assert board.conditions() == [(1, 1001, "flight"), (1001, 40001, "sacked"), (40001, 50001, "flight")]
    assert board.delivered == 39 * MSS


# -- losses -----------------------------------------------------------------------------------------------------------


def test_lost_is_what_was_sent_before_what_has_arrived() -> None:
    """RFC 8985 6.2 step 5; segments were sent at 1, 2, ... 8, and a round trip takes 100."""
    board = sent(8)
    board.sacked(3001, 5001, now=105)
    assert board.find_losses(105, window=10) == (0, 1 + 100 + 10)
    assert board.find_losses(112, window=10) == (2000, 3 + 100 + 10)
    assert words(board) == ["lost"] * 2 + ["flight", "sacked", "sacked"] + ["flight"] * 3
    assert board.find_losses(112) == (1000, None), "without a window"
    assert board.find_losses(112) == (0, None), "no more than before"


def test_one_segment_is_the_first_and_not_its_whole_record() -> None:
    board = _Scoreboard(MSS)
    for _ in range(3):
        board.sent(MSS, 1)
    assert board.lose_first() == MSS
    assert board.conditions() == [(1, 1001, "lost"), (1001, 3001, "flight")]
    assert board.lose_first() == 0, "it is lost already"
    assert board.repeat_now
    assert board.repeat(9) == (1, 1001)
    assert not board.repeat_now, "one, and what follows waits for the window"


def test_a_probe_is_the_last_that_is_not_sacked() -> None:
    board = _Scoreboard(MSS)
    for _ in range(3):
        board.sent(MSS, 1)
    board.sacked(2501, 3001, 9)
    board.lose_last()
    assert board.conditions() == [(1, 1501, "flight"), (1501, 2501, "lost"), (2501, 3001, "sacked")]
    board.sacked(1, 2501, 9)
    board.lose_last()
    assert words(board) == ["sacked"] * len(words(board)), "nothing to probe with"


def test_a_timeout_takes_what_is_late_and_the_first_in_any_case() -> None:
    """RFC 8985 6.3."""
    board = sent(2)
    board.acked(1001, 101)
    board.sent(MSS, 200)
    board.lose_late(150, window=1000)
    assert words(board) == ["lost", "flight"], "nothing is late; the first goes all the same"
    board.lose_late(1299, window=1000)
    assert words(board) == ["lost", "flight"], "200 + a round trip of 100 + 1000 is not yet over"
    board.lose_late(1300, window=1000)
    assert words(board) == ["lost", "lost"]
    board.lose_none()
    assert words(board) == ["flight", "flight"]
    assert board.sound


def test_a_timeout_believes_no_more_where_the_guest_has_reneged() -> None:
    """RFC 2018 8: an ACK that ends where sacked data begin."""
    board = sent(4)
    board.sacked(1001, 4001)
    board.acked(1001, 9)
    board.lose_all()
    assert words(board) == ["lost"] * 3
    assert board.sound


@given(st.data())
def test_records_and_sums_agree_whatever_is_done(data: st.DataObject) -> None:
    board = _Scoreboard(MSS)
    una, nxt = 1, 1
    for now in range(1, data.draw(st.integers(1, 40)) + 1):
        step = data.draw(
            st.sampled_from(["sent", "repeat", "acked", "sacked", "find", "first", "late", "last", "none", "all"])
        )
        if step == "sent":
            length = data.draw(st.integers(1, 3 * MSS))
            board.sent(length, now // 2)
            nxt += length
        elif step == "acked" and una < nxt:
            una = data.draw(st.integers(una + 1, nxt))
            board.acked(una, now)
        elif step == "sacked":
            start = data.draw(st.integers(1, nxt))
            board.sacked(start, start + data.draw(st.integers(0, 5 * MSS)), now)
        elif step == "repeat":
            board.repeat(now, data.draw(st.integers(1, 2 * MSS)))
        elif step == "find":
            board.find_losses(now, data.draw(st.integers(0, 5)))
        elif step == "late":
            board.lose_late(now, data.draw(st.integers(0, 5)))
        elif step in {"first", "last", "none", "all"}:
            getattr(board, f"lose_{step}")()
        assert board.sound, step
        assert board.flight == sum(e - s for s, e, word in board.conditions() if word in {"flight", "again"})
