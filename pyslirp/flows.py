"""Flows whose target is Python: the engine ends the guest's TCP (or UDP), a handler in this process reads and writes.

The engine punts what has happened to a served flow; `ServedStream` and `ServedDatagrams` turn that into calls of a handler.
No event loop is known here: asyncio's streams (loops/) and the services (dispatch) are handlers like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pyslirp.addresses import Endpoint
from pyslirp.engine.core.core import Core
from pyslirp.errors import ClosedError

READ_BYTES = 262_144  #: taken from a stream at once


class StreamHandler(Protocol):
    """What a handler of a stream is told.  It is never called from inside one of its own calls of the stream."""

    def connected(self) -> None:
        """The guest's TCP and ours agree: bytes may pass."""

    def readable(self) -> None:
        """There is something to `read`; told again only after it has been read to the end."""

    def writable(self) -> None:
        """`write` takes bytes again, after it had taken fewer than it was given."""

    def finished(self) -> None:
        """The guest will send no more, and all it sent has been read."""

    def closed(self, reason: str) -> None:
        """The flow is gone; `reason` is "closed" where both sides have ended it in order."""


class ServedStream:
    """A TCP connection of a guest with a handler in this process."""

    def __init__(self, core: Core, clock: Callable[[], int], flow: int, guest: Endpoint, far: Endpoint) -> None:
        """`flow` may be 0 until the engine has given its handle to an outbound one."""
        self._core = core
        self._clock = clock
        self.flow = flow
        self.guest = guest
        self.far = far
        self.handler: StreamHandler | None = None
        self.over = False  #: the flow is gone
        self._ended = False

    def read(self, most: int = READ_BYTES) -> bytes:
        """Up to `most` bytes that the guest has sent, b"" when none are there; opens the guest's window as far."""
        return b"" if self.over else self._core.stream_read(self.flow, most, self._clock())

    def write(self, data: bytes) -> int:
        """Send to the guest; how many bytes were taken, at most what the send buffer holds.

        Raises ClosedError when the flow is gone or `finish` was called.
        """
        if self.over or self._ended:
            raise ClosedError("the stream is closed")
        return self._core.stream_write(self.flow, data)

    @property
    def unacknowledged(self) -> int:
        """Bytes written that the guest has not acknowledged."""
        return 0 if self.over else self._core.stream_waiting(self.flow)

    def finish(self) -> None:
        """Send no more: FIN follows the last byte."""
        if not self.over and not self._ended:
            self._ended = True
            self._core.stream_finish(self.flow)

    def abort(self) -> None:
        """Reset the connection."""
        if not self.over:
            self._core.close_flow(self.flow, self._clock())


class DatagramHandler(Protocol):
    """What a handler of datagrams is told."""

    def received(self, flow: ServedDatagrams, data: bytes) -> None:
        """A datagram of the guest."""

    def ended(self, flow: ServedDatagrams) -> None:
        """The flow has been idle too long."""


class ServedDatagrams:
    """A UDP conversation of a guest with a handler in this process."""

    def __init__(
        self, core: Core, clock: Callable[[], int], flow: int, guest: Endpoint, far: Endpoint, handler: DatagramHandler
    ) -> None:
        self._core = core
        self._clock = clock
        self.flow = flow
        self.guest = guest
        self.far = far
        self.handler = handler
        self.over = False

    def reply(self, data: bytes) -> bool:
        """Send a datagram (at most 65,507 bytes) back to the guest; False when it was lost on the way out."""
        return not self.over and self._core.datagram_reply(self.flow, data, self._clock())
