"""Flows whose target is Python: the engine ends the guest's TCP (or UDP), a handler in this process reads and writes.

The engine punts what has happened to a served flow; `ServedStream` and `ServedDatagrams` turn that into calls of a
handler. No event loop is known here: asyncio's streams (loops/) and the services (dispatch) are handlers like any
other.

A flow may end in the engine before its handler has been told, because the punt that says so is still on its way.  Until
`closed` has come nothing fails for that reason: reads find nothing, writes take nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pyslirp.addresses import Endpoint, unpack
from pyslirp.engine.core.core import Core
from pyslirp.errors import ClosedError
from pyslirp.verdicts import FlowName

READ_BYTES = 262_144  #: taken from a stream at once
DATAGRAM_BYTES_MAX = 65_507  #: UDP payload of the largest IPv4 packet


def ends_of(name: FlowName) -> tuple[Endpoint, Endpoint]:
    """The guest's end and the far one, as people read them."""
    return Endpoint(unpack(name.guest), name.guest_port), Endpoint(unpack(name.far), name.far_port)


class StreamHandler(Protocol):
    """What a handler of a stream is told.  It is never called from inside one of its own calls of the stream."""

    def connected(self) -> None:
        """The guest's TCP and ours agree: bytes may pass."""

    def readable(self) -> None:
        """There is something to `read`, told again only after a `read`; or the guest has moved its urgent pointer (`urgent`)."""

    def writable(self) -> None:
        """`write` takes bytes again, after it had taken fewer than it was given."""

    def finished(self) -> None:
        """The guest will send no more, and all it sent has been read."""

    def closed(self, reason: str) -> None:
        """The flow is gone; `reason` is "closed" where both sides have ended it in order.  The last call."""


class ServedStream:
    """A TCP connection of a guest with a handler in this process."""

    def __init__(self, core: Core, clock: Callable[[], int], flow: int, guest: Endpoint, far: Endpoint) -> None:
        self._core = core
        self._clock = clock
        self.flow = flow  #: the engine's handle
        self.guest = guest
        self.far = far
        self.handler: StreamHandler | None = None
        self.over = False  #: the flow is gone
        self._ended = False

    def read(self, most: int = READ_BYTES) -> bytes:
        """Up to `most` bytes that the guest has sent, b"" when none are there; opens the guest's window as far."""
        if self.over:
            return b""
        try:
            return self._core.stream_read(self.flow, most, self._clock())
        except KeyError:
            return b""

    @property
    def urgent(self) -> int:
        """Bytes to be read up to the guest's last urgent one, that one included; 0 where none is due (RFC 9293 3.8.5).

        It is a byte of the stream, at its place; where the guest has announced it, there are more than have come.
        """
        if self.over:
            return 0
        try:
            return self._core.stream_urgent(self.flow)
        except KeyError:
            return 0

    def write(self, data: bytes, *, urgent: bool = False) -> int:
        """Send to the guest; how many bytes were taken, at most what the send buffer holds.

        urgent: the last byte is urgent data, if all are taken (RFC 9293 3.8.5; a socket's MSG_OOB).
        Raises ClosedError when the flow is gone or `finish` was called.
        """
        if self.over or self._ended:
            raise ClosedError("the stream is closed")
        try:
            return self._core.stream_write(self.flow, data, urgent)
        except KeyError:
            return 0

    def finish(self) -> None:
        """Send no more: FIN follows the last byte."""
        if self.over or self._ended:
            return
        self._ended = True
        try:
            self._core.stream_finish(self.flow)
        except KeyError:
            return

    def abort(self) -> None:
        """Reset the connection; `closed` follows."""
        if not self.over:
            self._core.close_flow(self.flow, self._clock())


class DatagramHandler(Protocol):
    """What a handler of datagrams is told."""

    def received(self, flow: ServedDatagrams, data: bytes) -> None:
        """A datagram of the guest."""

    def ended(self, flow: ServedDatagrams) -> None:
        """The flow has been idle too long, or the network has been closed.  The last call for this flow."""


class ServedDatagrams:
    """A UDP conversation of a guest with a handler in this process."""

    def __init__(
        self, core: Core, clock: Callable[[], int], flow: int, guest: Endpoint, far: Endpoint, handler: DatagramHandler
    ) -> None:
        self._core = core
        self._clock = clock
        self.flow = flow  #: the engine's handle
        self.guest = guest
        self.far = far
        self.handler = handler
        self.over = False  #: the flow is gone

    def reply(self, data: bytes) -> bool:
        """Send a datagram back to the guest; False when it was lost on the way out.

        Raises ValueError for more than DATAGRAM_BYTES_MAX.
        """
        if len(data) > DATAGRAM_BYTES_MAX:
            raise ValueError(f"a datagram of {len(data)} bytes; at most {DATAGRAM_BYTES_MAX} are possible")
        if self.over:
            return False
        try:
            return self._core.datagram_reply(self.flow, data, self._clock())
        except KeyError:
            return False
