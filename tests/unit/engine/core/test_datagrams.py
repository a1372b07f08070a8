"""UDP and ping: verdicts and what waits for them, mappings and who shares them, strangers, rules, errors, expiry."""

from __future__ import annotations

from typing import Any

import dpkt
import pytest

from pyslirp.addresses import unpack
from pyslirp.engine.core import core
from tests.unit.engine.core.guest import (
    ALIAS,
    FAR,
    GATEWAY,
    SECOND,
    Guest,
    Net,
    described,
    dotted,
    four,
    ip,
    payload,
    whole,
)

HELD_MAX = 128
IDLE, BOTH_WAYS = 30, 120
HERE, HERE_TOO = "192.0.2.1", "192.0.2.2"  # addresses of the host
OTHER_FAR, ROUTER, LOOPBACK, LOOPBACK_2 = "198.51.100.7", "203.0.113.1", "127.0.0.1", "127.0.0.53"
EXPIRED, CLOSED = core.REASONS.index("expired"), 12


def allowed(
    net: Net, guest: Guest, data: bytes = b"first", *, host: str | None = None, **fields: Any
) -> tuple[int, int]:
    """A UDP conversation of the guest that Python has let through: flow and mapping."""
    guest.udp(data, **fields)
    punt = net.punt()
    mapping = net.host.allow(punt[1], punt[2][3] if host is None else ip(host), punt[2][4], net.now)
    return punt[1], mapping


def pinged(net: Net, guest: Guest, **fields: Any) -> tuple[int, int]:
    """A ping that Python has let through."""
    guest.echo(**fields)
    punt = net.punt()
    return punt[1], net.host.allow(punt[1], punt[2][3], 99, net.now)


def sent(net: Net) -> list[tuple[str, int, bytes]]:
    """What has been given to host sockets since last asked: to whom, and what."""
    return [(str(unpack(call[2])), call[3], call[6]) for call in net.host.take() if call[0] == "send_to"]


def conversations(net: Net) -> int:
    return len(net.core.flows())


# -- the verdict -------------------------------------------------------------------------------------------------------


def test_datagrams_wait_for_the_verdict_in_order(net: Net, guest: Guest) -> None:
    net.counted()
    guest.send(*[guest.udp_frame(bytes([number]), ttl=number + 1) for number in range(HELD_MAX + 3)])
    kind, flow, key, ttl, link = net.punt()
    assert (kind, key, ttl, link) == (core.KIND_FLOW, (17, ip(guest.ip), 5000, ip(FAR), 9), 1, guest.port)
    assert net.counted() == {"flow.opened": 1, "udp.queue_full": 3}
    net.host.allow(flow, ip(FAR), 9, net.now)
    calls = net.host.take()
    assert [(call[4], call[6]) for call in calls] == [(number + 1, bytes([number])) for number in range(HELD_MAX)]
    assert net.counted() == {"udp.to_host": HELD_MAX}
    guest.udp(b"later")
    assert sent(net) == [(FAR, 9, b"later")]


def test_a_handler_gets_messages_and_answers(net: Net, guest: Guest) -> None:
    guest.send(guest.udp_frame(b"one"), guest.udp_frame(b""))
    flow = net.flow()
    net.core.serve(flow, 5, net.now)
    guest.udp(b"three")
    assert net.punts() == [(core.KIND_MESSAGE, flow, 5, data) for data in (b"one", b"", b"three")]
    assert net.core.datagram_reply(flow, b"answer", net.now)
    assert guest.datagram() == (FAR, 9, 5000, b"answer")
    described_flow = net.core.flow(flow)
    assert (described_flow["bytes_to_host"], described_flow["bytes_to_guest"]) == (8, 6)
    assert (described_flow["datagrams_to_host"], described_flow["datagrams_to_guest"]) == (3, 1)
    assert (described_flow["served"], described_flow["tag"], described_flow["state"]) == (True, 5, "open")


