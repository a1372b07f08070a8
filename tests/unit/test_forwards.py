"""hostfwd at work: real clients on the host's loopback, a guest of the simulator, and an engine in between."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from ipaddress import IPv4Address, IPv6Address
from typing import Any, cast

import pytest

from pyslirp.addresses import Endpoint, pack
from pyslirp.config.forward import ForwardKey, HostForward
from pyslirp.config.stack import Config
from pyslirp.engine.reactor import Engine
from pyslirp.errors import ForwardError
from pyslirp.events import Event, FlowOpened, ForwardAdded, ForwardRemoved
from pyslirp.forwards import DYNAMIC_PORTS, PORT_TRIES, Forwards, ports_to_try
from pyslirp.observe.bus import Bus
from pyslirp.sim.apps import Echo, Transfer
from tests.unit.loops.wired_guest import Rig, descriptors, dial, taken, was_reset

GATEWAY = Endpoint(IPv4Address("10.0.2.2"), 0)


@pytest.fixture
def rig() -> Generator[Rig]:
    with Rig() as rig:
        yield rig


def rule(text: str) -> HostForward:
    return HostForward.parse(text)


# -- with real sockets -------------------------------------------------------------------------------------------------


def test_a_client_reaches_the_guest(rig: Rig) -> None:
    guest = rig.join()
    guest.listen(22, Echo)
    listen = rig.stack.forwards.add(rule("tcp:127.0.0.1:0-:22"))
    assert listen.address == IPv4Address("127.0.0.1")
    assert listen.port
    with dial(listen.port) as client:
        client.send(b"said before the guest knows of it")
        rig.until(lambda: guest.accepted)
        rig.until(lambda: taken(client) == b"said before the guest knows of it")
        remote = guest.accepted[0].remote
        assert remote == Endpoint(GATEWAY.address, client.getsockname()[1])
    (forward,) = rig.stack.forwards
    assert forward.connections == 1
    assert str(forward.rule) == f"tcp:127.0.0.1:{listen.port}-10.0.2.15:22"


def test_a_guest_that_refuses_has_the_client_reset(rig: Rig) -> None:
    rig.join()
    listen = rig.stack.forwards.add(rule("tcp:127.0.0.1:0-:22"))
    with dial(listen.port) as client:
        rig.until(lambda: was_reset(client))


def test_two_clients_of_one_port_are_two_to_the_guest(rig: Rig) -> None:
    """Two rules lead to the same port of the guest; both clients have the same port, and are shown as the gateway."""
    guest = rig.join()
    guest.listen(22, Echo)
    first, second = (rig.stack.forwards.add(rule(f"tcp:{host}:0-:22")) for host in ("127.0.0.1", "[::1]"))
    with dial(first.port) as one, dial(second.port, host="::1") as other:
        rig.until(lambda: len(guest.accepted) == 2)
        ports = {stream.remote for stream in guest.accepted}
        assert len(ports) == 2
        for client, text in ((one, b"one"), (other, b"other")):
            client.send(text)
        rig.until(lambda: taken(one) == b"one")
        rig.until(lambda: taken(other) == b"other")


def test_udp_goes_there_and_back(rig: Rig) -> None:
    guest = rig.join()
    port = guest.udp(53)
    listen = rig.stack.forwards.add(rule("udp:127.0.0.1:0-:53"))
    with dial(listen.port, udp=True) as client:
        client.send(b"question")
        rig.until(lambda: port.received)
        source, payload = port.received.popleft()
        assert (source.address, payload) == (GATEWAY.address, b"question")
        rig.until(lambda: port.send(source, b"answer", rig.stack.engine.now()))
        rig.until(lambda: taken(client) == b"answer")


def test_a_removed_rule_listens_no_more_and_leaves_its_connections(rig: Rig) -> None:
    guest = rig.join()
    guest.listen(22, Echo)
    listen = rig.stack.forwards.add(rule("tcp:127.0.0.1:0-:22"))
    with dial(listen.port) as client:
        rig.until(lambda: guest.accepted)
        assert rig.stack.forwards.remove(ForwardKey("tcp", listen.address, listen.port))
        assert not rig.stack.forwards.remove(ForwardKey("tcp", listen.address, listen.port))
        assert len(rig.stack.forwards) == 0
        with pytest.raises(ConnectionRefusedError):
            dial(listen.port)
        client.send(b"still here")
        rig.until(lambda: taken(client) == b"still here")


def test_a_client_that_comes_just_before_its_rule_goes_is_closed(rig: Rig) -> None:
    rig.join()
    listen = rig.stack.forwards.add(rule("tcp:127.0.0.1:0-:22"))
    with dial(listen.port) as client:
        punts = rig.stack.engine.process()
        assert punts, "the engine has accepted"
        rig.stack.forwards.remove(ForwardKey("tcp", listen.address, listen.port))
        rig.stack._dispatcher.handle(punts)
        rig.until(lambda: taken(client) == b"")


def test_a_client_that_ends_its_side_still_gets_its_answer(rig: Rig) -> None:
    guest = rig.join()
    guest.listen(80, lambda: Transfer(b"answer", after_end=True))
    listen = rig.stack.forwards.add(rule("tcp:127.0.0.1:0-:80"))
    with dial(listen.port) as client:
        client.send(b"question")
        client.shutdown(1)
        rig.until(lambda: taken(client) == b"answer")
        rig.until(lambda: taken(client) == b"")
        assert cast("Any", guest.accepted[0].app).received == b"question"


def test_a_port_in_use_is_refused_with_a_remedy(rig: Rig) -> None:
    listen = rig.stack.forwards.add(rule("tcp:127.0.0.1:0-:22"))
    with pytest.raises(ForwardError, match="Address already in use; choose another host port") as caught:
        rig.stack.forwards.add(rule(f"tcp:127.0.0.1:{listen.port}-:23"))
    assert f"Could not set up host forwarding rule 'tcp:127.0.0.1:{listen.port}-10.0.2.15:23'" in str(caught.value)
    assert len(rig.stack.forwards) == 1


def test_a_guest_outside_the_net_is_refused(rig: Rig) -> None:
    with pytest.raises(ForwardError, match=r"192\.0\.2\.1 is not in the guests' net 10\.0\.2\.0/24"):
        rig.stack.forwards.add(rule("tcp::0-192.0.2.1:22"))


# -- with an engine that only remembers --------------------------------------------------------------------------------


class FakeEngine:
    """Opens a flow for the ports in `free`; refuses listeners where `refusal` is set."""

    def __init__(self) -> None:
        self.free: Callable[[int], bool] = lambda _: True
        self.refusal: OSError | None = None
        self.opened: list[tuple[Any, ...]] = []
        self.listening: list[int] = []

    def now(self) -> int:
        return 42

    def add_listener(self, fd: int, _token: int) -> None:
        if self.refusal:
            raise self.refusal
        self.listening.append(fd)

    def add_datagram_listener(self, fd: int, _guest: bytes, _port: int, token: int) -> None:
        self.add_listener(fd, token)

    def remove_listener(self, _token: int) -> None:
        os.close(self.listening.pop())

    def open_inbound(self, *flow: Any) -> int:
        if self.refusal:
            raise self.refusal
        self.opened.append(flow)
        return 9 if self.free(flow[4]) else 0


class House:
    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.inbound: dict[int, Callable[[int, bytes, int], None]] = {}
        self.bus = Bus()
        self.subscription = self.bus.subscribe()
        self.forwards = Forwards(Config(), cast("Engine", self.engine), self.inbound, self.bus, lambda: 5)

    def events(self) -> list[Event]:
        found = []
        while (event := self.subscription.pop()) is not None:
            found.append(event)
        return found


@pytest.fixture
def house() -> Generator[House]:
    made = House()
    yield made
    for fd in made.engine.listening:
        os.close(fd)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_what_happens_is_told(house: House) -> None:
    listen = house.forwards.add(rule("udp:127.0.0.1:0-10.0.2.20:53"))
    text = f"udp:127.0.0.1:{listen.port}-10.0.2.20:53"
    house.forwards.remove(ForwardKey("udp", listen.address, listen.port))
    assert house.events() == [ForwardAdded(42, text, listen), ForwardRemoved(42, text)]


@pytest.mark.parametrize(
    ("client", "shown"),
    [("192.0.2.7", "192.0.2.7"), ("127.0.0.1", "10.0.2.2"), ("2001:db8::7", "10.0.2.2"), ("10.0.2.9", "10.0.2.2")],
)
def test_a_client_keeps_its_address_and_port_where_it_can(house: House, client: str, shown: str) -> None:
    house.forwards.add(rule("tcp:127.0.0.1:0-:22"))
    house.events()
    address = Endpoint.of(client, 4000).address
    house.inbound[5](33, pack(address), 4000)
    guest = Endpoint(IPv4Address("10.0.2.15"), 22)
    far = Endpoint.of(shown, 4000)
    assert house.engine.opened == [(33, pack(guest.address), 22, pack(far.address), 4000, 0)]
    assert house.events() == [FlowOpened(42, 9, "tcp", guest, far, str(Endpoint(address, 4000)), inbound=True)]


def test_a_port_in_use_is_replaced(house: House) -> None:
    house.forwards.add(rule("tcp:127.0.0.1:0-:22"))
    house.engine.free = lambda port: len(house.engine.opened) > 3 and port != 4000
    house.inbound[5](33, pack(IPv4Address("127.0.0.1")), 4000)
    ports = [flow[4] for flow in house.engine.opened]
    assert ports[0] == 4000
    assert len(ports) == 4
    (forward,) = house.forwards
    assert forward.connections == 1


@pytest.mark.parametrize("refusal", [None, OSError(9, "no socket")])
def test_a_client_for_whom_there_is_no_room_is_closed(house: House, refusal: OSError | None) -> None:
    house.forwards.add(rule("tcp:127.0.0.1:0-:22"))
    house.engine.free = lambda _: False
    house.engine.refusal = refusal
    read, write = os.pipe()
    with pytest.raises(OSError, match="no socket") if refusal else contextlib.nullcontext():
        house.inbound[5](write, pack(IPv4Address("127.0.0.1")), 4000)
    assert not is_open(write)
    assert len(house.engine.opened) == (0 if refusal else PORT_TRIES + 1)
    (forward,) = house.forwards
    assert forward.connections == 0
    os.close(read)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_what_the_engine_refuses_leaves_nothing_behind(house: House, protocol: str) -> None:
    before = descriptors()
    house.engine.refusal = OSError(28, "No space left on device")
    with pytest.raises(ForwardError, match=r"Could not set up host forwarding rule .*: No space left on device"):
        house.forwards.add(rule(f"{protocol}:127.0.0.1:0-:22"))
    assert descriptors() == before
    assert not house.inbound
    assert len(house.forwards) == 0


# -- ports -------------------------------------------------------------------------------------------------------------


def test_the_wanted_port_is_tried_first_and_then_others() -> None:
    first, count = DYNAMIC_PORTS
    tried = list(ports_to_try(80))
    assert tried[0] == 80
    assert len(tried) == len(set(tried)) == PORT_TRIES + 1
    assert all(first <= port < first + count for port in tried[1:])
    assert len(list(ports_to_try())) == PORT_TRIES


def test_ports_are_not_the_same_each_time() -> None:
    assert len({next(ports_to_try()) for _ in range(16)}) > 1


def test_an_ipv6_rule_listens_at_ipv6(house: House) -> None:
    assert house.forwards.add(rule("tcp:[::1]:0-:22")).address == IPv6Address("::1")
