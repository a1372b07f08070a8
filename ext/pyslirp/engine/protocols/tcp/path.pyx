"""Path MTU towards the guest: from ICMP errors, and from silence where there are none.

The guest's MSS says what the guest takes, not what lies before it: a tunnel, or a network that the guest routes for.

ICMP.  An error is believed only where it quotes what is in flight (RFC 5927 section 4.1), and where the size that it tells is
smaller than what was sent; less than MTU_LEAST counts as that, and over IPv6, whose every link carries MTU_LEAST6, is no
size at all (RFC 8201 section 4).  What is in flight and larger goes out again in the new size; nothing is said about congestion
(RFC 1191 section 6.4).

Black holes (RFC 2923 section 2.1).  Errors get lost, and then no full segment arrives while small ones do.  The fourth timeout
in a row of a full one makes segments smaller.  That may be wrong: a guest that was asleep looks the same.  So after the first
time the full size is tried again soon; only if it fails again is it left alone for ten minutes, as it is after an ICMP
error (RFC 1191 section 6.3).
"""

from pyslirp.engine.base.ints cimport addr_is4, ns_t, u32, u64
from pyslirp.engine.base.seq cimport seq_wide
from pyslirp.engine.base.status cimport TCP_BLACK_HOLE, TCP_PATH_MTU
from pyslirp.engine.protocols.tcp.scoreboard cimport board_lose_larger
from pyslirp.engine.protocols.tcp.tcb cimport Tcp, TcpEnv
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.tables.flow cimport GUEST_SIDE, Flow

cdef enum:
    MTU_LEAST = 552             # of IPv4, as Linux's min_pmtu: 512 bytes of data; a smaller one is more likely an attack
    MTU_LEAST6 = 1280           # RFC 8200 section 5: every IPv6 link carries that
    MTU_BASE = 1280             # where the search for a black hole's size goes next (RFC 8899 section 5.1.2 says 1200 of payload)
    MTU_ETHERNET = 1500
    HOLE_TIMEOUTS = 4
    SECOND = 1000000000
    RETRY_SECONDS = 600         # before larger packets are tried again
    RETRY_FIRST_SECONDS = 10


cdef inline bint _is4(const Flow *flow) noexcept nogil:
    return addr_is4(&flow.name[<int>GUEST_SIDE].key.guest)


cdef inline u32 _headers(const Flow *flow, const Tcp *t) noexcept nogil:
    """IP and TCP with the options that every segment carries."""
    return (40 if _is4(flow) else 60) + (12 if t.timestamps else 0)


cdef void _set(Tcp *t, u32 mss) noexcept nogil:
    """Smaller segments, and as many of them in flight as there were: a window of bytes would let a burst go (RFC 5681 3.1)."""
    t.cc.window.cwnd = max(t.cc.window.cwnd * mss // t.snd.mss, <u64>mss)
    if t.mss_whole == 0:
        t.mss_whole = t.snd.mss
    t.snd.mss = mss
    t.cc.window.mss = mss


cdef u32 _plateau(u32 mtu, bint v4) noexcept nogil:
    """The likely size below this one (RFC 1191 table 7-1, less the networks of its time)."""
    if mtu > MTU_ETHERNET:
        return MTU_ETHERNET
    if mtu > MTU_BASE:
        return MTU_BASE
    return MTU_LEAST if v4 else MTU_LEAST6


cdef bint path_too_big(TcpEnv *env, Flow *flow, Tcp *t, u32 seq, u32 mtu, u32 packet_bytes, ns_t now) noexcept nogil:
    cdef u64 wide = seq_wide(t.snd.una, seq)
    cdef bint v4 = _is4(flow)
    cdef u32 least = MTU_LEAST if v4 else MTU_LEAST6
    if wide < t.snd.una or wide >= t.snd.nxt or t.snd.una == t.snd.iss:
        return False
    if mtu == 0 and v4:                         # a router older than RFC 1191 (section 5)
        mtu = _plateau(min(packet_bytes, t.snd.mss + _headers(flow, t)), v4)
    if mtu < least:
        if not v4:
            return False                        # RFC 8201 section 4: there is no such link
        mtu = least
    if mtu < _headers(flow, t) + 1 or mtu - _headers(flow, t) >= t.snd.mss:
        return False
    count(env.counters, TCP_PATH_MTU)
    _set(t, mtu - _headers(flow, t))
    t.mss_until = now + <ns_t>RETRY_SECONDS * SECOND
    board_lose_larger(&t.snd.board, t.snd.mss)
    return True


cdef void path_timeout(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    cdef u32 headers = _headers(flow, t), mtu = _plateau(t.snd.mss + headers, _is4(flow))
    if t.rtt.backoff < HOLE_TIMEOUTS or t.snd.una == t.snd.iss or mtu - headers >= t.snd.mss:
        return
    if min(t.snd.nxt - t.snd.una, t.snd.wnd) < t.snd.mss:
        return                                  # no full segment, or the guest has no room for one
    count(env.counters, TCP_BLACK_HOLE)
    _set(t, mtu - headers)
    t.mss_until = now + <ns_t>(RETRY_SECONDS if t.holes else RETRY_FIRST_SECONDS) * SECOND
    t.holes = True


cdef void path_widen(Tcp *t, ns_t now) noexcept nogil:
    # Not before something was acknowledged: a guest that is still silent has not seen the smaller ones either.
    if t.mss_whole and now >= t.mss_until and t.rtt.backoff == 0:
        t.snd.mss = t.mss_whole
        t.cc.window.mss = t.mss_whole
        t.mss_whole = 0
