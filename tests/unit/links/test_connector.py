"""Connecting to guests that listen, on real sockets, with time that passes by hand."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from pyslirp.config.link import ConnectAddress
from pyslirp.errors import LinkError
from pyslirp.links.connector import FIRST_WAIT_NS, LONGEST_WAIT_NS, STAYED_NS, Connector
from tests.unit.links.fake_host import FakeHost
from tests.unit.loops.wired_guest import descriptors


@pytest.fixture
def host() -> Generator[FakeHost]:
    made = FakeHost()
    yield made
    made.close()


@pytest.fixture
def qemu() -> Generator[socket.socket]:
    """Somebody who listens on the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


def connector(qemu: socket.socket) -> Connector:
    return Connector(ConnectAddress.parse(f"127.0.0.1:{qemu.getsockname()[1]}"), 9000)


def free_port() -> int:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return int(closed.getsockname()[1])


def settle(host: FakeHost) -> None:
    """Let a connect under way end."""
    if host.watches:
        host.ready()


def test_a_guest_is_connected_to(host: FakeHost, qemu: socket.socket) -> None:
    link = connector(qemu)
    link.open(host)
    settle(host)
    (spec,) = host.specs
    assert (spec.framing, spec.mtu, spec.name) == ("stream", 9000, link.describe())
    assert not os.get_blocking(spec.fd)
    assert not os.get_inheritable(spec.fd)
    assert not host.watches
    with qemu.accept()[0] as guest:
        link.close()
        assert guest.recv(1) == b""
    assert [reason for _, reason in host.detached] == ["the network is shut down"]
    link.close()


def test_a_unix_socket_is_connected_to(host: FakeHost, tmp_path: Path) -> None:
    path = tmp_path / "qemu.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        link = Connector(ConnectAddress.parse(f"unix:{path}"), 9000)
        link.open(host)
        settle(host)
        assert host.specs[0].name == f"unix:{path}"
        link.close()


def test_waits_grow_and_stop_growing(host: FakeHost, caplog: pytest.LogCaptureFixture) -> None:
    link = Connector(ConnectAddress.parse(f"127.0.0.1:{free_port()}"), 9000)
    link.open(host)
    waits = []
    for _ in range(9):
        settle(host)
        waits.append(host.expire())
    doubled = [FIRST_WAIT_NS << step for step in range(9)]
    assert waits == [min(wait, LONGEST_WAIT_NS) for wait in doubled]
    assert waits[-1] == LONGEST_WAIT_NS
    assert caplog.messages == [f"{link.describe()}: Connection refused; trying again until it answers"], "said once"
    settle(host)
    link.close()
    assert not host.waiting


def test_a_socket_file_that_does_not_exist_yet_is_waited_for(host: FakeHost, tmp_path: Path) -> None:
    path = tmp_path / "later.sock"
    link = Connector(ConnectAddress.parse(f"unix:{path}"), 9000)
    link.open(host)
    assert not host.ports
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        host.expire()
        settle(host)
        assert len(host.ports) == 1
    link.close()


def test_a_guest_that_goes_is_connected_to_again(host: FakeHost, qemu: socket.socket) -> None:
    link = connector(qemu)
    link.open(host)
    settle(host)
    assert host.expire() == STAYED_NS
    host.lose()
    assert host.expire() == FIRST_WAIT_NS
    settle(host)
    assert len(host.ports) == 1
    link.close()
    assert not host.waiting


def test_a_guest_that_goes_at_once_is_not_asked_for_more_and_more_often(host: FakeHost, qemu: socket.socket) -> None:
    """A QEMU whose one socket is taken accepts and closes: the waits must grow all the same."""
    link = connector(qemu)
    link.open(host)
    waits = []
    for _ in range(4):
        settle(host)
        host.lose()
        waits.append(host.expire())
    assert waits == [FIRST_WAIT_NS << step for step in range(4)]
    settle(host)
    assert host.expire() == STAYED_NS
    host.lose()
    assert host.expire() == FIRST_WAIT_NS, "it has stayed: all begins anew"
    link.close()


def test_it_may_be_closed_while_it_connects(host: FakeHost, qemu: socket.socket) -> None:
    before = descriptors()
    link = connector(qemu)
    link.open(host)
    link.close()
    assert not host.watches
    assert descriptors() == before


