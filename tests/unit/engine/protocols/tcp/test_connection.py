"""One connection in each of its states: what each event and each kind of segment does to it.  (Exchanges with times are
scripts, under tests/tcp/scripts.)"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyslirp.engine.core import core as engine
from pyslirp.engine.protocols.tcp.state import transitions
from pyslirp.sim.apps import pattern
from pyslirp.sim.clock import SECOND_NS
from pyslirp.sim.segment import Options, Segment, build_frame
from tests.tcp.bench import GUEST_ISN, Bench, Conversation

TABLE = transitions()


def finish(flow: Conversation) -> None:
    flow.bench.core.stream_finish(flow.handle)
    flow.bench.core.run(flow.bench.now)
    flow.bench.taken()


def held() -> Conversation:
    return Bench().offered()


def syn_rcvd() -> Conversation:
    flow = Bench().offered()
    flow.bench.core.serve(flow.handle, 0, flow.bench.now)
    flow.bench.core.run(flow.bench.now)
    (syn_ack,) = flow.bench.taken()
    flow.engine_isn = syn_ack.seq
    return flow


def established() -> Conversation:
    return Bench().established()


def fin_wait_1() -> Conversation:
    flow = established()
    finish(flow)
    return flow


def fin_wait_2() -> Conversation:
    return Bench().fin_wait_2()


def closing() -> Conversation:
    flow = fin_wait_1()
    flow.send("F.", 1)
    return flow


def time_wait() -> Conversation:
    return Bench().time_wait()


def close_wait() -> Conversation:
    return Bench().close_wait()


def last_ack() -> Conversation:
    flow = close_wait()
    finish(flow)
    return flow


BUILDERS: dict[str, Callable[[], Conversation]] = {
    "HELD": held,
    "SYN_RCVD": syn_rcvd,
    "ESTABLISHED": established,
    "FIN_WAIT_1": fin_wait_1,
    "FIN_WAIT_2": fin_wait_2,
    "CLOSING": closing,
    "TIME_WAIT": time_wait,
    "CLOSE_WAIT": close_wait,
    "LAST_ACK": last_ack,
}
OUR_FIN = {"FIN_WAIT_1", "CLOSING", "LAST_ACK", "FIN_WAIT_2", "TIME_WAIT"}
ACKED_FIN = {"FIN_WAIT_2", "TIME_WAIT"}
THEIR_FIN = {"CLOSING", "TIME_WAIT", "CLOSE_WAIT", "LAST_ACK"}


def next_seq(state: str) -> int:
    """The guest's next number."""
    return 2 if state in THEIR_FIN else 1


def known_ack(state: str) -> int:
    """What the guest has acknowledged so far."""
    return 2 if state in ACKED_FIN else 1


def state_of(flow: Conversation) -> str:
    """Where it is now; CLOSED where it is gone."""
    handles = [shown["flow"] for shown in flow.bench.core.flows()]
    return flow.state if flow.handle in handles else "CLOSED"


@pytest.mark.parametrize("state", BUILDERS)
def test_the_builders_build_what_they_say(state: str) -> None:
    flow = BUILDERS[state]()
    assert flow.state == state
    assert flow.bench.core._unsound() == []


# -- events -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2"])
def test_the_guest_s_fin(state: str) -> None:
    flow = BUILDERS[state]()
    flow.send("F.", 1, ack=known_ack(state))
    assert flow.state == TABLE[state, "FIN"]


@pytest.mark.parametrize("state", ["ESTABLISHED", "CLOSE_WAIT"])
def test_our_fin(state: str) -> None:
    flow = BUILDERS[state]()
    finish(flow)
    assert flow.state == TABLE[state, "CLOSE"]


@pytest.mark.parametrize("state", ["FIN_WAIT_1", "CLOSING", "LAST_ACK"])
def test_the_ack_of_our_fin(state: str) -> None:
    flow = BUILDERS[state]()
    flow.send(".", next_seq(state), ack=2)
    assert state_of(flow) == TABLE[state, "ACK_OF_FIN"]


