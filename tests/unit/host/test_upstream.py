"""Sockets to resolvers, over loopback; `poll` stands for the engine's loop and never waits longer than it must."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import dns.message
import pytest

from pyslirp.addresses import Endpoint, Mac
from pyslirp.host import upstream as module
from pyslirp.host.resolvers import ResolverSet
from pyslirp.host.upstream import MAX_DATAGRAMS, Upstream
from pyslirp.services.base import Action, AskResolver, Datagram, ForgetAsk, SendDatagram
from pyslirp.services.dns import DnsService

PATIENCE_MS = 5000  # never reached unless something is broken
QUERY = b"\x12\x34 a query"


@dataclass(eq=False)
class Watch:
    fd: int
    readable: Callable[[], None]
    writable: Callable[[], None] | None


class Loop:
    """A level-triggered loop of one poll at a time."""

    def __init__(self) -> None:
        self.watches: list[Watch] = []

    def watch(self, fd: int, readable: Callable[[], None], writable: Callable[[], None] | None = None) -> Watch:
        watch = Watch(fd, readable, writable)
        self.watches.append(watch)
        return watch

    def unwatch(self, token: Watch) -> None:
        self.watches.remove(token)

    def turn(self) -> None:
        """Wait until something is ready, and serve it."""
        poll = select.poll()
        for watch in self.watches:
            poll.register(watch.fd, select.POLLIN | (select.POLLOUT if watch.writable else 0))
        ready = dict(poll.poll(PATIENCE_MS))
        assert ready, "nothing became ready"
        for watch in list(self.watches):
            events = ready.get(watch.fd, 0)
            if events & (select.POLLIN | select.POLLERR | select.POLLHUP) and watch in self.watches:
                watch.readable()
            if events & (select.POLLOUT | select.POLLERR) and watch in self.watches and watch.writable:
                watch.writable()


class Scene:
    """An upstream, its loop, and what it said."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.answers: list[tuple[int, bytes | None, str]] = []
        self.upstream = Upstream(self.loop, lambda key, message, reason: self.answers.append((key, message, reason)))

    def ask(self, server: socket.socket | Endpoint, tcp: bool = False, key: int = 1, message: bytes = QUERY) -> None:
        endpoint = server if isinstance(server, Endpoint) else Endpoint.of(*server.getsockname()[:2])
        self.upstream.ask(AskResolver(key, endpoint, tcp, message))

    def until_answer(self) -> tuple[int, bytes | None, str]:
        for _ in range(100):
            if self.answers:
                return self.answers.pop(0)
            self.loop.turn()
        raise AssertionError("no answer")


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.upstream.close()
    assert made.loop.watches == []
    assert len(made.upstream) == 0


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["ipv4", "ipv6"])
def udp(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family, address = request.param
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        try:
            made.bind((address, 0))
        except OSError:
            pytest.skip(f"no {address} here")
        made.settimeout(PATIENCE_MS / 1000)
        yield made


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(PATIENCE_MS / 1000)
        yield made


def unused(kind: socket.SocketKind) -> Endpoint:
    """A port on which nothing listens."""
    with socket.socket(socket.AF_INET, kind) as made:
        made.bind(("127.0.0.1", 0))
        return Endpoint.of(*made.getsockname())


# --------------------------------------------------------------------------------------------------------------- UDP


def test_udp_question_and_answer(scene: Scene, udp: socket.socket) -> None:
    scene.ask(udp)
    message, client = udp.recvfrom(100)
    assert message == QUERY
    udp.sendto(b"answer", client)
    assert scene.until_answer() == (1, b"answer", "answered")


def test_a_udp_ask_stays_open_until_it_is_forgotten(scene: Scene, udp: socket.socket) -> None:
    scene.ask(udp)
    _, client = udp.recvfrom(100)
    udp.sendto(b"forged", client)
    udp.sendto(b"true", client)
    assert scene.until_answer()[1] == b"forged"
    assert scene.until_answer()[1] == b"true"
    scene.upstream.forget(1)
    scene.upstream.forget(1)
    assert (len(scene.upstream), scene.loop.watches) == (0, [])


def test_every_udp_ask_has_a_port_of_its_own(scene: Scene, udp: socket.socket) -> None:
    for key in range(20):
        scene.ask(udp, key=key)
    assert len({udp.recvfrom(100)[1][1] for _ in range(20)}) == 20


def test_only_the_resolver_that_was_asked_is_heard(scene: Scene) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked, socket.socket(asked.family, asked.type) as other:
        asked.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        scene.ask(asked)
        _, client = asked.recvfrom(100)
        other.sendto(b"forged", client)
        asked.sendto(b"answer", client)
        assert scene.until_answer()[1] == b"answer"
        assert scene.answers == []


def test_udp_refused_is_known_at_once(scene: Scene) -> None:
    scene.ask(unused(socket.SOCK_DGRAM))
    assert scene.until_answer() == (1, None, "refused")
    assert len(scene.upstream) == 0


def test_a_flood_on_one_socket_lets_others_have_their_turn(scene: Scene, udp: socket.socket) -> None:
    scene.ask(udp)
    _, client = udp.recvfrom(100)
    for _ in range(MAX_DATAGRAMS + 5):
        udp.sendto(b"x", client)
    scene.loop.turn()
    assert len(scene.answers) == MAX_DATAGRAMS


def test_forgetting_inside_the_answer_stops_reading(udp: socket.socket) -> None:
    loop, heard = Loop(), []

    def on_answer(key: int, message: bytes | None, _reason: str) -> None:
        heard.append(message)
        upstream.forget(key)

    upstream = Upstream(loop, on_answer)
    upstream.ask(AskResolver(1, Endpoint.of(*udp.getsockname()[:2]), False, QUERY))
    _, client = udp.recvfrom(100)
    udp.sendto(b"one", client)
    udp.sendto(b"two", client)
    loop.turn()
    assert (heard, loop.watches) == ([b"one"], [])


# --------------------------------------------------------------------------------------------------------------- TCP


def test_tcp_question_and_answer_in_pieces(scene: Scene, tcp: socket.socket) -> None:
    scene.ask(tcp, tcp=True)
    scene.loop.turn()
    connection, _ = tcp.accept()
    with connection:
        assert connection.recv(100) == len(QUERY).to_bytes(2, "big") + QUERY
        for piece in (b"\0", b"\6an", b"swer and more"):
            connection.send(piece)
            scene.loop.turn()
        assert scene.answers == [(1, b"answer", "answered")]
        assert connection.recv(100) == b""
    assert len(scene.upstream) == 0


def test_the_largest_messages_both_ways(scene: Scene, tcp: socket.socket) -> None:
    large = bytes(65535)
    scene.ask(tcp, tcp=True, message=large)
    scene.loop.turn()
    connection, _ = tcp.accept()
    with connection:
        got = b""
        while len(got) < 65537:
            if any(watch.writable for watch in scene.loop.watches):
                scene.loop.turn()
            got += connection.recv(100_000)
        connection.sendall(got)
        assert scene.until_answer() == (1, large, "answered")


def test_once_it_is_sent_a_tcp_ask_waits_for_reading_only(scene: Scene, tcp: socket.socket) -> None:
    scene.ask(tcp, tcp=True)
    scene.loop.turn()
    assert [watch.writable for watch in scene.loop.watches] == [None]


def test_tcp_refused(scene: Scene) -> None:
    scene.ask(unused(socket.SOCK_STREAM), tcp=True)
    assert scene.until_answer() == (1, None, "refused")


@pytest.mark.parametrize("piece", [b"", b"\0", b"\0\6answ"])
def test_tcp_closed_before_the_answer(scene: Scene, tcp: socket.socket, piece: bytes) -> None:
    scene.ask(tcp, tcp=True)
    scene.loop.turn()
    connection, _ = tcp.accept()
    connection.recv(100)
    connection.send(piece)
    connection.close()
    assert scene.until_answer() == (1, None, "closed")


def test_tcp_reset(scene: Scene, tcp: socket.socket) -> None:
    scene.ask(tcp, tcp=True)
    scene.loop.turn()
    connection, _ = tcp.accept()
    connection.close()  # with the query unread: a reset
    assert scene.until_answer() == (1, None, "closed")


def test_a_failed_connection_may_show_when_writing_first(scene: Scene) -> None:
    scene.ask(unused(socket.SOCK_STREAM), tcp=True)
    (watch,) = scene.loop.watches
    assert watch.writable is not None
    select.select([], [watch.fd], [], PATIENCE_MS / 1000)
    watch.writable()
    assert scene.answers == [(1, None, "refused")]


# ------------------------------------------------------------------------------------------------------------ failing


@pytest.mark.parametrize("tcp", [False, True])
def test_readiness_that_was_not_and_readiness_too_late_do_nothing(scene: Scene, tcp: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        scene.ask(listener if tcp else datagrams, tcp=tcp)
        (watch,) = scene.loop.watches
        watch.readable()
        assert scene.answers == []
        assert scene.loop.watches == [watch]
        scene.upstream.forget(1)
        watch.readable()
        if watch.writable:
            watch.writable()
        assert scene.answers == []


class Failing:
    """Stands for a connected socket on which things go wrong in a given order."""

    family = socket.AF_INET

    def __init__(self, *errors: OSError) -> None:
        self.errors = list(errors)

    def fileno(self) -> int:
        return 0

    def send(self, _data: bytes) -> int:
        raise self.errors.pop(0)

    recv = send

    def connect(self, _address: object) -> None: ...
    def setsockopt(self, *_option: object) -> None: ...
    def close(self) -> None: ...


def test_a_query_wider_than_the_path_is_not_given_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Failing(OSError(errno.EMSGSIZE, "path"), BlockingIOError())
    monkeypatch.setattr(failing, "send", len, raising=False)
    monkeypatch.setattr(module, "_socket", lambda *_arguments: failing)
    scene.ask(unused(socket.SOCK_DGRAM))
    scene.loop.watches[0].readable()
    assert (scene.answers, failing.errors, len(scene.upstream)) == ([], [], 1)


def test_a_connection_that_takes_nothing_yet_is_waited_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Failing(BlockingIOError(), OSError(errno.EHOSTUNREACH, "no route"))
    monkeypatch.setattr(module, "_socket", lambda *_arguments: failing)
    scene.ask(unused(socket.SOCK_STREAM), tcp=True)
    (watch,) = scene.loop.watches
    assert watch.writable is not None
    watch.writable()
    assert scene.answers == []
    watch.writable()
    assert scene.answers == [(1, None, "unreachable")]


def test_asks_are_limited(scene: Scene, udp: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ASKS", 2)
    for key in range(3):
        scene.ask(udp, key=key)
    assert scene.answers == [(2, None, "busy")]
    scene.upstream.forget(0)
    scene.ask(udp, key=3)
    assert len(scene.upstream) == 2


def test_the_same_key_again_takes_the_place_of_the_first(scene: Scene, udp: socket.socket) -> None:
    scene.ask(udp)
    scene.ask(udp)
    assert len(scene.upstream) == len(scene.loop.watches) == 1


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("scope", ["no-such-if", "999999999999999999999", "\N{SUPERSCRIPT TWO}", "4000000"])
def test_a_scope_that_the_host_does_not_have_is_unreachable(scene: Scene, scope: str, tcp: bool) -> None:
    scene.ask(Endpoint.of(f"fe80::1%{scope}", 53), tcp=tcp)
    assert scene.until_answer() == (1, None, "unreachable")
    assert scene.loop.watches == []


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("code", "reason"),
    [(errno.EMFILE, "busy"), (errno.ENETUNREACH, "unreachable"), (errno.EPERM, "failed"), (None, "failed")],
)
def test_errors_of_the_host_have_a_reason(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, tcp: bool, code: int | None, reason: str
) -> None:
    def refuse(*_arguments: object) -> socket.socket:
        raise OSError(code, "as the test wants") if code else OSError("without a number")

    monkeypatch.setattr(module, "_socket", refuse)
    scene.ask(unused(socket.SOCK_DGRAM), tcp=tcp)
    assert scene.answers == [(1, None, reason)]


def test_the_dns_service_over_these_sockets_fails_over_from_a_dead_resolver(scene: Scene, udp: socket.socket) -> None:
    """The contract of the two sides, kept together once: the rest of each is tested by itself."""
    dead, alive = unused(socket.SOCK_DGRAM), Endpoint.of(*udp.getsockname()[:2])
    guest, alias = Endpoint.of("10.0.2.15", 4000), Endpoint.of("10.0.2.3", 53)
    service = DnsService((alias.address,), lambda _now: ResolverSet((dead, alive)), lambda: 0x4321)
    sent: list[Action] = []

    def perform(actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, AskResolver):
                scene.upstream.ask(action)
            elif isinstance(action, ForgetAsk):
                scene.upstream.forget(action.key)
            else:
                sent.append(action)

    asked = dns.message.make_query("example.org", "A", id=7).to_wire()
    perform(service.handle(Datagram(1, Mac(bytes(6)), guest, alias, asked), 0))
    perform(service.answer(*scene.until_answer(), now=0))
    message, client = udp.recvfrom(1000)
    udp.sendto(dns.message.make_response(dns.message.from_wire(message)).to_wire(), client)
    perform(service.answer(*scene.until_answer(), now=0))
    (reply,) = [action for action in sent if isinstance(action, SendDatagram)]
    assert dns.message.from_wire(asked).is_response(dns.message.from_wire(reply.payload))
