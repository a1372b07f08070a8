"""What has gone wrong in libslirp, QEMU and slirp4netns with BOOTP, TFTP, forwarding and Samba, and must not here.

A test is named after the CVE or the fix, and says what was wrong.
"""

from __future__ import annotations

import stat
import tempfile
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from pyslirp.addresses import Endpoint, pack
from pyslirp.config.boot import BootConfig
from pyslirp.config.network import NetworkConfig
from pyslirp.config.stack import Config
from pyslirp.errors import ConfigErrors
from pyslirp.host.files import Folder
from pyslirp.host.smb import Smb
from pyslirp.nat.clients import Clients
from pyslirp.nat.targets import Targets
from pyslirp.services.base import Datagram
from pyslirp.services.dhcp import DhcpService
from pyslirp.services.dhcp_boot import BootSettings
from pyslirp.stack import Stack
from pyslirp.verdicts import TCP, UDP, Deny, FlowName, How
from tests.unit.services.dhcp_guest import ANY, BROADCAST, HOST, NAK, Guest, mac, settings
from tests.unit.services.tftp_client import GUEST, Client, House

# -- BOOTP and DHCP ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [b"\x35", b"\x35\xff\1", b"\x32\4\x0a", b"\x0c\xff" + b"x" * 20, b"\x3d\0"])
def test_cve_2017_11434_an_option_that_ends_past_the_message(option: bytes) -> None:
    """dhcp_decode read beyond the packet."""
    message = bytes([1, 1, 6, 0]) + bytes(24) + bytes(mac(1)) + bytes(202) + b"\x63\x82\x53\x63" + option
    service = DhcpService(settings())
    for size in (len(message), 300):
        payload = message.ljust(size, b"\0")
        datagram = Datagram(0, mac(1), Endpoint(ANY, 68), Endpoint(BROADCAST, 67), payload)
        assert isinstance(service.handle(datagram, 0), list)


@pytest.mark.parametrize("size", [0, 1, 27, 235, 239, 240, 243, 299])
def test_cve_2021_3592_a_truncated_bootp_message(size: int) -> None:
    """bootp_input took 300 bytes, however many there were."""
    whole = (bytes([1, 1, 6, 0]) + bytes(24) + bytes(mac(1)) + bytes(202) + b"\x63\x82\x53\x63\x35\1\1\xff").ljust(
        300, b"\0"
    )
    datagram = Datagram(0, mac(1), Endpoint(ANY, 68), Endpoint(BROADCAST, 67), whole[:size])
    assert isinstance(DhcpService(settings()).handle(datagram, 0), list)


@pytest.mark.parametrize("wanted", ["0.0.0.0", "10.0.2.2", "10.0.2.3", "10.0.2.255", "192.0.2.1", "255.255.255.255"])
def test_2a3860ac_a_request_for_an_address_that_cannot_be(wanted: str) -> None:
    """QEMU 1.0 ended with an assertion where a NAK was due."""
    guest = Guest(DhcpService(settings()))
    if wanted == "0.0.0.0":
        assert guest.send(3, (50, bytes(4))) == []
    else:
        assert guest.reboot(IPv4Address(wanted)).kind == NAK


def test_6fd057f7_names_longer_than_an_option() -> None:
    """Lengths of host name, domain name and server name went unchecked into a byte."""
    for option in ("hostname", "domainname", "tftp_server_name"):
        with pytest.raises(ConfigErrors, match="parameter cannot exceed 255 bytes"):
            Config.build(**{option: "x" * 256})
        Config.build(**{option: "x" * 255})


@pytest.mark.parametrize("length", [127, 128, 255, 256, 1024])
def test_a_boot_file_of_128_bytes_is_no_assertion(length: int) -> None:
    """libslirp's bootp_reply ends with g_assert."""
    name = "x" * length
    assert BootConfig(bootfile=name).bootfile == name
    reply = Guest(DhcpService(settings(boot=BootSettings(name)))).discover(
        (57, (1500).to_bytes(2, "big")), (55, b"\x43")
    )
    assert reply.options[67] == name.encode()


def test_names_of_servers_are_not_looked_up_while_a_client_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """libslirp calls getaddrinfo for every reply, and nothing else moves meanwhile."""
    asked: list[Any] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *words: asked.append(words))
    monkeypatch.setattr("pyslirp.settings.ipv4_of", asked.append)
    stack = Stack(Config.build(tftp_server_name="slow.example.org"))
    assert asked == ["slow.example.org"]  # once, before there are guests
    guest = Guest(DhcpService(settings(boot=BootSettings("x", server_name="slow.example.org"))))
    guest.bound()
    assert len(asked) == 1
    stack.close()


def test_options_that_do_not_fit_are_left_out_whole() -> None:
    """libslirp's bootp_reply asserts that it is still before the end."""
    search = [f"a-long-name-of-a-department-{number}.example{number}.org" for number in range(60)]
    service = DhcpService(settings(search=search, hostname="h" * 255, domainname="d" * 255))
    reply = Guest(service).discover()
    assert len(reply.sent.payload) <= 576 - 28
    assert reply.options[53] == b"\2"


