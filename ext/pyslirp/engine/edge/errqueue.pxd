"""What a socket's error queue holds: who has said what about a packet of ours (ip(7), IP_RECVERR)."""

from pyslirp.engine.base.ints cimport Addr, i32, u8, u16, u32

cdef enum:
    QUOTE_BYTES = 1280          # of what was sent: no error quotes more (RFC 4443 section 2.4)

# In the words of ICMP (RFC 792), whatever the socket's family.
cdef struct HostError:
    i32 error                   # errno
    u8 kind                     # ICMP type; 0: not from the network, only errno speaks
    u8 code
    u32 info                    # of "fragmentation needed": the next hop's MTU
    bint told_to                # `to` and `port` are known
    Addr to                     # where the packet was going
    u16 port
    bint told_offender
    Addr offender               # who reports it
    u32 quoted                  # bytes of what was sent that come with it: payload of UDP; a ping's ICMP message
    u8[QUOTE_BYTES] quote

cdef bint errqueue_enable(int fd, bint v6, bint on) noexcept nogil
cdef bint errqueue_take(int fd, HostError *out) noexcept nogil                # False: there is none
