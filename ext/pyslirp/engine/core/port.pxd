"""A port of the switch: one guest's link, as the core sees it."""

from pyslirp.engine.base.ints cimport u8, u32, u64
from pyslirp.engine.stores.frame_queue cimport FrameQueue

cdef enum:
    PORTS_MAX = 256             # links at once
    PORT_TX_BYTES = 1048576     # frames waiting for one link; full, it holds its flows back

cdef struct Port:
    bint alive
    bint touched                # has frames that were queued in this run: the edge is to write
    FrameQueue tx               # towards the guest
    u32 mtu                     # largest IP packet the link carries
    u32 burst                   # most TCP payload the link takes in one frame; 0: an MSS
    u64 rx_frames
    u64 rx_bytes
    u64 tx_frames
    u64 tx_bytes
    u64 tx_dropped