@pytest.mark.parametrize("length", [0, 1, 1472, 1473, 65507])
def test_any_length_both_ways(net: Net, guest: Guest, length: int) -> None:
    data = (bytes(range(251)) * 262)[:length]
    _, mapping = allowed(net, guest, data)
    assert sent(net) == [(FAR, 9, data)]
    net.host.arrive(mapping, ip(FAR), 9, data, net.now)
    assert guest.datagram() == (FAR, 9, 5000, data)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (core.REFUSE_RESET, 3),
        (core.REFUSE_PORT, 3),
        (core.REFUSE_HOST, 1),
        (core.REFUSE_NET, 0),
        (core.REFUSE_PROHIBITED, 13),
        (core.REFUSE_SILENT, None),
    ],
)
def test_a_denial_is_remembered_until_it_is_idle(net: Net, guest: Guest, how: int, code: int | None) -> None:
    guest.send(guest.udp_frame(b"1"), guest.udp_frame(b"22"))
    flow = net.flow()
    net.core.deny(flow, how, net.now)
    expected = [] if code is None else [(GATEWAY, 3, code)]
    assert [described(packet)[:3] for packet in guest.packets()] == expected
    net.counted()
    guest.udp(b"333")
    assert [described(packet)[:3] for packet in guest.packets()] == expected
    assert (net.punts(), net.counted()["udp.denied"], net.core.flow(flow)["state"]) == ([], 1, "denied")
    net.wait(IDLE)
    assert net.punt()[:5:4] == (core.KIND_CLOSED, EXPIRED)
    guest.udp(b"4444")
    assert net.punt()[0] == core.KIND_FLOW


@pytest.mark.parametrize("repeated", [False, True])
def test_a_denied_ping_is_quoted_so_that_the_guest_knows_it(net: Net, guest: Guest, repeated: bool) -> None:
    """Linux looks for the identifier, ping(8) for the sequence number."""
    guest.echo(bytes(56), identifier=0x4321, sequence=3, ttl=17)
    net.core.deny(net.flow(), core.REFUSE_PROHIBITED, net.now)
    if repeated:
        guest.packets()
        guest.echo(bytes(56), identifier=0x4321, sequence=3, ttl=17)
    source, kind, code, quoted = described(guest.packet())
    assert (source, kind, code) == (GATEWAY, 3, 13)
    assert (quoted.p, quoted.src, quoted.dst, quoted.ttl, quoted.len) == (1, four(guest.ip), four(FAR), 17, 84)
    assert quoted.raw[20:22] + quoted.raw[24:28] == b"\x08\0" + b"\x43\x21\0\3"


def test_a_verdict_counts_once(net: Net, guest: Guest) -> None:
    flow, _ = allowed(net, guest)
    net.core.deny(flow, core.REFUSE_PORT, net.now)
    net.core.serve(flow, 1, net.now)
    guest.udp(b"still")
    assert [data for _, _, data in sent(net)] == [b"first", b"still"]
    assert guest.frames() == []


def test_too_many_punts_drop_the_datagram_and_the_guest_may_ask_again(net: Net, guest: Guest) -> None:
    guest.send(*[guest.udp_frame(b"x", port=port) for port in range(1, 4099)])
    assert len(net.punts()) == conversations(net) == 4096
    guest.udp(b"x", port=4098)
    assert net.punt()[2][4] == 4098


def test_a_handler_that_does_not_take_its_messages_loses_some(net: Net, guest: Guest) -> None:
    guest.udp(b"x")
    net.core.serve(net.flow(), 1, net.now)
    net.punts()
    net.counted()
    guest.send(*[guest.udp_frame(bytes(65507))] * 70)
    assert net.counted() == {"udp.queue_full": 6}
    assert len(net.punts()) == 64


# -- mappings (RFC 4787) -----------------------------------------------------------------------------------------------


def test_one_socket_for_all_that_one_guest_port_speaks_with() -> None:
    """REQ-1: endpoint-independent mapping."""
    net = Net()
    guest, other = net.guest(15), net.guest(16)
    _, mapping = allowed(net, guest)
    assert allowed(net, guest, to=OTHER_FAR)[1] == mapping
    assert allowed(net, guest, port=10)[1] == mapping
    assert allowed(net, guest, source_port=5001)[1] != mapping
    assert allowed(net, other)[1] != mapping
    assert pinged(net, guest, identifier=5000)[1] != mapping
    assert (len(net.host.sockets), net.host.peers(mapping), conversations(net)) == (4, 3, 6)


def test_answers_come_from_whom_was_asked(net: Net, guest: Guest) -> None:
    _, mapping = allowed(net, guest, to=FAR)
    allowed(net, guest, to=OTHER_FAR)
    for far in (OTHER_FAR, FAR):
        net.host.arrive(mapping, ip(far), 9, far.encode(), net.now)
        assert guest.datagram() == (far, 9, 5000, far.encode())
    assert net.counted()["udp.to_guest"] == 2


