"""The runner holds the engine to its script: too many, too few, too late and other packets fail, with the line."""

from __future__ import annotations

import pytest

from pyslirp.sim.notation import parse
from pyslirp.sim.script import WRAPPING, Runner, ScriptError, Variation, run, versions

HANDSHAKE = """
+0    < S 0:0(0) win 65535 <mss 1460>
+0    expect offered
+0    serve
+0    > S. 0:0(0) ack 1 <mss 1460>
+0    < . 1:1(0) ack 1 win 65535
+0    expect connected
"""
ESTABLISHED = "set established win 65535 <mss 1460>\n"


@pytest.mark.parametrize("variation", [None, WRAPPING, Variation(0, 0xFFFFFFFF), Variation(version=6)])
def test_a_good_script_holds_wherever_the_numbers_lie(variation: Variation | None) -> None:
    talk = """
    +0 write 700
    +0 > P. 1:701(700) ack 1
    +0 < P. 1:701(700) ack 701 win 65535
    +0 > . 701:701(0) ack 701
    +0 read all = 700
    +0 expect state == ESTABLISHED
    +0 < R. 701:701(0) ack 701 win 0
    +0 expect closed "reset by guest"
    """
    run(parse(HANDSHAKE + talk), variation)


def test_a_variation_decides_the_engines_first_number() -> None:
    runner = Runner(parse("+0 open\n+0 > S 0:0(0) <...>\n"), Variation(engine_isn=0xFFFFFF00))
    runner.run()
    assert runner.engine_isn == 0xFFFFFF00


@pytest.mark.parametrize("setting", ["established", "opened"])
def test_a_handshake_can_be_a_setting(setting: str) -> None:
    run(parse(f"set {setting} win 500 <mss 1000>\n+0 write 3\n+0 > P. 1:4(3) ack 1\n+0 reset\n+0 > R. 4:4(0) ack 1"))


@pytest.mark.parametrize("version", [4, 6])
def test_a_denied_flow_is_answered_by_icmp(version: int) -> None:
    run(parse("+0 < S 0:0(0) win 1\n+0 deny host\n+0 > icmp unreachable host"), Variation(version=version))


@pytest.mark.parametrize("version", [4, 6])
def test_segments_are_as_large_over_both(version: int) -> None:
    told = "+0 write 1460\n+0 > P. 1:1461(1460) ack 1\n+0 < icmp unreachable too_big seq 1 mtu 1400\n"
    cut = "+0 > . 1:1361(1360) ack 1\n+0 > P. 1361:1461(100) ack 1"
    run(parse(ESTABLISHED + told + cut), Variation(version=version))


def test_a_script_holds_over_both_unless_it_says_otherwise() -> None:
    assert versions(parse("")) == (4, 6)
    assert versions(parse("set ip 6")) == (6,)


def test_a_star_waits_for_the_next_packet() -> None:
    run(
        parse(
            ESTABLISHED + "+0 write 5\n+0 > P. 1:6(5) ack 1\n* > P. 1:6(5) ack 1\n+0 expect tcp.rto == 1\n+0 reset\n"
            "+0 > R. 6:6(0) ack 1"
        )
    )


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("+0 write 5", "at its end the engine has sent"),
        ("+0 write 5\n+0 expect connected", "before that the engine has sent"),
        ("+1 > . 1:1(0) ack 1", "has sent nothing by then"),
        ("* > . 1:1(0) ack 1", "the engine sends nothing more|the engine has sent"),
        ("+0 write 5\n+1 > P. 1:6(5) ack 1", r"the next packet came \+0.000000 s"),
        ("+0 write 5\n+0 > P. 1:5(4) ack 1", r"> P\. 1:6\(5\) ack 1"),
        ("+0 write 5\n+0 > . 1:6(5) ack 1", r"> P\. 1:6\(5\) ack 1"),
        ("+0 write 5\n+0 > P. 1:6(5) ack 2", r"> P\. 1:6\(5\) ack 1"),
        ("+0 write 5\n+0 > P. 1:6(5) ack 1 win 1", r"> P\. 1:6\(5\) ack 1"),
        ("+0 write 5\n+0 > P. 1:6(5) ack 1 <sackOK>", r"> P\. 1:6\(5\) ack 1"),
        ("+0 write 5\n+0 > icmp unreachable port", r"> P\. 1:6\(5\) ack 1"),
        ("+0 write 5 = 4", "5 bytes were taken"),
        ("+0 read 5", "0 bytes were there"),
        ("+0 expect readable", "only these have happened"),
        ("+0 expect no connected\n+0 < R. 1:1(0) ack 1 win 0\n+0 expect no closed", "these have happened"),
        ("+0 < R. 1:1(0) ack 1 win 0\n+0 expect closed refused", "the reason was 'reset by guest'"),
        ("+0 expect state == LISTEN", "state is ESTABLISHED"),
        ("+0 dance", "no such word: dance"),
    ],
)
def test_what_differs_from_the_script_fails(lines: str, reason: str) -> None:
    with pytest.raises(ScriptError, match=reason):
        run(parse(ESTABLISHED + lines))


def test_a_failure_names_the_script_and_the_line() -> None:
    with pytest.raises(ScriptError, match=r"^mine:2: \+0 serve\n  there is no flow yet"):
        run(parse("// why\n+0 serve", "mine"))


def test_payload_is_checked_without_being_written() -> None:
    runner = Runner(parse(ESTABLISHED + "+0 write 5\n+0 > P. 1:6(5) ack 1\n"))
    runner.written = 16  # so that what is written is not what belongs here
    with pytest.raises(ScriptError, match="its payload is not the host's stream"):
        runner.run()


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ScriptError, match=r"no such setting: \['speed'\]"):
        Runner(parse("set speed 3"))


def test_a_greedy_reader_reads_all_at_once() -> None:
    runner = Runner(parse(ESTABLISHED + "set reader greedy\n+0 < P. 1:701(700) ack 1 win 9\n* > . 1:1(0) ack 701"))
    runner.run()
    assert runner.read == 700
