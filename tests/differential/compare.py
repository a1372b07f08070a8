"""Plays random segment sequences to the engine and to Linux, and compares what comes back.

Runs in a network namespace of its own (tests/platform/namespace.py), where Linux has one interface, whose far end is ours.

What is compared, step by step: resets, with their numbers; data and FIN, by how far they reach; the largest segment; where
urgent data end; SYN,ACKs; whether an ICMP error ends the connection; and where RFC 9293, 5681 or 5961 want an ACK at once,
that there is one, what it acknowledges, its SACK blocks and its ECE.  At the end: what the application has read, the state,
and what a last probe says of RCV.NXT.  When an ACK of bytes in order is sent (delayed, or at once) is each stack's own
affair, and so is the window.

A sequence that differs is shortened as far as it goes, and shown with its seed.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.differential.differences import Place, excused
from tests.differential.stacks import OPENING, Answer, Linux, Ours, Stack
from tests.differential.steps import Case, Icmp, Send, Step, case
from tests.platform.namespace import Wire

HURRY_SECONDS = 0.03  #: a case of Linux's that took longer may have been disturbed by its timers (delayed ACKs: 40 ms)
RETRIES = 20
UNDECIDED = "undecided: the machine was too busy"
# No compression of SACKs: RFC 5681 wants one for each segment out of order, Linux may wait a millisecond.
# No limit of answers to what is invalid: ours has one, and says when it applies.
SYSCTLS = {"tcp_autocorking": "0", "tcp_comp_sack_nr": "0", "tcp_invalid_ratelimit": "0"}
USED: Counter[str] = Counter()  #: how often each documented difference was met


@dataclass(frozen=True, slots=True)
class Seen:
    """What a stack did at one step."""

    resets: tuple[tuple[str, int, int], ...]
    sent: int  #: one past the highest number sent so far, FIN included
    fin: bool  #: a FIN was among it
    ack: int | None  #: of the last segment that acknowledges, where one was due at once; None: none came
    sack: tuple[tuple[int, int], ...]
    syn: bool  #: it has sent a SYN,ACK
    echo: bool  #: of the last that acknowledges: it has ECE
    urgent: int  #: where the urgent data end that it has told of so far
    largest: int  #: bytes of the largest segment
    limited: bool
    state: str  #: afterwards; compared only at the end


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stack did in all."""

    steps: tuple[Seen, ...]
    read: bytes
    state: str
    elapsed: float


def play(stack: Stack, steps: Sequence[Step]) -> Outcome:
    """Play a case to a stack."""
    begin, sent, urgent, seen = time.monotonic(), 1, 0, []
    for step in steps:
        answers = stack.step(step)
        sent = max([sent, *(one.seq + one.length + ("F" in one.flags) for one in answers if "R" not in one.flags)])
        urgent = max([urgent, *(one.urgent for one in answers)])
        seen.append(_look(answers, sent, urgent, stack))
    state, read, elapsed = stack.state(), stack.received(), time.monotonic() - begin
    stack.close()
    return Outcome(tuple(seen), read, state, elapsed)


def _look(answers: list[Answer], sent: int, urgent: int, stack: Stack) -> Seen:
    resets = tuple((one.flags, one.seq, one.ack) for one in answers if "R" in one.flags)
    acks = [one for one in answers if "." in one.flags and "R" not in one.flags]
    last = acks[-1] if acks else None
    return Seen(
        resets,
        sent,
        fin=any("F" in one.flags for one in answers),
        ack=last.ack if last else None,
        sack=last.sack if last else (),
        syn=any("S" in one.flags for one in answers),
        echo=last is not None and "E" in last.flags and "S" not in last.flags,
        urgent=urgent,
        largest=max((one.length for one in answers), default=0),
        limited=stack.limited,
        state=stack.state(),
    )


def difference(one: Case, wire: Wire) -> str | None:
    """Where the two differ, in words; None where they agree."""
    ours = play(Ours(one), one.steps)
    theirs = play(Linux(one, wire), one.steps)
    for _ in range(RETRIES):
        if theirs.elapsed < HURRY_SECONDS:
            break
        theirs = play(Linux(one, wire), one.steps)
    else:
        USED[UNDECIDED] += 1
        return None
    at = Place(None)
    for number, (step, mine, other) in enumerate(zip(one.steps, ours.steps, theirs.steps, strict=True)):
        if isinstance(step, Send) and "F" in step.flags:
            at = replace(at, fins=at.fins | {step.end})
        at = replace(at, step=step, limited=mine.limited, state=mine.state, linux_state=other.state)
        for what, here, there in _differing(step, mine, other):
            known = excused(at, what, here, there)
            if known is None:
                return f"step {number}: {step}\n    {what}\n    ours:  {mine}\n    Linux: {other}"
            USED[known.name] += 1
            if known.ends:
                return None
        doubt = int(isinstance(step, Send) and step.length == 0 and step.ack < mine.sent)
        if isinstance(step, Icmp) or (isinstance(step, Send) and "E" in step.flags):
            doubt = 2
        at = Place(
            None,
            max(at.ours_acked, mine.ack or 0),
            max(at.linux_acked, other.ack or 0),
            doubts=at.doubts + doubt,
            sent=mine.sent,
            linux_believes=at.linux_believes
            or (isinstance(step, Icmp) and (mine.state in OPENING or step.seq == at.sent)),
            linux_heard=at.linux_heard or _is_for_linux_alone(one, step, at),
            unstamped=at.unstamped or (one.stamps and isinstance(step, Send) and step.stamp is None),
            fins=at.fins,
            linux_sacked=at.linux_sacked | {end for _, end in other.sack},
            was=mine.state,
            linux_was=other.state,
        )
    at = replace(at, step=None)
    if ours.read != theirs.read and not excused(at, "read", (ours.read, ours.state), (theirs.read, theirs.state)):
        return f"read {len(ours.read)} bytes, Linux {len(theirs.read)}"
    if ours.state != theirs.state and not excused(at, "state", ours.state, theirs.state):
        return f"at the end {ours.state}, Linux {theirs.state}"
    return None


