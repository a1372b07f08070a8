"""From a guest to the core: one frame, to whatever it is for."""

from pyslirp.engine.base.ints cimport u8, u32
from pyslirp.engine.codecs.offload cimport Offload
from pyslirp.engine.core.world cimport World

# offload: what the link has said of the frame; NULL: nothing.
cdef void input_frame(World *w, u32 port, const u8 *frame, u32 length, const Offload *offload) noexcept nogil
