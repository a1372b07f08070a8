"""Explicit congestion notification: routers mark packets instead of dropping them, and TCP tells the sender.

Agreed in the handshake (RFC 3168 section 6.1.1): a SYN with ECE and CWR asks, a SYN,ACK with ECE alone says yes; anything
else is no, also when it comes late: a SYN that the guest repeats without the flags takes the question back.

As receiver: from a marked packet on every ACK carries ECE, until a segment with CWR.  As sender: new data carry ECT(0);
never a retransmission, a bare ACK, a SYN or a window probe (6.1.1, 6.1.4 to 6.1.6): their loss would not be noticed, or not
answered.  The first ECE of a window has the congestion window reduced as a loss would (recovery.pyx), without anything being
sent again; those that follow tell of the same window until an ACK passes `point`.  After a reduction, for a mark or a loss, the
next new data carry CWR, in a segment of its own: of a larger one the link would make several, each with the flag.

Only asked, we say yes; our own SYN asks where Core.set_ecn says so, which a network never does.  So Linux has it (tcp_ecn =
2), and for us the reasons weigh more: between us and a guest there is seldom a router that marks, a guest may be any stack of
the last forty years, and one that dislikes the flags costs each connection to it a second.  That is what asking costs at most:
a SYN that was not answered is sent again without them (6.1.1.1), and then nothing is sent as capable, though marks are echoed.
A reset is a refusal and not asked about again.

BBR does not answer marks: version 1 has no answer, and version 3's wants to know how many packets were marked, which ECE does
not tell.  Who does not answer must not say that it would (section 5): with BBR data go out not capable, and only our
receiver takes part.

Not done: ECN-nonce (RFC 3540, historic), accurate ECN (RFC 9768), a smaller reduction for marks (RFC 8511, experimental).  With a
window of two segments, which is the least that Reno and CUBIC fall to, a mark slows us no further (6.1.2 would have the
retransmission timer pace a window of one).
"""

cimport cython
from libc.string cimport memset

from pyslirp.engine.base.ints cimport u8, u64
from pyslirp.engine.codecs.packet cimport TCP_ACK, TCP_CWR, TCP_ECE


cdef u8 ecn_syn_flags(Ecn *e, bint answering, bint repeated) noexcept nogil:
    if answering:
        return TCP_ECE if e.agreed else 0
    if e.asks and not repeated:
        return TCP_ECE | TCP_CWR
    e.plain = True
    return 0


cdef void ecn_heard_syn(Ecn *e, u8 flags) noexcept nogil:
    if flags & TCP_ACK:
        e.agreed = (e.asks or e.agreed) and flags & (TCP_ECE | TCP_CWR) == TCP_ECE
    else:
        e.agreed = flags & (TCP_ECE | TCP_CWR) == TCP_ECE | TCP_CWR


cdef void ecn_established(Ecn *e, bint heeds) noexcept nogil:
    e.capable = e.agreed and heeds and not e.plain


cdef void ecn_reduced(Ecn *e, u64 nxt, bint marked) noexcept nogil:
    e.cwr = e.agreed and (marked or e.capable)
    e.reducing = marked and e.capable
    e.point = nxt


@cython.final
cdef class _Ecn:
    """One end for the tests; flags are those of a TCP header, numbers wide sequence numbers."""

    cdef Ecn e

    def __cinit__(self, asks: bool = False) -> None:
        memset(&self.e, 0, sizeof(Ecn))
        self.e.asks = asks

    def syn_flags(self, answering: bool = False, repeated: bool = False) -> int:
        return ecn_syn_flags(&self.e, answering, repeated)

    def heard_syn(self, flags: int) -> bool:
        """Is it agreed now?"""
        ecn_heard_syn(&self.e, flags)
        return bool(self.e.agreed)

    def established(self, heeds: bool = True) -> bool:
        """Are our data sent as capable?"""
        ecn_established(&self.e, heeds)
        return bool(self.e.capable)

    def received(self, flags: int, tos: int, payload_bytes: int) -> None:
        ecn_received(&self.e, flags, tos, payload_bytes)

    def told(self, flags: int, ack: int) -> bool:
        return bool(ecn_told(&self.e, flags, ack))

    def reduced(self, nxt: int, marked: bool) -> None:
        ecn_reduced(&self.e, nxt, marked)

    def flags(self, fresh: bool) -> tuple[int, int]:
        """(flags, ECN field) of a segment."""
        cdef u8 tos
        flags = ecn_flags(&self.e, fresh, &tos)
        return flags, tos