def test_loopback_answers_as_the_gateway_that_was_asked(net: Net, guest: Guest) -> None:
    _, mapping = allowed(net, guest, to=GATEWAY, port=7, host=LOOPBACK)
    assert sent(net) == [(LOOPBACK, 7, b"first")]
    net.host.arrive(mapping, ip(LOOPBACK), 7, b"echo", net.now)
    assert guest.datagram() == (GATEWAY, 7, 5000, b"echo")


def test_the_alias_answers_as_itself(net: Net, guest: Guest) -> None:
    _, mapping = allowed(net, guest, to=ALIAS, port=7, host=ROUTER)
    net.host.arrive(mapping, ip(ROUTER), 7, b"echo", net.now)
    assert guest.datagram() == (ALIAS, 7, 5000, b"echo")


@pytest.mark.parametrize(
    ("stranger", "shown"),
    [
        (OTHER_FAR, OTHER_FAR),
        (LOOPBACK, GATEWAY),
        (LOOPBACK_2, GATEWAY),
        ("0.0.0.0", GATEWAY),
        ("::1", GATEWAY),
    ],
)
def test_a_stranger_gets_through_and_is_answered(net: Net, guest: Guest, stranger: str, shown: str) -> None:
    """REQ-8: endpoint-independent filtering; who could not be answered is shown as the gateway."""
    _, mapping = allowed(net, guest)
    net.host.arrive(mapping, ip(stranger), 1234, b"hello", net.now)
    assert guest.datagram() == (shown, 1234, 5000, b"hello")
    (punt,) = net.punts()
    key = (17, ip(guest.ip), 5000, ip(shown), 1234)
    assert (punt[0], *punt[2:]) == (core.KIND_STRANGER, key, ip(stranger), 1234)
    sent(net)
    guest.udp(b"who?", to=shown, port=1234)
    assert sent(net) == [(stranger, 1234, b"who?")]
    assert sorted(flow["inbound"] for flow in net.core.flows()) == [False, True]


@pytest.mark.parametrize("stranger", ["10.0.2.15", "10.0.2.77", "2001:db8::1"])
def test_a_stranger_does_not_speak_in_the_gateways_name(net: Net, guest: Guest, stranger: str) -> None:
    """Or what the guest sends to the gateway from then on, to a service of the host, would go to him."""
    _, mapping = allowed(net, guest)
    net.counted()
    net.host.arrive(mapping, ip(stranger), 53, b"x", net.now)
    assert (net.counted(), guest.frames(), conversations(net)) == ({"udp.denied": 1}, [], 1)


def test_a_stranger_does_not_get_past_a_verdict(net: Net, guest: Guest) -> None:
    _, mapping = allowed(net, guest)
    guest.udp(b"x", to=OTHER_FAR)
    pending = net.flow()
    net.counted()
    net.host.arrive(mapping, ip(OTHER_FAR), 9, b"before the verdict", net.now)
    net.core.deny(pending, core.REFUSE_SILENT, net.now)
    net.host.arrive(mapping, ip(OTHER_FAR), 9, b"after it", net.now)
    assert net.counted() == {"udp.denied": 3}
    assert guest.frames() == []


def test_a_mapping_goes_with_its_last_conversation(net: Net, guest: Guest) -> None:
    flow, mapping = allowed(net, guest)
    socket = net.host.socket_of(mapping)
    net.wait(10)
    other, _ = allowed(net, guest, to=OTHER_FAR)
    net.host.take()
    net.wait(20)
    assert [punt[1] for punt in net.punts()] == [flow]
    assert (net.host.take(), net.host.peers(mapping)) == ([], 1)
    net.wait(10)
    assert [punt[1] for punt in net.punts()] == [other]
    assert net.host.take() == [("close", socket, False)]
    assert (net.core.memory()["flows"], net.core.memory()["timers"]) == (0, 0)


def test_closing_a_conversation_closes_its_mapping_too(net: Net, guest: Guest) -> None:
    flow, mapping = allowed(net, guest)
    socket = net.host.socket_of(mapping)
    net.host.take()
    net.core.close_flow(flow, net.now)
    assert net.host.take() == [("close", socket, False)]
    assert net.punt()[4] == core.REASONS.index("shut down")
    assert net.core.memory()["flows"] == 0


