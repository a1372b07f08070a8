"""IPv6, Neighbour Discovery and fragments in what libslirp got wrong, or is known to lack, one test for each.

The names are the CVE's or say what the latent bug was.  The IPv4 side of the fragment rows is in
tests/unit/engine/tables/test_reassembly.py.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest

from pyslirp.addresses import pack
from pyslirp.config.network import NetworkConfig
from pyslirp.nat.targets import Targets
from pyslirp.verdicts import Deny, FlowName, How
from tests.oracle.headers_ipv6 import FRAGMENT, ICMPV6, UDP, echo6, fragment, headers, udp6
from tests.unit.engine.core.guest6 import FAR6, GATEWAY6, ROUTER, Net6, error6, six, whole6

OVERLAP, RECEIVED, REASSEMBLED = "fragment.overlap", "fragment.received", "fragment.reassembled"


def test_cve_2020_10756_echo_shorter_than_its_header() -> None:
    """icmp6_send_echoreply read past the packet: the length came from the IPv6 header, the bytes from elsewhere."""
    net = Net6()
    guest = net.guest6()
    for length in range(8):
        guest.send(guest.ipv6(echo6(b"secret")[:length], ICMPV6, to=GATEWAY6))
    claiming = bytearray(guest.ipv6(echo6(b"x"), ICMPV6, to=GATEWAY6))
    claiming[18:20] = (1000).to_bytes(2)
    guest.send(bytes(claiming))
    assert guest.frames() == []
    counted = net.counted()
    assert (counted["icmp.short"], counted["ipv6.bad_length"]) == (8, 1)


@pytest.mark.parametrize("beginning", [0, 8, 64])
def test_cve_2018_11806_and_2019_14378_reassembly_past_the_buffer(beginning: int) -> None:
    """A first fragment larger than the buffer that was made for small ones, and what follows it."""
    net = Net6()
    guest = net.guest6()
    data = udp6(bytes(40_000), 5000, 9)
    frames = guest.fragments6(data, UDP, 9000 // 8 * 8)
    guest.send(*frames[1:], *guest.fragments6(data[: beginning or 8], UDP, 8, ident=2), frames[0])
    net.host.allow(net.flow(), six(FAR6), 9, net.now)
    (call,) = [call for call in net.host.take() if call[0] == "send_to"]
    assert call[6] == bytes(40_000)


def test_cve_2019_15890_and_2020_1983_use_after_free_in_reassembly() -> None:
    """The last piece first, again, and after the whole has been handed on: nothing of it lives on."""
    net = Net6()
    guest = net.guest6()
    net.core.claim_udp(six(GATEWAY6), 9)
    frames = guest.fragments6(udp6(bytes(3000), 5000, 9), UDP, 1000, to=GATEWAY6)
    guest.send(*frames[::-1])
    assert len(net.punt()[4]) == 3000
    guest.send(frames[-1], frames[-1])
    assert net.punts() == []
    net.wait(31)
    assert net.core.memory()["reassembly_datagrams"] == net.core.memory()["reassembly_bytes"] == 0


def test_overlapping_fragments_are_dropped_with_all_of_their_datagram() -> None:
    """RFC 5722: a filter that reads the first fragment is not to be deceived by the second."""
    net = Net6()
    guest = net.guest6()
    net.core.claim_udp(six(GATEWAY6), 9)
    net.counted()
    first, last = guest.fragments6(udp6(bytes(40), 5000, 9), UDP, 32, to=GATEWAY6)
    other = guest.frame(
        headers(16, UDP, six(guest.ip6), six(GATEWAY6), chain=((FRAGMENT, fragment(8, more=True)),)) + bytes(16), 0x86DD
    )
    guest.send(first, other, last)
    assert net.punts() == []
    assert net.counted()[OVERLAP] == 2  # it, and what came for the same datagram afterwards


def test_fragments_cannot_exhaust_memory() -> None:
    """libslirp's queues had no limit: a first fragment for each of many identifications and sources."""
    net = Net6()
    guest = net.guest6()
    for number in range(3000):
        source = f"fec0::1:{number % 50:x}"
        chain = ((FRAGMENT, fragment(0, more=True, identification=number)),)
        guest.send(guest.ipv6(udp6(bytes(1000)), UDP, source=source, chain=chain))
    memory = net.core.memory()
    assert memory["reassembly_datagrams"] <= 64
    assert memory["reassembly_bytes"] <= 2 * 2**20
    net.counted()
    data = udp6(bytes(3000), 5000, 9)
    guest.send(*guest.fragments6(data, UDP, 1000, ident=99_999))  # an honest guest still gets through
    assert net.counted()[REASSEMBLED] == 1


def test_extension_headers_are_read_and_not_dropped() -> None:
    """libslirp knew none: whatever had one was lost without a word."""
    net = Net6()
    guest = net.guest6()
    plain = bytes([0, 1, 4]) + bytes(4)
    guest.udp6(b"x", chain=((0, plain), (60, plain), (FRAGMENT, fragment(0, more=False))))
    assert net.punt()[2][4] == 9


