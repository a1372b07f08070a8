"""A loop of its own for the command line: the engine sleeps and works by itself, until a signal says stop.

asyncio is not needed for that, and its import would be half of the start-up time.

Signals are taken from `__enter__` to `__exit__`, so that what is opened in between (a socket file) is closed again
whenever one comes; `run` returns at once where one has come before it.  A signal that arrives just before the engine
falls asleep is seen too, because Python writes it to a descriptor that the engine watches (signal.set_wakeup_fd).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from pyslirp.stack import Stack

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WAKE_BYTES = 512  #: read at once of what signals have written


class PlainLoop:
    """Runs one stack in this thread, which must be the main one: it takes the signals.  Used once, in a `with`."""

    def __init__(self, stack: Stack, on_signal: Callable[[int], None] | None = None) -> None:
        """`on_signal` is called with one of STOP_SIGNALS instead of ending the loop."""
        self._stack = stack
        self._on_signal = on_signal
        self._stopping = False
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1
        self._wake_read = self._wake_write = -1

    def __enter__(self) -> Self:
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup_before = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup
            self._before[number] = signal.signal(number, self._signalled)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._wake_read = self._wake_write = -1

    def run(self, until: Callable[[], bool] | None = None) -> None:
        """Process until a signal, `stop`, the stack is closed, or `until` is true after some work."""
        watch = self._stack.watch(self._wake_read, self._woken)
        try:
            while not self._stopping and not self._stack.closed and not (until is not None and until()):
                self._stack.process(wait=True)
        finally:
            self._stack.unwatch(watch)

    def stop(self) -> None:
        """End `run` after what it is doing; a `run` that has not begun ends at once."""
        self._stopping = True
        if self._wake_write >= 0:
            with contextlib.suppress(BlockingIOError):  # full: it wakes as it is
                os.write(self._wake_write, b"\0")

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, WAKE_BYTES)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._on_signal is not None:
            self._on_signal(number)
        else:
            self._stopping = True
