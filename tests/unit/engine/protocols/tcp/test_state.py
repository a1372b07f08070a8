from __future__ import annotations

import pytest

from pyslirp.engine.protocols.tcp.state import EVENTS, NAMES, transitions

TABLE = transitions()

# RFC 9293 section 3.3.2, figure 5, in its words; HELD and its two events are ours.
RFC = {
    ("CLOSED", "CONNECT"): "SYN_SENT",
    ("SYN_SENT", "SYN"): "SYN_RCVD",
    ("SYN_SENT", "SYN_ACK"): "ESTABLISHED",
    ("SYN_RCVD", "ACK_OF_SYN"): "ESTABLISHED",
    ("SYN_RCVD", "CLOSE"): "FIN_WAIT_1",
    ("ESTABLISHED", "CLOSE"): "FIN_WAIT_1",
    ("ESTABLISHED", "FIN"): "CLOSE_WAIT",
    ("FIN_WAIT_1", "ACK_OF_FIN"): "FIN_WAIT_2",
    ("FIN_WAIT_1", "FIN"): "CLOSING",
    ("FIN_WAIT_2", "FIN"): "TIME_WAIT",
    ("CLOSE_WAIT", "CLOSE"): "LAST_ACK",
    ("CLOSING", "ACK_OF_FIN"): "TIME_WAIT",
    ("LAST_ACK", "ACK_OF_FIN"): "CLOSED",
    ("TIME_WAIT", "2MSL"): "CLOSED",
}
OURS = {
    ("CLOSED", "HOLD"): "HELD",
    ("HELD", "HOST_CONNECTED"): "SYN_RCVD",
    ("SYN_RCVD", "SYN_ACK"): "ESTABLISHED",  # the second half of a simultaneous open
}


def test_the_table_is_the_figure() -> None:
    assert {edge: after for edge, after in TABLE.items() if edge[1] != "ABORT"} == RFC | OURS


@pytest.mark.parametrize("state", [name for name in NAMES if name != "CLOSED"])
def test_every_state_can_be_aborted(state: str) -> None:
    assert TABLE[state, "ABORT"] == "CLOSED"


def test_every_state_is_reached_and_left() -> None:
    reached = {"CLOSED"}
    while more := {after for (state, _), after in TABLE.items() if state in reached} - reached:
        reached |= more
    assert reached == set(NAMES)
    assert {state for state, event in TABLE if event != "ABORT"} == set(NAMES)


def test_every_event_has_a_row() -> None:
    assert {event for _, event in TABLE} == set(EVENTS)
