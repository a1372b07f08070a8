"""The Python face of a world: what the stack, the simulator and the tests call."""

from pyslirp.engine.base.ints cimport u64
from pyslirp.engine.core.world cimport World
from pyslirp.engine.protocols.tcp.tcb cimport Tcp
from pyslirp.engine.tables.flow cimport Flow

cdef class Core:
    cdef World *w               # owned

    cdef Flow *find(self, u64 handle) except NULL
    cdef Tcp *stream(self, u64 handle) except NULL
