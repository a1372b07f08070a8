"""hostfwd at work: real clients on the host's loopback, a guest of the simulator, and an engine in between."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
from collections.abc import Callable, Generator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, cast

import pytest

from pyslirp.addresses import Endpoint, UnixAddress, pack
from pyslirp.config.forward import ForwardKey, HostForward
from pyslirp.config.stack import Config
from pyslirp.engine.reactor import Engine
from pyslirp.errors import ForwardError
from pyslirp.events import Event, FlowOpened, ForwardAdded, ForwardReady, ForwardRemoved
from pyslirp.forwards import DYNAMIC_PORTS, PORT_TRIES, Forwards, ports_to_try
from pyslirp.host.forward import open_forward
from pyslirp.observe.bus import Bus
from pyslirp.readiness import FIRST_PAUSE_NS, Watch
from pyslirp.sim.apps import Echo, Transfer
from tests.unit.loops.wired_guest import Rig, answer, descriptors, dial, dial_unix, taken, was_reset

GATEWAY = Endpoint(IPv4Address("10.0.2.2"), 0)


def rule(text: str) -> HostForward:
    return HostForward.parse(text)


def added(rig: Rig, text: str) -> Endpoint:
    """Where a rule listens."""
    listen = rig.stack.forwards.add(rule(text))
    assert isinstance(listen, Endpoint)
    return listen


# -- with real sockets -------------------------------------------------------------------------------------------------


def test_a_client_reaches_the_guest(rig: Rig) -> None:
    guest = rig.join()
    guest.listen(22, Echo)
    listen = added(rig, "tcp:127.0.0.1:0-:22")
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
    listen = added(rig, "tcp:127.0.0.1:0-:22")
    with dial(listen.port) as client:
        rig.until(lambda: was_reset(client))


def test_two_clients_of_one_port_are_two_to_the_guest(rig: Rig) -> None:
    """Two rules lead to the same port of the guest; both clients have the same port, and are shown as the gateway."""
    guest = rig.join()
    guest.listen(22, Echo)
    first, second = (added(rig, f"tcp:{host}:0-:22") for host in ("127.0.0.1", "[::1]"))
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
    listen = added(rig, "udp:127.0.0.1:0-:53")
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
    listen = added(rig, "tcp:127.0.0.1:0-:22")
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
    listen = added(rig, "tcp:127.0.0.1:0-:22")
    with dial(listen.port) as client:
        punts = rig.stack.engine.process()
        assert punts, "the engine has accepted"
        rig.stack.forwards.remove(ForwardKey("tcp", listen.address, listen.port))
        rig.stack._dispatcher.handle(punts)
        rig.until(lambda: taken(client) == b"")


def test_a_client_that_ends_its_side_still_gets_its_answer(rig: Rig) -> None:
    guest = rig.join()
    guest.listen(80, lambda: Transfer(b"answer", after_end=True))
    listen = added(rig, "tcp:127.0.0.1:0-:80")
    with dial(listen.port) as client:
        client.send(b"question")
        client.shutdown(1)
        rig.until(lambda: taken(client) == b"answer")
        rig.until(lambda: taken(client) == b"")
        assert cast("Any", guest.accepted[0].app).received == b"question"


def test_a_client_of_a_unix_socket_is_the_gateway_to_the_guest(rig: Rig, tmp_path: Path) -> None:
    guest = rig.join()
    guest.listen(22, Echo)
    path = tmp_path / "my-vm.sock"
    listen = rig.stack.forwards.add(rule(f"unix:{path}-:22"))
    assert listen == UnixAddress(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with dial_unix(path) as client:
        client.send(b"hello")
        rig.until(lambda: taken(client) == b"hello")
    assert guest.accepted[0].remote.address == GATEWAY.address
    assert rig.stack.forwards.remove(ForwardKey.parse(f"unix:{path}"))
    assert not path.exists()


def test_udp_clients_are_told_of(rig: Rig) -> None:
    rig.join().udp(53)
    listen = added(rig, "udp:127.0.0.1:0-:53")
    subscription = rig.stack.bus.subscribe()
    with dial(listen.port, udp=True) as client:
        client.send(b"question")
        rig.until(lambda: len(subscription))
        port = client.getsockname()[1]
    opened = subscription.pop()
    assert isinstance(opened, FlowOpened)
    assert opened.protocol == "udp"
    assert opened.inbound
    assert (opened.far, opened.target) == (Endpoint(GATEWAY.address, port), f"127.0.0.1:{port}")
    assert opened.guest == Endpoint(IPv4Address("10.0.2.15"), 53)


def refuses(port: int) -> bool:
    try:
        dial(port).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_rule_marked_ready_opens_with_the_guests_port_and_closes_with_it(rig: Rig) -> None:
    guest = rig.join()
    listen = added(rig, "tcp:127.0.0.1:0-:22@ready")
    (forward,) = rig.stack.forwards
    watch = forward.watch
    assert watch is not None
    rig.until(lambda: watch._pause > FIRST_PAUSE_NS)  # it has been asked, and has refused
    assert refuses(listen.port)
    guest.listen(22, Echo)
    rig.until(lambda: forward.open)
    with dial(listen.port) as client:
        client.send(b"hello")
        rig.until(lambda: taken(client) == b"hello")
    guest.unlisten(22)
    with dial(listen.port) as client:
        rig.until(lambda: was_reset(client))  # it has come too soon, and lets us ask again
    rig.until(lambda: not forward.open)
    assert refuses(listen.port)
    with pytest.raises(OSError, match="Address already in use"):  # the port is kept meanwhile
        answer(listen.port)


def test_a_unix_rule_marked_ready_has_a_socket_only_then(rig: Rig, tmp_path: Path) -> None:
    guest = rig.join()
    path = tmp_path / "web.sock"
    rig.stack.forwards.add(rule(f"unix:{path}-:22@ready"))
    (forward,) = rig.stack.forwards
    assert not path.exists()
    guest.listen(22, Echo)
    rig.until(lambda: forward.open)
    assert path.is_socket()
    rig.stack.close()
    assert not path.exists()


def test_a_port_in_use_is_refused_with_a_remedy(rig: Rig) -> None:
    listen = added(rig, "tcp:127.0.0.1:0-:22")
    with pytest.raises(ForwardError, match="Address already in use; choose another host port") as caught:
        rig.stack.forwards.add(rule(f"tcp:127.0.0.1:{listen.port}-:23"))
    assert f"Could not set up host forwarding rule 'tcp:127.0.0.1:{listen.port}-10.0.2.15:23'" in str(caught.value)
    assert len(rig.stack.forwards) == 1


def test_a_guest_outside_the_net_is_refused(rig: Rig) -> None:
    with pytest.raises(ForwardError, match=r"192\.0\.2\.1 is not in the guests' net 10\.0\.2\.0/24"):
        rig.stack.forwards.add(rule("tcp::0-192.0.2.1:22"))


@pytest.mark.parametrize("guest", ["10.0.2.255", "10.0.2.0", "[fec0::]"])
def test_no_stream_goes_to_an_address_that_no_host_has(rig: Rig, guest: str) -> None:
    with pytest.raises(ForwardError, match=f"{re.escape(guest.strip('[]'))} cannot be a guest's address in 10"):
        rig.stack.forwards.add(rule(f"tcp::0-{guest}:22"))
    assert len(rig.stack.forwards) == 0


def test_datagrams_may_go_to_all(rig: Rig) -> None:
    added(rig, "udp::0-10.0.2.255:9")


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


class FakeWatch:
    """A guest's port, ready when the test says so."""

    def __init__(self, guest: Endpoint, changed: Callable[[bool], None]) -> None:
        self.guest = guest
        self.changed = changed
        self.asked = 0
        self.closed = False

    def ask(self) -> None:
        self.asked += 1

    def close(self) -> None:
        self.closed = True


