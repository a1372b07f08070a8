"""Listening for guests, on real sockets."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Generator
from pathlib import Path

import pytest

from pyslirp.config.link import ListenAddress
from pyslirp.errors import LinkError
from pyslirp.links import listener as listener_module
from pyslirp.links.listener import ACCEPTS_MAX, PAUSE_NS, Listener
from tests.unit.links.fake_host import FakeHost
from tests.unit.loops.wired_guest import descriptors


@pytest.fixture
def host() -> Generator[FakeHost]:
    made = FakeHost()
    yield made
    made.close()


def opened(host: FakeHost, address: str) -> Listener:
    link = Listener(ListenAddress.parse(address), 9000)
    link.open(host)
    return link


def dial(link: Listener) -> socket.socket:
    address = link.address
    if address.kind == "unix":
        guest = socket.socket(socket.AF_UNIX)
        guest.connect(address.path)
        return guest
    return socket.create_connection((address.host, address.port))


# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [":0", "127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_a_guest_comes_by_tcp(host: FakeHost, text: str) -> None:
    link = opened(host, text)
    assert link.address.port
    assert link.describe() == str(link.address)
    with dial(link) as guest:
        host.ready()
        (spec,) = host.specs
        assert (spec.framing, spec.mtu, spec.name) == ("stream", 9000, f"{link.address}#1")
        assert not os.get_blocking(spec.fd)
        assert not os.get_inheritable(spec.fd)
        os.write(spec.fd, b"hello")
        assert guest.recv(5) == b"hello"
        link.close()
        assert guest.recv(1) == b""


def test_an_empty_host_is_loopback(host: FakeHost) -> None:
    link = opened(host, ":0")
    assert link.address.host == "127.0.0.1"
    link.close()


def test_a_port_may_be_listened_at_again_at_once(host: FakeHost) -> None:
    link = opened(host, ":0")
    with dial(link):
        host.ready()
        link.close()
    again = opened(host, str(link.address))
    again.close()


def test_ipv6_leaves_the_port_to_ipv4(host: FakeHost) -> None:
    link = opened(host, "[::]:0")
    other = opened(host, f"0.0.0.0:{link.address.port}")
    link.close()
    other.close()


@pytest.mark.parametrize("text", ["no-such-name.invalid:1", "a..b:1"])
def test_a_name_that_does_not_exist(host: FakeHost, text: str) -> None:
    with pytest.raises(LinkError, match=f"^\\[Errno -[0-9]+\\] --listen {text}: .*[Nn]ame"):
        opened(host, text)


def test_a_port_in_use_is_refused_with_a_remedy(host: FakeHost) -> None:
    link = opened(host, ":0")
    before = descriptors()
    with pytest.raises(LinkError) as caught:
        opened(host, f":{link.address.port}")
    assert descriptors() == before
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.strerror == (
        f"--listen {link.address}: Address already in use; stop the other process or choose another address"
    )
    link.close()


def test_an_address_of_another_host(host: FakeHost) -> None:
    with pytest.raises(LinkError, match="the address is not one of this host's"):
        opened(host, "192.0.2.1:0")


def test_a_descriptor_that_cannot_be_watched_is_closed(host: FakeHost, tmp_path: Path) -> None:
    host.watch_refusal = OSError(errno.ENOSPC, "No space left on device")
    before = descriptors()
    for text in (":0", f"unix:{tmp_path}/s"):
        with pytest.raises(LinkError, match="No space left on device"):
            opened(host, text)
    assert descriptors() == before
    assert not list(tmp_path.iterdir())


# -- unix sockets ------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "guests.sock"


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_a_socket_file_is_private(host: FakeHost, path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        link = opened(host, f"unix:{path}")
        assert os.umask(umask) == umask, "the mask of the process was left alone"
    finally:
        os.umask(before)
    status = path.lstat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600
    with dial(link):
        host.ready()
        assert host.specs[0].name == f"unix:{path}#1"
    link.close()
    assert not path.exists()
    link.close()


def test_a_socket_where_somebody_answers_is_refused(host: FakeHost, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(LinkError, match="somebody listens there already; stop the other process") as caught:
            opened(host, f"unix:{path}")
        assert caught.value.errno == errno.EADDRINUSE
        assert path.exists()


def test_a_folder_that_does_not_exist(host: FakeHost, tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="No such file or directory; the directory must exist"):
        opened(host, f"unix:{tmp_path}/missing/s")


# -- descriptors -------------------------------------------------------------------------------------------------------


def test_a_listening_socket_may_be_handed_over(host: FakeHost) -> None:
    given = socket.create_server(("127.0.0.1", 0))
    port = given.getsockname()[1]
    link = opened(host, f"fd:{given.fileno()}")
    assert not given.get_inheritable()
    with socket.create_connection(("127.0.0.1", port)):
        host.ready()
    assert link.describe() == f"fd:{given.fileno()}"
    link.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(given.detach())


@pytest.mark.parametrize("kind", ["datagram", "not listening", "pipe"])
def test_a_descriptor_of_another_kind_is_refused_and_left(host: FakeHost, kind: str) -> None:
    pipe = os.pipe()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
    ):
        given = {"datagram": datagram.fileno(), "not listening": stream.fileno(), "pipe": pipe[0]}[kind]
        with pytest.raises(LinkError, match=f"--listen fd:{given}: "):
            opened(host, f"fd:{given}")
        os.fstat(given)
    for end in pipe:
        os.close(end)


def test_a_descriptor_that_is_not_open(host: FakeHost) -> None:
    with pytest.raises(LinkError, match="--listen fd:9999: Can't use file descriptor 9999: Bad file descriptor"):
        opened(host, "fd:9999")


# -- guests ------------------------------------------------------------------------------------------------------------


def test_guests_come_and_go(host: FakeHost) -> None:
    link = opened(host, ":0")
    for number in (1, 2):
        with dial(link):
            host.ready()
            assert [spec.name for spec in host.specs] == [f"{link.address}#{number}"]
        host.lose()
    with dial(link):
        host.ready()
        link.close()
    assert [reason for _, reason in host.detached] == ["the network is shut down"]
    assert not host.watches


def test_guests_are_taken_a_few_at_a_time(host: FakeHost) -> None:
    link = opened(host, ":0")
    guests = [dial(link) for _ in range(ACCEPTS_MAX + 3)]
    host.ready()
    assert len(host.ports) == ACCEPTS_MAX
    host.ready()
    assert len(host.ports) == ACCEPTS_MAX + 3
    link.close()
    for guest in guests:
        guest.close()


def test_more_guests_than_there_may_be_are_refused(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener_module, "GUESTS_MAX", 1)
    link = opened(host, ":0")
    with dial(link), dial(link) as second, dial(link) as third:
        host.ready()
        assert (second.recv(1), third.recv(1)) == (b"", b"")
        assert caplog.messages == [f"{link.address}: a guest is refused: 1 are attached"], "said once"
        host.lose()
    with dial(link) as fourth, dial(link) as fifth:
        host.ready()
        assert fifth.recv(1) == b""
        assert len(caplog.messages) == 2
        link.close()
        assert fourth.recv(1) == b""


def test_a_guest_for_whom_there_is_no_port_is_dropped(host: FakeHost, caplog: pytest.LogCaptureFixture) -> None:
    link = opened(host, ":0")
    host.refusal = OSError(errno.ENOSPC, "No space left on device")
    before = descriptors()
    with dial(link) as guest:
        host.ready()
        assert guest.recv(1) == b""
    assert descriptors() == before
    assert caplog.messages == [f"{link.address}: a guest is refused: No space left on device"]
    link.close()


def test_without_descriptors_it_pauses(
    host: FakeHost, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Level-triggered, it would be told of the same connection for ever."""
    link = opened(host, ":0")

    def refuse(_: socket.socket) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with dial(link), monkeypatch.context() as context:
        context.setattr(socket.socket, "accept", refuse)
        host.ready()
        assert not host.watches
        assert [timer.delay_ns for timer in host.waiting] == [PAUSE_NS]
        assert "cannot accept: Too many open files" in caplog.text
        context.undo()
        host.expire()
        assert len(host.ports) == 1
        assert len(host.watches) == 1
    link.close()


def test_it_may_be_closed_while_it_pauses(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    link = opened(host, ":0")

    def refuse(_: socket.socket) -> None:
        raise OSError(errno.ENFILE, "Too many open files in system")

    with dial(link):
        monkeypatch.setattr(socket.socket, "accept", refuse)
        host.ready()
        link.close()
        host.expire()
    assert not host.watches


def test_a_connection_that_is_gone_before_it_is_taken_stops_nothing(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = opened(host, ":0")
    real = socket.socket.accept
    calls = 0

    def first_aborted(listening: socket.socket) -> tuple[socket.socket, object]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionAbortedError(errno.ECONNABORTED, "aborted")
        return real(listening)

    with dial(link):
        monkeypatch.setattr(socket.socket, "accept", first_aborted)
        host.ready()
        assert len(host.ports) == 1
    link.close()


def test_what_happens_is_logged(host: FakeHost, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pyslirp")
    link = opened(host, ":0")
    with dial(link):
        host.ready()
    host.lose("Connection reset by peer")
    name = f"{link.address}#1"
    assert caplog.messages[0].startswith(f"{name}: guest attached (('127.0.0.1', ")
    assert caplog.messages[1] == f"{name}: guest gone (Connection reset by peer)"
    link.close()