def test_closing_a_mapping_closes_its_conversations(net: Net, guest: Guest) -> None:
    flows = {allowed(net, guest, to=far)[0] for far in (FAR, OTHER_FAR)}
    _, mapping = allowed(net, guest, port=10)
    guest.tcp(dpkt.tcp.TH_SYN)
    keep, *_ = net.punts()
    net.core.close_flow(mapping, net.now)
    closed = net.punts()
    assert len(closed) == 3
    assert flows < {punt[1] for punt in closed}
    assert {punt[4] for punt in closed} == {CLOSED}
    assert [flow["flow"] for flow in net.core.flows()] == [keep[1]]
    assert net.host.sockets == {}


# -- forwarding rules --------------------------------------------------------------------------------------------------


def test_a_rule_brings_clients_to_a_guest_and_answers_back(net: Net, guest: Guest) -> None:
    rule = net.host.listen(ip(guest.ip), 53)
    socket = net.host.socket_of(rule)
    for number, client in enumerate((OTHER_FAR, ROUTER)):
        net.host.arrive(rule, ip(client), 1000 + number, b"query", net.now)
        assert guest.datagram() == (client, 1000 + number, 53, b"query")
        guest.udp(b"answer", to=client, port=1000 + number, source_port=53)
        (call,) = net.host.take()
        assert call == ("send_to", socket, ip(client), 1000 + number, 64, 0, b"answer")
    assert net.host.peers(rule) == 2
    told = [(punt[0], *punt[3:]) for punt in net.punts()]
    assert told == [(core.KIND_STRANGER, ip(OTHER_FAR), 1000), (core.KIND_STRANGER, ip(ROUTER), 1001)]


@pytest.mark.parametrize("client", ["10.0.2.15", "10.0.2.77", "2001:db8::1", LOOPBACK])
def test_a_client_that_could_not_be_answered_is_shown_as_the_gateway(net: Net, guest: Guest, client: str) -> None:
    rule = net.host.listen(ip(guest.ip), 53)
    net.host.arrive(rule, ip(client), 1000, b"query", net.now)
    assert guest.datagram() == (GATEWAY, 1000, 53, b"query")
    guest.udp(b"answer", to=GATEWAY, port=1000, source_port=53)
    assert sent(net) == [(client, 1000, b"answer")]


def test_a_client_does_not_take_over_what_the_host_is_told(net: Net, guest: Guest) -> None:
    allowed(net, guest, to=GATEWAY, port=1000, source_port=53, host=LOOPBACK)
    rule = net.host.listen(ip(guest.ip), 53)
    net.host.arrive(rule, ip("10.0.2.77"), 1000, b"query", net.now)
    sent(net)
    guest.udp(b"for the host", to=GATEWAY, port=1000, source_port=53)
    assert sent(net) == [(LOOPBACK, 1000, b"for the host")]


def test_a_rule_outlives_its_clients(net: Net, guest: Guest) -> None:
    rule = net.host.listen(ip(guest.ip), 53)
    net.host.arrive(rule, ip(OTHER_FAR), 1000, b"query", net.now)
    net.wait(IDLE)
    assert (conversations(net), net.host.peers(rule), len(net.host.sockets)) == (0, 0, 1)
    net.host.arrive(rule, ip(OTHER_FAR), 1000, b"query", net.now)
    net.core.close_flow(rule, net.now)
    assert net.host.sockets == {}
    assert [punt[0] for punt in net.punts()] == [core.KIND_STRANGER, core.KIND_CLOSED] * 2


def test_two_rules_to_one_guest_port_answer_where_they_were_asked(net: Net, guest: Guest) -> None:
    rules = [net.host.listen(ip(guest.ip), 53) for _ in range(2)]
    for rule in (rules[0], rules[1], rules[0]):
        net.host.arrive(rule, ip(OTHER_FAR), 1000, b"query", net.now)
        guest.udp(b"answer", to=OTHER_FAR, port=1000, source_port=53)
        assert net.host.take()[-1][1] == net.host.socket_of(rule)
    assert [net.host.peers(rule) for rule in rules] == [1, 0]
    assert conversations(net) == 1


