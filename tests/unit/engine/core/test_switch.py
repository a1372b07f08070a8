"""Ports, learning, forwarding, flooding and capture, frame by frame."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.engine.core.guest import EVERYBODY, FAR, GATEWAY, MAC, START, Guest, Net, ip, mac

MULTICAST = bytes.fromhex("01005e0000fb")
PORTS = 256
SWITCHED_BYTES = 3 * 2**18
UNKNOWN_TYPE = 0x88B5  # IEEE 802 local experimental


def hello(source: bytes, to: bytes, data: bytes = b"hello") -> bytes:
    return to + source + UNKNOWN_TYPE.to_bytes(2) + data


def links(net: Net, count: int) -> list[Guest]:
    """Guests of whom nothing is known yet."""
    return [net.guest(10 + number, known=False) for number in range(count)]


# -- learning and forwarding -------------------------------------------------------------------------------------------


def test_an_unknown_destination_is_flooded_a_known_one_is_not() -> None:
    net = Net()
    a, b, c = links(net, 3)
    a.send(hello(a.mac, b.mac))
    assert [guest.frames() for guest in (a, b, c)] == [[], [hello(a.mac, b.mac)], [hello(a.mac, b.mac)]]
    b.send(hello(b.mac, a.mac))
    assert [guest.frames() for guest in (a, b, c)] == [[hello(b.mac, a.mac)], [], []]
    assert net.counted() == {"switch.flooded": 1, "switch.forwarded": 1}


@pytest.mark.parametrize("to", [EVERYBODY, MULTICAST])
def test_groups_are_flooded(to: bytes) -> None:
    net = Net()
    a, b, c = links(net, 3)
    a.send(hello(a.mac, to))
    assert [len(guest.frames()) for guest in (a, b, c)] == [0, 1, 1]
    assert net.counted() == {"switch.flooded": 1, "eth.unknown_type": 1}


def test_frames_for_us_stay_here() -> None:
    net = Net()
    a, b = links(net, 2)
    a.send(hello(a.mac, MAC))
    assert b.frames() == []
    assert net.counted() == {"eth.unknown_type": 1}


def test_a_frame_for_the_port_it_came_from_is_counted() -> None:
    net = Net()
    a, b = links(net, 2)
    a.send(hello(mac(50), EVERYBODY))
    b.frames()
    net.counted()
    a.send(hello(a.mac, mac(50)))
    assert a.frames() == b.frames() == []
    assert net.counted() == {"switch.filtered": 1}


@pytest.mark.parametrize("source", [EVERYBODY, MULTICAST, MAC])
def test_sources_that_cannot_be(source: bytes) -> None:
    net = Net()
    a, b = links(net, 2)
    a.send(hello(source, EVERYBODY))
    assert b.frames() == []
    assert net.counted() == {"switch.bad_source": 1}
    b.send(hello(b.mac, MAC))
    assert a.frames() == []


def test_guests_reach_one_another() -> None:
    net = Net()
    a, b, c = net.guest(10), net.guest(11), net.guest(12)
    for guest in (a, b, c):
        guest.frames()
    frame = a.udp_frame(b"neighbour", to=b.ip, mac_to=b.mac)
    a.send(frame)
    assert [guest.frames() for guest in (a, b, c)] == [[], [frame], []]
    assert net.punts() == []


def test_a_guest_that_comes_back_on_another_port_is_found() -> None:
    net = Net()
    guest = net.guest()
    guest.udp(b"question")
    flow = net.flow()
    net.core.serve(flow, 1, net.now)
    net.core.remove_port(guest.port)
    again = Guest(net, 15, net.core.add_port(1500))
    again.udp(b"and another")
    net.punts()
    assert net.core.datagram_reply(flow, b"found", net.now)
    assert again.datagram()[3] == b"found"
    assert len(net.core.flows()) == 1


def test_a_mac_that_moves_between_living_ports_is_followed() -> None:
    net = Net()
    a, b = net.guest(10), net.guest(11)
    b.mac = a.mac
    b.udp(b"x", source=a.ip)
    net.core.send_udp(ip(FAR), 9, ip(a.ip), 9, b"there", net.now)
    assert b.datagram()[3] == b"there"


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_port_forgets_its_own_addresses_for_new_ones() -> None:
    """So a guest that makes addresses up takes nobody else's, and one that has run for a year still learns."""
    net = Net()
    a, b = links(net, 2)
    b.send(hello(b.mac, MAC))
    net.counted()
    a.send(*[hello(mac(1000 + number), MAC) for number in range(600)])
    assert net.counted() == {"switch.table_full": 88, "eth.unknown_type": 600}
    a.send(hello(mac(5000), b.mac))
    assert b.frames() == [hello(mac(5000), b.mac)]
    b.send(hello(b.mac, mac(5000)))
    assert a.frames() == [hello(b.mac, mac(5000))]
    assert net.counted()["switch.forwarded"] == 2


