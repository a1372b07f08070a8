"""Urgent data between a guest and a server in Python, through a whole network (the segments are scripts, `urgent/`)."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import cast

from pyslirp.engine.edge.clock import now
from pyslirp.loops.transport import FlowTransport
from pyslirp.network import Network
from pyslirp.sim.stream import Stream
from tests.unit.loops.scenario import join, scenario

SERVER = "10.0.2.100"


class Telnet:
    """A guest that types, interrupts, and waits for the answer."""

    def __init__(self) -> None:
        self.ahead: list[int] = []  #: the server's urgent byte, before each read
        self.received = b""
        self._sent = False

    def __call__(self, stream: Stream) -> None:
        if stream.connected and not self._sent:
            self._sent = True
            stream.write(b"sleep 100\n")
            stream.write(b"\xff\xf4\xff\xf2", urgent=True)  # IAC IP, IAC DM: RFC 854's Synch
            stream.write(b"next\n")
        if stream.urgent or self.ahead:
            self.ahead.append(stream.urgent)
        self.received += stream.read(4)


@scenario
async def test_a_server_knows_where_the_urgent_byte_is_and_sends_its_own() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.readuntil(b"next\n")
        mark = writer.get_extra_info("urgent")
        assert (said[:mark], said[mark:]) == (b"sleep 100\n\xff\xf4\xff\xf2", b"next\n")
        cast("FlowTransport", writer.transport).write_urgent(b"^C!")
        writer.write(b"$")
        await writer.drain()
        writer.close()

    async with Network() as net:
        guest = await join(net)
        await net.start_server(serve, SERVER, 80)
        telnet = Telnet()
        guest.connect(IPv4Address(SERVER), 80, now(), telnet)
        await guest.until(lambda: telnet.received == b"^C!$")
        assert telnet.ahead[0] == 3
        assert telnet.ahead[-1] == 0
        guest.close()