class House:
    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.endings: dict[int, Callable[[str], None]] = {}
        self.watches: list[FakeWatch] = []
        self.inbound: dict[int, Callable[[int, bytes, int], None]] = {}
        self.bus = Bus()
        self.subscription = self.bus.subscribe()
        tokens = itertools.count(5)
        self.forwards = Forwards(
            Config(),
            cast("Engine", self.engine),
            self.inbound,
            self.endings,
            self.bus,
            lambda: next(tokens),
            self.watch,
        )

    def watch(self, guest: Endpoint, changed: Callable[[bool], None]) -> Watch:
        self.watches.append(FakeWatch(guest, changed))
        return cast("Watch", self.watches[-1])

    def events(self) -> list[Event]:
        found = []
        while (event := self.subscription.pop()) is not None:
            found.append(event)
        return found


@pytest.fixture
def house() -> Generator[House]:
    made = House()
    yield made
    made.forwards.close()
    assert not made.engine.listening


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_what_happens_is_told(house: House) -> None:
    listen = house.forwards.add(rule("udp:127.0.0.1:0-10.0.2.20:53"))
    assert isinstance(listen, Endpoint)
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
    listen = house.forwards.add(rule("tcp:[::1]:0-:22"))
    assert isinstance(listen, Endpoint)
    assert listen.address == IPv6Address("::1")


# -- ranges ------------------------------------------------------------------------------------------------------------