def test_a_failed_watch_is_tried_again(host: FakeHost, qemu: socket.socket) -> None:
    host.watch_refusal = OSError(errno.ENOSPC, "No space left on device")
    before = descriptors()
    link = connector(qemu)
    link.open(host)
    if host.ports:
        pytest.skip("this kernel connects on the loopback at once")
    assert descriptors() == before
    host.watch_refusal = None
    host.expire()
    settle(host)
    assert len(host.ports) == 1
    link.close()


def test_a_guest_for_whom_there_is_no_port_is_tried_again(host: FakeHost, qemu: socket.socket) -> None:
    host.refusal = OSError(errno.ENOSPC, "No space left on device")
    before = descriptors()
    link = connector(qemu)
    link.open(host)
    settle(host)
    assert descriptors() == before
    host.refusal = None
    assert host.expire() == FIRST_WAIT_NS
    settle(host)
    assert len(host.ports) == 1
    link.close()


def test_a_connection_with_itself_is_none(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may choose the port that we knock at for our own end, and then we would be our own guest."""
    port = free_port()
    real = socket.socket.connect_ex

    def from_that_port(knocking: socket.socket, where: tuple[str, int]) -> int:
        knocking.bind(where)
        return real(knocking, where)

    monkeypatch.setattr(socket.socket, "connect_ex", from_that_port)
    link = Connector(ConnectAddress.parse(f"127.0.0.1:{port}"), 9000)
    link.open(host)
    settle(host)
    assert not host.ports
    assert [timer.delay_ns for timer in host.waiting] == [FIRST_WAIT_NS]
    link.close()


def test_all_addresses_of_a_name_are_tried(
    host: FakeHost, qemu: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = qemu.getsockname()
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", free_port())),
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", where),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    link = Connector(ConnectAddress.parse("name:1"), 9000)
    link.open(host)
    settle(host)
    host.expire()
    settle(host)
    assert len(host.ports) == 1
    link.close()


def test_a_name_is_looked_up_once(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    link = Connector(ConnectAddress.parse(f"localhost:{free_port()}"), 9000)
    link.open(host)
    monkeypatch.delattr(socket, "getaddrinfo")
    for _ in range(4):
        settle(host)
        host.expire()
    settle(host)
    link.close()


@pytest.mark.parametrize("text", ["no-such-name.invalid:1", "a..b:1"])
def test_a_name_that_does_not_exist(host: FakeHost, text: str) -> None:
    with pytest.raises(LinkError, match=f"--connect {text}: .*[Nn]ame"):
        Connector(ConnectAddress.parse(text), 9000).open(host)


# -- descriptors -------------------------------------------------------------------------------------------------------


def test_a_connected_socket_may_be_handed_over(host: FakeHost) -> None:
    ours, qemu = socket.socketpair()
    link = Connector(ConnectAddress.parse(f"fd:{ours.fileno()}"), 9000)
    link.open(host)
    (spec,) = host.specs
    assert spec.fd == ours.detach()
    assert not os.get_blocking(spec.fd)
    assert not os.get_inheritable(spec.fd)
    host.lose()
    assert not host.waiting, "there is nothing to connect to again"
    assert qemu.recv(1) == b""
    qemu.close()
    link.close()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("datagram", "Protocol wrong type for socket"),
        ("unconnected", "Transport endpoint is not connected"),
        ("pipe", "Socket operation on non-socket"),
    ],
)
def test_a_descriptor_of_another_kind_is_refused_and_left(host: FakeHost, kind: str, reason: str) -> None:
    pipe = os.pipe()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
    ):
        given = {"datagram": datagram.fileno(), "unconnected": stream.fileno(), "pipe": pipe[0]}[kind]
        with pytest.raises(LinkError, match=f"--connect fd:{given}: Can't use file descriptor {given}: {reason}"):
            Connector(ConnectAddress.parse(f"fd:{given}"), 9000).open(host)
        os.fstat(given)
    for end in pipe:
        os.close(end)


def test_a_descriptor_for_which_there_is_no_port(host: FakeHost) -> None:
    ours, qemu = socket.socketpair()
    host.refusal = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(LinkError, match="No space left on device"):
        Connector(ConnectAddress.parse(f"fd:{ours.fileno()}"), 9000).open(host)
    ours.detach()
    qemu.close()
    assert not host.waiting


def test_what_happens_is_logged(host: FakeHost, qemu: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pyslirp")
    link = connector(qemu)
    link.open(host)
    settle(host)
    host.lose("Connection reset by peer")
    assert caplog.messages == [
        f"{link.describe()}: connected",
        f"{link.describe()}: guest gone (Connection reset by peer)",
    ]
    link.close()
