"""How a guest comes by its IPv6 addresses, routes and names, with the kernel and real clients as judges."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.query
import pytest

from tests.interop.rig.backend import Pyslirp
from tests.interop.rig.deadline import wait_for
from tests.interop.rig.namespace import accept
from tests.interop.rig.netns_guest import NetnsGuest
from tests.interop.rig.require import require
from tests.interop.rig.resolver import RECORDS, Resolver
from tests.interop.rig.topology import HOST, Topology

STATIC_MAC = "52:54:00:00:00:99"
OPTIONS = "ipv4=on,ipv6=on,dnssearch=a.test,dnssearch=b.test,hostname=vm,domainname=example.test"
FORWARDS = ["--hostfwd=tcp:[::1]:8080-[fec0::15]:80", "--hostfwd=tcp:127.0.0.1:8081-[fec0::15]:80"]
HOST6 = "2001:db8::7"  # another address of the host
SLAAC = "fec0::5054:ff:fe12:3401"  # of the first guest's MAC (RFC 4291 appendix A)

pytestmark = pytest.mark.pyslirp

Join = Callable[..., NetnsGuest]


@pytest.fixture
def extra() -> list[str]:
    """Arguments of one test; it says which by parametrizing."""
    return []


@pytest.fixture
def server(topology: Topology, tmp_path: Path, extra: list[str]) -> Iterator[Pyslirp]:
    """A pyslirp of both families, with names to announce and one static lease."""
    topology.host.run(f"ip addr replace {HOST6}/128 dev lo nodad").check()
    static = ["--dhcp-host", f"{STATIC_MAC}=fec0::99"]
    made = Pyslirp(topology.host, tmp_path, extra=[OPTIONS, *FORWARDS, *static, *extra])
    yield made
    made.close()


@pytest.fixture
def join(server: Pyslirp, topology: Topology, tmp_path: Path) -> Iterator[Join]:
    """Attaches a new guest to the server, whose link-local address works: its name, and a MAC address if it matters."""
    guests: list[NetnsGuest] = []

    def attach(name: str, mac: str | None = None) -> NetnsGuest:
        guest = NetnsGuest(name, topology.lab, tmp_path, mac or f"52:54:00:12:34:{len(guests) + 1:02x}")
        guests.append(guest)
        server.attach(guest)
        wait_for("duplicate address detection", lambda: "tentative" not in addresses(guest) and addresses(guest))
        return guest

    yield attach
    for guest in guests:
        guest.run("kill $(cat dhclient6.pid)")  # it has gone into the background, if it was there at all
        guest.close()


def addresses(guest: NetnsGuest) -> str:
    return guest.run(f"ip -6 -o addr show dev {guest.interface}").check()


def dhclient(guest: NetnsGuest, *options: str) -> str:
    """What ISC's client says with -v; it leaves the interface alone.

    Its lease file is ``dhclient6.leases``; what its script is told is in ``told.log``.
    """
    program = guest.folder / "dhclient"
    if not program.exists():  # a copy: AppArmor's profile for the original forbids it to keep a lease where we want it
        shutil.copy(require("dhclient", "isc-dhcp-client"), program)
    files = (
        f"-lf {guest.folder}/dhclient6.leases -pf {guest.folder}/dhclient6.pid -cf /dev/null -sf {guest.folder}/told"
    )
    (guest.folder / "told").write_text("#!/bin/sh\nenv >> $0.log\n")
    (guest.folder / "told").chmod(0o755)
    return guest.run(f"{program} -6 {' '.join(options)} -v {files} {guest.interface}").check()


def lease(guest: NetnsGuest) -> str:
    return (guest.folder / "dhclient6.leases").read_text()


def test_the_kernel_configures_itself(join: Join) -> None:
    """SLAAC: an address of the prefix, the default route by fe80::2, and echo of the gateway over it."""
    guest = join("guest")
    wait_for("the address of SLAAC", lambda: f"{SLAAC}/64" in addresses(guest))
    assert "default via fe80::2" in guest.run("ip -6 route").check()
    guest.run("busybox ping -6 -c 1 -W 3 fec0::2").check()
    guest.run(f"busybox ping -6 -c 1 -W 3 fe80::2%{guest.interface}").check()


def test_what_the_router_says(join: Join) -> None:
    """rdisc6, which reads the advertisement by itself."""
    guest = join("guest")
    said = guest.run(f"{require('rdisc6', 'ndisc6')} -1 {guest.interface}").check()
    lines = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in said.splitlines())}
    assert lines["Stateful address conf."] == lines["Stateful other conf."] == "Yes"
    assert (lines["Prefix"], lines["On-link"], lines["Autonomous address conf."]) == ("fec0::/64", "Yes", "Yes")
    assert lines["Router lifetime"].startswith("1800")
    assert lines["MTU"].startswith("65520 bytes")
    assert lines["Recursive DNS server"] == "fec0::3"
    assert "a.test" in lines["DNS search list"]
    assert "b.test" in lines["DNS search list"]
    assert "from fe80::2" in said


def test_dhclient_takes_renews_and_releases_a_lease(join: Join) -> None:
    """ISC's client: SOLICIT to RELEASE, and what it writes down of the answers."""
    guest = join("guest")
    said = dhclient(guest, "-1")
    for word in ("XMT: Solicit", "RCV: Advertise message", "XMT: Request", "RCV: Reply message"):
        assert word in said
    text = lease(guest)
    assert "iaaddr fec0::15 {" in text
    assert "option dhcp6.name-servers fec0::3;" in text
    assert 'option dhcp6.domain-search "a.test.", "b.test.";' in text
    assert "option dhcp6.server-id 0:3:0:1:52:55:a:0:2:2;" in text
    dhclient(guest, "-x")  # stops the daemon, and keeps the lease
    said = dhclient(guest, "-1")
    assert "XMT: Rebind" in said or "XMT: Confirm" in said
    assert "XMT: Release" in dhclient(guest, "-r")


