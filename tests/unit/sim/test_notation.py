"""Text to statements, and what is no statement."""

from __future__ import annotations

import pytest

from pyslirp.sim.notation import Action, IcmpError, NotationError, Packet, Statement, WantedOptions, When, parse


def one(line: str) -> Statement:
    (statement,) = parse(line).statements
    return statement


def packet(line: str) -> Packet:
    what = one(line).what
    assert isinstance(what, Packet)
    return what


def test_a_segment_with_everything() -> None:
    found = packet(
        "+0 < .PF 5:8(3) ack 2 win 10 urg 1 <mss 9,nop,wscale 7,sackOK,TS val 3 ecr 4,sack 1:2 5:6,raw fe02>"
    )
    options = WantedOptions(False, 9, 7, True, (3, 4), ((1, 2), (5, 6)), b"\xfe\x02")
    assert found == Packet(True, "FP.", 5, 3, 2, 10, 1, options)


def test_what_is_absent_is_not_zero() -> None:
    found = packet("+0 > S 0:0(0)")
    assert found == Packet(False, "S", 0, 0, None, None, 0, WantedOptions())
    assert packet("+0 > S 0:0(0) <...>").options.any
    assert packet("+0 > S 0:0(0) <TS val * ecr 4>").options.timestamps == (None, 4)
    assert packet("+0 > - 0:0(0)").flags == ""


@pytest.mark.parametrize(
    ("written", "when"),
    [
        ("+1.5", When("+", 1_500_000_000, 1_500_000_000)),
        ("@.04", When("@", 40_000_000, 40_000_000)),
        ("+1~+2", When("+", 1_000_000_000, 2_000_000_000)),
        ("+1~2", When("+", 1_000_000_000, 2_000_000_000)),
        ("*", When("*")),
    ],
)
def test_times(written: str, when: When) -> None:
    assert one(f"{written} > . 1:1(0) ack 1").when == when


def test_words_and_icmp() -> None:
    assert one("+0 > icmp unreachable port").what == IcmpError("unreachable", "port")
    assert one('+0 expect closed "reset by guest"').what == Action("expect", ("closed", "reset by guest"))


def test_settings_comments_and_lines() -> None:
    script = parse("// why\n\nset mtu 576  // small\nset guest 10.0.2.15:1\n+0 serve // now\n", "name")
    assert script.name == "name"
    assert script.settings == {"mtu": "576", "guest": "10.0.2.15:1"}
    assert [(statement.line, statement.text) for statement in script.statements] == [(5, "+0 serve")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("serve", "a statement begins with"),
        ("* serve", "unknown time"),
        ("+0~1 < . 1:1(0) ack 1 win 1", "unknown time"),
        ("+0 > S 0:0", "no segment"),
        ("+0 > . 1:5(3) ack 1", "1:5 is not 3 bytes"),
        ("+0 > . 1:1(0)", "go together"),
        ("+0 > S 1:1(0) ack 1", "go together"),
        ("+0 < S 0:0(0)", "needs a window"),
        ("+0 > S 0:0(0) <colour 3>", "no option colour"),
        ("+0 serve\nset mtu 9", "before the first statement"),
    ],
)
def test_what_is_no_statement_is_refused_with_its_line(line: str, reason: str) -> None:
    number = 2 + line.count("\n")
    with pytest.raises(NotationError, match=f"^wrong:{number}: .*{reason}"):
        parse(f"// a comment\n{line}", "wrong")


def test_a_reset_of_the_guest_needs_no_window() -> None:
    assert packet("+0 < R 1:1(0)").window is None
