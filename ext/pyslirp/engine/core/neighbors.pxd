"""Who is at which MAC address: what is learned, who is asked again, who is given up."""

from pyslirp.engine.base.ints cimport Addr, u8
from pyslirp.engine.core.world cimport World
from pyslirp.engine.tables.neighbor cimport Neighbor

# An address of the network is at `mac`; replace: whoever had it before.
cdef void neighbor_learned(World *w, const Addr *address, const u8 *mac, bint replace) noexcept nogil
# The same of an entry that there is: what waited for it goes on.
cdef void neighbor_at(World *w, Neighbor *n, const u8 *mac) noexcept nogil
# An IPv6 neighbour has shown that it hears us (RFC 4861 section 7.3.1).
cdef void neighbor_heard(World *w, Neighbor *n) noexcept nogil
cdef void neighbors_check(World *w) noexcept nogil                           # ask again, give up: what is due at w.now
