"""Which services there are, and that they have what they need of the host."""

from __future__ import annotations

import logging
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from pyslirp.config.stack import Config
from pyslirp.engine.edge.clock import now
from pyslirp.events import NameResolved
from pyslirp.sim.apps import Transfer
from tests.unit.loops.handlers import Events
from tests.unit.loops.wired_guest import NameServer, Rig

DNS, ELSEWHERE = IPv4Address("10.0.2.3"), IPv4Address("192.0.2.1")


@pytest.mark.parametrize(
    ("options", "services"),
    [
        ({}, {"dhcp", "dhcp6", "router", "dns"}),
        ({"ipv6": False}, {"dhcp", "dns"}),
        ({"ipv4": False}, {"dhcp6", "router", "dns"}),
        ({"dns_forward": False}, {"dhcp", "dhcp6", "router"}),
        ({"restrict": True}, {"dhcp", "dhcp6", "router"}),
        ({"tftp": "/"}, {"dhcp", "dhcp6", "router", "dns", "tftp"}),
    ],
)
def test_services_are_those_of_the_configuration(options: dict[str, Any], services: set[str]) -> None:
    with Rig(Config.build(**options)) as rig:
        assert set(rig.stack.services()) == services


def test_a_name_server_comes_when_guests_are_no_longer_restricted() -> None:
    server = NameServer(ELSEWHERE)
    config = Config.build(dns_upstream=[server.upstream], restrict=True)
    with server.socket, Rig(config) as rig:
        rig.stack.set_restrict(False)
        guest = rig.join()
        lookup = guest.resolve("example.org", now())
        rig.until(lambda: server.serve() or lookup.done)
        assert lookup.addresses == [ELSEWHERE]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Rig(Config.build(tftp=f"{tmp_path}/none")), Rig(Config.build(tftp=str(tmp_path))):
        (line,) = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert line == f"tftp={tmp_path}/none: no folder that can be read; guests find no file until there is one"


@pytest.mark.parametrize("resolver", ["127.0.0.1", "::1"])
def test_names_are_resolved(resolver: str) -> None:
    server = NameServer(ELSEWHERE, resolver)
    with server.socket, Rig(Config.build(dns_upstream=[server.upstream])) as rig:
        events = Events(rig.stack)
        guest = rig.join()
        lookup = guest.resolve("example.org", now())
        rig.until(lambda: server.serve() or lookup.done)
        assert (lookup.addresses, lookup.server, server.asked) == ([ELSEWHERE], DNS, ["example.org."])
        (resolved,) = events.of(NameResolved)
        assert (resolved.name, resolved.rcode, resolved.server) == ("example.org", "NOERROR", server.upstream)


def test_names_are_resolved_over_tcp() -> None:
    server = NameServer(ELSEWHERE)
    with server.socket, Rig(Config.build(dns_upstream=[server.upstream])) as rig:
        guest = rig.join()
        query = bytes.fromhex("000c 0102 0100 0001 0000 0000 0000")
        data = Transfer(query)
        guest.connect(DNS, 53, now(), data)
        rig.until(lambda: data.stream and data.stream.ended)
        assert data.received[2:4] == query[2:4], "a header alone is answered by FORMERR with its id"
        assert data.received[5] & 0xF == 1
