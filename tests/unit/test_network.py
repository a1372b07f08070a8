"""The library's face, in-process: guests of the simulator over socket pairs, in the same asyncio loop."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

import pyslirp
from pyslirp.addresses import Endpoint
from pyslirp.engine.edge.clock import now
from pyslirp.errors import ClosedError, ConfigError, ConfigErrors, ForwardError, LinkError, SlirpError
from pyslirp.events import FlowClosed, LeaseGranted, LinkUp
from pyslirp.network import Network
from pyslirp.sim.apps import Echo, Transfer
from tests.unit.loops.scenario import join, scenario
from tests.unit.loops.wired_guest import AioGuest, dial, taken, was_reset

README = Path(__file__).resolve().parents[2] / "README.md"
GATEWAY, FIRST = IPv4Address("10.0.2.2"), IPv4Address("10.0.2.15")
MIB = 1 << 20


# -- guests ------------------------------------------------------------------------------------------------------------


def test_a_guest_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "guests.sock"

    @scenario
    async def run() -> None:
        async with Network() as net:
            assert await net.listen(f"unix:{path}") == f"unix:{path}"
            link = socket.socket(socket.AF_UNIX)
            link.connect(str(path))
            guest = AioGuest(link)
            await guest.take_lease()
            assert guest.address == FIRST
            guest.close()

    run()
    assert not path.exists()


@scenario
async def test_a_guest_over_tcp_goes_and_comes_back_to_its_lease_and_its_flows() -> None:
    async with Network() as net:
        where = await net.listen("localhost:0")
        guest = AioGuest(dial(int(where.rpartition(":")[2]), host=where.rpartition(":")[0].strip("[]")))
        await guest.take_lease()
        guest.listen(22, Echo)
        reader, writer = await net.open_connection("10.0.2.15", 22)
        guest.reconnect(dial(int(where.rpartition(":")[2]), host=where.rpartition(":")[0].strip("[]")))
        ping = guest.ping(GATEWAY, now())
        await guest.until(lambda: ping.rtt_ns)
        writer.write(b"still there?")
        assert await reader.readexactly(12) == b"still there?"
        writer.close()
        guest.close()


@scenario
async def test_a_qemu_that_listens_is_connected_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as qemu:
        async with Network() as net:
            await net.connect(f"localhost:{qemu.getsockname()[1]}")
            qemu.setblocking(False)
            link, _ = await asyncio.get_running_loop().sock_accept(qemu)
            guest = AioGuest(link)
            await guest.take_lease()
            guest.close()


@scenario
async def test_what_is_no_address_and_what_cannot_be_listened_at() -> None:
    async with Network() as net:
        with pytest.raises(ConfigError, match="listen=nonsense"):
            await net.listen("nonsense")
        with pytest.raises(ConfigError, match="connect=nonsense"):
            await net.connect("nonsense")
        with pytest.raises(LinkError, match="directory must exist"):
            await net.listen("unix:/nonexistent/folder/s")
        with pytest.raises(LinkError, match=r"no-such-name\.invalid:1: "):
            await net.listen("no-such-name.invalid:1")
        with pytest.raises(LinkError, match=r"no-such-name\.invalid:1: "):
            await net.connect("no-such-name.invalid:1")


@scenario
async def test_a_socket_that_is_no_stream_is_no_guest() -> None:
    async with Network() as net:
        with pytest.raises(OSError, match="Invalid argument"):
            net.attach(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


@scenario
async def test_tcp_to_the_host() -> None:
    async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    server = await asyncio.start_server(upper, "127.0.0.1", 0)
    async with server, Network() as net:
        guest = await join(net)
        data = Transfer(b"shout " * 1000)
        guest.connect(GATEWAY, server.sockets[0].getsockname()[1], now(), data)
        await guest.until(lambda: data.stream and data.stream.ended)
        assert data.received == b"SHOUT " * 1000
        guest.close()


# -- forwards ----------------------------------------------------------------------------------------------------------


@scenario
async def test_forwards() -> None:
    async with Network(hostfwd=["tcp:127.0.0.1:0-:22"]) as net:
        guest = await join(net)
        guest.listen(22, Echo)
        guest.listen(23, Echo)
        (configured,) = net.snapshot()["forwards"]
        added = net.hostfwd_add("tcp:127.0.0.1:0-:23")
        for port in (int(configured["listen"].rpartition(":")[2]), added.port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
            await writer.wait_closed()
        net.hostfwd_remove(f"tcp:127.0.0.1:{added.port}")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", added.port)
        with pytest.raises(ForwardError, match=r"host forwarding rule for .* not found"):
            net.hostfwd_remove(f"tcp:127.0.0.1:{added.port}")
        with pytest.raises(ConfigError, match="Bad protocol name"):
            net.hostfwd_add("sctp::1-:2")
        with pytest.raises(ConfigError, match="invalid format"):
            net.hostfwd_remove("22")
        guest.close()


@scenario
async def test_a_udp_forward() -> None:
    async with Network() as net:
        guest = await join(net)
        port = guest.udp(53)
        listen = net.hostfwd_add("udp:127.0.0.1:0-:53")
        with dial(listen.port, udp=True) as client:
            client.send(b"question")
            await guest.until(lambda: port.received)
            source, payload = port.received.popleft()
            assert payload == b"question"
            port.send(source, b"answer", now())
            await guest.until(lambda: taken(client) == b"answer")
        guest.close()


@scenario
async def test_a_client_of_a_guest_that_refuses_is_reset() -> None:
    async with Network() as net:
        guest = await join(net)
        listen = net.hostfwd_add("tcp:127.0.0.1:0-:22")
        with dial(listen.port) as client:
            await guest.until(lambda: was_reset(client))
        guest.close()


# -- connections to guests ---------------------------------------------------------------------------------------------


@scenario
async def test_streams_to_a_guest() -> None:
    async with Network() as net:
        guest = await join(net)
        guest.listen(7, Echo)
        reader, writer = await net.open_connection(FIRST, 7)
        assert writer.get_extra_info("peername") == ("10.0.2.15", 7)
        assert writer.get_extra_info("sockname")[0] == "10.0.2.2"
        data = bytes(range(256)) * 16384
        writer.write(data)
        received = await reader.readexactly(len(data))
        assert received == data
        await writer.drain()
        writer.write_eof()
        assert await reader.read() == b""
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        guest.close()


@scenario
async def test_a_guest_that_does_not_read_stops_the_writer() -> None:
    async with Network() as net:
        guest = await join(net)
        sink = Transfer(finish=False, stalled=True)
        guest.listen(9, lambda: sink)
        _, writer = await net.open_connection(FIRST, 9)
        data = bytes(8 * MIB)
        writer.write(data)
        drained = asyncio.ensure_future(writer.drain())
        await asyncio.wait([drained], timeout=0.2)
        assert not drained.done()
        assert 0 < writer.transport.get_write_buffer_size() < len(data)
        sink.resume()
        guest.attend()
        await drained
        writer.close()
        await writer.wait_closed()
        await guest.until(lambda: sink.stream and sink.stream.ended)
        assert sink.received == data
        guest.close()


@scenario
async def test_a_reader_that_does_not_read_stops_the_guest() -> None:
    async with Network() as net:
        guest = await join(net)
        source = Transfer(bytes(8 * MIB))
        guest.listen(19, lambda: source)
        reader, writer = await net.open_connection(FIRST, 19)
        await asyncio.sleep(0)
        sent = -1
        while sent != source.sent:
            sent = source.sent
            for _ in range(200):
                guest.attend()
                await asyncio.sleep(0)
        assert sent < len(source.data)
        assert len(await reader.read(-1)) == len(source.data)
        writer.close()
        guest.close()


@scenario
async def test_a_guest_that_refuses() -> None:
    async with Network() as net:
        guest = await join(net)
        with pytest.raises(ConnectionRefusedError):
            await net.open_connection(FIRST, 22)
        guest.close()


@scenario
async def test_a_guest_that_is_not_there() -> None:
    async with Network() as net:
        guest = await join(net)
        async with asyncio.timeout(10):
            with pytest.raises(OSError, match="No route to host") as caught:
                await net.open_connection("10.0.2.99", 22)
        assert caught.value.errno == errno.EHOSTUNREACH
        with pytest.raises(SlirpError, match="is not in the guests' net"):
            await net.open_connection("192.0.2.1", 22)
        with pytest.raises(ValueError, match="1 to 65535"):
            await net.open_connection(FIRST, 0)
        guest.close()


@scenario
async def test_a_connection_may_be_given_up() -> None:
    async with Network() as net:
        guest = await join(net)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(net.open_connection("10.0.2.99", 22), 0.01)
        await asyncio.sleep(0)
        assert net.snapshot()["flows"] == []
        guest.close()


@scenario
async def test_a_guest_that_resets() -> None:
    async with Network() as net:
        guest = await join(net)
        guest.listen(22)
        reader, writer = await net.open_connection(FIRST, 22)
        await guest.until(lambda: guest.accepted)
        guest.accepted[0].reset()
        guest.attend()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        with pytest.raises(ConnectionResetError):
            await writer.wait_closed()
        guest.close()


# -- servers -----------------------------------------------------------------------------------------------------------


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server's handler."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("address", ["10.0.2.100", "192.0.2.1"])
def test_a_server_in_the_guests_network(address: str) -> None:
    @scenario
    async def run() -> None:
        async with Network() as net:
            guest = await join(net)
            server = await net.start_server(echo, address, 80)
            assert server.endpoint == Endpoint.of(address, 80)
            with pytest.raises(SlirpError, match="is served already"):
                await net.start_server(echo, address, 80)
            data = Transfer(bytes(range(256)) * 8192)
            guest.connect(IPv4Address(address), 80, now(), data)
            await guest.until(lambda: data.stream and data.stream.ended)
            assert data.received == data.data
            server.close()
            server.close()
            refused = Transfer()
            if address == "10.0.2.100":
                ping = guest.ping(IPv4Address(address), now())
                guest.connect(IPv4Address(address), 80, now(), refused)
                await guest.until(lambda: refused.closed and ping.rtt_ns)
                assert refused.closed == "refused"
            guest.close()

    run()


@scenario
async def test_a_server_in_a_block_of_its_own() -> None:
    async with Network() as net:
        guest = await join(net)
        async with await net.start_server(echo, "10.0.2.100", 80):
            pass
        async with await net.start_server(echo, "10.0.2.100", 80) as server:
            await net.close()
        server.close()
        guest.close()


def handled(handler: Callable[..., Awaitable[None] | None], *, expect: str) -> list[dict[str, Any]]:
    """What the loop was told after a guest has spoken with a server of `handler`, and lost it as `expect`."""
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with Network() as net:
            guest = await join(net)
            await net.start_server(handler, "10.0.2.100", 80)
            data = Transfer(b"hello", finish=False)
            guest.connect(IPv4Address("10.0.2.100"), 80, now(), data)
            await guest.until(lambda: data.closed)
            assert data.closed == expect
            guest.close()

    asyncio.run(main())
    return complaints


def test_a_handler_that_fails_has_its_connection_reset_and_the_loop_told() -> None:
    async def fails(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(5)
        raise ValueError("on purpose")

    (complaint,) = handled(fails, expect="reset by guest")  # that is: by the other side
    assert str(complaint["exception"]) == "on purpose"
    assert "handler has failed" in complaint["message"]


def test_a_handler_that_fails_before_it_has_begun() -> None:
    def fails(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        raise ValueError("on purpose")

    (complaint,) = handled(fails, expect="reset by guest")
    assert str(complaint["exception"]) == "on purpose"


def test_a_handler_that_is_cancelled_has_its_connection_reset() -> None:
    async def gives_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(5)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    assert handled(gives_up, expect="reset by guest") == []


def test_a_handler_may_be_no_coroutine() -> None:
    def aborts(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    assert handled(aborts, expect="reset by guest") == []


# -- what happens ------------------------------------------------------------------------------------------------------


@scenario
async def test_events_from_the_moment_they_are_asked_for() -> None:
    async with Network() as net:
        events = net.events()
        guest = await join(net)
        seen = [await anext(events), await anext(events)]
        assert isinstance(seen[0], LinkUp)
        assert isinstance(seen[1], LeaseGranted)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        assert not waiting.done()
        guest.listen(22)
        _, writer = await net.open_connection(FIRST, 22)
        await waiting
        writer.transport.abort()
        assert isinstance(await anext(events), FlowClosed)
        assert events.dropped == 0
        guest.close()


@scenario
async def test_events_end_with_the_network() -> None:
    async with Network() as net:
        events = net.events()
        everything = asyncio.ensure_future(collect(events))
        guest = await join(net)
        guest.close()
    assert len(await everything) >= 3
    assert [event async for event in events] == []


async def collect(events: Any) -> list[Any]:
    return [event async for event in events]


# -- life --------------------------------------------------------------------------------------------------------------


def test_options_are_checked_at_once() -> None:
    with pytest.raises(ConfigErrors) as caught:
        Network(net="10.0.2.0/99", host="nonsense")
    assert len(caught.value.errors) == 2
    with pytest.raises(TypeError, match="not both"):
        Network(pyslirp.Config(), net="10.0.2.0/24")
    assert Network(pyslirp.Config()).config == Network().config


@scenario
async def test_nothing_is_possible_outside_its_block() -> None:
    net = Network()
    for use in (net.snapshot, net.events, lambda: net.capture("x"), lambda: net.hostfwd_add("tcp::1-:2")):
        with pytest.raises(ClosedError, match="use it inside 'async with'"):
            use()
    for wait in (
        lambda: net.listen(":0"),
        lambda: net.connect(":1"),
        lambda: net.open_connection(FIRST, 1),
        lambda: net.start_server(echo, FIRST, 1),
    ):
        with pytest.raises(ClosedError):
            await wait()
    await net.close()


@scenario
async def test_it_may_live_again() -> None:
    net = Network()
    for _ in range(2):
        async with net:
            with pytest.raises(RuntimeError, match="running already"):
                await net.start()
            guest = await join(net)
            guest.close()


@scenario
async def test_a_start_that_fails_leaves_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken_port:
        net = Network(hostfwd=[f"tcp:127.0.0.1:{taken_port.getsockname()[1]}-:22"])
        with pytest.raises(ForwardError, match="Address already in use"):
            await net.start()
    await net.start()
    await net.close()


@scenario
async def test_the_end_wakes_everybody() -> None:
    """Readers, writers, whoever connects, whoever serves: nobody waits for a network that is gone."""
    async with Network() as net:
        guest = await join(net)
        guest.listen(22)
        reader, writer = await net.open_connection(FIRST, 22)
        reading = asyncio.ensure_future(reader.read())
        connecting = asyncio.ensure_future(net.open_connection("10.0.2.99", 22))
        serving: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            try:
                await reader.read()
            except BaseException as error:
                serving.set_result(error)
                raise

        await net.start_server(serve, "10.0.2.100", 80)
        data = Transfer(b"x", finish=False)
        guest.connect(IPv4Address("10.0.2.100"), 80, now(), data)
        await guest.until(lambda: data.stream and data.stream.connected and data.stream.waiting_bytes == 0)
        await net.close()
        await net.close()
        with pytest.raises(ConnectionAbortedError, match="shut down"):
            await reading
        with pytest.raises(ConnectionAbortedError):
            await connecting
        with pytest.raises(ConnectionAbortedError):
            await writer.wait_closed()
        assert isinstance(await serving, ConnectionAbortedError | asyncio.CancelledError)
        guest.close()


@scenario
async def test_a_handler_may_end_the_network() -> None:
    net = Network()
    done = asyncio.get_running_loop().create_future()

    async def last_order(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await net.close()
        done.set_result("closed, and still here")

    await net.start()
    guest = await join(net)
    await net.start_server(last_order, "10.0.2.100", 80)
    guest.connect(IPv4Address("10.0.2.100"), 80, now(), Transfer(b"x"))
    await guest.until(done.done)
    assert await done == "closed, and still here"
    await asyncio.sleep(0)
    guest.close()


@scenario
async def test_two_networks_in_one_loop() -> None:
    async with Network() as one, Network() as other:
        first, second = await join(one), await join(other)
        for net, guest, text in ((one, first, b"one"), (other, second, b"other")):
            assert guest.address == FIRST
            guest.listen(7, Echo)
            reader, writer = await net.open_connection(FIRST, 7)
            writer.write(text)
            assert await reader.readexactly(len(text)) == text
            writer.close()
        first.close()
        second.close()


# -- as it is shown ----------------------------------------------------------------------------------------------------


def test_the_example_of_the_readme_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the socket in another folder and an end after the first lease."""
    (code,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert "asyncio.run(main())" in code
    path = tmp_path / "vm.sock"
    code = code.replace("/run/user/1000/vm.sock", str(path)).replace("127.0.0.1:2222", "127.0.0.1:0")
    code = code.replace("asyncio.run(main())", "")
    names: dict[str, Any] = {}
    exec(code, names)

    async def visit() -> None:
        program = asyncio.ensure_future(names["main"]())
        while not path.exists():  # noqa: ASYNC110 - it is the example's, and tells nobody
            await asyncio.sleep(0)
        link = socket.socket(socket.AF_UNIX)
        link.connect(str(path))
        guest = AioGuest(link)
        await guest.take_lease()
        data = Transfer()
        guest.connect(IPv4Address("10.0.2.100"), 80, now(), data)
        await guest.until(lambda: data.stream and data.stream.ended)
        assert data.received == b"hello, guest\n"
        program.cancel()
        await asyncio.gather(program, return_exceptions=True)
        guest.close()

    asyncio.run(visit())
    assert "LeaseGranted" in capsys.readouterr().out
    assert not path.exists()


def test_public_names() -> None:
    assert pyslirp.Network is Network
    assert issubclass(pyslirp.LinkError, OSError)
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        pyslirp.Nonsense  # noqa: B018