def test_ports_are_numbered_reused_and_bounded() -> None:
    net = Net()
    ports = [net.core.add_port(1500) for _ in range(PORTS)]
    assert ports == list(range(PORTS))
    with pytest.raises(OverflowError, match="256"):
        net.core.add_port(1500)
    net.core.remove_port(7)
    net.core.remove_port(7)
    assert net.core.add_port(9000) == 7
    assert net.core.ports()[7] == {
        "port": 7,
        "mtu": 9000,
        "rx_frames": 0,
        "rx_bytes": 0,
        "tx_frames": 0,
        "tx_bytes": 0,
        "tx_dropped": 0,
        "tx_waiting_bytes": 0,
        "buffer_bytes": 0,
        "buffer_refused": 0,
    }


@pytest.mark.parametrize("port", [256, 10**9])
def test_what_is_no_port_is_ignored_or_refused(port: int) -> None:
    net = Net()
    net.core.remove_port(port)
    net.core.deliver(port, [hello(mac(1), EVERYBODY)], START)
    with pytest.raises(KeyError):
        net.core.collect(port)


def test_the_ports_mtu_bounds_what_is_forwarded() -> None:
    net = Net()
    a, b = net.guest(10, mtu=9000), net.guest(11, mtu=1500)
    b.send(hello(b.mac, MAC))
    net.counted()
    a.send(hello(a.mac, b.mac, bytes(1504)), hello(a.mac, b.mac, bytes(1505)))
    assert [len(frame) for frame in b.frames()] == [1518]
    assert net.counted() == {"switch.forwarded": 2, "port.too_big": 1}
    assert net.core.ports()[b.port]["tx_dropped"] == 1


