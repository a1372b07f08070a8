"""guestfwd at work: a guest of the simulator, and commands and sockets of the host behind its network's addresses."""

from __future__ import annotations

import asyncio
import threading
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.config.guestfwd import GuestForward, GuestForwardKey
from pyslirp.config.stack import Config
from pyslirp.engine.edge.clock import now
from pyslirp.errors import ClosedError, ConfigError, ForwardError
from pyslirp.events import FlowDenied, FlowOpened
from pyslirp.host import command
from pyslirp.network import Network
from pyslirp.sim.apps import Transfer
from tests.unit.loops.scenario import join, scenario
from tests.unit.loops.wired_guest import Rig, answer, answer_unix, arrived, descriptors, readable, taken

SERVER = IPv4Address("10.0.2.100")


def add(rig: Rig, text: str) -> None:
    rig.stack.guestfwd.add(GuestForward.parse(text))


def test_a_command_answers_each_connection(rig: Rig) -> None:
    guest = rig.join()
    add(rig, "tcp:10.0.2.100:7-cmd:cat")
    subscription = rig.stack.bus.subscribe()
    transfers = [Transfer(text) for text in (b"one" * 100_000, b"two")]
    for transfer in transfers:
        guest.connect(SERVER, 7, now(), transfer)
    rig.until(lambda: all(len(transfer.received) == len(transfer.data) for transfer in transfers))
    assert [bytes(transfer.received) for transfer in transfers] == [b"one" * 100_000, b"two"]
    opened = subscription.pop()
    assert isinstance(opened, FlowOpened)
    assert (opened.far, opened.target) == (Endpoint(SERVER, 7), "cmd:cat")
    rig.until(lambda: not rig.stack.guestfwd.commands)


def test_what_a_guest_sends_is_input_and_nothing_else(rig: Rig) -> None:
    guest = rig.join()
    add(rig, "tcp::7-cmd:cat")
    hostile = b"$(touch /tmp/x)\n`id`\n\x00\x04\x1b[2J; rm -rf /\n"
    transfer = Transfer(hostile)
    guest.connect(IPv4Address("10.0.2.4"), 7, now(), transfer)
    rig.until(lambda: transfer.received == hostile)


def test_a_command_that_says_something_and_ends(rig: Rig) -> None:
    guest = rig.join()
    add(rig, "tcp:10.0.2.100:13-cmd:echo 'it is late'")
    transfer = Transfer(after_end=True)  # who ends first waits for TIME_WAIT's ten seconds
    guest.connect(SERVER, 13, now(), transfer)
    rig.until(lambda: transfer.closed)
    assert transfer.received == b"it is late\n"
    rig.until(lambda: not rig.stack.guestfwd.commands)


def test_a_command_ends_with_its_network() -> None:
    before = descriptors()
    with Rig() as rig:
        guest = rig.join()
        add(rig, "tcp:10.0.2.100:7-cmd:sleep 1000")
        guest.connect(SERVER, 7, now(), Transfer(b""))
        rig.until(lambda: rig.stack.guestfwd.commands == 1)
    assert rig.stack.guestfwd.commands == 0
    assert descriptors() == before


def test_one_command_too_many_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MAX_COMMANDS", 1)
    guest = rig.join()
    add(rig, "tcp:10.0.2.100:7-cmd:cat")
    guest.connect(SERVER, 7, now(), Transfer(b"x", finish=False))
    rig.until(lambda: rig.stack.guestfwd.commands == 1)
    second = Transfer(b"")
    guest.connect(SERVER, 7, now(), second)
    rig.until(lambda: second.closed)
    assert second.closed == "refused"


