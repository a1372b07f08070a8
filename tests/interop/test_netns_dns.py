"""DNS through the alias: record types, sizes, transports, several resolvers, and nothing that waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.interop.rig.backend import PyslirpProcess
from tests.interop.rig.conversation import echo_datagrams
from tests.interop.rig.namespace import PATIENCE_SECONDS
from tests.interop.rig.netns_guest import NetnsGuest
from tests.interop.rig.network import Network
from tests.interop.rig.resolver import RECORDS, Resolver
from tests.interop.rig.topology import DNS, FIRST_LEASE, GATEWAY, Topology

FAILOVER_SECONDS = 10.0  # within which the next resolver must have answered
AT_ONCE_SECONDS = 1.0


def ask(guest: NetnsGuest, name: str, kind: str = "A", payload: int = 0, tcp: bool = False) -> dns.message.Message:
    """The answer to one query of the guest's; ``payload`` is EDNS's buffer size (0: no EDNS)."""
    query = dns.message.make_query(name, kind, use_edns=0 if payload else False, payload=payload or 1232)
    if tcp:
        with guest.net.connect(DNS, 53) as sock:
            sock.setblocking(False)
            return dns.query.tcp(query, DNS, timeout=PATIENCE_SECONDS, sock=sock)
    with guest.net.udp() as sock:
        sock.setblocking(False)
        return dns.query.udp(query, DNS, timeout=PATIENCE_SECONDS, sock=sock)


def texts(answer: dns.message.Message) -> set[str]:
    """The records of the answer section, without their names and times."""
    return {record.to_text() for rrset in answer.answer for record in rrset}


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize(("name", "kind"), [key for key in RECORDS if key[0] != "long.test."])
def test_every_type(net: Network, name: str, kind: str, tcp: bool) -> None:
    """Whatever the type, the answer is the resolver's."""
    assert texts(ask(net.guest, name, kind, tcp=tcp)) == set(RECORDS[name, kind])


def test_no_such_name(net: Network) -> None:
    """NXDOMAIN is an answer as well."""
    assert ask(net.guest, "nowhere.test.").rcode() == dns.rcode.NXDOMAIN


def test_truncation(net: Network) -> None:
    """A long answer is cut for a client without EDNS, whole for one with a large buffer, and whole over TCP."""
    cut = ask(net.guest, "long.test.", "TXT")
    assert cut.flags & dns.flags.TC
    assert not cut.answer
    whole = set(RECORDS["long.test.", "TXT"])
    assert texts(ask(net.guest, "long.test.", "TXT", payload=8192)) == whole
    assert texts(ask(net.guest, "long.test.", "TXT", tcp=True)) == whole


def test_many_queries_at_once(net: Network) -> None:
    """A hundred queries from one socket, with ids of their own: a hundred answers, each with its own id."""
    with net.guest.net.udp() as sock:
        queries = {number: dns.message.make_query("host.test.", "A", id=number) for number in range(1000, 1100)}
        for query in queries.values():
            sock.sendto(query.to_wire(), (DNS, 53))
        for _ in range(len(queries)):
            wire, source = sock.recvfrom(4096)
            assert source == (DNS, 53)
            answer = dns.message.from_wire(wire)
            assert queries.pop(answer.id).is_response(answer)
    assert not queries


def test_real_nslookup(net: Network) -> None:
    """busybox's nslookup, as a user would."""
    said = net.guest.run(f"busybox nslookup host.test {DNS}").check()
    assert "192.0.2.1" in said


Start = Callable[..., NetnsGuest]


@pytest.fixture
def start(topology: Topology, tmp_path: Path) -> Iterator[Start]:
    """Starts pyslirp with these arguments, and returns a guest of it."""
    with ExitStack() as stack:

        def run(*arguments: str) -> NetnsGuest:
            path = tmp_path / "dns.sock"
            server = PyslirpProcess(topology.host, tmp_path, ["--listen", f"unix:{path}", *arguments])
            stack.callback(server.stop)
            server.wait_ready()
            guest = NetnsGuest("asker", topology.lab, tmp_path)
            stack.callback(guest.close)
            guest.attach(topology.host.connect_unix(path))
            guest.configure(FIRST_LEASE, GATEWAY)
            return guest

        yield run


