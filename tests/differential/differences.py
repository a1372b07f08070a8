"""Where the engine means to differ from Linux, each with its reason.  The list is data: what is not in it is a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.differential.steps import Icmp, Send, Step

WHOLE = 1 << 32
SACK_ROOM = 36  #: four blocks
ENDED = ("CLOSE_WAIT", "LAST_ACK", "CLOSING", "TIME_WAIT")  #: the guest has said that it will send no more
Resets = tuple[tuple[str, int, int], ...]
Blocks = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is: the step (None at the end), and the highest acknowledgments that either had sent before."""

    step: Step | None
    ours_acked: int = 0
    linux_acked: int = 0
    limited: bool = False  #: we have withheld an answer
    state: str = ""  #: ours, after the step
    linux_state: str = ""
    doubts: int = 0  #: ACKs so far that have left something unacknowledged
    sent: int = 1  #: one past the highest number that we had sent before
    linux_believes: bool = False  #: there was a "fragmentation needed" of a SYN, or of SND.NXT
    linux_heard: bool = (
        False  #: there was an ACK field that Linux alone has taken: of an old segment, or of one without timestamp
    )
    unstamped: bool = False  #: there was a segment without the timestamp that was agreed upon
    fins: frozenset[int] = frozenset()  #: where the guest has ended, one past the FIN's number; this step's among them
    linux_sacked: frozenset[int] = frozenset()  #: ends of the blocks that Linux has told of before
    was: str = ""  #: our state before the step
    linux_was: str = ""

    @property
    def step_ack(self) -> int | None:
        return self.step.ack if isinstance(self.step, Send) else None


Applies = Callable[[Place, Any, Any], bool]


@dataclass(frozen=True, slots=True)
class Difference:
    """One that is meant: of `what`, where `applies` to the place, ours, Linux's."""

    name: str
    what: str
    reason: str
    applies: Applies
    ends: bool = False  #: the two go different ways from here on, and what follows is not compared


def _is_send(at: Place, flags: str) -> bool:
    return isinstance(at.step, Send) and at.step.flags == flags


def _too_big(at: Place) -> bool:
    """Was it "fragmentation needed"?"""
    return isinstance(at.step, Icmp) and at.step.code == 4


def _about(at: Place) -> int:
    """The number that an ICMP error quotes."""
    assert isinstance(at.step, Icmp)
    return at.step.seq


def _delayed(at: Place, ours: int | None, linux: int | None) -> bool:
    if ours is None:
        return linux == at.ours_acked > at.linux_acked
    return linux is None and (ours > at.ours_acked or (ours > at.linux_acked and not isinstance(at.step, Send)))


def _never_received(at: Place, ours: Blocks, linux: Blocks) -> bool:
    step = at.step
    if not isinstance(step, Send) or step.seq >= 1 or linux[:1] != ((step.seq % WHOLE, step.end % WHOLE),):
        return False
    return linux[1:] == ours[: len(linux) - 1] or _in_pieces(at, ours, linux[1:])


def _fin_sacked(at: Place, ours: Blocks, linux: Blocks) -> bool:
    """Linux tells of a FIN's one number, by itself or at an end of a block; else they are the same as far as they go."""
    if isinstance(at.step, Send) and "F" in at.step.flags and at.step.end - 1 > at.ours_acked:
        return True
    ends = {end % WHOLE for end in at.fins}
    if any(end - start == 1 and end in ends and (start, end) not in ours for start, end in linux):
        return True
    trimmed = {
        (start + before, end - behind)
        for start, end in linux
        for before in ((0, 1) if start + 1 in ends else (0,))
        for behind in ((0, 1) if end in ends else (0,))
    }
    return len(ours) <= len(linux) and all(block in trimmed for block in ours)


def _in_pieces(at: Place, ours: Blocks, linux: Blocks) -> bool:
    """Each block of Linux's lies in one of ours, and the first in the first."""
    inside = [[mine[0] <= start < end <= mine[1] for mine in ours] for start, end in linux]
    return bool(inside) and inside[0][0] and all(any(found) for found in inside)