def test_a_command_that_is_not_there_is_refused(rig: Rig) -> None:
    guest = rig.join()
    add(rig, "tcp:10.0.2.100:7-cmd:/nonexistent")
    subscription = rig.stack.bus.subscribe()
    transfer = Transfer(b"")
    guest.connect(SERVER, 7, now(), transfer)
    rig.until(lambda: transfer.closed)
    denied = subscription.pop()
    assert isinstance(denied, FlowDenied)
    assert denied.reason == "cmd:/nonexistent: No such file or directory"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nope 'x y'", "the program 'nope' is not in PATH; connections are refused until it is: install it, or give its path"),
        ("/nonexistent", "the program '/nonexistent' cannot be run; connections are refused until it can"),
    ],
)
def test_a_command_that_is_not_there_is_warned_of_at_once(
    rig: Rig, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    add(rig, "tcp::7-cmd:cat")
    assert not caplog.records
    add(rig, f"tcp::8-cmd:{text}")
    assert [record.message for record in caplog.records] == [f"guestfwd=tcp:10.0.2.4:8-cmd:{text}: {said}"]


def test_a_tcp_target_has_a_connection_for_each_of_a_guests(rig: Rig) -> None:
    guest = rig.join()
    with answer() as server:
        add(rig, f"tcp::80-tcp:127.0.0.1:{server.getsockname()[1]}")
        transfers = [Transfer(b"one"), Transfer(b"two")]
        for transfer in transfers:
            guest.connect(IPv4Address("10.0.2.4"), 80, now(), transfer)
        rig.until(lambda: all(transfer.stream and transfer.stream.connected for transfer in transfers))
        ends = [server.accept()[0] for _ in transfers]
        received = {arrived(rig, end) for end in ends}
    assert received == {b"one", b"two"}


def test_a_unix_target(rig: Rig, tmp_path: Path) -> None:
    guest = rig.join()
    path = tmp_path / "x"
    add(rig, f"tcp::80-unix:{path}")
    refused = Transfer(b"")
    guest.connect(IPv4Address("10.0.2.4"), 80, now(), refused)
    rig.until(lambda: refused.closed)  # nobody listens yet
    with answer_unix(path) as server:
        transfer = Transfer(b"hello")
        guest.connect(IPv4Address("10.0.2.4"), 80, now(), transfer)
        rig.until(lambda: transfer.stream and transfer.stream.connected)
        end = server.accept()[0]
        with end:
            end.setblocking(False)
            rig.until(lambda: taken(end) == b"hello")
            end.send(b"welcome")
            rig.until(lambda: transfer.received == b"welcome")


def test_a_udp_target(rig: Rig) -> None:
    guest = rig.join()
    with answer(udp=True) as server:
        add(rig, f"udp::514-udp:127.0.0.1:{server.getsockname()[1]}")
        port = guest.udp()
        far = Endpoint(IPv4Address("10.0.2.4"), 514)
        assert port.send(far, b"log this", now())
        rig.until(lambda: readable(server))
        message, client = server.recvfrom(65536)
        assert message == b"log this"
        server.sendto(b"done", client)
        rig.until(lambda: port.received)
        assert port.received.popleft() == (far, b"done")


def test_it_works_where_all_else_is_restricted() -> None:
    with Rig(Config.build(restrict=True, guestfwd=["tcp:10.0.2.100:7-cmd:cat"])) as rig:
        guest = rig.join()
        transfer = Transfer(b"hello")
        guest.connect(SERVER, 7, now(), transfer)
        rig.until(lambda: transfer.received == b"hello")
        other = Transfer(b"")
        guest.connect(SERVER, 8, now(), other)
        rig.until(lambda: other.closed)


def test_the_gateway_may_be_a_server_too(rig: Rig) -> None:
    """As in libslirp since e2659110."""
    guest = rig.join()
    add(rig, "tcp:10.0.2.2:7-cmd:cat")
    transfer = Transfer(b"hello")
    guest.connect(IPv4Address("10.0.2.2"), 7, now(), transfer)
    rig.until(lambda: transfer.received == b"hello")


def test_a_server_answers_pings_and_refuses_other_ports(rig: Rig) -> None:
    guest = rig.join()
    add(rig, "tcp:10.0.2.100:7-cmd:cat")
    assert rig.answered(SERVER).answered_by == SERVER
    other = Transfer(b"")
    guest.connect(SERVER, 8, now(), other)
    rig.until(lambda: other.closed)
    assert other.closed == "refused"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tcp:10.0.3.4:80-cmd:cat", "10.0.3.4 is not in the guests' net 10.0.2.0/24"),
        ("tcp:10.0.2.15:80-cmd:cat", "10.0.2.15 is the address of a guest"),
        ("tcp:10.0.2.255:80-cmd:cat", "10.0.2.255 cannot be a server's address"),
        ("tcp:10.0.2.3:53-cmd:cat", "10.0.2.3:53 is served already"),
        ("tcp:10.0.2.100:7-cmd:other", "tcp:10.0.2.100:7 has a rule already"),
    ],
)
def test_conflicts_are_told_in_qemus_words(rig: Rig, text: str, why: str) -> None:
    rig.join()
    add(rig, "tcp:10.0.2.100:7-cmd:cat")
    with pytest.raises(ForwardError) as caught:
        add(rig, text)
    assert f"Conflicting/invalid host:port in guest forwarding rule '{text}': {why}" in str(caught.value)
    assert len(rig.stack.guestfwd) == 1


def test_a_host_that_has_no_address(rig: Rig) -> None:
    with pytest.raises(
        ForwardError, match=r"Could not open guest forwarding device 'guestfwd\.tcp\.80': no\.such\.host\."
    ):
        add(rig, "tcp::80-tcp:no.such.host.invalid:80")


