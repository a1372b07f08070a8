"""A transport whose stream does what a test says, and a protocol that remembers."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import Any, cast

from pyslirp.addresses import Endpoint
from pyslirp.flows import ServedStream
from pyslirp.loops.aio import AsyncioDriver
from pyslirp.loops.transport import FlowTransport


class FakeStream:
    """The engine's side of a stream: it has `unread` for us, and room for `room` bytes; `marks` are its urgent bytes' ends."""

    flow = 7
    guest = Endpoint(IPv4Address("10.0.2.15"), 40000)
    far = Endpoint(IPv4Address("10.0.2.2"), 80)

    def __init__(self) -> None:
        self.over = False
        self.unread: list[bytes] = []
        self.room = 1 << 30
        self.urgent = 0
        self.written = bytearray()
        self.marks: list[int] = []
        self.calls: list[str] = []

    def read(self) -> bytes:
        data = self.unread.pop(0) if self.unread else b""
        self.urgent = max(self.urgent - len(data), 0)
        return data

    def write(self, data: bytes, *, urgent: bool = False) -> int:
        taken = min(self.room, len(data))
        self.room -= taken
        self.written += data[:taken]
        if urgent and taken == len(data):
            self.marks.append(len(self.written))
        return taken

    def finish(self) -> None:
        self.calls.append("finish")

    def abort(self) -> None:
        self.calls.append("abort")


class FakeDriver:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.kicks = 0

    def kick(self) -> None:
        self.kicks += 1


class Recorder(asyncio.Protocol):
    """Remembers what it is told, and fails where it is told to."""

    def __init__(self, *, keep_open: bool = True, fails: str = "") -> None:
        self.calls: list[Any] = []
        self.keep_open = keep_open
        self.fails = fails
        self.transport: asyncio.BaseTransport | None = None

    def _told(self, name: str, call: object) -> None:
        self.calls.append(call)
        if name == self.fails:
            raise RuntimeError("on purpose")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._told("connection_made", "made")

    def data_received(self, data: bytes) -> None:
        self._told("data_received", data)

    def urgent_received(self, ahead: int) -> None:
        self._told("urgent_received", ("urgent", ahead))

    def eof_received(self) -> bool:
        self._told("eof_received", "eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self._told("pause_writing", "pause")

    def resume_writing(self) -> None:
        self._told("resume_writing", "resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self._told("connection_lost", ("lost", exc))


class Line:
    """A stream, its transport and the protocol on it."""

    def __init__(self, protocol: asyncio.BaseProtocol | None = None, *, connected: bool = True) -> None:
        self.stream = FakeStream()
        self.driver = FakeDriver()
        self.recorder = Recorder()
        self.readiness: list[OSError | None] = []
        self.transport = FlowTransport(
            cast("AsyncioDriver", self.driver),
            cast("ServedStream", self.stream),
            protocol or self.recorder,
            self.readiness.append,
        )
        if connected:
            self.transport.connected()

    @property
    def calls(self) -> list[Any]:
        """What the protocol was told after it was connected."""
        return self.recorder.calls[1:]

    def end(self, reason: str) -> None:
        """The engine says that the flow is gone."""
        self.stream.over = True
        self.transport.closed(reason)

    async def rest(self) -> None:
        """Let the loop do what is to be done at once."""
        for _ in range(3):
            await asyncio.sleep(0)
