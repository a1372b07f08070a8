"""What every congestion controller steers by and steers: one struct each way, so that they are exchangeable."""

from pyslirp.engine.base.ints cimport ns_t, u32, u64

cdef enum:
    INITIAL_SEGMENTS = 10       # RFC 6928
    CWND_MAX = 67108864         # 64 MiB: four times the largest window there is

cdef struct Window:
    u32 mss                     # bytes of a full segment
    u64 cwnd                    # bytes that may be in flight
    u64 ssthresh                # bytes
    u64 pace                    # bytes a second at which they leave; 0: as fast as the link takes them
    bint probing_low            # the controller wants little in flight: the flow is to be taken as limited by its application

# What one batch of ACKs has told.
cdef struct Delivery:
    u64 bytes                   # newly delivered, in order or not
    u64 total                   # delivered since the connection began
    u64 prior                   # the same when the youngest of them was sent
    u64 lost                    # newly found lost
    u64 flight                  # in flight now, after all that
    u64 before                  # in flight when the batch began
    u64 rate                    # bytes a second; 0: no sample
    bint rate_limited           # by the application or the peer's window
    bint limited                # cwnd, and not the application or the peer's window, held us back
    bint recovering             # fast recovery
    bint timed_out              # recovery after a timeout
    ns_t rtt                    # sample; 0: none
    ns_t srtt