def test_a_conversation_that_moves_to_a_rule_leaves_no_mapping_behind(net: Net, guest: Guest) -> None:
    _, mapping = allowed(net, guest, source_port=53)
    socket = net.host.socket_of(mapping)
    rule = net.host.listen(ip(guest.ip), 53)
    net.host.take()
    net.host.arrive(rule, ip(FAR), 9, b"by the rule now", net.now)
    assert net.host.take() == [("close", socket, False)]
    assert net.host.peers(rule) == 1


def test_two_loopback_clients_with_one_port_are_one_to_the_guest(net: Net, guest: Guest) -> None:
    rule = net.host.listen(ip(guest.ip), 53)
    for client in (LOOPBACK, LOOPBACK_2):
        net.host.arrive(rule, ip(client), 1000, b"query", net.now)
        assert guest.datagram()[:2] == (GATEWAY, 1000)
        guest.udp(b"answer", to=GATEWAY, port=1000, source_port=53)
        assert sent(net) == [(client, 1000, b"answer")]
    assert (net.host.peers(rule), conversations(net)) == (1, 1)


def test_a_client_is_answered_from_the_address_that_it_has_asked(net: Net, guest: Guest) -> None:
    rule = net.host.listen(ip(guest.ip), 53)
    for port, local in ((1000, HERE), (1001, HERE_TOO), (1002, None)):
        net.host.arrive(rule, ip(OTHER_FAR), port, b"query", net.now, None if local is None else ip(local))
    for port, leaving in ((1000, (ip(HERE),)), (1001, (ip(HERE_TOO),)), (1002, ())):
        guest.udp(b"answer", to=OTHER_FAR, port=port, source_port=53)
        (call,) = net.host.take()
        assert call[2:] == (ip(OTHER_FAR), port, 64, 0, b"answer", *leaving)
    assert (net.host.peers(rule), conversations(net)) == (3, 3)


def test_a_client_that_asks_at_another_address_is_answered_from_there(net: Net, guest: Guest) -> None:
    rule = net.host.listen(ip(guest.ip), 53)
    for local in (HERE, HERE_TOO, HERE_TOO, HERE):
        net.host.arrive(rule, ip(OTHER_FAR), 1000, b"query", net.now, ip(local))
        assert guest.datagram()[:2] == (OTHER_FAR, 1000)
        guest.udp(b"answer", to=OTHER_FAR, port=1000, source_port=53)
        assert net.host.take()[0][7:] == (ip(local),)
    assert (net.host.peers(rule), conversations(net)) == (1, 1)


def test_a_conversation_that_moves_to_a_rule_of_one_address_forgets_the_other(net: Net, guest: Guest) -> None:
    everywhere, here = (net.host.listen(ip(guest.ip), 53) for _ in range(2))
    net.host.arrive(everywhere, ip(OTHER_FAR), 1000, b"query", net.now, ip(HERE))
    net.host.arrive(here, ip(OTHER_FAR), 1000, b"query", net.now)
    guest.udp(b"answer", to=OTHER_FAR, port=1000, source_port=53)
    (call,) = net.host.take()
    assert (call[1], len(call)) == (net.host.socket_of(here), 7)


def test_a_client_of_a_guest_that_is_not_there() -> None:
    net = Net()
    rule = net.host.listen(ip("10.0.2.99"), 53)
    net.host.arrive(rule, ip(OTHER_FAR), 1000, b"query", net.now)
    assert conversations(net) == 0
    assert net.counted() == {"neighbor.unresolved": 1}


# -- ping --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 56, 4000])
def test_a_ping_goes_out_whole_and_comes_back_with_the_guests_identifier(net: Net, guest: Guest, length: int) -> None:
    data = bytes(length)
    _, mapping = pinged(net, guest, payload=data, identifier=0x1234, sequence=1, ttl=5, tos=0x10)
    (call,) = net.host.take()
    assert call[2:6] == (ip(FAR), 0, 5, 0x10)
    assert call[6] == guest.echo_frame(data, identifier=0x1234, sequence=1)[34:]
    guest.echo(data, identifier=0x1234, sequence=2)
    assert len(net.host.take()) == 1
    net.host.arrive(mapping, ip(FAR), 0, b"\0\0\xab\xcd\x99\x99\0\2" + data, net.now)
    reply = whole(guest.packets())
    assert (dotted(reply.src), payload(reply)[:2], payload(reply)[4:]) == (FAR, b"\0\0", b"\x12\x34\0\2" + data)
    counted = net.counted()
    assert (counted["icmp.to_host"], counted["icmp.to_guest"], conversations(net)) == (2, 1, 1)


