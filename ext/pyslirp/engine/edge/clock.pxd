"""The engine's clock: the one place that asks what time it is."""

from pyslirp.engine.base.ints cimport ns_t

cdef ns_t clock_now() noexcept nogil            # CLOCK_MONOTONIC: the timerfd's clock, and time.monotonic_ns()'s
