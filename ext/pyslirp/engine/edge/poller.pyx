"""The one descriptor: an epoll set with a timer in it.

Goal: whoever watches this one descriptor (an event loop's own epoll, poll or select, level-triggered) learns of
everything. It is readable while there is something to do, and only then.

The timer is a timerfd in the set, on the clock of clock.pyx.  It is moved only to an earlier time: a deadline that has
meanwhile moved away costs one wake-up for nothing, instead of a system call for each packet that moves it.  It is
edge-triggered and never read: setting it anew forgets that it has fired.

The kernel gives back, with each event, a handle and a tag that says which table it belongs to.  An event for
something that is gone finds nothing in the table, because a handle is never used twice (stores/slab.pyx).  So a
descriptor leaves the set by being closed, without a system call; all of ours are close-on-exec and never duplicated.
"""

cimport cython
from libc.errno cimport EINTR, errno
from libc.string cimport memset

from pyslirp.engine.base.ints cimport ns_never, ns_t, u32, u64
from pyslirp.engine.base.sys.epoll cimport (
    EPOLLET, EPOLLIN, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, epoll_create1, epoll_ctl, epoll_event,
    epoll_wait)
from pyslirp.engine.base.sys.time cimport CLOCK_MONOTONIC, itimerspec
from pyslirp.engine.base.sys.timerfd cimport (
    TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, timerfd_create, timerfd_settime)
from pyslirp.engine.base.sys.unistd cimport close

cdef enum:
    SECOND = 1000000000


cdef int poller_open(Poller *p) noexcept nogil:
    cdef int error
    p.armed = ns_never()
    p.timer_fd = -1
    p.fd = epoll_create1(EPOLL_CLOEXEC)
    if p.fd < 0:
        return errno
    p.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
    error = errno if p.timer_fd < 0 else poller_add(p, p.timer_fd, EPOLLIN | EPOLLET, POLL_TIMER, 0)
    if error:
        poller_close(p)
    return error


cdef void poller_close(Poller *p) noexcept nogil:
    if p.timer_fd >= 0:
        close(p.timer_fd)
    if p.fd >= 0:
        close(p.fd)
    p.timer_fd = -1
    p.fd = -1


cdef int _control(Poller *p, int operation, int fd, u32 events, PollTag tag, u64 handle) noexcept nogil:
    cdef epoll_event event
    event.events = events
    event.data.u64 = handle | <u64>tag << POLL_TAG_SHIFT
    return errno if epoll_ctl(p.fd, operation, fd, &event) < 0 else 0


cdef int poller_add(Poller *p, int fd, u32 events, PollTag tag, u64 handle) noexcept nogil:
    return _control(p, EPOLL_CTL_ADD, fd, events, tag, handle)


cdef int poller_change(Poller *p, int fd, u32 events, PollTag tag, u64 handle) noexcept nogil:
    return _control(p, EPOLL_CTL_MOD, fd, events, tag, handle)


cdef void poller_remove(Poller *p, int fd) noexcept nogil:
    _control(p, EPOLL_CTL_DEL, fd, 0, POLL_TIMER, 0)


cdef int poller_wait(Poller *p, int timeout_ms) noexcept nogil:
    cdef int n = epoll_wait(p.fd, p.events, POLL_EVENTS, timeout_ms), i
    if n < 0:
        return -1 if errno == EINTR else 0
    for i in range(n):
        if poll_tag(&p.events[i]) == POLL_TIMER:
            p.armed = ns_never()
    return n


cdef void poller_arm(Poller *p, ns_t when) noexcept nogil:
    cdef itimerspec timer
    if when >= p.armed:
        return
    if when < 1:
        when = 1                                # 0 would disarm it
    memset(&timer, 0, sizeof(itimerspec))
    timer.it_value.tv_sec = when // SECOND
    timer.it_value.tv_nsec = when % SECOND
    if timerfd_settime(p.timer_fd, TFD_TIMER_ABSTIME, &timer, NULL) == 0:
        p.armed = when


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Poller:
    """A Poller."""

    cdef Poller poller

    def __cinit__(self):
        cdef int error = poller_open(&self.poller)
        if error:
            raise OSError(error, "poller_open")

    def __dealloc__(self):
        poller_close(&self.poller)

    def close(self):
        poller_close(&self.poller)

    def fileno(self):
        return self.poller.fd

    def add(self, int fd, u32 events, int tag, u64 handle):
        return poller_add(&self.poller, fd, events, <PollTag>tag, handle)

    def change(self, int fd, u32 events, int tag, u64 handle):
        return poller_change(&self.poller, fd, events, <PollTag>tag, handle)

    def remove(self, int fd):
        poller_remove(&self.poller, fd)

    def wait(self, int timeout_ms):
        """[(tag, handle, events)]"""
        cdef int i
        cdef epoll_event *e = self.poller.events
        return [(<int>poll_tag(&e[i]), poll_handle(&e[i]), e[i].events)
                for i in range(poller_wait(&self.poller, timeout_ms))]

    def arm(self, ns_t when):
        poller_arm(&self.poller, when)

    @property
    def armed(self):
        return self.poller.armed
