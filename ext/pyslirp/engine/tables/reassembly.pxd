"""Reassembly, bounded in datagrams, bytes and time; overlaps drop the whole datagram (RFC 8200, RFC 5722)."""

from pyslirp.engine.base.ints cimport Addr, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.status cimport Status
from pyslirp.engine.codecs.parse cimport Packet

cdef enum:
    REASSEMBLY_DATAGRAMS = 64           # being put together at once, of all guests
    REASSEMBLY_PER_SOURCE = 16          # of one guest address
    REASSEMBLY_BYTES = 2097152          # held by all of them (2 MiB)
    REASSEMBLY_PIECES = 2048            # of one datagram; the largest over RFC 791's smallest MTU, 68, has 1,365
    REASSEMBLY_SECONDS = 30             # from the first fragment (RFC 791 suggests 15, RFC 1122 60 to 120; Linux 30)

cdef struct Reassembly                  # opaque: entries, their buffers, siphash key

cdef Reassembly *reassembly_new(const u64 *hash_key) noexcept nogil    # NULL when out of memory
cdef void reassembly_free(Reassembly *r) noexcept nogil
# Takes one fragment (p.fragment is set).  FRAGMENT_RECEIVED: kept, more needed.  FRAGMENT_REASSEMBLED: *l3 and
# *l3_bytes are a whole datagram with a corrected header (length, no fragment bits or header, checksum), valid until
# the next call.  Anything else: dropped for that reason, and all of its datagram too unless FRAGMENT_MALFORMED.
cdef Status reassembly_add(Reassembly *r, const Packet *p, ns_t now, const u8 **l3, u32 *l3_bytes) noexcept nogil
cdef ns_t reassembly_deadline(const Reassembly *r) noexcept nogil
# How many datagrams ran out of time since last asked: for FRAGMENT_EXPIRED.
cdef u32 reassembly_expire(Reassembly *r, ns_t now) noexcept nogil
# How many had to make room for others since last asked: for FRAGMENT_TABLE_FULL.
cdef u32 reassembly_evicted(Reassembly *r) noexcept nogil
cdef u32 reassembly_count(const Reassembly *r) noexcept nogil
cdef u64 reassembly_bytes(const Reassembly *r) noexcept nogil
