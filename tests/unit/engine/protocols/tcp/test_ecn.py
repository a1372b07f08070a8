from __future__ import annotations

import pytest

from pyslirp.engine.protocols.tcp.ecn import _Ecn

SYN, ACK, ECE, CWR = 0x02, 0x10, 0x40, 0x80
NOT_CAPABLE, CAPABLE, MARKED = 0, 2, 3


def agreed(*, heeds: bool = True) -> _Ecn:
    """The guest has asked, and we have said yes."""
    ecn = _Ecn()
    assert ecn.heard_syn(SYN | ECE | CWR)
    assert ecn.established(heeds) == heeds
    return ecn


# -- the handshake ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0, ECE, CWR])
def test_only_both_flags_ask(flags: int) -> None:
    ecn = _Ecn()
    assert not ecn.heard_syn(SYN | flags)
    assert ecn.syn_flags(answering=True) == 0


def test_yes_is_ece_alone_and_said_as_often_as_asked() -> None:
    ecn = _Ecn()
    ecn.heard_syn(SYN | ECE | CWR)
    assert ecn.syn_flags(answering=True) == ECE
    assert ecn.syn_flags(answering=True, repeated=True) == ECE
    assert not ecn.heard_syn(SYN), "the guest takes it back"
    assert ecn.syn_flags(answering=True, repeated=True) == 0


@pytest.mark.parametrize(("flags", "yes"), [(0, False), (ECE, True), (CWR, False), (ECE | CWR, False)])
def test_only_ece_alone_says_yes_to_us(flags: int, yes: bool) -> None:
    ecn = _Ecn(asks=True)
    assert ecn.syn_flags() == ECE | CWR
    assert ecn.heard_syn(SYN | ACK | flags) is yes
    assert ecn.established() is yes


def test_a_yes_that_was_not_asked_for_is_none() -> None:
    ecn = _Ecn()
    assert ecn.syn_flags() == 0
    assert not ecn.heard_syn(SYN | ACK | ECE)


def test_after_a_syn_that_did_not_ask_nothing_is_capable() -> None:
    ecn = _Ecn(asks=True)
    ecn.syn_flags()
    assert ecn.syn_flags(repeated=True) == 0
    assert ecn.heard_syn(SYN | ACK | ECE), "what the guest sends may be marked all the same"
    assert not ecn.established()
    ecn.received(0, MARKED, 1)
    assert ecn.flags(True) == (ECE, NOT_CAPABLE)


# -- receiver ---------------------------------------------------------------------------------------------------------


def test_a_mark_is_echoed_until_cwr() -> None:
    ecn = agreed()
    ecn.received(0, CAPABLE, 100)
    assert ecn.flags(False) == (0, NOT_CAPABLE)
    ecn.received(0, 0xB8 | MARKED, 100)  # with a DSCP
    assert ecn.flags(False) == (ECE, NOT_CAPABLE)
    ecn.received(0, CAPABLE, 100)
    assert ecn.flags(False) == (ECE, NOT_CAPABLE)
    ecn.received(CWR, MARKED, 100)
    assert ecn.flags(False) == (ECE, NOT_CAPABLE), "its CWR is about earlier marks than its own"
    ecn.received(CWR, CAPABLE, 100)
    assert ecn.flags(False) == (0, NOT_CAPABLE)


def test_a_mark_on_no_data_is_nobodys() -> None:
    ecn = agreed()
    ecn.received(0, MARKED, 0)
    assert ecn.flags(False) == (0, NOT_CAPABLE)


def test_without_agreement_marks_and_echoes_are_nothing() -> None:
    ecn = _Ecn()
    ecn.heard_syn(SYN)
    ecn.established()
    ecn.received(0, MARKED, 100)
    assert ecn.flags(True) == (0, NOT_CAPABLE)
    assert not ecn.told(ACK | ECE, 1000)


# -- sender -----------------------------------------------------------------------------------------------------------


def test_new_data_are_capable_and_nothing_else_is() -> None:
    ecn = agreed()
    assert ecn.flags(True) == (0, CAPABLE)
    assert ecn.flags(False) == (0, NOT_CAPABLE)


def test_a_controller_that_does_not_heed_marks_sends_nothing_as_capable() -> None:
    assert agreed(heeds=False).flags(True) == (0, NOT_CAPABLE)


def test_once_a_window() -> None:
    ecn = agreed()
    assert ecn.told(ACK | ECE, 1000)
    assert not ecn.told(ACK, 1000)
    ecn.reduced(5000, marked=True)
    assert not ecn.told(ACK | ECE, 5000), "all of that had left before"
    assert ecn.told(ACK | ECE, 5001)


@pytest.mark.parametrize("marked", [True, False])
def test_whatever_reduced_the_window_is_told_by_cwr_on_new_data(marked: bool) -> None:
    ecn = agreed()
    ecn.reduced(5000, marked)
    assert ecn.flags(False) == (0, NOT_CAPABLE)
    assert ecn.flags(True) == (CWR, CAPABLE)


def test_without_capable_data_only_an_echo_is_answered() -> None:
    ecn = agreed(heeds=False)
    ecn.reduced(5000, marked=False)
    assert ecn.flags(True) == (0, NOT_CAPABLE)
    ecn.reduced(5000, marked=True)
    assert ecn.flags(True) == (CWR, NOT_CAPABLE)