def test_removing_leaves_what_is_open(rig: Rig) -> None:
    guest = rig.join()
    add(rig, "tcp::7-cmd:cat")
    transfer = Transfer(b"hello", finish=False)
    guest.connect(IPv4Address("10.0.2.4"), 7, now(), transfer)
    rig.until(lambda: transfer.received == b"hello")
    assert [str(rule) for rule in rig.stack.guestfwd] == ["tcp:10.0.2.4:7-cmd:cat"]
    assert rig.stack.guestfwd.remove(GuestForwardKey.parse("tcp::7"))
    assert not rig.stack.guestfwd.remove(GuestForwardKey.parse("tcp::7"))
    assert rig.stack.guestfwd.commands == 1
    refused = Transfer(b"")
    guest.connect(IPv4Address("10.0.2.4"), 7, now(), refused)
    rig.until(lambda: refused.closed)
    add(rig, "tcp::7-cmd:cat")


def slow_resolver(monkeypatch: pytest.MonkeyPatch, answer_now: threading.Event) -> list[str]:
    """A resolver that says what any name is, 127.0.0.1, once it may; the names that it was asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        if not answer_now.wait(20):
            raise OSError("nobody else has had a turn")
        return [(None, None, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    return asked


def test_while_a_name_is_looked_up_the_loop_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_now = threading.Event()
    asked = slow_resolver(monkeypatch, answer_now)

    @scenario
    async def run() -> None:
        with answer() as first, answer() as second:
            ports = [server.getsockname()[1] for server in (first, second)]
            loop = asyncio.get_running_loop()
            loop.call_later(0.01, answer_now.set)
            async with Network(guestfwd=[f"tcp::80-tcp:first.test:{ports[0]}"]) as net:
                guest = await join(net)
                answer_now.clear()
                loop.call_later(0.01, answer_now.set)
                await net.guestfwd_add(f"tcp::81-tcp:second.test:{ports[1]}")
                assert asked == ["first.test", "second.test"]
                told = [f"tcp:10.0.2.4:80-tcp:first.test:{ports[0]}", f"tcp:10.0.2.4:81-tcp:second.test:{ports[1]}"]
                assert net.snapshot()["guestfwd"] == told
                for port, server in ((80, first), (81, second)):
                    transfer = Transfer(b"")
                    guest.connect(IPv4Address("10.0.2.4"), port, now(), transfer)
                    await guest.until(lambda: readable(server))  # noqa: B023 - it is awaited here
                    server.accept()[0].close()
                guest.close()

    run()


@scenario
async def test_a_network_that_ends_while_a_name_is_looked_up() -> None:
    net = Network()
    with pytest.MonkeyPatch.context() as monkeypatch:
        answer_now = threading.Event()
        asked = slow_resolver(monkeypatch, answer_now)
        async with net:
            adding = asyncio.ensure_future(net.guestfwd_add("tcp::80-tcp:late.test:80"))
            await asyncio.sleep(0.01)
            assert asked == ["late.test"]
        answer_now.set()
        with pytest.raises(ClosedError):
            await adding


@scenario
async def test_a_network_whose_target_has_no_address_does_not_start() -> None:
    net = Network(guestfwd=["tcp::80-tcp:no.such.host.invalid:80"])
    with pytest.raises(
        ForwardError, match=r"Could not open guest forwarding device 'guestfwd\.tcp\.80': no\.such\.host\."
    ):
        await net.start()


@scenario
async def test_an_asyncio_program_adds_and_removes_rules() -> None:
    async with Network() as net:
        guest = await join(net)
        await net.guestfwd_add("tcp:10.0.2.100:7-cmd:cat")
        assert net.snapshot()["guestfwd"] == ["tcp:10.0.2.100:7-cmd:cat"]
        data = Transfer(b"hello")
        guest.connect(SERVER, 7, now(), data)
        await guest.until(lambda: data.received == b"hello")
        with pytest.raises(ForwardError, match="has a rule already"):
            await net.guestfwd_add("tcp:10.0.2.100:7-cmd:true")
        net.guestfwd_remove("tcp:10.0.2.100:7")
        with pytest.raises(ForwardError, match=r"guest forwarding rule for tcp:10\.0\.2\.100:7 not found"):
            net.guestfwd_remove("tcp:10.0.2.100:7")
        with pytest.raises(ConfigError, match="Invalid guest forwarding rule 'x'"):
            await net.guestfwd_add("x")
        with pytest.raises(ConfigError, match="invalid format"):
            net.guestfwd_remove("7")
        guest.close()
