"""A LinkHost that does what a test says: watches are called by hand, time passes by hand, ports are numbers."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from pyslirp.links.base import PortSpec


class FakeTimer:
    """A call that is to come."""

    def __init__(self, delay_ns: int, callback: Callable[[], None]) -> None:
        self.delay_ns = delay_ns
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeHost:
    """Owns the descriptors that were attached, as the engine does."""

    def __init__(self) -> None:
        self.watches: dict[int, tuple[int, Callable[[], None] | None, Callable[[], None] | None]] = {}
        self.timers: list[FakeTimer] = []
        self.ports: dict[int, tuple[PortSpec, Callable[[str], None]]] = {}
        self.detached: list[tuple[int, str]] = []
        self.refusal: OSError | None = None  #: of `attach`
        self.watch_refusal: OSError | None = None
        self._numbers = iter(range(1_000_000))

    # -- LinkHost -----------------------------------------------------------------------------------------------------

    def watch(self, fd: int, readable: Callable[[], None] | None, writable: Callable[[], None] | None = None) -> int:
        if self.watch_refusal:
            raise self.watch_refusal
        os.fstat(fd)
        token = next(self._numbers)
        self.watches[token] = (fd, readable, writable)
        return token

    def unwatch(self, token: int) -> None:
        fd, _, _ = self.watches.pop(token)
        os.fstat(fd)  # must still be open

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(delay_ns, callback)
        self.timers.append(timer)
        return timer

    def attach(self, spec: PortSpec, lost: Callable[[str], None]) -> int:
        if self.refusal:
            os.close(spec.fd)
            raise self.refusal
        port = next(self._numbers)
        self.ports[port] = (spec, lost)
        return port

    def detach(self, port: int, reason: str) -> None:
        spec, _ = self.ports.pop(port)
        os.close(spec.fd)
        self.detached.append((port, reason))

    # -- the test's side ----------------------------------------------------------------------------------------------

    @property
    def specs(self) -> list[PortSpec]:
        """Of the ports that there are."""
        return [spec for spec, _ in self.ports.values()]

    @property
    def waiting(self) -> list[FakeTimer]:
        """Timers that were not cancelled."""
        return [timer for timer in self.timers if timer.callback is not None]

    def ready(self, timeout_seconds: float = 10.0) -> None:
        """Wait until something that is watched is ready, and call back."""
        reading = {fd: call for fd, call, _ in self.watches.values() if call is not None}
        writing = {fd: call for fd, _, call in self.watches.values() if call is not None}
        readable, writable, _ = select.select(list(reading), list(writing), [], timeout_seconds)
        assert readable or writable, "nothing is ready"
        for fd in readable:
            reading[fd]()
        for fd in writable:
            writing[fd]()

    def expire(self) -> int:
        """Let the time of the one timer come; its delay."""
        (timer,) = self.waiting
        callback, timer.callback = timer.callback, None
        assert callback is not None
        callback()
        return timer.delay_ns

    def lose(self, reason: str = "closed") -> None:
        """The guest of the one port goes."""
        ((port, (spec, lost)),) = self.ports.items()
        del self.ports[port]
        os.close(spec.fd)
        lost(reason)

    def close(self) -> None:
        """Drop what is left, as the engine would."""
        for spec in self.specs:
            os.close(spec.fd)
        self.ports.clear()