def test_each_identifier_is_a_flow_and_a_socket(net: Net, guest: Guest) -> None:
    _, one = pinged(net, guest, identifier=1)
    _, two = pinged(net, guest, identifier=2)
    assert one != two
    assert pinged(net, guest, identifier=1, to=OTHER_FAR)[1] == one
    assert len(net.host.sockets) == 2


def test_a_stranger_without_a_port_is_dropped() -> None:
    net = Net()
    _, mapping = allowed(net, net.guest())
    net.counted()
    net.host.arrive(mapping, ip(OTHER_FAR), 0, b"x", net.now)
    assert (net.counted(), conversations(net)) == ({"udp.port_zero": 1}, 1)


@pytest.mark.parametrize("message", [b"", b"\0\0\0\0\0\0\0", b"\x08\0\0\0\0\0\0\1", b"\3\1" + bytes(30)])
def test_what_a_ping_socket_gives_that_is_no_reply_is_dropped(net: Net, guest: Guest, message: bytes) -> None:
    _, mapping = pinged(net, guest)
    net.host.arrive(mapping, ip(FAR), 0, message, net.now)
    assert guest.frames() == []


def test_a_reply_from_a_stranger_is_dropped(net: Net, guest: Guest) -> None:
    _, mapping = pinged(net, guest)
    net.host.arrive(mapping, ip(OTHER_FAR), 0, b"\0\0\0\0\0\0\0\1", net.now)
    assert guest.frames() == []


def test_a_handler_can_serve_pings(net: Net, guest: Guest) -> None:
    guest.echo(b"served", identifier=9, sequence=8)
    flow = net.flow()
    net.core.serve(flow, 1, net.now)
    message = net.punt()[3]
    assert message == guest.echo_frame(b"served", identifier=9, sequence=8)[34:]
    assert not net.core.datagram_reply(flow, b"not a reply", net.now)
    assert not net.core.datagram_reply(flow, b"\0\0", net.now)
    assert net.core.datagram_reply(flow, b"\0" + message[1:], net.now)
    reply = guest.packet()
    assert (dotted(reply.src), payload(reply)[:2], payload(reply)[4:]) == (FAR, b"\0\0", b"\0\x09\0\x08served")


# -- errors of the host ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offender", "shown"), [(FAR, FAR), (ROUTER, ROUTER), (None, GATEWAY), (LOOPBACK, GATEWAY), ("10.0.2.9", GATEWAY)]
)
@pytest.mark.parametrize(("kind", "code", "info"), [(3, 3, 0), (3, 4, 1400), (11, 0, 0), (12, 1, 0)])
def test_an_error_from_the_network_is_passed_on(
    net: Net, guest: Guest, offender: str | None, shown: str, kind: int, code: int, info: int
) -> None:
    """So that traceroute and path MTU discovery work."""
    _, mapping = allowed(net, guest, source_port=77, port=33434, ttl=3)
    net.host.error(mapping, ip(FAR), 33434, None if offender is None else ip(offender), kind, code, net.now, info)
    packet = guest.packet()
    assert int.from_bytes(payload(packet)[4:8]) == info
    quoted = dpkt.ip.IP(payload(packet)[8:])
    assert (dotted(packet.src), *payload(packet)[:2], quoted.ttl) == (shown, kind, code, 3)
    assert (quoted.data.sport, quoted.data.dport) == (77, 33434)


@pytest.mark.parametrize("length", [0, 1, 40, 520, 521, 1200])
def test_an_error_quotes_the_guests_payload(net: Net, guest: Guest, length: int) -> None:
    """As much as makes the whole message 576 bytes (RFC 1812 4.3.2.3)."""
    _, mapping = allowed(net, guest, source_port=77, port=9)
    data = bytes(number % 251 for number in range(length))
    net.host.error(mapping, ip(FAR), 9, ip(ROUTER), 11, 0, net.now, data=data)
    packet = guest.packet()
    quoted = payload(packet)[8:]
    assert packet.len == min(576, 20 + 8 + 20 + 8 + length)
    assert (dpkt.ip.IP(quoted).len, quoted[24:26]) == (28 + length, (8 + length).to_bytes(2))
    assert quoted[28:] == data[:520]


