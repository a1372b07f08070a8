"""Descriptors with a frame in each read and write: a tap, a SEQPACKET socket."""

from pyslirp.engine.base.ints cimport ns_t, u8, u32
from pyslirp.engine.core.world cimport World

cdef enum:
    TAP_FRAME_BYTES = 69632     # longest frame of one read: as on a stream link, more than any tap's MTU makes

# Deliver frames from `fd` as those of `port` until there are no more, or no room for another in `area`.  Returns
# EAGAIN, 0 at the end (of a socket), or the errno with which the descriptor is lost.  `used`: what they take of the area.
cdef int tap_read(World *w, u32 port, int fd, u8 *area, u32 room, u32 *used, ns_t now) noexcept nogil
# Write the frames that wait for `port`.  Returns 0, EAGAIN when the kernel takes no more for now, or as above.
cdef int tap_write(World *w, u32 port, int fd) noexcept nogil
