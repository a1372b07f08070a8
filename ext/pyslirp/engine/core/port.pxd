"""A port of the switch: one guest's link, as the core sees it."""

from pyslirp.engine.base.ints cimport u8, u32, u64
from pyslirp.engine.protocols.icmp cimport ErrorLimit
from pyslirp.engine.stores.frame_queue cimport FrameQueue

cdef enum:
    PORTS_MAX = 256             # links at once
    PORT_TX_BYTES = 1048576     # frames waiting for one link; full, it holds its flows back
    PORT_SWITCHED_BYTES = 786432    # of these at most from other guests, so that they cannot shut a guest off from us
    PORT_MTU_MIN = 68           # every link carries that much (RFC 791)

cdef struct Port:
    bint alive
    bint touched                # has frames that were queued in this run: the edge is to write
    FrameQueue tx               # towards the guest
    bint congested              # it has held a flow's data back, and holds back all of it until the queue has drained to half
    u32 mtu                     # largest IP packet the link carries
    u32 burst                   # most TCP payload the link takes in one frame; 0: an MSS
    bint uso                    # it takes datagrams of one flow in one frame (GSO_UDP)
    u32 head_bytes              # of the virtio-net header in front of every frame, both ways (OFFLOAD_BYTES); 0: none
    u32 serial                  # tells the links that have had this number apart
    u32 flows                   # that its guests have opened; see flow_new
    ErrorLimit errors           # ICMP errors to its guests
    u64 rx_frames
    u64 rx_bytes
    u64 tx_frames
    u64 tx_bytes
    u64 tx_dropped
