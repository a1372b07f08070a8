"""A loop of its own for the command line: the engine sleeps and works by itself, until a signal says stop.

asyncio is not needed for that, and its import would be half of the start-up time.  A signal is seen although it may come
just before the engine falls asleep, because Python writes it to a descriptor that the engine watches (set_wakeup_fd).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from pyslirp.stack import Stack

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class PlainLoop:
    """Runs one stack in this thread, which must be the main one: it takes the signals."""

    def __init__(self, stack: Stack, on_signal: Callable[[int], None] | None = None) -> None:
        """`on_signal` is called with SIGINT or SIGTERM instead of ending the loop."""
        self._stack = stack
        self._on_signal = on_signal
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self, until: Callable[[], bool] | None = None) -> None:
        """Process until SIGINT or SIGTERM, `stop`, or until `until` is true after some work."""
        before = {number: signal.signal(number, self._signalled) for number in STOP_SIGNALS}
        wakeup = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        watch = self._stack.watch(self._wake_read, self._woken)
        try:
            while not self._stopping and not (until is not None and until()):
                self._stack.process(wait=True)
        finally:
            self._stack.unwatch(watch)
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _woken(self) -> None:
        os.read(self._wake_read, 512)

    def stop(self) -> None:
        """End `run` after what it is doing."""
        self._stopping = True
        os.write(self._wake_write, b"\0")

    def _signalled(self, number: int, frame: object) -> None:
        del frame
        if self._on_signal is not None:
            self._on_signal(number)
        else:
            self._stopping = True