@pytest.fixture
def serve(topology: Topology) -> Iterator[Callable[..., Resolver]]:
    """Starts resolvers in the host's network: arguments as `Resolver`'s."""
    with ExitStack() as stack:

        def run(address: str, port: int = 53, silent: bool = False) -> Resolver:
            made = Resolver(topology.host, address, port, silent)
            stack.callback(made.close)
            return made

        yield run


Serve = Callable[..., Resolver]


@pytest.mark.pyslirp
def test_resolvers_of_the_host(start: Start, serve: Serve, topology: Topology) -> None:
    """Without --dns-upstream the queries go to the first nameserver of /etc/resolv.conf."""
    topology.set_resolvers("127.0.0.2", "127.0.0.3")
    first, second = serve("127.0.0.2"), serve("127.0.0.3")
    assert texts(ask(start(), "host.test.")) == {"192.0.2.1"}
    assert first.seen
    assert not second.seen


@pytest.mark.pyslirp
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("first", ["silent", "not there"])
def test_next_resolver_when_the_first_fails(
    start: Start, serve: Serve, topology: Topology, first: str, tcp: bool
) -> None:
    """A resolver that says nothing, and one that is not there: the second in the list answers."""
    topology.set_resolvers("127.0.0.4", "127.0.0.5")
    if first == "silent":
        serve("127.0.0.4", silent=True)
    serve("127.0.0.5")
    guest = start()
    begun = time.monotonic()
    assert texts(ask(guest, "host.test.", tcp=tcp)) == {"192.0.2.1"}
    assert time.monotonic() - begun < (FAILOVER_SECONDS if first == "silent" else AT_ONCE_SECONDS)


@pytest.mark.pyslirp
def test_a_change_of_the_file_is_noticed(start: Start, serve: Serve, topology: Topology) -> None:
    """When /etc/resolv.conf names another server, queries soon go there."""
    topology.set_resolvers("127.0.0.6")
    old, new = serve("127.0.0.6"), serve("127.0.0.7")
    guest = start()
    ask(guest, "host.test.")
    assert old.seen
    topology.set_resolvers("127.0.0.7")
    time.sleep(1.5)  # it may look at the file once a second
    ask(guest, "host.test.")
    assert new.seen


@pytest.mark.pyslirp
def test_chosen_upstream(start: Start, serve: Serve, topology: Topology) -> None:
    """--dns-upstream, with a port, takes the place of the host's resolvers."""
    topology.set_resolvers("127.0.0.8")
    ignored, chosen = serve("127.0.0.8"), serve("127.0.0.9", port=5300)
    assert texts(ask(start("--dns-upstream", "127.0.0.9:5300"), "host.test.")) == {"192.0.2.1"}
    assert chosen.seen
    assert not ignored.seen


@pytest.mark.pyslirp
def test_no_resolver_at_all(start: Start, topology: Topology) -> None:
    """Nobody answers: the guest is told so (SERVFAIL) and need not wait for its own time-out."""
    topology.set_resolvers("127.0.0.10")
    assert ask(start(), "host.test.").rcode() == dns.rcode.SERVFAIL


@pytest.mark.pyslirp
def test_a_silent_resolver_holds_nothing_up(start: Start, serve: Serve, topology: Topology) -> None:
    """While a hundred queries wait for an answer that does not come, datagrams pass at once."""
    topology.set_resolvers("127.0.0.11")
    serve("127.0.0.11", silent=True)
    guest = start()
    server, asker, other = topology.host.udp("127.0.0.1"), guest.net.udp(), guest.net.udp()
    for number in range(100):
        asker.sendto(dns.message.make_query("host.test.", "A", id=number).to_wire(), (DNS, 53))
    begun = time.monotonic()
    other.sendto(b"hello", (GATEWAY, server.getsockname()[1]))
    echo_datagrams(server, 1)
    assert other.recv(64) == b"hello"
    assert time.monotonic() - begun < AT_ONCE_SECONDS
