"""The library's face: a user-mode network in an asyncio program.

::

    async with pyslirp.Network(hostfwd=["tcp::2222-:22"]) as net:
        await net.listen("unix:/run/user/1000/vm.sock")
        reader, writer = await net.open_connection("10.0.2.15", 22)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Address
from types import TracebackType
from typing import Any, Self, Unpack

from pyslirp.addresses import Endpoint
from pyslirp.config.forward import ForwardKey, HostForward
from pyslirp.config.link import ConnectAddress, ListenAddress
from pyslirp.config.stack import Config, Options
from pyslirp.errors import ClosedError, ForwardError
from pyslirp.events import Event
from pyslirp.flows import ServedStream, StreamHandler
from pyslirp.loops.aio import AsyncioDriver, FlowTransport
from pyslirp.stack import Stack

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]

READER_BYTES = 262_144  #: limit of a StreamReader made here


class Server:
    """A Python server inside the guests' network; `close` it, or leave its `async with` block, to end it."""

    def __init__(self, network: Network, endpoint: Endpoint) -> None:
        self._network = network
        self.endpoint = endpoint  #: where guests reach it

    def close(self) -> None:
        """Accept no more; connections there are go on."""
        self._network._stack_now().unserve_stream(self.endpoint)  # noqa: SLF001 - two classes, one module

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Network:
    """A network for guests.  Options are those of ``-netdev user``, as keywords (`pyslirp.config.stack.Options`).

    Made without effect; it comes to life in ``async with`` (or `start`) and ends there (or by `close`).
    """

    def __init__(self, config: Config | None = None, /, **options: Unpack[Options]) -> None:
        """From a Config, or from options.  Raises ConfigErrors with everything that is wrong."""
        if config is not None and options:
            raise TypeError("give a Config or options, not both")
        self.config = config if config is not None else Config.build(**options)
        self._stack: Stack | None = None
        self._driver: AsyncioDriver | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Come to life in the running loop.  Raises ForwardError for a hostfwd that cannot be set up."""
        if self._stack is not None:
            raise RuntimeError("the network is running already")
        stack = Stack(self.config)
        stack.start()
        self._stack = stack
        self._driver = AsyncioDriver(stack, asyncio.get_running_loop())
        self._driver.attach()

    async def close(self) -> None:
        """End: guests are dropped, connections reset, sockets closed.  May be called twice."""
        stack, driver, self._stack, self._driver = self._stack, self._driver, None, None
        if stack is None or driver is None:
            return
        driver.detach()
        stack.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- guests -------------------------------------------------------------------------------------------------------

    async def listen(self, address: str) -> str:
        """Accept guests at ``[HOST]:PORT``, ``[V6]:PORT``, ``unix:PATH`` or ``fd:N``; the address, with the port chosen.

        Raises ConfigError for what is no address, LinkError where it cannot be listened at.
        """
        link = self._stack_now().listen(ListenAddress.parse(address))
        self._kick()
        return link.describe()

    async def connect(self, address: str) -> None:
        """Keep connecting to a QEMU that listens at `address`.  Raises ConfigError, LinkError."""
        self._stack_now().connect(ConnectAddress.parse(address))
        self._kick()

    # -- forwards -----------------------------------------------------------------------------------------------------

    def hostfwd_add(self, rule: str | HostForward) -> Endpoint:
        """Listen for ``[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT``; where, with the port chosen for port 0.

        Raises ConfigError for what is no rule, ForwardError where it cannot be set up.
        """
        parsed = HostForward.parse(rule, default_guest=self.config.dhcp.start) if isinstance(rule, str) else rule
        listen = self._stack_now().forwards.add(parsed)
        self._kick()
        return listen

    def hostfwd_remove(self, rule: str | ForwardKey) -> None:
        """Stop listening for ``[tcp|udp]:[HOSTADDR]:HOSTPORT``.  Raises ConfigError, and ForwardError where there is none."""
        key = ForwardKey.parse(rule) if isinstance(rule, str) else rule
        if not self._stack_now().forwards.remove(key):
            raise ForwardError(None, f"host forwarding rule for {rule} not found")

    # -- programs in the guests' network --------------------------------------------------------------------------------

    async def open_connection(
        self, guest: str | IPv4Address, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a port of a guest, past any port of the host.

        Raises ConnectionRefusedError, TimeoutError or OSError as a socket would, from the guest's own answer.
        """
        stack, driver = self._stack_now(), self._driver_now()
        reader = asyncio.StreamReader(limit=READER_BYTES, loop=driver.loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=driver.loop)
        done: asyncio.Future[None] = driver.loop.create_future()
        transports: list[FlowTransport] = []

        def made(stream: ServedStream) -> StreamHandler:
            transports.append(FlowTransport(driver, stream, protocol, lambda error: _settle(done, error)))
            return transports[0]

        stream = stack.open_stream(Endpoint.of(guest, port), made)
        driver.kick()
        try:
            await done
        except asyncio.CancelledError:
            stream.abort()
            raise
        return reader, asyncio.StreamWriter(transports[0], protocol, reader, driver.loop)

    async def start_server(self, handler: Handler, ip: str | IPv4Address, port: int) -> Server:
        """Serve guests that connect to `ip`:`port`; `handler(reader, writer)` as with asyncio.start_server.

        An address inside the net becomes the network's own (ARP, ping); one outside is taken over for that port only.
        Raises SlirpError where something is served there already.
        """
        driver = self._driver_now()
        endpoint = Endpoint.of(ip, port)

        def accepted(stream: ServedStream) -> StreamHandler:
            reader = asyncio.StreamReader(limit=READER_BYTES, loop=driver.loop)
            protocol = asyncio.StreamReaderProtocol(reader, self._run(handler), loop=driver.loop)
            return FlowTransport(driver, stream, protocol, lambda error: None)

        self._stack_now().serve_stream(endpoint, accepted)
        return Server(self, endpoint)

    def _run(self, handler: Handler) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        """The handler as a task that `close` ends."""

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            result = handler(reader, writer)
            if result is not None:
                task = asyncio.ensure_future(_await(result))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        return connected

    # -- observation --------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Links, leases, neighbours, flows, forwards and counters, as plain values."""
        return self._stack_now().snapshot()

    async def events(self) -> AsyncIterator[Event]:
        """What happens from now on; ends when the network is closed.  A reader that is too slow loses the oldest."""
        wake = asyncio.Event()
        subscription = self._stack_now().bus.subscribe(wake=wake.set)
        try:
            while True:
                while (event := subscription.pop()) is not None:
                    yield event
                if self._stack is None:
                    return
                await wake.wait()
                wake.clear()
        except ClosedError:
            return
        finally:
            subscription.close()

    def capture(self, path: str) -> None:
        """Write every frame from now on to a pcapng file.  Raises OSError where it cannot be made."""
        self._stack_now().start_capture(path)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _stack_now(self) -> Stack:
        if self._stack is None:
            raise ClosedError("the network is not running; use it inside 'async with'")
        return self._stack

    def _driver_now(self) -> AsyncioDriver:
        if self._driver is None:
            raise ClosedError("the network is not running; use it inside 'async with'")
        return self._driver

    def _kick(self) -> None:
        self._driver_now().kick()


async def _await(result: Awaitable[None]) -> None:
    await result


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
