"""ICMP: what an errno of the host is to the guest, and the error message that tells it (RFC 792, RFC 1122 3.2.2, RFC 1812 4.3.2).

Inside the engine an error speaks the words of ICMP, whatever the family: a host's socket of one may serve a guest of the
other.  Into the words of ICMPv6 (RFC 4443), and back, it is put here alone; there and back nothing is lost.
"""

from pyslirp.engine.base.ints cimport i32, ns_t, u8, u32
from pyslirp.engine.tables.flow cimport FlowKey

cdef enum:
    ICMP_ECHO_REPLY = 0
    ICMP_UNREACHABLE = 3
    ICMP_ECHO = 8
    ICMP_TIME_EXCEEDED = 11
    ICMP_PARAMETER_PROBLEM = 12
    UNREACHABLE_NET = 0
    UNREACHABLE_HOST = 1
    UNREACHABLE_PROTOCOL = 2
    UNREACHABLE_PORT = 3
    UNREACHABLE_TOO_BIG = 4
    UNREACHABLE_ISOLATED = 8        # source host isolated (RFC 1122 3.2.2.1); ICMPv6's "beyond scope of source address"
    UNREACHABLE_NET_PROHIBITED = 9  # ICMPv6's "reject route to destination"
    UNREACHABLE_HOST_PROHIBITED = 10    # ICMPv6's "source address failed ingress/egress policy"
    UNREACHABLE_PROHIBITED = 13     # communication administratively prohibited (RFC 1812 5.2.7.1)
    ICMP_ERROR_RATE = 200           # error messages a second to the guests of one link, and at once (RFC 1812 4.3.2.8)
    ICMP_QUOTE_MAX = 576            # a whole error message is no longer than this (RFC 1812 4.3.2.3)

# The packet that an error is about: what a flow knows of it, and what is left of its bytes.
cdef struct Quoted:
    u8 ttl
    u32 bytes                   # behind its IP header, when it was sent
    u32 word                    # the second of the two words there: TCP's sequence number, echo's identifier and sequence,
                                # UDP's length and checksum (0: they are made from what is left)
    const u8 *rest              # what is left behind those two words; may be NULL where it is nothing
    u32 rest_bytes

# How many error messages have been sent in the second that began at `since`; all zero to begin with.
cdef struct ErrorLimit:
    ns_t since
    u32 sent

cdef bint icmp_error_allowed(ErrorLimit *limit, ns_t now) noexcept nogil
cdef u8 icmp_code_of_errno(i32 error) noexcept nogil                     # code of ICMP_UNREACHABLE
# What an ICMP error is in ICMPv6, and the other way round; False: nothing, there is no such error.
cdef bint icmp_to_v6(u8 *kind, u8 *code) noexcept nogil
cdef bint icmp_from_v6(u8 *kind, u8 *code) noexcept nogil
# Writes a packet of the flow named `key` from its IP header on, as much of it as fits into `room` bytes, at least 48;
# returns how much.  (RFC 1812 4.3.2.3, RFC 4443 section 2.4: an error quotes all that its own length lets it.)
cdef u32 icmp_quote(u8 *at, u32 room, const FlowKey *key, const Quoted *q) noexcept nogil
