"""The one descriptor: an epoll set with a timer in it."""

from pyslirp.engine.base.ints cimport ns_t, u32, u64
from pyslirp.engine.base.sys.epoll cimport epoll_event

cdef enum:
    POLL_EVENTS = 256           # taken from the kernel at once; the rest of them are there next time
    POLL_TAG_SHIFT = 28         # a handle's index ends below: no table of the edge is larger than 2**28

# Whose descriptor it is: kept in the kernel beside the handle (stores/slab.pxd) of the object that has it.
cdef enum PollTag:
    POLL_TIMER = 0
    POLL_HOST = 1               # edge/hostsock: a HostSocket
    POLL_LINK = 2               # edge/linkfd: a Link
    POLL_LISTENER = 3           # edge/listener: a Listener
    POLL_WATCH = 4              # edge/watch: a Watch

cdef struct Poller:
    int fd                      # owned; -1: closed
    int timer_fd                # owned
    ns_t armed                  # when the timer fires; ns_never(): it does not
    epoll_event[POLL_EVENTS] events

cdef int poller_open(Poller *p) noexcept nogil                                       # 0 or errno
cdef void poller_close(Poller *p) noexcept nogil                                     # no matter how often
cdef int poller_add(Poller *p, int fd, u32 events, PollTag tag, u64 handle) noexcept nogil       # 0 or errno
cdef int poller_change(Poller *p, int fd, u32 events, PollTag tag, u64 handle) noexcept nogil    # tells anew
cdef void poller_remove(Poller *p, int fd) noexcept nogil                            # where the descriptor stays open
# How many events there are in p.events after at most timeout_ms (-1: for ever); -1: a signal has come.
cdef int poller_wait(Poller *p, int timeout_ms) noexcept nogil
# The set is readable from `when` on, at the latest.  A system call only where that is earlier than before.
cdef void poller_arm(Poller *p, ns_t when) noexcept nogil

cdef inline PollTag poll_tag(const epoll_event *event) noexcept nogil:
    return <PollTag>(event.data.u64 >> POLL_TAG_SHIFT & 0xf)

cdef inline u64 poll_handle(const epoll_event *event) noexcept nogil:
    return event.data.u64 & ~(<u64>0xf << POLL_TAG_SHIFT)
