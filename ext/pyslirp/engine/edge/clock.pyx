"""The engine's clock: the one place that asks what time it is."""

from pyslirp.engine.base.ints cimport ns_t
from pyslirp.engine.base.sys.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


cdef ns_t clock_now() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <ns_t>now.tv_sec * 1000000000 + now.tv_nsec


def now() -> int:
    """Nanoseconds of the engine's clock."""
    return clock_now()