def test_a_finish_before_the_handshake_is_done_waits_for_it() -> None:
    flow = syn_rcvd()
    finish(flow)
    assert flow.state == "SYN_RCVD"
    sent = flow.send(".", 1)
    assert [segment.flags for segment in sent] == ["F."]
    assert flow.state == "FIN_WAIT_1"


def test_time_wait_ends() -> None:
    flow = time_wait()
    flow.bench.wait(10 * SECOND_NS)
    assert state_of(flow) == "CLOSED"


# -- resets: RFC 9293 3.10.7.4 with RFC 5961 3.2 -----------------------------------------------------------------------


@pytest.mark.parametrize("state", BUILDERS)
def test_a_reset_with_the_right_number_ends_it(state: str) -> None:
    flow = BUILDERS[state]()
    assert flow.send("R", next_seq(state)) == []
    assert state_of(flow) == "CLOSED"
    (closed,) = [punt for punt in flow.bench.events() if punt[0] == engine.KIND_CLOSED]
    clean = state in {"CLOSING", "LAST_ACK", "TIME_WAIT"}
    assert engine.REASONS[closed[4]] == ("closed" if clean else "reset by guest")


@pytest.mark.parametrize("offset", [-1000, -1, 1, 1000, 65534, 65536, 1 << 30])
@pytest.mark.parametrize("state", [name for name in BUILDERS if name != "HELD"])
def test_a_reset_with_another_number_does_not(state: str, offset: int) -> None:
    flow = BUILDERS[state]()
    answer = flow.send("R", next_seq(state) + offset)
    assert [segment.flags for segment in answer] in ([], ["."])
    assert flow.state == state


@pytest.mark.parametrize("offset", [-1000, 0, 1000, 1 << 30])
@pytest.mark.parametrize("state", [name for name in BUILDERS if name not in {"HELD", "SYN_RCVD", "TIME_WAIT"}])
def test_a_syn_changes_nothing(state: str, offset: int) -> None:
    """RFC 5961 4.2: it is answered by an ACK, and a real peer then resets."""
    flow = BUILDERS[state]()
    (answer,) = flow.send("S", next_seq(state) + offset)
    assert (answer.flags, answer.ack) == (".", (GUEST_ISN + next_seq(state)) % 2**32)
    assert flow.state == state


# -- whatever a guest sends -------------------------------------------------------------------------------------------

numbers = st.one_of(st.integers(-3, 5), st.integers(-70_000, 70_000), st.integers(0, 2**32 - 1))
segments = st.tuples(
    st.sets(st.sampled_from("FSRP.U"), max_size=4),
    numbers,
    numbers,
    st.sampled_from([0, 1, 100, 65535]),
    st.sampled_from([0, 0, 1, 700, 1400]),
    st.sampled_from(
        [b"", b"\x08\x0a" + bytes(8), b"\x05\x0a" + bytes(8), b"\x02\x04\x00\x00", b"\x08\x00", b"\xfe\x28"]
    ),
)


@settings(max_examples=150)
@given(st.sampled_from(sorted(BUILDERS)), st.lists(segments, min_size=1, max_size=12))
def test_no_segments_break_it(state: str, sent: list[tuple[set[str], int, int, int, int, bytes]]) -> None:
    """It stays sound, it says little to what it is told (no storm), and no reset answers a reset."""
    flow = BUILDERS[state]()
    if state in {"ESTABLISHED", "CLOSE_WAIT"}:
        flow.bench.core.stream_write(flow.handle, pattern(2, 5000))
    flow.bench.core.run(flow.bench.now)
    flow.bench.taken()
    for letters, seq, ack, window, length, options in sent:
        flags = "".join(letter for letter in "FSRP.U" if letter in letters)
        segment = Segment(flags, seq + GUEST_ISN, ack + flow.engine_isn, window, bytes(length), 0, Options(raw=options))
        answers = flow.bench.deliver(build_frame(segment, flow.way))
        assert flow.bench.core._unsound() == []
        assert len(answers) <= 6, "an acknowledgment, and the data that it lets go"
        if "R" in flags:
            assert not [answer for answer in answers if "R" in answer.flags]
        flow.bench.now += SECOND_NS // 10
    flow.bench.wait(20_000 * SECOND_NS)
    memory = flow.bench.core.memory()
    assert memory["flows"] <= 1 + len(sent)
