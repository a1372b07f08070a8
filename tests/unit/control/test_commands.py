"""Each command that changes something, with the texts of QEMU 7.2's monitor."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from pyslirp.addresses import Address, Endpoint
from pyslirp.addresses import pack as pack_address
from pyslirp.config.stack import Config
from pyslirp.control.command import Command, CommandError, arguments_of, find, to_json
from pyslirp.control.commands import COMMANDS
from pyslirp.engine.edge.clock import now
from pyslirp.events import FlowClosed
from pyslirp.network import Network
from pyslirp.sim.apps import Echo, Transfer
from pyslirp.stack import Stack
from tests.unit.loops.handlers import Events, Recorders
from tests.unit.loops.wired_guest import NameServer, Rig, answer, dial, taken, was_reset
from tests.unit.services.dhcp6_guest import (
    ALL_SERVERS,
    CLIENT_ID,
    DNS_SERVERS,
    IA_NA,
    RAPID,
    REPLY,
    SOLICIT,
    association,
    pack,
    requested,
    unpack,
)

GATEWAY, DNS = IPv4Address("10.0.2.2"), IPv4Address("10.0.2.3")
ELSEWHERE = IPv4Address("192.0.2.1")
NET6, GUEST6, GATEWAY6 = IPv6Network("fec0::/64"), IPv6Address("fec0::15"), IPv6Address("fec0::2")
ALL_SERVERS_MAC = bytes.fromhex("333300010002")  # RFC 2464 section 7


@pytest.fixture
def stack() -> Iterator[Stack]:
    made = Stack(Config.build(id="n0"))
    yield made
    made.close()


def do(stack: Stack, line: str, **arguments: Any) -> Any:
    """Carry a command out: arguments as JSON has them, or behind the name in `line`."""
    command = find(line, COMMANDS)
    return to_json(command.run(stack, command.from_json(arguments)))


def error_of(stack: Stack, line: str, **arguments: Any) -> tuple[str, str, str]:
    with pytest.raises(CommandError) as caught:
        do(stack, line, **arguments)
    return caught.value.problem.value, str(caught.value), caught.value.hint


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


# -- hostfwd -----------------------------------------------------------------------------------------------------------


def test_a_rule_is_added_works_and_is_removed() -> None:
    with Rig() as rig:
        guest = rig.join()
        guest.listen(22, Echo)
        (added,) = do(rig.stack, "hostfwd_add", rule="tcp:127.0.0.1:0-:22")["rules"]
        port = int(added["listen"].rpartition(":")[2])
        assert added == {"rule": f"tcp:127.0.0.1:{port}-10.0.2.15:22", "listen": f"127.0.0.1:{port}", "open": True}
        with dial(port) as client:
            client.send(b"hello")
            rig.until(lambda: taken(client) == b"hello")
            rule = f"tcp:127.0.0.1:{port}"
            removed = do(rig.stack, "hostfwd_remove", rule=rule, netdev_id="net0")
            assert removed == {"text": f"host forwarding rule for {rule} removed\n"}
            client.send(b"still here")
            rig.until(lambda: taken(client) == b"still here")
        with pytest.raises(ConnectionRefusedError):
            dial(port)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("tcp", "No : separators"),
        ("sctp::1-:1", "Bad protocol name"),
        ("tcp:1", "Missing : separator"),
        ("tcp:localhost:1-:1", "Bad host address"),
        ("tcp::0", "Bad host port separator"),
        ("tcp::65536-:1", "Bad host port"),
        ("tcp::1-1", "Missing guest address"),
        ("tcp::1-guest:1", "Bad guest address"),
        ("tcp::1-:0", "Bad guest port"),
    ],
)
def test_no_rule_is_told_as_by_qemu(stack: Stack, rule: str, reason: str) -> None:
    problem, text, _ = error_of(stack, "hostfwd_add", rule=rule)
    assert (problem, text) == ("InvalidArguments", f"Invalid host forwarding rule '{rule}' ({reason})")


def test_a_rule_that_cannot_be_set_up_is_told_as_by_qemu_and_why_as_a_hint(stack: Stack) -> None:
    with answer() as taken_already:
        rule = f"tcp:127.0.0.1:{taken_already.getsockname()[1]}-:22"
        assert error_of(stack, "hostfwd_add", rule=rule) == (
            "GenericError",
            f"Could not set up host forwarding rule '{rule}'",
            "Address already in use; choose another host port, or 0 for a free one",
        )
    rule = "tcp:127.0.0.1:0-192.168.1.1:22"
    assert error_of(stack, "hostfwd_add", rule=rule)[1:] == (
        f"Could not set up host forwarding rule '{rule}'",
        f"192.168.1.1 is not in the guests' net {stack.config.network.nets}",
    )


def test_a_rule_that_is_not_there(stack: Stack) -> None:
    assert error_of(stack, "hostfwd_remove", rule="tcp::5") == (
        "NotFound",
        "host forwarding rule for tcp::5 not found",
        "",
    )
    assert error_of(stack, "hostfwd_remove", rule="tcp")[:2] == ("InvalidArguments", "invalid format")


@pytest.mark.parametrize(("command", "rule"), [("hostfwd_add", "tcp::0-:22"), ("hostfwd_remove", "tcp::5")])
def test_a_network_of_another_name(stack: Stack, command: str, rule: str) -> None:
    told = error_of(stack, command, rule=rule, netdev_id="n9")
    assert told == ("NotFound", "unrecognized netdev id 'n9'", "this network is 'n0'")
    assert len(stack.forwards) == 0


def test_tcp_and_udp_on_one_port_are_two_rules(stack: Stack) -> None:
    port = free_port()
    for protocol in ("tcp", "udp"):
        (added,) = do(stack, "hostfwd_add", rule=f"{protocol}:127.0.0.1:{port}-:22")["rules"]
        assert added["rule"] == f"{protocol}:127.0.0.1:{port}-10.0.2.15:22"


def test_a_range_and_a_unix_socket(stack: Stack, tmp_path: Path) -> None:
    made = do(stack, "hostfwd_add", rule="tcp:127.0.0.9:50000-50002-:80-82")["rules"]
    assert [one["listen"] for one in made] == [f"127.0.0.9:{port}" for port in (50000, 50001, 50002)]
    (waiting,) = do(stack, "hostfwd_add", rule=f"unix:{tmp_path}/s-:80@ready")["rules"]
    assert (waiting["listen"], waiting["open"]) == (f"unix:{tmp_path}/s", False)
    assert do(stack, "info usernet")["text"].count("  TCP[HOST_FORWARD]") == 4
    assert "  TCP[HOST_FORWARD]  -1            unix     0       10.0.2.15    80" in do(stack, "info usernet")["text"]
    do(stack, "hostfwd_remove", rule="tcp:127.0.0.9:50000-50002")
    do(stack, "hostfwd_remove", rule=f"unix:{tmp_path}/s")
    assert len(stack.forwards) == 0


# -- guestfwd ----------------------------------------------------------------------------------------------------------


def test_a_guestfwd_is_added_works_under_restrict_and_is_removed() -> None:
    with Rig() as rig, answer() as server:
        guest = rig.join()
        rule = f"tcp:10.0.2.100:80-tcp:127.0.0.1:{server.getsockname()[1]}"
        assert do(rig.stack, "guestfwd_add", rule=rule) == {}
        data = Transfer(b"x", finish=False)
        guest.connect(IPv4Address("10.0.2.100"), 80, now(), data)
        rig.until(lambda: data.stream and data.stream.connected)
        assert do(rig.stack, "set restrict", value=True)["cut"] == 0
        removed = do(rig.stack, "guestfwd_remove", rule="tcp:10.0.2.100:80")
        assert removed == {"text": "guest forwarding rule for tcp:10.0.2.100:80 removed\n"}


@pytest.mark.parametrize(
    ("rule", "text", "hint"),
    [
        ("tcp:10.0.2.100:80", "Invalid guest forwarding rule 'tcp:10.0.2.100:80'", None),
        (
            "tcp:10.0.2.3:53-tcp:127.0.0.1:80",
            None,
            None,
        ),
        (
            "tcp:10.0.2.100:80-tcp:localhost:80",
            "Could not open guest forwarding device 'guestfwd.tcp.80'",
            "no name is looked up here: give the target's address",
        ),
    ],
)
def test_no_guestfwd(stack: Stack, rule: str, text: str | None, hint: str | None) -> None:
    told = error_of(stack, "guestfwd_add", rule=rule)
    if text is None:
        assert told[:1] == ("GenericError",)
        assert told[1].startswith(f"Conflicting/invalid host:port in guest forwarding rule '{rule}'")
    else:
        assert told[:2] == ("InvalidArguments", text)
        assert hint in (None, told[2])


def test_a_guestfwd_that_is_not_there(stack: Stack) -> None:
    told = error_of(stack, "guestfwd_remove", rule="tcp:10.0.2.100:80")
    assert told == ("NotFound", "guest forwarding rule for tcp:10.0.2.100:80 not found", "")
    assert error_of(stack, "guestfwd_remove", rule="80")[:2] == ("InvalidArguments", "invalid format")


# -- settings ----------------------------------------------------------------------------------------------------------


def test_restrict_is_set_and_says_how_many_flows_it_has_ended() -> None:
    with Rig() as rig, answer() as server:
        guest = rig.join()
        stream = guest.connect(rig.stack.host, server.getsockname()[1], now())
        rig.until(lambda: stream.connected)
        assert do(rig.stack, "set restrict", value=True) == {"restrict": True, "cut": 1}
        assert do(rig.stack, "set restrict", value=True) == {"restrict": True, "cut": 0}
        assert do(rig.stack, "set restrict", value=False) == {"restrict": False, "cut": 0}


def test_restrict_that_is_set_later_ends_what_it_forbids_and_nothing_else() -> None:
    config = Config.build(hostfwd=["tcp:127.0.0.1:0-:22"])
    with Rig(config) as rig, answer() as server, answer(udp=True) as other:
        events = Events(rig.stack)
        guest = rig.join()
        guest.listen(22, Echo)
        rig.stack.servers.serve_stream(Endpoint.of("10.0.2.100", 80), Recorders())
        (forward,) = rig.stack.forwards
        out, inside = Transfer(b"x", finish=False), Transfer(b"x", finish=False)
        guest.connect(GATEWAY, server.getsockname()[1], now(), out)
        guest.connect(IPv4Address("10.0.2.100"), 80, now(), inside)
        rig.until(lambda: out.stream and out.stream.connected and inside.received)
        far_end, _ = server.accept()
        guest.send_udp(4000, Endpoint(GATEWAY, other.getsockname()[1]), b"hello", now())
        with far_end, dial(forward.listen.port) as client:
            client.send(b"x")
            rig.until(lambda: taken(client) and taken(other))
            assert rig.stack.set_restrict(True) == 2
            rig.until(lambda: out.closed)
            assert (taken(far_end), was_reset(far_end)) == (b"x", True)
            assert sorted(event.protocol for event in events.of(FlowClosed)) == ["tcp", "udp"]
            assert {event.reason for event in events.of(FlowClosed)} == {"shut down"}
            client.send(b"y")
            rig.until(lambda: taken(client) == b"y")
            again = Transfer(b"x")
            guest.connect(IPv4Address("10.0.2.100"), 80, now(), again)
            rig.until(lambda: again.received == b"x")
            refused = Transfer(b"x")
            guest.connect(GATEWAY, server.getsockname()[1], now(), refused)
            rig.until(lambda: refused.closed)
        assert rig.stack.set_restrict(False) == 0
        back = Transfer(b"x")
        guest.connect(GATEWAY, server.getsockname()[1], now(), back)
        rig.until(lambda: back.stream and back.stream.connected)


def test_what_was_denied_is_not_cut_once_more() -> None:
    with Rig() as rig:
        guest = rig.join()
        rig.stack.set_restrict(True)
        rig.answered(GATEWAY)
        guest.send_udp(4000, Endpoint(ELSEWHERE, 9), b"hello", now())
        rig.until(rig.stack.core.flows)
        assert rig.stack.set_restrict(True) == 0


@pytest.mark.parametrize("at_first", [False, True])
def test_dns_and_dhcp_follow_restrict(at_first: bool) -> None:
    server = NameServer(ELSEWHERE)
    config = Config.build(dns_upstream=[server.upstream], restrict=at_first)
    with server.socket, Rig(config) as rig:
        guest = rig.join()
        assert guest.lease is not None
        assert (guest.lease.router, guest.lease.dns) == ((None, ()) if at_first else (GATEWAY, (DNS,)))
        rig.stack.set_restrict(False)
        guest.start_dhcp(now())
        rig.until(lambda: guest.lease and guest.lease.dns)
        lookup = guest.resolve("example.org", now())
        rig.until(lambda: server.serve() or lookup.done)
        asking = Transfer(b"", finish=False)
        guest.connect(DNS, 53, now(), asking)
        rig.until(lambda: asking.stream and asking.stream.connected)
        assert rig.stack.set_restrict(True) == 1, "the stream to the name server"
        rig.until(lambda: asking.closed)
        asked = len(server.asked)
        unanswered = guest.resolve("example.net", now())
        late = Transfer(b"")
        guest.connect(DNS, 53, now(), late)
        rig.until(lambda: late.closed)
        assert not server.serve()
        assert (len(server.asked), unanswered.done) == (asked, False)
        rig.stack.set_restrict(False)
        more = guest.resolve("example.org", now())
        rig.until(lambda: server.serve() or more.done)
        assert more.addresses == [ELSEWHERE]


@pytest.mark.parametrize("at_first", [False, True])
@pytest.mark.parametrize("gateway", [GATEWAY, GATEWAY6], ids=["ipv4", "ipv6"])
def test_tftp_works_whatever_restrict_says(tmp_path: Path, gateway: Address, at_first: bool) -> None:
    """libslirp drops TFTP over IPv6 with restrict=on.  What is acknowledged is at the transfer's own port."""
    (tmp_path / "file").write_bytes(b"x" * 515)
    with Rig(Config.build(tftp=str(tmp_path), restrict=at_first)) as rig:
        guest = rig.join()
        guest.configure6(GUEST6, NET6, GATEWAY6)
        rig.stack.set_restrict(True)
        client = guest.udp()
        client.send(Endpoint(gateway, 69), b"\0\1file\0octet\0", now())
        rig.until(lambda: client.received)
        server, first = client.received.popleft()
        assert (server.address, first) == (gateway, b"\0\3\0\1" + b"x" * 512)
        client.send(server, b"\0\4\0\1", now())
        rig.until(lambda: client.received)
        assert client.received.popleft() == (server, b"\0\3\0\2xxx")