def test_icmpv6_errors_have_icmpv6s_types() -> None:
    """ICMP's 3, unreachable, is ICMPv6's time exceeded: so libslirp told of a port where nobody listens."""
    net = Net6()
    guest = net.guest6()
    guest.udp6(b"x")
    mapping = net.host.allow(net.flow(), six(FAR6), 9, net.now)
    net.host.error(mapping, six(FAR6), 9, six(FAR6), 3, 3, net.now)
    assert error6(guest.packet6())[1:3] == (1, 4)


def test_large_datagrams_are_fragmented() -> None:
    """ip6_output sent them as frames larger than the link carries."""
    net = Net6()
    guest = net.guest6()
    net.core.send_udp(six(FAR6), 9, six(guest.ip6), 5000, bytes(5000), net.now)
    frames = guest.frames()
    assert max(map(len, frames)) <= 1514
    assert len(frames) == 4


def test_a_guest_that_makes_addresses_up_does_not_push_others_out() -> None:
    """The table of 16, filled in turn: now 4096, and who has a flow stays."""
    net = Net6()
    honest, hostile = net.guest6(0x15), net.guest6(0x16)
    honest.udp6(b"x")
    mapping = net.host.allow(net.flow(), six(FAR6), 9, net.now)
    honest.frames()
    for number in range(10_000):
        hostile.solicit(GATEWAY6, source=f"fec0::1:{number:x}")
        hostile.frames()
        honest.frames()
    assert len(net.core.neighbors()) <= 4096
    net.host.arrive(mapping, six(FAR6), 9, b"answer", net.now)
    assert honest.datagram6() == (FAR6, 9, 5000, b"answer")


def test_a_guest_cannot_have_us_ask_for_addresses_without_end() -> None:
    """What is sent to made-up neighbours is asked for thrice, and then forgotten."""
    net = Net6()
    guest = net.guest6()
    for number in range(5000):
        net.core.send_udp(six(FAR6), 9, six(f"fec0::1:{number:x}"), 5000, b"x", net.now)
        guest.frames()
    assert len(net.core.neighbors()) <= 4096
    net.wait(10)
    guest.frames()
    assert len(net.core.neighbors()) <= 2
    assert net.core.next_deadline() is None


@pytest.mark.parametrize("speaker", [GATEWAY6, ROUTER])
def test_a_guest_does_not_take_our_address(speaker: str) -> None:
    """Neither by a solicitation, nor by an advertisement, nor as the source of a packet."""
    net = Net6()
    guest = net.guest6()
    before = net.core.neighbors()
    guest.solicit("fec0::77", source=speaker)
    guest.advertise(speaker, source=speaker)
    guest.advertise(speaker, source=guest.ip6)
    guest.udp6(b"x", source=speaker)
    guest.frames()
    assert net.core.neighbors() == before
    assert net.punts() == []


def test_discovery_from_behind_a_router_is_not_believed() -> None:
    """RFC 4861 section 11.2: libslirp asked for no hop limit of 255."""
    net = Net6()
    guest = net.guest6(known=False)
    guest.solicit(GATEWAY6, hop_limit=254)
    guest.look_for_routers(hop_limit=64)
    assert net.core.neighbors() == []
    assert net.punts() == []
    assert net.counted()["nd.foreign"] == 2


def test_options_of_length_zero_do_not_loop() -> None:
    """RFC 4861 section 4.6: the kernel's and others' first bug."""
    net = Net6()
    guest = net.guest6(known=False)
    guest.solicit(GATEWAY6, more=bytes(1000))
    guest.look_for_routers(more=b"\x01\0" + bytes(62))
    assert net.counted()["nd.malformed"] == 2


@pytest.mark.parametrize("address", ["::ffff:127.0.0.1", "::ffff:10.0.2.2", "::127.0.0.1"])
def test_an_ipv4_address_in_disguise_reaches_nobody(address: str) -> None:
    """The tables hold IPv4 as ::ffff:a.b.c.d: written so on the wire it would go round every check of the other family."""
    net = Net6()
    guest = net.guest6()
    guest.udp6(b"x", to=address)
    guest.udp6(b"x", source=address)
    assert net.punts() == []


@pytest.mark.parametrize("address", ["fec0::99", "fec0::4"])
def test_an_address_of_the_net_that_is_nobodys_does_not_leak(address: str) -> None:
    """libslirp sent 10.0.2.99 to the real network, and any address of the prefix to ::1."""
    network = NetworkConfig(ipv6=True)
    name = FlowName(UDP, pack(IPv6Address("fec0::15")), 5000, pack(IPv6Address(address)), 9)
    verdict = Targets(network, (IPv6Address("fec0::3"),), dns_forward=True).decide(name)
    assert isinstance(verdict, Deny)
    assert verdict.how == How.HOST_UNREACHABLE


def test_one_socket_for_all_pings_of_a_guest() -> None:
    """A descriptor for each echo request, in libslirp."""
    net = Net6()
    guest = net.guest6()
    guest.echo6(sequence=1)
    mapping = net.host.allow(net.flow(), six(FAR6), 0, net.now)
    for sequence in range(2, 50):
        guest.echo6(sequence=sequence)
    assert len(net.host.sockets) == 1
    for sequence in (7, 3):
        net.host.arrive(mapping, six(FAR6), 0, b"\x81\0\0\0" + struct.pack("!HH", 4242, sequence) + b"ping", net.now)
        source, message = whole6(guest.packets6())
        assert (source, message[4:8]) == (FAR6, struct.pack("!HH", 77, sequence))
