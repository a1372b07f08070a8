"""Plays random segment sequences to the engine and to Linux, and compares what comes back.

Runs in a network namespace of its own (tests/platform/namespace.py), where Linux has one interface, whose far end is ours.

What is compared, step by step: resets, with their numbers; data and FIN, by how far they reach; and where RFC 9293, 5681 or
5961 want an ACK at once, that there is one, what it acknowledges and its SACK blocks.  At the end: what the
application has read, the state, and what a last probe says of RCV.NXT.  When an ACK of bytes in order is sent (delayed, or
at once) is each stack's own affair, and so is the window.

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
from tests.differential.stacks import Answer, Linux, Ours, Stack
from tests.differential.steps import Case, Send, Step, case
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
    begin, sent, seen = time.monotonic(), 1, []
    for step in steps:
        answers = stack.step(step)
        sent = max([sent, *(one.seq + one.length + ("F" in one.flags) for one in answers if "R" not in one.flags)])
        seen.append(_look(answers, sent, stack))
    state, read, elapsed = stack.state(), stack.received(), time.monotonic() - begin
    stack.close()
    return Outcome(tuple(seen), read, state, elapsed)


def _look(answers: list[Answer], sent: int, stack: Stack) -> Seen:
    resets = tuple((one.flags, one.seq, one.ack) for one in answers if "R" in one.flags)
    acks = [one for one in answers if "." in one.flags and "R" not in one.flags]
    last = acks[-1] if acks else None
    fin = any("F" in one.flags for one in answers)
    return Seen(resets, sent, fin, last.ack if last else None, last.sack if last else (), stack.limited, stack.state())


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
        at = replace(at, step=step, limited=mine.limited, state=mine.state, linux_state=other.state)
        for what, here, there in _differing(step, mine, other):
            known = excused(at, what, here, there)
            if known is None:
                return f"step {number}: {step}\n    {what}\n    ours:  {mine}\n    Linux: {other}"
            USED[known.name] += 1
            if known.ends:
                return None
        doubt = isinstance(step, Send) and step.length == 0 and step.ack < mine.sent
        at = Place(
            None, max(at.ours_acked, mine.ack or 0), max(at.linux_acked, other.ack or 0), doubts=at.doubts + doubt
        )
    at = replace(at, step=None)
    if ours.read != theirs.read and not excused(at, "read", (ours.read, ours.state), (theirs.read, theirs.state)):
        return f"read {len(ours.read)} bytes, Linux {len(theirs.read)}"
    if ours.state != theirs.state and not excused(at, "state", ours.state, theirs.state):
        return f"at the end {ours.state}, Linux {theirs.state}"
    return None


def _differing(step: Step, mine: Seen, other: Seen) -> Iterator[tuple[str, Any, Any]]:
    """What of a step is not the same: its name, ours, Linux's."""
    pairs = {
        "resets": (mine.resets, other.resets),
        "sent": ((mine.sent, mine.fin), (other.sent, other.fin)),
        "ack": (mine.ack, other.ack),
        "sack": (mine.sack, other.sack),
    }
    if mine.ack is None or other.ack is None:
        del pairs["sack"]
    if isinstance(step, Send) and "R" in step.flags:
        pairs["reset taken"] = mine.state == "CLOSED", other.state == "CLOSED"
    for what, (here, there) in pairs.items():
        if here != there:
            yield what, here, there


def differs(one: Case, wire: Wire) -> bool:
    """Twice: Linux lives in real time, and something else may have taken it."""
    return difference(one, wire) is not None and difference(one, wire) is not None


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
    lines = [f"seed {one.seed}: sack {one.sack}, timestamps {one.stamps}, scale {one.scale}"]
    return "\n".join([*lines, *(f"  {number:2} {_line(step)}" for number, step in enumerate(one.steps))])


def _line(step: Step) -> str:
    if not isinstance(step, Send):
        return str(step)
    end = step.seq + step.length
    return f"< {step.flags} {step.seq}:{end}({step.length}) ack {step.ack} win {step.window} stamp -{step.stamp}  {step.why}"


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
            failed.append(f"{show(least)}\n  {difference(least, wire)}")
            if len(failed) >= int(os.environ.get("PYSLIRP_DIFFERENTIAL_FAILURES", "3")):
                break
    assert not failed, "\n\n".join(failed)
    assert USED[UNDECIDED] <= count // 4, (
        f"{USED[UNDECIDED]} of {count} sequences took Linux more than {HURRY_SECONDS} s"
    )
    told = [f"{count} sequences, from seed {first}: no difference that is not documented; of those that are:"]
    told += [f"  {number:6} {name}" for name, number in USED.most_common()]
    sys.stdout.write("\n".join(told) + "\n")
