"""A TCP stream of a node in the simulator: the two byte queues of a served flow, as an object."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from pyslirp.addresses import Endpoint
from pyslirp.engine.core.core import Core

READ_BYTES = 1 << 20


class Owner(Protocol):
    """The node that a stream belongs to."""

    core: Core
    now: int  #: nanoseconds, of whatever the node was told last


class Stream:
    """One connection.  Nothing here waits: state is polled, or `app` is called after everything that happens to it.

    Reading and writing a stream that is over is allowed and does nothing, so that an application needs no care about who
    was first.
    """

    def __init__(self, owner: Owner, handle: int, local: Endpoint, remote: Endpoint, app: App | None) -> None:
        self.handle = handle  #: the core's
        self.local = local
        self.remote = remote
        self.app = app
        self.connected = False  #: the handshake is done
        self.ended = False  #: the other side has finished, and all it sent has been read
        self.closed: str | None = None  #: why the stream is over; None while it is not
        self._owner = owner
        self._core = owner.core

    def __repr__(self) -> str:
        state = self.closed or ("connected" if self.connected else "connecting")
        return f"<Stream {self.local} - {self.remote}: {state}>"

    def read(self, most: int = READ_BYTES) -> bytes:
        """Up to `most` bytes of what has come; b"" while there is nothing, and at the end."""
        with self._while_it_lasts():
            return self._core.stream_read(self.handle, most, self._owner.now)
        return b""

    def write(self, data: bytes, urgent: bool = False) -> int:
        """Queue bytes; how many were taken.  `app` is called again when there is room for more.  urgent: the last one is."""
        with self._while_it_lasts():
            return self._core.stream_write(self.handle, data, urgent)
        return 0

    @property
    def urgent(self) -> int:
        """Bytes to be read up to the other side's last urgent one, that one included; 0: none."""
        with self._while_it_lasts():
            return self._core.stream_urgent(self.handle)
        return 0

    @property
    def waiting_bytes(self) -> int:
        """Written, and not acknowledged yet."""
        with self._while_it_lasts():
            return self._core.stream_waiting(self.handle)
        return 0

    def finish(self) -> None:
        """No more will be written; a FIN follows the last byte."""
        with self._while_it_lasts():
            self._core.stream_finish(self.handle)

    def reset(self) -> None:
        """End the connection at once, by a RST."""
        self._core.close_flow(self.handle, self._owner.now)

    @staticmethod
    def _while_it_lasts() -> suppress:
        """The core forgets a flow's handle when it ends, which may be before its CLOSED punt has been read."""
        return suppress(KeyError)


App = Callable[[Stream], None]