def test_dhclient_asks_for_information_alone(join: Join) -> None:
    """A guest with SLAAC's address wants names, and no lease."""
    guest = join("guest")
    assert "XMT: Info-Request" in dhclient(guest, "-S", "-1")
    told = (guest.folder / "told.log").read_text().splitlines()
    assert "new_dhcp6_name_servers=fec0::3" in told
    assert not [line for line in told if line.startswith("new_ip6_address=")]


def test_static_lease(join: Join) -> None:
    """The configured address for that MAC address, and the pool's first for another."""
    static = join("static", STATIC_MAC)
    dhclient(static, "-1")
    assert "iaaddr fec0::99 {" in lease(static)


@pytest.mark.parametrize("extra", [["restrict=on"]])
def test_a_closed_network_gives_addresses_and_no_way_out(join: Join) -> None:
    """With restrict=on SLAAC and DHCPv6 go on, without a default route and a name server."""
    guest = join("guest")
    wait_for("the address of SLAAC", lambda: SLAAC in addresses(guest))
    assert "default" not in guest.run("ip -6 route").check()
    dhclient(guest, "-1")
    assert "iaaddr fec0::15 {" in lease(guest)
    assert "name-servers" not in lease(guest)


def ask(guest: NetnsGuest, server: str, name: str, kind: str, tcp: bool) -> set[str]:
    """The records that `server` answers with over IPv6."""
    index = int(guest.run(f"ip -o link show dev {guest.interface}").check().partition(":")[0])
    query = dns.message.make_query(name, kind)
    with guest.net.new_socket(socket.AF_INET6, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
        sock.connect((server, 53, 0, index))
        if tcp:
            dns.query.send_tcp(sock, query)
            answer, _ = dns.query.receive_tcp(sock)
        else:
            sock.send(query.to_wire())
            answer = dns.message.from_wire(sock.recv(4096))
    assert answer.id == query.id
    return {record.to_text() for rrset in answer.answer for record in rrset}


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("alias", ["fec0::3", "fe80::3"])
def test_names_over_ipv6(join: Join, topology: Topology, alias: str, tcp: bool) -> None:
    """Both addresses of the name server answer, with what a resolver of IPv4 has said."""
    guest = join("guest")
    wait_for("the address of SLAAC", lambda: SLAAC in addresses(guest))
    resolver = Resolver(topology.host, port=Pyslirp.dns_port)
    try:
        assert ask(guest, alias, "host.test.", "AAAA", tcp) == set(RECORDS["host.test.", "AAAA"])
    finally:
        resolver.close()


@pytest.mark.parametrize(
    ("extra", "source", "source6"),
    [([], "127.0.0.1", "::1"), ([f"--outbound-addr={HOST}", f"--outbound-addr6={HOST6}"], HOST, HOST6)],
    ids=["default", "outbound"],
)
def test_the_host_alias_is_the_hosts_loopback(join: Join, topology: Topology, source: str, source6: str) -> None:
    """A server on the loopback is reached over TCP, from the address of each family that the host is told to use."""
    guest = join("guest")
    guest.run(f"ip addr add 10.0.2.15/24 dev {guest.interface}").check()
    wait_for("the address of SLAAC", lambda: SLAAC in addresses(guest))
    plans = ((socket.AF_INET, "127.0.0.1", "10.0.2.2", source), (socket.AF_INET6, "::1", "fec0::2", source6))
    for family, loopback, alias, expected in plans:
        with topology.host.new_socket(family) as listener:
            listener.bind((loopback, 0))
            listener.listen()
            with guest.net.new_socket(family) as client:
                client.connect((alias, listener.getsockname()[1]))
                server, peer = accept(listener)
                assert peer[0] == expected
                server.sendall(b"well")
                assert client.recv(10) == b"well"


def test_forwards_lead_to_ipv6_guests(join: Join, topology: Topology) -> None:
    """A rule in IPv6, whose client on the loopback is shown as the gateway, and one from IPv4 to the same guest."""
    guest = join("guest", "52:54:00:12:34:01")
    guest.run(f"ip addr add fec0::15/64 dev {guest.interface} nodad").check()
    with guest.net.new_socket(socket.AF_INET6) as listener:
        listener.bind(("::", 80))
        listener.listen()
        for family, address, port in ((socket.AF_INET6, "::1", 8080), (socket.AF_INET, "127.0.0.1", 8081)):
            with topology.host.new_socket(family) as client:
                client.connect((address, port))
                server, peer = accept(listener)
                assert peer[0] == "fec0::2"
                client.sendall(b"hello")
                assert server.recv(10) == b"hello"
