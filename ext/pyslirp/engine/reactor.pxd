"""The engine as Python drives it: a core, the edges around it, and one descriptor."""

from pyslirp.engine.base.ints cimport ns_t, u32, u64
from pyslirp.engine.core.core cimport Core
from pyslirp.engine.core.world cimport World
from pyslirp.engine.edge.hostsock cimport HostSockets
from pyslirp.engine.edge.linkfd cimport Links
from pyslirp.engine.edge.listener cimport Listeners
from pyslirp.engine.edge.poller cimport Poller
from pyslirp.engine.edge.watch cimport Watches
from pyslirp.engine.tables.flow cimport Flow

cdef enum:
    FLOWS_PER_RUN = 1024        # flows worked on before the links are written and the kernel asked again
    ROUNDS_MAX = 16             # of one process(): more than one wake-up's work, and then others have their turn
    RUN_NS = 50000000           # run() comes back at least this often while it is busy, so that Python sees its signals

cdef class Engine:
    cdef readonly Core core
    cdef World *w               # of `core`
    cdef Poller poller
    cdef HostSockets hosts
    cdef Links links
    cdef Listeners listeners
    cdef Watches watches
    cdef dict listening         # token -> (whether of datagrams, handle)
    cdef dict watching          # token -> handle
    cdef ns_t deadline          # Python's own; ns_never()
    cdef unsigned long owner    # the thread that drives it; 0: none yet
    cdef bint open
    cdef u64 rounds             # so far
    cdef u64 events

    cdef int check(self) except -1
    cdef int own(self) except -1
    cdef Flow *flow(self, u64 handle) noexcept
    cdef void take_in(self, int count, ns_t now) noexcept nogil
    cdef bint run_core(self, ns_t now) noexcept nogil
    cdef bint work(self, ns_t now) noexcept nogil
    cdef void arm(self, bint more, ns_t now) noexcept nogil
    cdef void drive(self, u32 budget, ns_t end, bint sleep) noexcept nogil
    cdef void end_flows(self) noexcept nogil
