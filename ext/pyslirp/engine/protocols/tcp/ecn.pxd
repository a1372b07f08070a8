"""Explicit congestion notification (RFC 3168): what was agreed, what is echoed, how often the window answers."""

from pyslirp.engine.base.ints cimport u8, u32, u64
from pyslirp.engine.codecs.packet cimport TCP_CWR, TCP_ECE

cdef enum:
    ECN_FIELD = 3               # of TOS or traffic class
    ECN_CAPABLE = 2             # ECT(0)
    ECN_MARKED = 3              # CE

cdef struct Ecn:
    bint asks                   # our SYN is to ask
    bint plain                  # a SYN of ours did not
    bint agreed                 # both sides have said yes
    bint capable                # and what we send says so: ECT(0) on new data
    bint echo                   # a packet was marked on its way to us: ECE in every ACK until the guest's CWR
    bint cwr                    # our congestion window was reduced: CWR in the next new data
    bint reducing               # for a mark, and una has not reached `point`
    u64 point                   # SND.NXT when the window was reduced last: an ACK up to there tells of nothing after it

cdef u8 ecn_syn_flags(Ecn *e, bint answering, bint repeated) noexcept nogil     # of a SYN or (answering) SYN,ACK that is to be sent
cdef void ecn_heard_syn(Ecn *e, u8 flags) noexcept nogil                        # the guest's SYN or SYN,ACK, the first or once more
cdef void ecn_established(Ecn *e, bint heeds) noexcept nogil                    # heeds: the congestion controller answers marks
cdef void ecn_reduced(Ecn *e, u64 nxt, bint marked) noexcept nogil              # the congestion window was: for a mark, or a loss

cdef inline void ecn_received(Ecn *e, u8 flags, u8 tos, u32 payload_bytes) noexcept nogil:
    """An acceptable segment behind the handshake.  Its CWR counts before its mark (RFC 3168 section 6.1.3), a mark only
    on data: nobody marks what was not sent as capable (6.1.4)."""
    if not e.agreed:
        return
    if flags & TCP_CWR:
        e.echo = False
    if tos & ECN_FIELD == ECN_MARKED and payload_bytes:
        e.echo = True

cdef inline bint ecn_told(const Ecn *e, u8 flags, u64 ack) noexcept nogil:
    """Does this ACK tell of marks on what was sent since the last reduction?  Once a window (RFC 3168 section 6.1.2)."""
    return e.agreed and flags & TCP_ECE != 0 and ack > e.point

cdef inline u8 ecn_flags(const Ecn *e, bint fresh, u8 *tos) noexcept nogil:
    """Flags, and the ECN field, of a segment behind the handshake; fresh: it carries data that were never sent."""
    tos[0] = ECN_CAPABLE if fresh and e.capable else 0
    return (TCP_ECE if e.echo else 0) | (TCP_CWR if fresh and e.cwr else 0)