def _is_for_linux_alone(one: Case, step: Step, at: Place) -> bool:
    """Is its ACK field one that Linux takes and we do not?"""
    if not isinstance(step, Send) or "." not in step.flags:
        return False
    return (one.stamps and step.stamp is None) or step.end <= at.ours_acked


def _differing(step: Step, mine: Seen, other: Seen) -> Iterator[tuple[str, Any, Any]]:
    """What of a step is not the same: its name, ours, Linux's."""
    pairs = {
        "resets": (mine.resets, other.resets),
        "sent": ((mine.sent, mine.fin), (other.sent, other.fin)),
        "ack": (mine.ack, other.ack),
        "sack": (mine.sack, other.sack),
        "syn": (mine.syn, other.syn),
        "echo": (mine.echo, other.echo),
        "urgent": (mine.urgent, other.urgent),
        "largest": (mine.largest, other.largest),
    }
    if mine.ack is None or other.ack is None:
        del pairs["sack"], pairs["echo"]
    if not mine.largest or not other.largest:
        del pairs["largest"]
    if isinstance(step, Send) and "R" in step.flags:
        pairs["reset taken"] = mine.state == "CLOSED", other.state == "CLOSED"
    if isinstance(step, Icmp):
        pairs["error taken"] = mine.state == "CLOSED", other.state == "CLOSED"
    for what, (here, there) in pairs.items():
        if here != there:
            yield what, here, there


def differs(one: Case, wire: Wire) -> bool:
    """Thrice: Linux lives in real time, and something else may have taken it."""
    return all(difference(one, wire) is not None for _ in range(3))


def shortened(one: Case, wire: Wire) -> Case:
    """As few of its steps as still differ."""
    at = 0
    while at < len(one.steps):
        without = replace(one, steps=one.steps[:at] + one.steps[at + 1 :])
        if differs(without, wire):
            one = without
        else:
            at += 1
    return one


def show(one: Case) -> str:
    """A case, to be read."""
    opened = "stack" if one.active else "guest"
    agreed = f"sack {one.sack}, timestamps {one.stamps}, scale {one.scale}, ECN {one.ecn}"
    lines = [f"seed {one.seed}: opened by the {opened}, {agreed}"]
    return "\n".join([*lines, *(f"  {number:2} {_line(step)}" for number, step in enumerate(one.steps))])


def _line(step: Step) -> str:
    if not isinstance(step, Send):
        return str(step)
    numbers = f"{step.seq}:{step.seq + step.length}({step.length}) ack {step.ack} win {step.window}"
    extra = (f" mark {step.mark}" if step.mark else "") + (f" urg {step.urgent}" if "U" in step.flags else "")
    return f"< {step.flags} {numbers} stamp -{step.stamp}{extra}  {step.why}"


def compare(wire: Wire) -> None:
    """PYSLIRP_DIFFERENTIAL=FIRST:COUNT chooses the seeds."""
    for name, value in SYSCTLS.items():
        Path("/proc/sys/net/ipv4", name).write_text(value)
    first, count = (int(word) for word in os.environ.get("PYSLIRP_DIFFERENTIAL", "0:150").split(":"))
    failed = []
    for seed in range(first, first + count):
        one = case(seed)
        if differs(one, wire):
            least = shortened(one, wire)
            what = difference(least, wire)
            if what is None:  # for no reason but the time that it took
                USED[UNDECIDED] += 1
                continue
            failed.append(f"{show(least)}\n  {what}")
            if len(failed) >= int(os.environ.get("PYSLIRP_DIFFERENTIAL_FAILURES", "3")):
                break
    assert not failed, "\n\n".join(failed)
    assert USED[UNDECIDED] <= count // 4, (
        f"{USED[UNDECIDED]} of {count} sequences took Linux more than {HURRY_SECONDS} s"
    )
    told = [f"{count} sequences, from seed {first}: no difference that is not documented; of those that are:"]
    told += [f"  {number:6} {name}" for name, number in USED.most_common()]
    sys.stdout.write("\n".join(told) + "\n")
