"""DHCP with real clients: what a lease says, how it is kept, and who gets which."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.rig.backend import Pyslirp
from tests.interop.rig.deadline import wait_for
from tests.interop.rig.guest import take_lease
from tests.interop.rig.netns_guest import NetnsGuest
from tests.interop.rig.network import Network
from tests.interop.rig.require import require
from tests.interop.rig.topology import DNS, FIRST_LEASE, GATEWAY, Topology

OPTIONS = ["hostname=vm", "domainname=example.test", "dnssearch=a.test", "dnssearch=b.test"]
STATIC_MAC, STATIC_ADDRESS = "52:54:00:00:00:99", "10.0.2.99"


@pytest.fixture
def server(topology: Topology, tmp_path: Path) -> Iterator[Pyslirp]:
    """A pyslirp with names to announce, no MTU of its own, and one static lease."""
    static = ["--dhcp-host", f"{STATIC_MAC}={STATIC_ADDRESS}"]
    made = Pyslirp(topology.host, tmp_path, extra=[",".join(OPTIONS), *static])
    yield made
    made.close()


@pytest.fixture
def join(server: Pyslirp, topology: Topology, tmp_path: Path) -> Iterator[Callable[..., NetnsGuest]]:
    """Attaches a new guest to the server: its name, and a MAC address if it is to have a certain one."""
    guests: list[NetnsGuest] = []

    def attach(name: str, mac: str | None = None) -> NetnsGuest:
        guest = NetnsGuest(name, topology.lab, tmp_path, mac or f"52:54:00:12:34:{len(guests) + 1:02x}")
        guests.append(guest)
        server.attach(guest)
        return guest

    yield attach
    for guest in guests:
        guest.close()


def test_lease_of_this_network(net: Network) -> None:
    """The lease that every test of this file's network stands on."""
    expected = {"ip": FIRST_LEASE, "router": GATEWAY, "dns": DNS, "mask": "24", "serverid": GATEWAY}
    assert {key: net.lease.get(key) for key in expected} == expected


def test_asking_again_gives_the_same_lease(net: Network) -> None:
    """A client that starts anew has the address that it had."""
    assert take_lease(net.guest)["ip"] == FIRST_LEASE


def test_renewal_and_release(net: Network) -> None:
    """udhcpc renews by unicast when it is told to, and the address stays; then it gives the lease back."""
    guest = net.guest
    lease_file = f"LEASE_FILE={guest.lease_file}"
    client = f"{lease_file} exec busybox udhcpc -f -R -t 5 -T 1 -i {guest.interface} -s {guest.lease_script}"
    job = guest.spawn(client, timeout=30.0)
    job.expect(f"lease of {FIRST_LEASE} obtained")
    job.kill("USR1")
    job.expect("renew", seconds=5.0)
    wait_for("a second lease line", lambda: job.text().count(f"lease of {FIRST_LEASE} obtained") == 2, seconds=5.0)
    job.kill("TERM")
    assert "releas" in job.wait().output
    assert take_lease(guest)["ip"] == FIRST_LEASE


@pytest.mark.pyslirp
def test_options_are_announced(join: Callable[..., NetnsGuest]) -> None:
    """Names as configured; the MTU of the stream to who asks for it."""
    lease = take_lease(join("first"), "hostname", "domain", "search", "mtu", "broadcast")
    expected = {"hostname": "vm", "domain": "example.test", "search": "a.test b.test", "mtu": "65520"}
    assert {key: lease.get(key) for key in expected} == expected
    assert lease["broadcast"] == "10.0.2.255"
    assert int(lease["lease"]) > 0


@pytest.mark.pyslirp
def test_mtu_is_not_announced_unasked(join: Callable[..., NetnsGuest]) -> None:
    """A client that does not ask for option 26 does not get it."""
    assert "mtu" not in take_lease(join("first"))


@pytest.mark.pyslirp
def test_static_lease(join: Callable[..., NetnsGuest]) -> None:
    """The configured address for that MAC address, and the pool's first for another."""
    assert take_lease(join("static", STATIC_MAC))["ip"] == STATIC_ADDRESS
    assert take_lease(join("other"))["ip"] == FIRST_LEASE


@pytest.mark.pyslirp
def test_each_guest_has_its_own_address(join: Callable[..., NetnsGuest]) -> None:
    """Twenty guests, more than libslirp's sixteen leases: twenty addresses, and each reaches the gateway."""
    guests = [join(f"guest{number}") for number in range(20)]
    addresses = [take_lease(guest)["ip"] for guest in guests]
    assert len(set(addresses)) == len(guests)
    for guest in guests:
        guest.run(f"busybox ping -c 1 -W 3 {GATEWAY}").check()


@pytest.mark.pyslirp
def test_lease_survives_an_abrupt_end(join: Callable[..., NetnsGuest], server: Pyslirp) -> None:
    """A guest whose stream is cut by SIGKILL comes back to its own lease, though another came first."""
    first, second = join("first"), join("second")
    before = [take_lease(guest)["ip"] for guest in (first, second)]
    for guest in (first, second):
        guest.detach()
    for guest in (second, first):
        server.attach(guest)
    assert [take_lease(guest)["ip"] for guest in (first, second)] == before


@pytest.mark.pyslirp
def test_requested_address(join: Callable[..., NetnsGuest]) -> None:
    """A free address of the net that the client asks for is the one that it gets."""
    guest = join("first")
    guest.run(
        f"LEASE_FILE={guest.lease_file} busybox udhcpc -f -q -n -t 5 -T 1 -r 10.0.2.40"
        f" -i {guest.interface} -s {guest.lease_script}"
    ).check()
    assert "ip=10.0.2.40\n" in guest.run(f"cat {guest.lease_file}").check()


@pytest.mark.pyslirp
def test_dhclient(join: Callable[..., NetnsGuest]) -> None:
    """ISC's client takes a lease, renews it and releases it."""
    guest = join("first")
    # A copy: AppArmor's profile for the original forbids it to keep a lease where we want it.
    dhclient = shutil.copy(require("dhclient", "isc-dhcp-client"), guest.folder)
    files = f"-lf {guest.folder}/dhclient.leases -pf {guest.folder}/dhclient.pid -cf /dev/null -sf /bin/true"
    said = guest.run(f"{dhclient} -4 -1 -v {files} {guest.interface}").check()
    assert f"DHCPACK of {FIRST_LEASE} from {GATEWAY}" in said or f"bound to {FIRST_LEASE}" in said
    assert "DHCPRELEASE" in guest.run(f"{dhclient} -4 -r -v {files} {guest.interface}").check()
