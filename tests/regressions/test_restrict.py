"""``restrict=on``: what still works and what does not, row by row as QEMU documents it, and where libslirp falls short.

libslirp drops DHCPv6 and TFTP over IPv6 too; here a service of the network is reached whatever it is spoken to by.
"""

from __future__ import annotations

from collections.abc import Generator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pyslirp.addresses import Endpoint, pack
from pyslirp.config.stack import Config
from pyslirp.engine.edge.clock import now
from pyslirp.events import FlowDenied
from pyslirp.sim.apps import Echo, Transfer
from tests.unit.loops.handlers import Events
from tests.unit.loops.wired_guest import Rig, WiredGuest, answer, dial, taken

GATEWAY, DNS, FAR = (IPv4Address(text) for text in ("10.0.2.2", "10.0.2.3", "192.0.2.1"))
SERVER = IPv4Address("10.0.2.100")


class House(Rig):
    """A restricted network with a guest, and everything that is allowed set up."""

    def __init__(self, folder: Path) -> None:
        (folder / "file").write_text("content")
        rules = {"hostfwd": ["tcp:127.0.0.1:0-:22", "udp:127.0.0.1:0-:53"], "guestfwd": ["tcp:10.0.2.100:7-cmd:cat"]}
        super().__init__(Config.build(restrict=True, tftp=str(folder), **rules))  # type: ignore[arg-type]
        self.events = Events(self.stack)

    def guest(self) -> WiredGuest:
        """One that tries the gateway all the same, though DHCP has named no router."""
        guest = self.guests[0] if self.guests else self.join()
        guest.core.set_router(pack(GATEWAY))
        return guest

    def denied(self) -> list[FlowDenied]:
        return self.events.of(FlowDenied)


@pytest.fixture
def house(tmp_path: Path) -> Generator[House]:
    with House(tmp_path) as house:
        yield house


# -- what works --------------------------------------------------------------------------------------------------------


def test_dhcp_gives_an_address_and_no_way_out(house: House) -> None:
    """A router or a name server would only promise what there is not (bootp.c leaves both out)."""
    lease = house.guest().lease
    assert lease is not None
    assert (lease.router, lease.dns) == (None, ())


@pytest.mark.parametrize("address", [GATEWAY, DNS, SERVER])
def test_the_networks_own_addresses_answer_pings(house: House, address: IPv4Address) -> None:
    house.guest()
    assert house.answered(address).answered_by == address


def test_hostfwd_works(house: House) -> None:
    guest = house.guest()
    guest.listen(22, Echo)
    served = guest.udp(53)
    by_tcp, by_udp = (forward.listen.port for forward in house.stack.forwards)
    with dial(by_tcp) as client, dial(by_udp, udp=True) as other:
        client.send(b"hello")
        house.until(lambda: taken(client) == b"hello")
        other.send(b"question")
        house.until(lambda: served.received)
        source, _ = served.received.popleft()
        served.send(source, b"answer", now())
        house.until(lambda: taken(other) == b"answer")
    assert house.denied() == []


def test_guestfwd_works(house: House) -> None:
    transfer = Transfer(b"hello")
    house.guest().connect(SERVER, 7, now(), transfer)
    house.until(lambda: transfer.received == b"hello")


def test_tftp_works(house: House) -> None:
    port = house.guest().udp()
    port.send(Endpoint(GATEWAY, 69), b"\0\1file\0octet\0", now())
    house.until(lambda: port.received)
    _, packet = port.received.popleft()
    assert packet == b"\0\3\0\1content"


def test_guests_reach_one_another(house: House) -> None:
    """They are on one Ethernet, which slirp has no part in."""
    first, second = house.guest(), house.join()
    second.listen(80, Echo)
    transfer = Transfer(b"hello")
    assert second.address is not None
    first.connect(second.address, 80, now(), transfer)
    house.until(lambda: transfer.received == b"hello")


# -- what does not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("far", [GATEWAY, DNS, FAR, SERVER], ids=["gateway", "dns", "far", "server"])
def test_tcp_is_reset(house: House, far: IPv4Address) -> None:
    """Also to the host's loopback, where somebody listens."""
    with answer() as server:
        transfer = Transfer(b"hello")
        house.guest().connect(far, server.getsockname()[1], now(), transfer)
        house.until(lambda: transfer.closed or house.denied())
        with pytest.raises(BlockingIOError):
            server.accept()
    (denied,) = house.denied()
    assert (denied.protocol, denied.far.address, denied.reason) == ("tcp", far, "restrict=on")


@pytest.mark.parametrize(("far", "port"), [(GATEWAY, 53), (DNS, 53), (FAR, 53), (GATEWAY, 123), (SERVER, 7)])
def test_udp_is_silent(house: House, far: IPv4Address, port: int) -> None:
    socket = house.guest().udp()
    socket.send(Endpoint(far, port), b"question", now())
    house.until(house.denied)
    (denied,) = house.denied()
    assert (denied.protocol, denied.far, denied.reason) == ("udp", Endpoint(far, port), "restrict=on")
    house.answered(GATEWAY)  # time for whatever might have come
    assert not socket.received


def test_pings_end_here(house: House) -> None:
    ping = house.guest().ping(FAR, now())
    house.until(house.denied)
    house.answered(GATEWAY)
    assert ping.rtt_ns is None