def test_an_error_of_the_loopback_comes_from_the_gateway_or_the_alias(net: Net, guest: Guest) -> None:
    for asked in (GATEWAY, ALIAS):
        _, mapping = allowed(net, guest, to=asked, source_port=5, port=9, host=LOOPBACK)
        net.host.error(mapping, ip(LOOPBACK), 9, ip(LOOPBACK), 3, 3, net.now)
        source, _, _, quoted = described(guest.packet())
        assert (source, dotted(quoted.dst)) == (asked, asked)
        net.wait(IDLE)
        net.punts()


def test_an_error_about_a_ping_names_its_sequence_number(net: Net, guest: Guest) -> None:
    """traceroute -I tells its probes apart by it."""
    _, mapping = pinged(net, guest, identifier=0x1111, sequence=1, ttl=1)
    for sequence in (2, 3):
        guest.echo(identifier=0x1111, sequence=sequence, ttl=sequence)
    net.host.error(mapping, ip(FAR), 2, ip(ROUTER), 11, 0, net.now, data=b"ping")
    source, kind, code, quoted = described(guest.packet())
    assert (source, kind, code, quoted.raw[20:21], quoted.raw[24:32]) == (ROUTER, 11, 0, b"\x08", b"\x11\x11\0\2ping")


@pytest.mark.parametrize(
    ("to", "port", "kind"), [(OTHER_FAR, 9, 3), (FAR, 10, 3), (FAR, 9, 0), (FAR, 9, 8), (FAR, 9, 5)]
)
def test_errors_about_nothing_of_ours_are_only_counted(net: Net, guest: Guest, to: str, port: int, kind: int) -> None:
    _, mapping = allowed(net, guest)
    net.counted()
    net.host.error(mapping, ip(to), port, ip(ROUTER), kind, 0, net.now)
    assert net.counted() == {"udp.host_error": 1}
    assert guest.frames() == []


# -- expiry ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [True, False])
def test_a_question_without_an_answer_is_forgotten_after_30_seconds(net: Net, guest: Guest, verdict: bool) -> None:
    guest.udp(b"anybody?")
    flow = net.flow()
    if verdict:
        net.host.allow(flow, ip(FAR), 9, net.now)
    net.wait(IDLE - 0.001)
    assert net.punts() == []
    net.wait(0.001)
    assert net.punt() == (
        core.KIND_CLOSED,
        flow,
        0,
        (17, ip(guest.ip), 5000, ip(FAR), 9),
        EXPIRED,
        8 * verdict,
        0,
        False,
    )
    assert (net.host.sockets, net.core.memory()["flows"]) == ({}, 0)


def test_speaking_prolongs_it_and_both_ways_more(net: Net, guest: Guest) -> None:
    _, mapping = allowed(net, guest)
    net.wait(IDLE - 1)
    guest.udp(b"still here")
    net.wait(IDLE - 1)
    net.host.arrive(mapping, ip(FAR), 9, b"me too", net.now)
    net.wait(BOTH_WAYS - 0.001)
    assert net.punts() == []
    net.wait(0.001)
    assert net.punt()[4] == EXPIRED
    assert net.core.next_deadline() is None


def test_an_answered_dns_query_gives_its_socket_back_at_once(net: Net, guest: Guest) -> None:
    _, mapping = allowed(net, guest, port=53)
    guest.udp(b"AAAA too", port=53)
    net.host.arrive(mapping, ip(FAR), 53, b"A", net.now)
    net.run()
    assert len(net.host.sockets) == 1
    net.host.arrive(mapping, ip(FAR), 53, b"AAAA", net.now)
    assert net.core.next_deadline() == net.now
    net.run()
    assert net.host.sockets == {}
    assert [payload(packet)[8:] for packet in guest.packets()] == [b"A", b"AAAA"]


def test_a_dns_query_that_follows_in_time_keeps_it(net: Net, guest: Guest) -> None:
    _, mapping = allowed(net, guest, port=53)
    net.host.arrive(mapping, ip(FAR), 53, b"A", net.now)
    guest.udp(b"one more", port=53)
    net.wait(IDLE - 1)
    assert len(net.host.sockets) == 1
    assert net.core.next_deadline() is not None
    net.wait(BOTH_WAYS)
    assert net.host.sockets == {}
    assert net.now % SECOND == 0