@pytest.mark.parametrize("mtu", [-1, 0, 20, 67])
def test_a_link_carries_68_bytes_at_least(mtu: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        Net().core.add_port(mtu)


def test_a_full_port_drops_and_counts() -> None:
    net = Net()
    a, b = net.guest(10), net.guest(11)
    b.frames()
    net.counted()
    frame = hello(a.mac, b.mac, bytes(1500))
    fit = (SWITCHED_BYTES - len(frame)) // (len(frame) + 4) + 1  # each waits behind four bytes of length
    a.send(*[frame] * (fit + 5))
    assert net.counted() == {"switch.forwarded": fit + 5, "port.tx_full": 5}
    port = net.core.ports()[b.port]
    assert (port["tx_dropped"], port["tx_waiting_bytes"]) == (5, fit * (len(frame) + 4))
    assert len(b.frames()) == fit


def test_other_guests_cannot_shut_one_off_from_us() -> None:
    net = Net()
    a, b = net.guest(10), net.guest(11)
    b.frames()
    a.send(*[hello(a.mac, EVERYBODY, bytes(1500))] * 1000)
    assert net.core.send_udp(ip(FAR), 9, ip(b.ip), 9, bytes(40000), net.now)
    b.arp(GATEWAY)
    assert len(b.frames()[-1]) == 60
    assert net.core.ports()[b.port]["tx_waiting_bytes"] == 0


# -- counting and capture ----------------------------------------------------------------------------------------------


def test_ports_count_frames_and_bytes() -> None:
    net = Net()
    a, b = net.guest(10), net.guest(11)
    before = {port["port"]: port for port in net.core.ports()}
    a.send(b"", b"short", hello(a.mac, b.mac, bytes(100)))
    after = {port["port"]: port for port in net.core.ports()}
    assert after[a.port]["rx_frames"] - before[a.port]["rx_frames"] == 3
    assert after[a.port]["rx_bytes"] - before[a.port]["rx_bytes"] == 5 + 114
    assert after[b.port]["tx_frames"] - before[b.port]["tx_frames"] == 1
    assert after[b.port]["tx_bytes"] - before[b.port]["tx_bytes"] == 114
    assert after[b.port]["tx_waiting_bytes"] - before[b.port]["tx_waiting_bytes"] == 114 + 4


def test_capture_is_in_order_with_direction_and_time() -> None:
    net = Net()
    a, b = net.guest(10), net.guest(11)
    for guest in (a, b):
        guest.frames()
    assert net.core.captured() == ([], 0)
    net.core.capturing = True
    assert net.core.capturing
    a.arp(GATEWAY)
    net.now += 5
    a.send(hello(a.mac, b.mac), b"short")
    net.core.capturing = False
    a.arp(GATEWAY)
    frames, lost = net.core.captured()
    assert lost == 0
    request, reply = a.arp_frame(GATEWAY), a.frames()[0]
    assert frames == [
        (a.port, True, START, request),
        (b.port, False, START, request),
        (a.port, False, START, reply),
        (a.port, True, START + 5, hello(a.mac, b.mac)),
        (b.port, False, START + 5, hello(a.mac, b.mac)),
        (a.port, True, START + 5, b"short"),
    ]
    assert net.core.captured() == ([], 0)


def test_what_capture_cannot_hold_is_counted() -> None:
    net = Net()
    a = net.guest(10)
    net.core.capturing = True
    frame = hello(a.mac, MAC, bytes(60000))
    a.send(*[frame] * 150)
    frames, lost = net.core.captured()
    assert len(frames) + lost == 150
    assert 8_000_000 < sum(len(data) for *_, data in frames) <= 8 * 2**20
    assert net.core.memory()["capture_lost"] == lost
    a.send(frame)
    assert len(net.core.captured()[0]) == 1


def test_everything_that_leaves_is_captured_as_it_leaves() -> None:
    net = Net()
    a, b = net.guest(10), net.guest(11)
    for guest in (a, b):
        guest.frames()
    net.core.capturing = True
    a.echo(bytes(4000), to=GATEWAY)
    net.core.send_udp(ip(FAR), 9, ip("10.0.2.99"), 9, b"who?", net.now)
    captured, _ = net.core.captured()
    for guest, count in ((a, 4), (b, 1)):
        sent = guest.frames()
        assert [data for port, inbound, _, data in captured if port == guest.port and not inbound] == sent
        assert len(sent) == count


# -- against a twin ----------------------------------------------------------------------------------------------------

MACS = st.integers(0, 7).map(lambda number: mac(0x100 + number))
LINKS = st.integers(0, 3)


class SwitchMachine(RuleBasedStateMachine):
    """Which ports get a frame: a dictionary of addresses knows as well."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()
        self.ports = [self.net.core.add_port(1500) for _ in range(4)]
        self.learned: dict[bytes, int] = {}
        self.serial = 0

    @rule(link=LINKS, source=MACS, to=MACS | st.sampled_from([EVERYBODY, MULTICAST, MAC]))
    def send(self, link: int, source: bytes, to: bytes) -> None:
        port = self.ports[link]
        self.serial += 1
        frame = hello(source, to, self.serial.to_bytes(4))
        self.net.core.deliver(port, [frame], self.net.now)
        self.learned[source] = port
        if to == MAC:
            expected = set()
        elif to in self.learned:
            expected = {self.learned[to]} - {port}
        else:
            expected = set(self.ports) - {port}
        assert {other for other in self.ports if self.net.core.collect(other) == [frame]} == expected

    @rule(link=LINKS)
    def reconnect(self, link: int) -> None:
        self.net.core.remove_port(self.ports[link])
        self.learned = {address: port for address, port in self.learned.items() if port != self.ports[link]}
        self.ports[link] = self.net.core.add_port(1500)

    @precondition(lambda self: self.serial)
    @invariant()
    def nothing_is_left(self) -> None:
        assert all(port["tx_waiting_bytes"] == 0 for port in self.net.core.ports())


TestSwitch = SwitchMachine.TestCase
TestSwitch.settings = settings(max_examples=40, stateful_step_count=40)
