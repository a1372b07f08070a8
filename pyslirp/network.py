"""The library's face: a user-mode network in an asyncio program.

::

    async with pyslirp.Network(hostfwd=["tcp::2222-:22"]) as net:
        await net.listen("unix:/run/user/1000/vm.sock")
        reader, writer = await net.open_connection("10.0.2.15", 22)
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, ip_address
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from pyslirp.addresses import Address, Endpoint, UnixAddress
from pyslirp.config.forward import ForwardKey, HostForward
from pyslirp.config.guestfwd import GuestForward, GuestForwardKey
from pyslirp.config.link import ConnectAddress, ControlAddress, ListenAddress
from pyslirp.config.qemu import parse_netdev, parse_options
from pyslirp.config.stack import Config, Options
from pyslirp.control import commands, inspection
from pyslirp.control.command import Nothing
from pyslirp.control.server import ControlSocket
from pyslirp.errors import ClosedError, ForwardError, LinkError
from pyslirp.flows import ServedStream, StreamHandler
from pyslirp.guestfwd import look_up
from pyslirp.links.base import PortSpec
from pyslirp.loops.aio import AsyncioDriver
from pyslirp.loops.events import EventStream
from pyslirp.loops.transport import FlowTransport
from pyslirp.records import replace
from pyslirp.stack import Stack

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]
AnyAddress = TypeVar("AnyAddress", bound=ListenAddress)

READER_BYTES = 65_536  #: limit of a StreamReader made here, as asyncio's own


class Server:
    """A Python server inside the guests' network; `close` it, or leave its `async with` block, to end it."""

    def __init__(self, stack: Stack, endpoint: Endpoint) -> None:
        self._stack: Stack | None = stack
        self.endpoint = endpoint  #: where guests reach it

    def close(self) -> None:
        """Accept no more; connections there are go on.  May be called twice, and after the network's end."""
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.servers.unserve_stream(self.endpoint)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Network:
    """A network for guests.  Options are those of ``-netdev user``, as keywords (`pyslirp.config.stack.Options`).

    Made without effect; it comes to life in ``async with`` (or `start`) and ends there (or by `close`).
    """

    def __init__(self, config: Config | str | None = None, /, **options: Unpack[Options]) -> None:
        """From a Config, from the argument of a -netdev user (text or JSON), or from options.

        Raises ConfigErrors with everything that is wrong.
        """
        if isinstance(config, str):
            config = parse_netdev(config) if config.lstrip().startswith("{") else parse_options(config)
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
        addresses = [await _target_address(rule) for rule in self.config.forward.guestfwd]
        if self._stack is not None:
            raise RuntimeError("the network has been started meanwhile")
        stack = Stack(self.config)
        driver = AsyncioDriver(stack, asyncio.get_running_loop())
        try:
            stack.start(addresses)
            driver.attach()
        except BaseException:
            stack.close()
            raise
        self._stack, self._driver = stack, driver

    async def close(self) -> None:
        """End: guests are dropped, connections reset, sockets closed, handlers cancelled.  May be called twice.

        A handler may call it: it goes on, the others are cancelled and waited for.
        """
        stack, driver, self._stack, self._driver = self._stack, self._driver, None, None
        if stack is None or driver is None:
            return
        driver.detach()
        stack.close()
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- guests -------------------------------------------------------------------------------------------------------

    async def listen(self, address: str) -> str:
        """Accept guests at ``[HOST]:PORT``, ``[V6]:PORT``, ``unix:PATH`` or ``fd:N``; where, with the port chosen.

        Raises ConfigError for what is no address, LinkError where it cannot be listened at.
        """
        parsed = await self._look_up(ListenAddress.parse(address))
        link = self._stack_now().listen(parsed)
        self._kick()
        return link.describe()

    async def connect(self, address: str) -> None:
        """Keep connecting to a QEMU that listens at `address`.  Raises ConfigError, LinkError."""
        parsed = await self._look_up(ConnectAddress.parse(address))
        self._stack_now().connect(parsed)
        self._kick()

    async def _look_up(self, address: AnyAddress) -> AnyAddress:
        """`address` by number: a resolver that is slow must not stop the network."""
        loop = self._driver_now().loop
        if address.kind != "inet" or _is_number(address.host):
            return address
        try:
            found = await loop.getaddrinfo(address.host.encode(), address.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise LinkError(error.errno, f"{address}: {error.strerror or error}") from None
        return replace(address, host=str(found[0][4][0]))

    def attach(self, guest: socket.socket, name: str = "guest") -> None:
        """A guest at the other end of this connected stream socket, with QEMU's framing (``-netdev socket,fd=``).

        The socket is taken over.  Raises OSError where it is no stream socket, or there are too many guests.
        """
        stack = self._stack_now()
        guest.setblocking(False)
        stack.attach(PortSpec(guest.detach(), "stream", stack.mtu, name))
        self._kick()

    # -- forwards -----------------------------------------------------------------------------------------------------

    def hostfwd_add(self, rule: str | HostForward) -> Endpoint | UnixAddress:
        """Listen for ``[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT``; where, with the port chosen for port 0.

        The whole syntax, with ranges, unix sockets and ``@ready``, is in pyslirp.config.forward.  Raises ConfigError for
        what is no rule, ForwardError where it cannot be set up.
        """
        parsed = HostForward.parse(rule) if isinstance(rule, str) else rule
        listen = self._stack_now().forwards.add(parsed)
        self._kick()
        return listen

    def hostfwd_remove(self, rule: str | ForwardKey) -> None:
        """Stop listening for ``[tcp|udp]:[HOSTADDR]:HOSTPORT[-LAST]`` or ``unix:PATH``.

        Raises ConfigError for what is no rule, ForwardError where there is no such one.
        """
        key = ForwardKey.parse(rule) if isinstance(rule, str) else rule
        if not self._stack_now().forwards.remove(key):
            raise ForwardError(None, f"host forwarding rule for {rule} not found")
        self._kick()

    async def guestfwd_add(self, rule: str | GuestForward) -> None:
        """Answer guests at ``[tcp|udp]:[SERVER]:PORT`` by ``-cmd:COMMAND``, ``-tcp:HOST:PORT``, ``-unix:PATH``.

        A HOST by name is looked up once, now, while the network goes on.

        The whole syntax is in pyslirp.config.guestfwd.  Raises ConfigError for what is no rule, ForwardError where it
        cannot be set up.
        """
        parsed = GuestForward.parse(rule) if isinstance(rule, str) else rule
        self._stack_now()
        address = await _target_address(parsed)
        self._stack_now().guestfwd.add(parsed, address)
        self._kick()

    def guestfwd_remove(self, rule: str | GuestForwardKey) -> None:
        """Answer no more at ``[tcp|udp]:[SERVER]:PORT``; connections that are open go on.

        Raises ConfigError for what is no rule, ForwardError where there is no such one.
        """
        key = GuestForwardKey.parse(rule) if isinstance(rule, str) else rule
        if not self._stack_now().guestfwd.remove(key):
            raise ForwardError(None, f"guest forwarding rule for {rule} not found")
        self._kick()

    # -- programs in the guests' network ------------------------------------------------------------------------------

    async def open_connection(
        self, guest: str | IPv4Address, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a port of a guest, past any port of the host.

        Raises ConnectionRefusedError, TimeoutError or another OSError as a socket would: from the guest's own answer,
        or EHOSTUNREACH after some seconds where nobody has that address.
        """
        stack, driver = self._stack_now(), self._driver_now()
        reader = asyncio.StreamReader(limit=READER_BYTES, loop=driver.loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=driver.loop)
        done: asyncio.Future[OSError | None] = driver.loop.create_future()

        def settle(error: OSError | None) -> None:
            if not done.done():
                done.set_result(error)

        transports: list[FlowTransport] = []

        def made(stream: ServedStream) -> StreamHandler:
            transports.append(FlowTransport(driver, stream, protocol, settle))
            return transports[0]

        stack.servers.connect(Endpoint.of(guest, port), made)
        driver.kick()
        try:
            error = await done
        except BaseException:
            transports[0].abort()
            raise
        if error is not None:
            raise error
        return reader, asyncio.StreamWriter(transports[0], protocol, reader, driver.loop)

    async def start_server(self, handler: Handler, ip: str | IPv4Address, port: int) -> Server:
        """Serve guests that connect to `ip`:`port`; `handler(reader, writer)` as with asyncio.start_server.

        An address inside the net becomes the network's own (ARP, ping); one outside is taken over for that port only.
        `writer.get_extra_info` knows "peername", "sockname", "flow" (its number in `flows`) and "urgent" (loops/transport.py).
        Raises SlirpError where something is served there already, or a guest has the address.
        """
        stack, driver = self._stack_now(), self._driver_now()
        endpoint = Endpoint.of(ip, port)

        def accepted(stream: ServedStream) -> StreamHandler:
            reader = asyncio.StreamReader(limit=READER_BYTES, loop=driver.loop)
            protocol = asyncio.StreamReaderProtocol(reader, self._run(handler, driver.loop), loop=driver.loop)
            return FlowTransport(driver, stream, protocol)

        stack.servers.serve_stream(endpoint, accepted)
        return Server(stack, endpoint)

    def _run(
        self, handler: Handler, loop: asyncio.AbstractEventLoop
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        """The handler as a task that `close` ends.  One that fails ends its connection, and the loop is told."""

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            result = handler(reader, writer)
            if result is None:
                return
            task = loop.create_task(_await(result))
            self._tasks.add(task)
            task.add_done_callback(lambda task: ended(task, writer))

        def ended(task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                context = {"message": "a server's handler has failed", "exception": error, "task": task}
                loop.call_exception_handler(context)
            if error is not None or task.cancelled():
                writer.transport.abort()

        return connected

    # -- run-time commands (pyslirp.control.commands), each as a method ----------------------------------------------------

    def control(self, address: str) -> ControlSocket:
        """Take commands at ``unix:PATH`` (docs/control.md), until the network ends or this is closed.

        Raises ConfigError for what is no such address, LinkError where it cannot be listened at.
        """
        socket_ = ControlSocket(self._stack_now(), ControlAddress.parse(address))
        self._kick()
        return socket_

    def info_usernet(self) -> str:
        """Connections and forwarding rules as QEMU's ``info usernet`` prints them."""
        return inspection.info_usernet(self._stack_now(), Nothing()).text

    def info_network(self) -> str:
        """The network in one line, as QEMU's ``info network`` prints it."""
        return inspection.info_network(self._stack_now(), Nothing()).text

    def neighbors(self) -> tuple[inspection.Neighbor, ...]:
        """The guests that were heard of."""
        return inspection.neighbors(self._stack_now(), Nothing()).neighbors

    def leases(self) -> tuple[inspection.Lease, ...]:
        """The addresses that were given out."""
        return inspection.leases(self._stack_now(), Nothing()).leases

    def flows(self, limit: int = inspection.FLOWS_AT_ONCE) -> tuple[inspection.Flow, ...]:
        """The conversations of guests with the world, `limit` at most."""
        return inspection.flows(self._stack_now(), inspection.FlowsRequest(limit=limit)).flows

    def counters(self) -> dict[str, int]:
        """What has happened, how often; docs/counters.md says what each counts."""
        return inspection.counters(self._stack_now(), Nothing()).counters

    def set_restrict(self, restrict: bool) -> int:
        """Isolate the guests, or no longer: ``restrict=`` from now on.  How many flows were ended for that."""
        cut = self._stack_now().set_restrict(restrict)
        self._kick()
        return cut

    def version(self) -> commands.Version:
        """Which pyslirp this is, and which version of the control protocol it speaks."""
        return commands.version(self._stack_now(), Nothing())

    def help(self) -> tuple[commands.Entry, ...]:
        """The commands that a control socket takes."""
        return commands.help_(self._stack_now(), Nothing()).commands

    # -- observation --------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Links, leases, neighbours, flows, forwards and counters, as plain values (JSON can hold them)."""
        return self._stack_now().snapshot()

    def events(self) -> EventStream:
        """What happens from now on, for ``async for``; ends when the network is closed."""
        return EventStream(self._stack_now().bus)

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


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _target_address(rule: GuestForward) -> Address | None:
    """Where a rule's target is, if it is a host by name: asked in another thread.  Raises ForwardError."""
    if not rule.target.named:
        return None
    return await asyncio.get_running_loop().run_in_executor(None, look_up, rule)


async def _await(result: Awaitable[None]) -> None:
    await result
