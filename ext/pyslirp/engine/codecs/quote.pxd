"""The packet that an ICMP error quotes (RFC 792, RFC 4443): one of ours, cut short, as somebody on the way has seen it."""

from pyslirp.engine.base.ints cimport Addr, u8, u16, u32

cdef struct Quote:
    u8 protocol
    Addr source                 # ours, or of the far end that we speak for
    Addr destination            # the guest
    u16 source_port
    u16 destination_port
    u32 word                    # TCP: the sequence number; UDP: length and checksum
    u32 packet_bytes            # of the whole packet, as its header says

# False: it is not the beginning of an IPv4 or IPv6 packet with eight bytes behind its header (RFC 1122 3.2.2 wants no
# more), or is a fragment other than the first, or has extension headers.  Nothing in it has been verified.
cdef bint quote_parse(Quote *q, const u8 *data, u32 length) noexcept nogil
