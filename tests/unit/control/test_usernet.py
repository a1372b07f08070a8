"""``info usernet``, byte for byte; what is expected was printed by QEMU 7.2 and libslirp 4.7, or follows their printf."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.config.forward import HostForward
from pyslirp.config.stack import Config
from pyslirp.control.usernet import HEADER, Row, connection_info, rows
from pyslirp.engine.edge.clock import now
from pyslirp.sim.apps import Echo, Transfer
from tests.unit.loops.handlers import Recorders
from tests.unit.loops.wired_guest import Rig, answer, dial

GATEWAY = IPv4Address("10.0.2.2")
#: python/qemu/utils/__init__.py of QEMU, get_info_usernet_hostfwd_port; it splits the output at \r\n before.
QEMU_HELPER = re.compile(r"TCP.HOST_FORWARD.*127\.0\.0\.1\s+(\d+)\s+10\.")


def end(text: str) -> Endpoint:
    address, _, port = text.rpartition(":")
    return Endpoint.of(address.strip("[]"), int(port))


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (
            Row("tcp", "HOST_FORWARD", 8, end("127.0.0.1:15622"), end("10.0.2.15:22")),
            "  TCP[HOST_FORWARD]   8       127.0.0.1 15622       10.0.2.15    22     0     0\n",
        ),
        (
            Row("udp", "HOST_FORWARD", 3, end("0.0.0.0:15623"), end("10.0.2.15:53")),
            "  UDP[HOST_FORWARD]   3               * 15623       10.0.2.15    53     0     0\n",
        ),
        (
            Row("tcp", "ESTABLISHED", 1000, end("10.0.2.15:40512"), end("203.100.100.100:443"), 1, 65536),
            "  TCP[ESTABLISHED]  1000       10.0.2.15 40512 203.100.100.100   443     1 65536\n",
        ),
        (
            Row("udp", "236 sec", 24, end("10.0.2.15:35061"), end("91.189.89.198:123")),
            "  UDP[236 sec]       24       10.0.2.15 35061   91.189.89.198   123     0     0\n",
        ),
        (
            Row("icmp", "29 sec", 25, end("10.0.2.15:7"), end("192.0.2.1:0")),
            "  ICMP[29 sec]       25       10.0.2.15  -          192.0.2.1  -        0     0\n",
        ),
        (
            Row("tcp", "HOST_FORWARD", 9, end("[::1]:2222"), end("10.0.2.15:22")),
            "  TCP[HOST_FORWARD]   9             ::1  2222       10.0.2.15    22     0     0\n",
        ),
    ],
)
def test_a_row_as_printf_makes_it(row: Row, line: str) -> None:
    assert str(row) == line


def test_nothing_but_the_head() -> None:
    with Rig() as rig:
        assert connection_info(rig.stack) == HEADER
    assert HEADER == "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n"


def test_qemus_own_helper_finds_the_port() -> None:
    with Rig() as rig:
        listen = rig.stack.forwards.add(HostForward.parse("tcp:127.0.0.1:0-:22"))
        rig.stack.forwards.add(HostForward.parse("udp:127.0.0.1:0-:22"))
        lines = connection_info(rig.stack).replace("\n", "\r\n").split("\r\n")
        found = [match[1] for line in lines if (match := QEMU_HELPER.search(line))]
        assert found == [str(listen.port)]


def test_rules_have_their_descriptor_and_come_after_the_flows_newest_first() -> None:
    with Rig(Config.build(hostfwd=["tcp:127.0.0.1:0-:22", "tcp:127.0.0.1:0-:23"])) as rig:
        shown = list(rows(rig.stack))
        assert [row.destination.port for row in shown] == [23, 22]
        for row in shown:
            with socket.socket(fileno=row.descriptor) as listening:
                assert listening.getsockname() == ("127.0.0.1", row.source.port)
                listening.detach()


def test_a_connection_of_a_guest() -> None:
    with Rig() as rig, answer() as server:
        guest = rig.join()
        port = server.getsockname()[1]
        data = Transfer(b"up" * 5000, finish=False)
        guest.connect(GATEWAY, port, now(), data)
        rig.until(lambda: data.stream and data.stream.connected)
        (row,) = rows(rig.stack)
        assert (row.protocol, row.state, row.destination) == ("tcp", "ESTABLISHED", Endpoint(GATEWAY, port))
        assert str(row.source).startswith(f"{guest.address}:")
        with socket.socket(fileno=row.descriptor) as ours:
            assert ours.getpeername()[1] == port
            ours.detach()


def test_a_connection_to_a_guest_has_the_hosts_end_as_its_source() -> None:
    with Rig(Config.build(hostfwd=["tcp::0-:22"])) as rig:
        guest = rig.join()
        guest.listen(22, Echo)
        (forward,) = rig.stack.forwards
        with dial(forward.listen.port) as client:
            client.send(b"x")
            rig.until(lambda: [row for row in rows(rig.stack) if row.state == "ESTABLISHED"])
            flow, rule = rows(rig.stack)
            assert flow.source == Endpoint.of("127.0.0.1", forward.listen.port)
            assert flow.destination == rule.destination == Endpoint.of("10.0.2.15", 22)
            assert str(rule).split()[2] == "*"


def test_a_served_connection_has_no_descriptor() -> None:
    with Rig() as rig:
        guest = rig.join()
        rig.stack.servers.serve_stream(Endpoint.of("10.0.2.100", 80), Recorders())
        data = Transfer(b"x", finish=False)
        guest.connect(IPv4Address("10.0.2.100"), 80, now(), data)
        rig.until(lambda: data.received == b"x")
        (row,) = rows(rig.stack)
        assert row.descriptor == -1


def test_datagrams_say_how_long_they_are_remembered() -> None:
    with Rig() as rig, answer(udp=True) as server:
        guest = rig.join()
        rig.answered(GATEWAY)
        guest.send_udp(40000, Endpoint(GATEWAY, server.getsockname()[1]), b"hello", now())
        rig.until(lambda: list(rows(rig.stack)))
        (row,) = rows(rig.stack)
        assert re.fullmatch(r"2[89] sec|30 sec", row.state)
        with socket.socket(fileno=row.descriptor) as ours:
            assert ours.type == socket.SOCK_DGRAM
            ours.detach()