@pytest.mark.parametrize("at_first", [False, True])
def test_dhcp6_works_whatever_restrict_says(at_first: bool) -> None:
    """libslirp drops it with restrict=on, and has no leases.  What is left out is the name server."""
    with Rig(Config.build(restrict=at_first)) as rig:
        guest = rig.join(lease=False)
        guest.configure6(GUEST6, NET6, GATEWAY6)
        client = guest.udp(546)
        rapid = [(CLIENT_ID, b"\0\3\0\1" + guest.mac), (RAPID, b""), association(), requested(DNS_SERVERS)]
        for restrict in (True, False):
            rig.stack.set_restrict(restrict)
            solicit = bytes([SOLICIT]) + b"abc" + pack(rapid)
            source, group = pack_address(IPv6Address("fe80::15")), pack_address(ALL_SERVERS)
            sent = guest.core.send_udp(source, 546, group, 547, solicit, now(), ALL_SERVERS_MAC, guest._port)
            assert sent
            rig.until(lambda: client.received)
            _, reply = client.received.popleft()
            assert reply[:4] == bytes([REPLY]) + b"abc"
            options = dict(unpack(reply[4:]))
            assert GUEST6.packed in options[IA_NA]
            assert (DNS_SERVERS in options) is not restrict


# -- the list ----------------------------------------------------------------------------------------------------------


def test_help_is_the_list(stack: Stack) -> None:
    listed = do(stack, "help")["commands"]
    assert [entry["command"] for entry in listed] == [command.name for command in COMMANDS]
    assert listed[0] == {
        "command": "hostfwd_add",
        "arguments": "[NETDEV_ID] RULE",
        "summary": "Lead a port of the host to a guest",
    }


def test_the_version(stack: Stack) -> None:
    assert do(stack, "version") == {"program": "0.1.0", "protocol": 1}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_command_is_a_method_of_a_network(command: Command) -> None:
    method = getattr(Network, command.method)
    assert inspect.getdoc(method)
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    wanted = [one.name for one in arguments_of(command.request) if one.name != "netdev_id"]
    assert len(names) == len(wanted)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_command_explains_itself(command: Command) -> None:
    assert command.summary
    assert not command.summary.endswith(".")
    assert all(one.sentence for one in arguments_of(command.request))