def free_range(count: int) -> int:
    """The first of `count` ports of the loopback that nobody has."""
    for first in range(20_000, 30_000, count):
        with contextlib.ExitStack() as sockets:
            try:
                for port in range(first, first + count):
                    sockets.enter_context(open_forward("probe", "tcp", IPv4Address("127.0.0.1"), port))
            except ForwardError:
                continue
            return first
    raise AssertionError("no ports are free")


def test_a_range_listens_at_each_of_its_ports(house: House) -> None:
    first = free_range(3)
    listen = house.forwards.add(rule(f"tcp:127.0.0.1:{first}-{first + 2}-:80-82"))
    assert str(listen) == f"127.0.0.1:{first}"
    texts = [f"tcp:127.0.0.1:{first + n}-10.0.2.15:{80 + n}" for n in range(3)]
    assert [str(forward.rule) for forward in house.forwards] == texts
    assert [getattr(event, "rule", None) for event in house.events()] == texts
    assert house.forwards.remove(ForwardKey.parse(f"tcp:127.0.0.1:{first + 1}"))
    assert house.forwards.remove(ForwardKey.parse(f"tcp:127.0.0.1:{first}-{first + 2}"))
    assert len(house.forwards) == 0
    assert not house.forwards.remove(ForwardKey.parse(f"tcp:127.0.0.1:{first}-{first + 2}"))


def test_a_range_of_which_one_port_is_taken_leaves_nothing_behind(house: House) -> None:
    first = free_range(3)
    with open_forward("other", "tcp", IPv4Address("127.0.0.1"), first + 2):
        before = descriptors()
        with pytest.raises(ForwardError, match="Address already in use"):
            house.forwards.add(rule(f"tcp:127.0.0.1:{first}-{first + 2}-:80-82"))
        assert descriptors() == before
    assert len(house.forwards) == 0
    assert not house.inbound
    assert house.events() == []


def test_one_key_has_one_rule(house: House, tmp_path: Path) -> None:
    text = f"unix:{tmp_path}/x-:22"
    house.forwards.add(rule(text))
    with pytest.raises(ForwardError, match="there is one for unix:"):
        house.forwards.add(rule(text))
    assert (tmp_path / "x").is_socket()


# -- readiness ---------------------------------------------------------------------------------------------------------


def test_a_ready_rule_follows_the_guest(house: House) -> None:
    listen = house.forwards.add(rule("tcp:127.0.0.1:0-:22@ready"))
    (forward,) = house.forwards
    (watch,) = house.watches
    text = f"tcp:127.0.0.1:{getattr(listen, 'port', 0)}-10.0.2.15:22@ready"
    assert str(forward.rule) == text
    assert watch.guest == Endpoint(IPv4Address("10.0.2.15"), 22)
    assert watch.asked == 1
    assert not house.engine.listening
    seen = []
    for ready in (True, False):
        watch.changed(ready)
        seen.append((forward.open, len(house.engine.listening)))
    assert seen == [(True, 1), (False, 0)]
    assert not house.inbound
    house.forwards.remove(forward.rule.key)
    assert watch.closed
    told = [ForwardReady(42, text, ready=True), ForwardReady(42, text, ready=False)]
    assert house.events() == [ForwardAdded(42, text, listen), *told, ForwardRemoved(42, text)]


def test_a_client_that_the_guest_refuses_lets_a_ready_rule_ask_again(house: House) -> None:
    house.forwards.add(rule("tcp:127.0.0.1:0-:22@ready"))
    (watch,) = house.watches
    watch.changed(True)
    house.inbound[5](33, pack(IPv4Address("127.0.0.1")), 4000)
    house.endings[9]("closed")
    assert watch.asked == 1
    house.endings[9]("refused")
    assert watch.asked == 2
    watch.changed(False)
    house.endings[9]("refused")  # it is known already
    assert watch.asked == 2


def test_a_ready_rule_that_cannot_listen_says_so(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.forwards.add(rule("tcp:127.0.0.1:0-:22@ready"))
    house.engine.refusal = OSError(28, "No space left on device")
    house.watches[0].changed(True)
    assert "No space left on device; the guest is ready for it" in caplog.text
    assert not next(iter(house.forwards)).open
    assert len(house.events()) == 1


def test_closing_ends_every_rule(house: House, tmp_path: Path) -> None:
    before = descriptors()
    house.forwards.add(rule("tcp:127.0.0.1:0-:22@ready"))
    house.forwards.add(rule(f"unix:{tmp_path}/x-:22"))
    house.forwards.close()
    assert descriptors() == before
    assert house.watches[0].closed
    assert not (tmp_path / "x").exists()
