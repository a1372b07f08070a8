"""Explicit congestion notification with a Linux guest, over a link that marks packets and loses none."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.interop.rig.namespace import Namespace
from tests.interop.rig.topology import Topology
from tests.interop.rig.wan import Impairment, Road, carry, guest_of_pyslirp

pytestmark = pytest.mark.pyslirp

SECONDS = 1.5
LINK = Impairment(delay_ms=5, mark=0.005, rate_mbit=100)  # a queue without an end: what is lost is lost by us
TCPI_OPTIONS, TCPI_OPT_ECN, TCPI_OPT_ECN_SEEN = 5, 8, 16  # struct tcp_info's tcpi_options, and bits of it


def options(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)[TCPI_OPTIONS]


def extended(guest: Namespace, name: str) -> int:
    """A counter of IpExt or TcpExt in the guest's kernel."""
    lines = guest.run("cat /proc/net/netstat").check().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        if name in names.split():
            return int(values.split()[names.split().index(name)])
    raise KeyError(name)


def counters(topology: Topology, control: Path) -> dict[str, int]:
    with topology.host.connect_unix(control) as asked, asked.makefile() as answer:
        asked.sendall(b'{"command": "counters"}\n')
        told: dict[str, int] = json.loads(answer.readline())["return"]["counters"]
        return told


def asking(road: Road) -> Namespace:
    road.guest.sysctl("net.ipv4.tcp_ecn", "1")
    return road.guest


@pytest.mark.parametrize("congestion", ["reno", "cubic"])
def test_we_slow_down_for_marks(topology: Topology, folder: Path, congestion: str) -> None:
    """Linux echoes the marks on what we send until our CWR, and asks for nothing to be sent again."""
    control = folder / "control"
    words = ["--control", f"unix:{control}", "--congestion", congestion]
    with guest_of_pyslirp(topology, folder, LINK, words) as road:
        guest = asking(road)
        source, sink = road.connect("down")
        assert options(sink) & TCPI_OPT_ECN, "we have said yes"
        carry(source, sink, SECONDS)
        assert options(sink) & TCPI_OPT_ECN_SEEN, "our data are capable"
        marks = extended(guest, "InCEPkts")
        told = counters(topology, control)
    assert 0 < told["tcp.ecn_reduced"] <= marks
    assert told["tcp.retransmit"] == 0
    assert road.wan.fates["back"]["marked"] == marks


def test_bbr_is_not_capable(topology: Topology, folder: Path) -> None:
    with guest_of_pyslirp(topology, folder, LINK, ["--congestion", "bbr"]) as road:
        guest = asking(road)
        source, sink = road.connect("down")
        assert options(sink) & TCPI_OPT_ECN
        carry(source, sink, SECONDS)
        assert not options(sink) & TCPI_OPT_ECN_SEEN
        assert extended(guest, "InCEPkts") == 0
    assert road.wan.fates["back"]["marked"] == 0


def test_the_guest_slows_down_for_our_echo(topology: Topology, folder: Path) -> None:
    """Its kernel counts the deliveries that we have told to be marked, and sends nothing again."""
    with guest_of_pyslirp(topology, folder, LINK) as road:
        guest = asking(road)
        source, sink = road.connect("up", "cubic")
        carry(source, sink, SECONDS)
        assert extended(guest, "TCPDeliveredCE") > 0
        lines = guest.run("grep ^Tcp: /proc/net/snmp").check().splitlines()
        assert dict(zip(lines[0].split(), lines[1].split(), strict=True))["RetransSegs"] == "0"
    assert road.wan.fates["there"]["marked"] > 0
