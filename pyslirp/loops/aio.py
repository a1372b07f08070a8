"""asyncio: the stack's one descriptor in its loop, and flows of guests as asyncio transports.

A transport of a guest's connection behaves as a TCP transport of asyncio does (flow control in both directions, half-close,
abort), so StreamReader and StreamWriter, and any Protocol, work on it unchanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pyslirp.addresses import Endpoint
from pyslirp.flows import ServedStream
from pyslirp.stack import Stack

HIGH_WATER_BYTES = 65_536  #: written and not taken by the engine, beyond which the protocol is paused

LOST = {
    "reset by guest": ConnectionResetError("the guest has reset the connection"),
    "refused": ConnectionRefusedError("the guest refuses the connection"),
    "unreachable": OSError("no guest answers at that address"),
    "timed out": TimeoutError("the guest does not answer"),
}


class AsyncioDriver:
    """Watches one stack in one asyncio loop."""

    def __init__(self, stack: Stack, loop: asyncio.AbstractEventLoop) -> None:
        self.stack = stack
        self.loop = loop
        self._kicked = False

    def attach(self) -> None:
        """Begin."""
        self.loop.add_reader(self.stack.fileno(), self.stack.process)
        self.stack.process()

    def detach(self) -> None:
        """End; before the stack is closed."""
        self.loop.remove_reader(self.stack.fileno())

    def kick(self) -> None:
        """Let what was asked of the stack take effect in this turn of the loop, once for all that asked."""
        if not self._kicked:
            self._kicked = True
            self.loop.call_soon(self._kick)

    def _kick(self) -> None:
        self._kicked = False
        if not self.stack.closed:
            self.stack.kick()


class FlowTransport(asyncio.Transport):
    """A served stream as a transport; it is the stream's handler."""

    def __init__(
        self,
        driver: AsyncioDriver,
        stream: ServedStream,
        protocol: asyncio.Protocol,
        ready: Callable[[Exception | None], None],
    ) -> None:
        """`ready(None)` is called when connected, `ready(error)` when that has failed."""
        super().__init__({"peername": _name(stream.guest), "sockname": _name(stream.far), "flow": stream.flow})
        self._driver = driver
        self._stream = stream
        self._protocol: asyncio.BaseProtocol = protocol
        self._ready: Callable[[Exception | None], None] | None = ready
        self._buffer = bytearray()
        self._high = HIGH_WATER_BYTES
        self._low = HIGH_WATER_BYTES // 4
        self._reading = True
        self._protocol_paused = False
        self._eof_written = False
        self._eof_received = False
        self._closing = False
        self._lost = False

    # -- StreamHandler ------------------------------------------------------------------------------------------------

    def connected(self) -> None:
        """Tell the protocol, and whoever waits."""
        ready, self._ready = self._ready, None
        self._protocol.connection_made(self)
        if ready is not None:
            ready(None)

    def readable(self) -> None:
        """Hand on what is there, unless reading is paused."""
        while self._reading or self._closing:
            data = self._stream.read()
            if not data:
                return
            if not self._closing:
                self._data(data)

    def writable(self) -> None:
        """Write what has waited."""
        if self._buffer and not self._stream.over:
            del self._buffer[: self._stream.write(bytes(self._buffer))]
        if not self._buffer and (self._eof_written or self._closing):
            self._stream.finish()
        if self._protocol_paused and len(self._buffer) <= self._low:
            self._protocol_paused = False
            self._protocol.resume_writing()
        self._driver.kick()

    def finished(self) -> None:
        """The guest has ended its side."""
        self._eof_received = True
        if self._closing:
            return
        keep_open = isinstance(self._protocol, asyncio.Protocol) and self._protocol.eof_received()
        if not keep_open:
            self.close()

    def closed(self, reason: str) -> None:
        """The flow is gone."""
        error = (
            None
            if reason == "closed"
            else LOST.get(reason) or ConnectionAbortedError(f"the connection has ended: {reason}")
        )
        ready, self._ready = self._ready, None
        if ready is not None:
            ready(error or ConnectionAbortedError("the connection has ended"))
        elif not self._lost:
            self._lost = True
            self._closing = True
            self._driver.loop.call_soon(self._protocol.connection_lost, error)

    # -- asyncio.Transport --------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        """Queue `data`."""
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or self._stream.over or not data:
            return
        taken = 0 if self._buffer else self._stream.write(bytes(data))
        self._buffer += memoryview(data)[taken:]
        if not self._protocol_paused and len(self._buffer) > self._high:
            self._protocol_paused = True
            self._protocol.pause_writing()
        self._driver.kick()

    def write_eof(self) -> None:
        """End our side after what is queued."""
        self._eof_written = True
        if not self._buffer:
            self._stream.finish()
            self._driver.kick()

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def close(self) -> None:
        """End in order: what is queued is still sent; what the guest still sends is not read."""
        if self._closing:
            return
        self._closing = True
        if not self._buffer:
            self._stream.finish()
        if not self._eof_received:
            self._drain()
        self._driver.kick()

    def abort(self) -> None:
        """Reset the connection."""
        self._closing = True
        self._buffer.clear()
        self._stream.abort()
        self._driver.kick()

    def is_closing(self) -> bool:
        """Has `close` or `abort` been called, or is the flow gone?"""
        return self._closing

    def pause_reading(self) -> None:
        """Leave bytes in the engine; its window closes."""
        self._reading = False

    def resume_reading(self) -> None:
        """Go on."""
        if not self._reading:
            self._reading = True
            self._driver.loop.call_soon(self.readable)
            self._driver.kick()

    def is_reading(self) -> bool:
        """Is it not paused?"""
        return self._reading and not self._closing

    def get_write_buffer_size(self) -> int:
        """Bytes queued here and in the engine."""
        return len(self._buffer) + self._stream.unacknowledged

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """(low, high)."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As asyncio's."""
        self._high = high if high is not None else (4 * low if low is not None else HIGH_WATER_BYTES)
        self._low = low if low is not None else self._high // 4

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol takes over."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol."""
        return self._protocol

    def _data(self, data: bytes) -> None:
        if isinstance(self._protocol, asyncio.Protocol):
            self._protocol.data_received(data)

    def _drain(self) -> None:
        """Nobody reads any more: take what comes, so that the guest's FIN is reached."""
        while self._stream.read():
            pass


def _name(endpoint: Endpoint) -> tuple[Any, ...]:
    return str(endpoint.address), endpoint.port