def _behind_fin(at: Place, ours: int | None, linux: int | None) -> bool:
    return linux is None and isinstance(at.step, Send) and at.step.end > at.step.seq >= at.ours_acked == ours


def _reset_behind_fin(at: Place, ours: Resets, linux: Resets) -> bool:
    return not ours and len(linux) == 1 and isinstance(at.step, Send) and at.state in ENDED and at.step.length > 0


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "delayed ACK",
        "ack",
        "RFC 9293 3.8.6.3 lets an ACK of bytes in order wait; when it does is up to each (Linux: pingpong mode)",
        _delayed,
    ),
    Difference(
        "the second full segment",
        "ack",
        "RFC 5681 4.2 wants an ACK for every second full segment; Linux gives one for anything more than the first",
        lambda at, ours, linux: (
            isinstance(at.step, Send)
            and ours is None
            and linux == at.step.end
            and at.step.length < linux - at.ours_acked < 2 * at.step.length
        ),
    ),
    Difference(
        "a single segment",
        "ack",
        "RFC 9293 3.8.6.3 lets its ACK wait; for how many at the beginning it does not is up to each (Linux: quickack mode)",
        lambda at, ours, linux: (
            isinstance(at.step, Send) and ours is None and linux == at.step.end and at.ours_acked == at.step.seq
        ),
    ),
    Difference(
        "a duplicate in part",
        "ack",
        "of bytes that have come with some before the next ones we tell in the next ACK; Linux at once (RFC 2883 wants it told)",
        lambda at, ours, linux: (
            isinstance(at.step, Send) and ours is None and linux == at.step.end and at.step.seq < at.ours_acked < linux
        ),
    ),
    Difference(
        "an ACK that data carry",
        "ack",
        "data that an ACK lets go carry what was received before that segment's; we look at all of a segment first",
        lambda at, ours, linux: (
            isinstance(at.step, Send)
            and at.step.length > 0
            and None not in (ours, linux)
            and ours == at.step.end > linux
        ),
    ),
    Difference(
        "answers are limited",
        "ack",
        "RFC 5961 section 7: one ACK in 500 ms for what should not have come; Linux has the same limit, here switched off",
        lambda at, ours, linux: at.limited and ours is None and linux == at.ours_acked,
    ),
    Difference(
        "a segment without ACK",
        "ack",
        "RFC 9293 3.10.7.4 looks at the sequence number first, and answers an old one; Linux drops what has no ACK flag",
        lambda at, ours, linux: (
            isinstance(at.step, Send)
            and not {".", "R"} & set(at.step.flags)
            and linux is None
            and ours == at.ours_acked
        ),
    ),
    Difference(
        "no timestamp",
        "ack",
        "RFC 7323 3.2 drops a segment without the option that was agreed upon in silence; Linux takes it",
        lambda at, ours, _linux: isinstance(at.step, Send) and at.step.stamp is None and ours is None,
    ),
    Difference(
        "no timestamp, and what its ACK told",
        "resets",
        "the same: what Linux has learnt from it (the end of the connection) we have not",
        lambda at, ours, linux: at.unstamped and not ours and bool(linux) and at.linux_state == "CLOSED",
        ends=True,
    ),
    Difference(
        "an old segment while an ACK is delayed",
        "ack",
        "Linux takes as acceptable what ends behind its last ACK (rcv_wup), and does not answer it; RFC 9293 answers",
        lambda at, ours, linux: (
            isinstance(at.step, Send) and linux is None and ours == at.ours_acked > at.linux_acked <= at.step.end
        ),
    ),
    Difference(
        "an old ACK with an old timestamp",
        "ack",
        "RFC 7323 5.3 R1 answers whatever has an old timestamp; Linux nothing by itself from below RCV.NXT",
        lambda at, ours, linux: (
            isinstance(at.step, Send)
            and bool(at.step.stamp)
            and at.step.length == 0
            and at.step.seq < at.ours_acked == ours
            and linux is None
        ),
    ),
    Difference(
        "TIME_WAIT answers everything",
        "ack",
        "Linux answers whatever comes in TIME_WAIT with an ACK, but bad ACKs with nothing; RFC 9293 and 5961 the reverse",
        lambda at, ours, linux: at.state == "TIME_WAIT" and None in (ours, linux) and at.ours_acked in (ours, linux),
    ),
    Difference(
        "a SYN in TIME_WAIT that nobody listens to",
        "resets",
        "RFC 9293 MAY-2 lets it begin a new connection, which is refused here; Linux goes on with the old one",
        lambda at, ours, _linux: isinstance(at.step, Send) and at.step.flags == "S" and ours[:1] and ours[0][0] == "R.",
        ends=True,
    ),
    Difference(
        "how many blocks are remembered",
        "sack",
        "Linux keeps four blocks and forgets the rest; we keep all, and tell as many as there is room for (RFC 2018 section 3)",
        lambda _at, ours, linux: linux == ours[: len(linux)],
    ),
    Difference(
        "a reset behind what was sacked",
        "ack",
        "RFC 5961 3.2 resets at RCV.NXT alone; Linux also at the end of the last SACK block it has sent",
        lambda at, ours, linux: (
            isinstance(at.step, Send)
            and "R" in at.step.flags
            and linux is None
            and ours == at.ours_acked
            and at.step.seq in at.linux_sacked
        ),
        ends=True,
    ),
    Difference(
        "D-SACK of what never came",
        "sack",
        "Linux reports any old number as a duplicate (RFC 2883), also from below the guest's SYN; we only what was received",
        _never_received,
    ),
    Difference(
        "an early FIN in SACK blocks",
        "sack",
        "Linux's blocks cover the number of a FIN that came early; ours only bytes, and the FIN counts when its turn comes",
        _fin_sacked,
        ends=True,
    ),
    Difference(
        "the block around a duplicate",
        "sack",
        "RFC 2883 section 4: the second block is the larger one; Linux's begins at the duplicate where that has made it larger, "
        "and it has forgotten the rest of it",
        lambda _at, ours, linux: (
            ours[:1] == linux[:1] and ours[2:] == linux[2:] and linux[1] == (linux[0][0], ours[1][1])
        ),
        ends=True,
    ),
    Difference(
        "loss recovery",
        "ack",
        "duplicate ACKs may be answered by a retransmission, which carries an ACK; when is each sender's own affair",
        lambda at, ours, linux: (
            isinstance(at.step, Send)
            and at.step.length == 0
            and at.step.ack < at.sent
            and linux is None
            and ours == at.ours_acked
        ),
        ends=True,
    ),
    Difference(
        "loss recovery, and what it leaves to send",
        "sent",
        "the same: once two ACKs have left something unacknowledged, the congestion windows are no longer alike",
        lambda at, ours, linux: at.doubts >= 2 and ours[1] == linux[1],
        ends=True,
    ),
    Difference(
        "a SYN again in SYN_RCVD",
        "syn",
        "a guest that repeats its SYN has not had our SYN,ACK: we send it again; Linux an ACK (RFC 5961 section 4.2)",
        lambda at, ours, linux: ours and not linux and at.state == "SYN_RCVD" and _is_send(at, "S"),
    ),
    Difference(
        "errors while opening",
        "error taken",
        "Linux gives up at any ICMP error while it opens; we at those that say that there is nobody (RFC 5461 section 2: the "
        "others are soft), and no more once the guest's SYN has come",
        lambda at, ours, linux: (
            linux and not ours and isinstance(at.step, Icmp) and (at.state == "SYN_RCVD" or at.step.kind == 11)
        ),
        ends=True,
    ),
    Difference(
        "an ACK of nothing in SYN_RCVD",
        "resets",
        "RFC 9293 3.10.7.4 resets what does not acknowledge our SYN; Linux takes its last number before for good",
        lambda at, ours, linux: bool(ours) and not linux and at.state == "SYN_RCVD" and at.step_ack == 0,
        ends=True,
    ),
    Difference(
        "room for SACK blocks",
        "largest",
        "while there are blocks to tell we leave room for as many as there may be; Linux for those that there are, and for a "
        "duplicate longer than until it is told",
        lambda _at, ours, linux: 0 < abs(ours - linux) <= SACK_ROOM and (ours - linux) % 4 == 0,
    ),
    Difference(
        "a path that only Linux knows",
        "largest",
        "we believe 'fragmentation needed' of what is in flight and longer than that; Linux also of a SYN and of SND.NXT",
        lambda at, ours, linux: at.linux_believes and ours > linux,
    ),
    Difference(
        "errors about SND.NXT",
        "ack",
        "RFC 5927 section 4.1 wants an error to quote what is in flight; Linux takes one about the next number for good",
        lambda at, ours, linux: _too_big(at) and _about(at) == at.sent and ours is None and linux is not None,
        ends=True,
    ),
    Difference(
        "what remains of a larger segment",
        "ack",
        "an ACK of a part leaves the rest of a segment in flight, which fits now; Linux keeps the whole one and sends the rest "
        "again",
        lambda at, ours, linux: (
            _too_big(at) and _about(at) < at.sent and at.doubts > 0 and ours is None and linux is not None
        ),
        ends=True,
    ),
    Difference(
        "the urgent pointer in a burst",
        "urgent",
        "what Linux sends again in a smaller size is a burst that is cut below TCP, and each segment has the first one's "
        "pointer, which then points too far",
        lambda at, ours, linux: _too_big(at) and linux > ours,
        ends=True,
    ),
    Difference(
        "errors in TIME_WAIT",
        "error taken",
        "Linux's TIME_WAIT is no state of the socket, which says CLOSED all the time; errors end none of either's",
        lambda at, _ours, linux: (
            linux and isinstance(at.step, Icmp) and at.was == at.state == "TIME_WAIT" and at.linux_was == "CLOSED"
        ),
    ),
    Difference(
        "a segment that ends at RCV.NXT",
        "ack",
        "RFC 9293 table 6 takes it for old; Linux for acceptable, so that its ACK field counts",
        lambda at, _ours, linux: isinstance(at.step, Send) and linux is None and at.step.end == at.ours_acked,
        ends=True,
    ),
    Difference(
        "blocks told in pieces",
        "sack",
        "Linux does not always join blocks that touch; we do (RFC 2018 section 3: a block is isolated)",
        _in_pieces,
    ),
    Difference(
        "the fourth block",
        "sack",
        "RFC 2018 section 4 orders blocks by when they were reported; both remember a few, and not the same when some have gone",
        lambda _at, ours, linux: ours[:3] == linux[:3] and len(ours) == len(linux) == 4,
    ),
    Difference(
        "a FIN among bytes that have come",
        "ack",
        "a guest that ends before bytes it has sent: Linux takes the FIN, we the bytes where they are one piece with it",
        lambda at, ours, linux: (
            at.linux_state in (*ENDED, "CLOSED")
            and ours is not None
            and (linux is None or linux in at.fins)
            and any((linux or 0) <= end < ours for end in at.fins)
        ),
        ends=True,
    ),
    Difference(
        "what goes out again in a smaller size, by what each knows",
        "ack",
        "'fragmentation needed' finds something larger in flight with us alone where Linux has known the path before, or has "
        "taken an ACK that we have not",
        lambda at, ours, linux: (
            _too_big(at)
            and linux is None
            and ours == at.ours_acked
            and (at.linux_heard or at.linux_believes)
        ),
        ends=True,
    ),
    Difference(
        "what lies behind an early FIN",
        "ack",
        "bytes behind an end that has not been in turn yet are no part of the stream; Linux acknowledges those that it has kept",
        lambda at, ours, linux: (
            ours in at.fins and linux is not None and linux > ours and at.state in ENDED and at.linux_state in ENDED
        ),
        ends=True,
    ),
    Difference(
        "data behind the FIN",
        "ack",
        "RFC 9293 says to ignore such text; we answer it with an ACK, as any other segment that brings nothing",
        _behind_fin,
    ),
    Difference(
        "a reset for data behind the FIN",
        "resets",
        "Linux resets a peer that repeats its last bytes and adds some behind its FIN (RFC 1122 4.2.2.13 is about a closed "
        "receiver); we take what came before the FIN for what it is",
        _reset_behind_fin,
        ends=True,
    ),
    Difference(
        "unread at a reset",
        "read",
        "RFC 9293 3.10.7.4 flushes the queues at a reset; Linux still lets the application read what had come",
        lambda _at, ours, linux: linux[0].startswith(ours[0]) and ours[1] == linux[1] == "CLOSED",
    ),
    Difference(
        "two ends, and what lies between",
        "read",
        "a guest that moves its FIN behind more data, before the first was in turn: Linux ends at the first, we at the last",
        lambda at, ours, linux: (
            len(at.fins) > 1
            and ours[0].startswith(linux[0])
            and len(linux[0]) + 2 in at.fins  # its number is 1 + length
        ),
    ),
    Difference(
        "a reset at the number of the FIN",
        "reset taken",
        "Linux takes a reset one before RCV.NXT once the guest's FIN has come (for a fault of macOS); RFC 5961 3.2 does not",
        lambda at, _ours, linux: linux and isinstance(at.step, Send) and at.step.seq == at.ours_acked - 1,
        ends=True,
    ),
    Difference(
        "resets in TIME_WAIT",
        "reset taken",
        "the same; of ours only a reset at RCV.NXT ends TIME_WAIT (RFC 5961 3.2), and this was another",
        lambda at, _ours, linux: (
            linux
            and isinstance(at.step, Send)
            and at.was == at.state == "TIME_WAIT"
            and at.linux_was == "CLOSED"
            and at.step.seq != at.ours_acked
        ),
    ),
    Difference(
        "two ends",
        "ack",
        "a guest that moves its FIN: Linux goes on to the later one where its ACK of the first is delayed, or ends at an "
        "early one that the guest has moved since, in whose place we have the last",
        lambda at, ours, linux: (
            at.linux_state in (*ENDED, "CLOSED")
            and len(at.fins) > 1
            and None not in (ours, linux)
            and linux in at.fins
            and (ours < linux if ours in at.fins else ours == linux - 1)
        ),
        ends=True,
    ),
    Difference(
        "a FIN among bytes that have come, as it is told",
        "sack",
        "of a FIN before bytes that have come Linux tells nothing; we tell which of its bytes have come twice",
        lambda at, ours, linux: isinstance(at.step, Send) and "F" in at.step.flags and ours[1:] == linux,
        ends=True,
    ),
    Difference(
        "the ACK field of a segment that ends at RCV.NXT",
        "state",
        "the same as of such a segment's ACK: by it Linux knows that its FIN has arrived",
        lambda _at, ours, linux: (ours, linux) in {("FIN_WAIT_1", "FIN_WAIT_2"), ("LAST_ACK", "CLOSED")},
    ),
    Difference(
        "TIME_WAIT of a socket",
        "state",
        "Linux's TIME_WAIT is no state of the socket, which says CLOSED",
        lambda _at, ours, linux: (ours, linux) == ("TIME_WAIT", "CLOSED"),
    ),
)


def excused(at: Place, what: str, ours: Any, linux: Any) -> Difference | None:
    """The documented difference that this is, or None."""
    return next((known for known in DIFFERENCES if known.what == what and known.applies(at, ours, linux)), None)