# -- TFTP --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0", b"\0\1", b"\0\1x", b"\0\1x\0octet", b"\0\1" + b"x" * 600, b"\0\1x\0octet\0blksize", b"\0\4", b"\0\5"],
)
def test_cve_2021_3595_a_truncated_tftp_packet(payload: bytes) -> None:
    """tftp_input read past the packet."""
    house = House(x=b"content")
    for port in (69, Client(house, "x").port):
        for answer in house.send(payload, port):
            assert answer.payload[:2] in (b"\0\5", b"\0\3")


@pytest.mark.parametrize("name", [b"..\\secret", b"sub\\..\\..\\secret", b"\\secret", b"../secret", b"/..", b"sub/.."])
def test_cve_2020_7211_a_name_that_leads_out(tmp_path: Path, name: bytes) -> None:
    """``..\\`` led out of the folder on Windows, a final ``/..`` everywhere, and links were followed."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "served" / "sub").mkdir(parents=True)
    with pytest.raises((PermissionError, FileNotFoundError)):
        Folder(str(tmp_path / "served")).open(name)


@pytest.mark.parametrize("mtu", [68, 100, 576])
def test_cve_2026_95508_a_small_mtu(mtu: int) -> None:
    """Replies were built in a buffer of the MTU's size, and longer than that."""
    house = House(mtu, file=bytes(3000))
    client = Client(house, "file", blksize=1428, tsize=0)
    assert client.granted["blksize"] == mtu - 32
    assert client.download() == bytes(3000)
    for answer in house.send(b"\0\1" + b"x" * 400 + b"\0octet\0"):
        assert len(answer.payload) <= 132


def test_c29ec30a_a_transfer_that_ends_while_it_is_used() -> None:
    """A session was freed by an error of the client, and then sent from."""
    house = House(file=bytes(3000))
    for how in (b"\0\5\0\0x\0", b"\0\4\0\1"):
        client = Client(house, "file")
        port = client.port
        house.send(b"\0\5\0\0enough\0", port)
        assert [answer.payload[:4] for answer in house.send(how, port)] in ([], [b"\0\5\0\5"])
        assert house.service.deadline() is None


def test_a_file_of_more_than_2_gib_keeps_its_size() -> None:
    """libslirp has an int for it, and 32 bits for the place in the file."""
    for size in ((1 << 31) - 1, 1 << 31, (1 << 32) + 1, 1 << 40):
        assert Client(House(file=size), "file", tsize=0).granted["tsize"] == size


def test_an_acknowledgement_is_looked_at() -> None:
    """libslirp sends the next block for whatever ACK, and so skips blocks for one that comes twice."""
    client = Client(House(file=bytes(3000)), "file")
    client.acknowledge(1)
    assert client.acknowledge(1) == []
    assert client.acknowledge(9) == []


def test_a_transfer_has_its_own_port() -> None:
    """libslirp answers from port 69, so that a client's two transfers are one to a NAT."""
    assert Client(House(file=b"x"), "file", source=GUEST).port != 69


# -- forwarding --------------------------------------------------------------------------------------------------------


def test_cve_2021_20199_a_client_keeps_its_address() -> None:
    """Podman's port driver showed every client as 127.0.0.1, which guests trust."""
    clients = Clients(NetworkConfig())
    guest = pack(IPv4Address("10.0.2.15"))
    outside = pack(IPv4Address("192.0.2.7"))
    assert clients.shown_as(outside, guest) == outside
    assert clients.shown_as(pack(IPv4Address("127.0.0.1")), guest) == pack(HOST)


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_an_address_of_the_net_that_is_nobodys_does_not_leave_it(protocol: int) -> None:
    """libslirp sends what is for 10.0.2.99 to the real network."""
    targets = Targets(NetworkConfig(), (), dns_forward=True)
    verdict = targets.decide(FlowName(protocol, pack(IPv4Address("10.0.2.15")), 1, pack(IPv4Address("10.0.2.99")), 80))
    assert isinstance(verdict, Deny)
    assert verdict.how == How.HOST_UNREACHABLE


@pytest.mark.parametrize("port", [21075, 21330, 0x5353])
def test_utm_1_ports_that_read_the_same_in_another_byte_order(port: int) -> None:
    """check_guestfwd compared a port in host order with one in network order, and saw conflicts."""
    other = int.from_bytes(port.to_bytes(2, "big"), "little")
    rules = {f"tcp:10.0.2.4:{number}-cmd:cat" for number in (port, other)}
    assert len(Config.build(guestfwd=sorted(rules)).forward.guestfwd) == len(rules)


# -- Samba -------------------------------------------------------------------------------------------------------------


def test_cve_2015_4037_a_folder_that_others_could_foresee(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU made /tmp/qemu-smb.PID-N, where another user could have put a link."""
    monkeypatch.setattr("pyslirp.host.smb._find_smbd", lambda: "/usr/sbin/smbd")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    servers = [Smb(str(tmp_path)) for _ in range(2)]
    homes = [Path(server.arguments()[2]) for server in servers]
    assert homes[0].name != homes[1].name
    assert all(stat.S_IMODE(home.stat().st_mode) == 0o700 for home in homes)
    for server in servers:
        server.close()
