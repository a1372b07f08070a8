"""Flows of guests as asyncio transports: flow control in both directions, half-close, abort, as for a TCP socket.

So StreamReader and StreamWriter, and any Protocol or BufferedProtocol, work on a guest's connection unchanged.

States.  *Connecting*: the protocol knows nothing yet; a failure goes to `ready` alone.  *Open*.  *Closing*: `close`
was called, what is queued is still being handed to the engine.  *Lost*: `connection_lost` has been called (from the
loop, once), which is when the engine has everything, as with a kernel's socket; the guest's acknowledgements are the
engine's business.

A flow that both sides have ended in order, but that the protocol has not closed, stays open to the protocol, as a
socket does.  Behind a lost transport the flow may live on: what the guest still sends is read and thrown away, so
that the answer in front of it is not lost by a reset, but for LINGER_SECONDS at the most (as long as Linux keeps such
an orphan).

Urgent data is in line, at its place in the stream (RFC 6093 section 6).  `get_extra_info("urgent")` is how many bytes of the
guest's stream there are up to its last urgent one, that one included.  A protocol with a method `urgent_received(ahead)` is
told, before it gets any of them, how many of the bytes that follow lead up to it.  `write_urgent` sends it.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Any

from pyslirp.addresses import Endpoint
from pyslirp.flows import ServedStream
from pyslirp.loops.aio import AsyncioDriver

HIGH_WATER_BYTES = 65_536  #: written and not taken by the engine, beyond which the protocol is paused
PIECE_BYTES = 1_048_576  #: of a long queue, given to the engine at once
LINGER_SECONDS = 60.0  #: net.ipv4.tcp_fin_timeout

_NOBODY = asyncio.BaseProtocol()

_ERRNO = {
    "reset by guest": errno.ECONNRESET,
    "refused": errno.ECONNREFUSED,
    "unreachable": errno.EHOSTUNREACH,
    "timed out": errno.ETIMEDOUT,
}


def error_of(reason: str) -> OSError | None:
    """What a socket would raise after a flow has ended for `reason`; None for "closed"."""
    if reason == "closed":
        return None
    if reason in _ERRNO:
        return OSError(_ERRNO[reason], os.strerror(_ERRNO[reason]))  # of the subclass that belongs to the errno
    return ConnectionAbortedError(errno.ECONNABORTED, f"the connection has ended: {reason}")


class FlowTransport(asyncio.Transport):
    """A served stream as a transport; it is the stream's handler."""

    def __init__(
        self,
        driver: AsyncioDriver,
        stream: ServedStream,
        protocol: asyncio.BaseProtocol,
        ready: Callable[[OSError | None], None] | None = None,
    ) -> None:
        """`ready(None)` is called when the protocol has been told that it is connected, `ready(error)` when never."""
        super().__init__({"peername": _name(stream.guest), "sockname": _name(stream.far), "flow": stream.flow})
        self._driver = driver
        self._stream = stream
        self._protocol = protocol
        self._ready = ready
        self._connected = False
        self._buffer = bytearray()
        self._urgent = 0  # bytes of it up to the last urgent one
        self._received_bytes = 0
        self._urgent_at = 0
        self._high = HIGH_WATER_BYTES
        self._low = HIGH_WATER_BYTES // 4
        self._reading = True
        self._protocol_paused = False
        self._eof_written = False
        self._closing = False
        self._lost = False
        self._linger: asyncio.TimerHandle | None = None

    # -- StreamHandler ------------------------------------------------------------------------------------------------

    def connected(self) -> None:
        """Tell the protocol, and whoever waits."""
        self._connected = True
        ready, self._ready = self._ready, None
        self._attempt(self._protocol.connection_made, self)
        if ready is not None:
            ready(None)

    def readable(self) -> None:
        """Hand on what is there, unless reading is paused; throw it away once closing."""
        self._look_for_urgent()
        while self._reading or self._closing:
            data = self._stream.read()
            if not data:
                return
            if not self._closing:
                self._received(data)

    def writable(self) -> None:
        """Write what has waited."""
        self._flush()
        if self._protocol_paused and len(self._buffer) <= self._low:
            self._protocol_paused = False
            self._attempt(self._protocol.resume_writing)

    def finished(self) -> None:
        """The guest has ended its side."""
        if self._closing:
            return
        keep_open = False
        if isinstance(self._protocol, asyncio.Protocol | asyncio.BufferedProtocol):
            keep_open = bool(self._attempt(self._protocol.eof_received))
        if not keep_open:
            self.close()

    def closed(self, reason: str) -> None:
        """The flow is gone."""
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        error = error_of(reason)
        ready, self._ready = self._ready, None
        if not self._connected:
            self._closing = self._lost = True
            if ready is not None:
                ready(error or ConnectionAbortedError(errno.ECONNABORTED, "the connection has ended"))
        elif error is not None or self._closing:
            self._lose(error)

    # -- asyncio.Transport --------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """"peername", "sockname", "flow" (the engine's number of it), and "urgent" (int, bytes; 0: nothing was urgent)."""
        return self._urgent_at if name == "urgent" else super().get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Queue `data`; nothing once closing.  Raises RuntimeError after `write_eof`."""
        self._queue(bytes(data), urgent=False)

    def write_urgent(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """As `write`, and the last byte of `data` is urgent (a socket's MSG_OOB)."""
        self._queue(bytes(data), urgent=True)

    def write_eof(self) -> None:
        """End our side after what is queued."""
        if not self._closing and not self._eof_written:
            self._eof_written = True
            self._flush()

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def close(self) -> None:
        """End in order: what is queued is still sent; what the guest still sends is not read."""
        if self._closing:
            return
        self._closing = True
        self._flush()
        self.readable()
        if self._stream.over:
            self._lose(None)

    def abort(self) -> None:
        """Reset the connection."""
        self._fail(None)

    def is_closing(self) -> bool:
        """Has `close` or `abort` been called, or has the connection failed?"""
        return self._closing

    def pause_reading(self) -> None:
        """Leave bytes in the engine, whose window closes."""
        self._reading = False

    def resume_reading(self) -> None:
        """Go on."""
        if not self._reading and not self._closing:
            self._reading = True
            self._driver.loop.call_soon(self._resume)

    def is_reading(self) -> bool:
        """Is it neither paused nor closing?"""
        return self._reading and not self._closing

    def get_write_buffer_size(self) -> int:
        """Bytes written that the engine has not taken."""
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """(low, high)."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As asyncio's.  Raises ValueError unless high >= low >= 0."""
        if high is None:
            high = HIGH_WATER_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._pause_if_full()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol takes over."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol."""
        return self._protocol

    # -- inside -------------------------------------------------------------------------------------------------------

    def _attempt(self, callback: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of the protocol.  What it raises ends the connection, and the loop is told, as by asyncio."""
        try:
            return callback(*arguments)
        except Exception as error:  # noqa: BLE001 - it is the embedder's code
            self._driver.loop.call_exception_handler(
                {
                    "message": f"a protocol has failed in {getattr(callback, '__name__', callback)}",
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
            self._fail(error)
            return None

    def _look_for_urgent(self) -> None:
        ahead = self._stream.urgent
        if not ahead or self._urgent_at == self._received_bytes + ahead:
            return
        self._urgent_at = self._received_bytes + ahead
        told = getattr(self._protocol, "urgent_received", None)
        if told is not None and not self._closing:
            self._attempt(told, ahead)

    def _received(self, data: bytes) -> None:
        protocol = self._protocol
        self._received_bytes += len(data)
        if isinstance(protocol, asyncio.BufferedProtocol):
            self._attempt(_fill, protocol, data)
        elif isinstance(protocol, asyncio.Protocol):
            self._attempt(protocol.data_received, data)

    def _resume(self) -> None:
        self.readable()
        self._driver.kick()

    def _queue(self, raw: bytes, *, urgent: bool) -> None:
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or self._stream.over or not raw:
            return
        taken = 0 if self._buffer else self._stream.write(raw, urgent=urgent)
        self._buffer += memoryview(raw)[taken:]
        if urgent and taken < len(raw):
            self._urgent = len(self._buffer)
        self._driver.kick()
        self._pause_if_full()

    def _flush(self) -> None:
        """Hand the engine what it takes; when that is all, the end that was asked for."""
        while self._buffer and not self._stream.over:
            piece = bytes(memoryview(self._buffer)[: min(PIECE_BYTES, self._urgent or PIECE_BYTES)])
            taken = self._stream.write(piece, urgent=len(piece) == self._urgent)
            del self._buffer[:taken]
            self._urgent = max(self._urgent - taken, 0)
            if taken < len(piece):
                break
        if not self._buffer and (self._eof_written or self._closing):
            self._stream.finish()
            if self._closing:
                self._lose(None)
        self._driver.kick()

    def _pause_if_full(self) -> None:
        if len(self._buffer) > self._high and not self._protocol_paused:
            self._protocol_paused = True
            self._attempt(self._protocol.pause_writing)

    def _fail(self, error: Exception | None) -> None:
        self._closing = True
        self._buffer.clear()
        self._stream.abort()
        self._driver.kick()
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        """Tell the protocol, once, and from the loop, that this is over; a flow that lives on has its time limited."""
        if self._lost or not self._connected:
            return
        self._lost = self._closing = True
        self._buffer.clear()
        self._driver.loop.call_soon(self._tell_lost, error)
        if not self._stream.over:
            self._linger = self._driver.loop.call_later(LINGER_SECONDS, self._linger_over)

    def _tell_lost(self, error: Exception | None) -> None:
        self._attempt(self._protocol.connection_lost, error)
        self._protocol = _NOBODY  # the flow may stay for a while (TIME_WAIT); what its reader holds need not

    def _linger_over(self) -> None:
        self._linger = None
        self._stream.abort()
        self._driver.kick()


def _fill(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    """Data in the protocol's own buffers."""
    rest = memoryview(data)
    while rest:
        room = memoryview(protocol.get_buffer(len(rest))).cast("B")
        if not room:
            raise RuntimeError("get_buffer() returned an empty buffer")
        length = min(len(room), len(rest))
        room[:length] = rest[:length]
        protocol.buffer_updated(length)
        rest = rest[length:]


def _name(endpoint: Endpoint) -> tuple[Any, ...]:
    return str(endpoint.address), endpoint.port
