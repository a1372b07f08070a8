"""The sockets of forwarding rules, on the host's loopback."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.errors import ForwardError
from pyslirp.host.forward import BACKLOG, bound_endpoint, open_forward, open_unix_forward, remove_unix_forward
from tests.unit.loops.wired_guest import descriptors

LOOPBACK = IPv4Address("127.0.0.1")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::"])
@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_socket_listens_where_it_is_told(protocol: str, kind: socket.SocketKind, address: str) -> None:
    with open_forward("rule", protocol, ip_address(address), 0) as opened:
        listen = bound_endpoint(opened)
        assert listen == Endpoint(ip_address(address), opened.getsockname()[1])
        assert listen.port
        assert opened.type == kind
        assert not opened.getblocking()
        assert not opened.get_inheritable()
        if protocol == "tcp":
            assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_ipv6_does_not_take_the_ipv4_port() -> None:
    with open_forward("rule", "tcp", IPv6Address("::"), 0) as opened:
        port = bound_endpoint(opened).port
        open_forward("rule", "tcp", LOOPBACK, port).close()


def test_a_port_is_free_again_at_once() -> None:
    """Connections of an earlier rule that linger in TIME_WAIT are no obstacle."""
    with open_forward("rule", "tcp", LOOPBACK, 0) as opened:
        port = bound_endpoint(opened).port
        with socket.create_connection(("127.0.0.1", port)):
            opened.setblocking(True)
            opened.accept()[0].close()
    open_forward("rule", "tcp", LOOPBACK, port).close()


def test_many_clients_may_wait() -> None:
    with open_forward("rule", "tcp", LOOPBACK, 0) as opened:
        port = bound_endpoint(opened).port
        clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(100)]
        for client in clients:
            client.close()
    assert BACKLOG >= 100


def test_a_port_may_be_kept_without_clients() -> None:
    with open_forward("rule", "tcp", LOOPBACK, 0, listen=False) as keeper:
        port = bound_endpoint(keeper).port
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with open_forward("rule", "tcp", LOOPBACK, port), socket.create_connection(("127.0.0.1", port)):
            pass


def test_a_unix_socket_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with open_unix_forward("rule", str(path)) as opened, socket.socket(socket.AF_UNIX) as client:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not opened.getblocking()
        client.connect(str(path))
    remove_unix_forward(str(path))
    assert not path.exists()
    remove_unix_forward(str(path))


def test_an_old_unix_socket_makes_room(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    open_unix_forward("rule", path).close()
    open_unix_forward("rule", path).close()


def test_a_unix_socket_is_not_taken_from_who_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    with open_unix_forward("rule", path) as first, socket.socket(socket.AF_UNIX) as client:
        with pytest.raises(ForwardError, match="Address already in use; stop who listens there") as caught:
            open_unix_forward("rule", path)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(BlockingIOError):
            first.accept()  # nobody has come to see
        client.connect(path)
        first.accept()[0].close()


def test_an_old_unix_socket_that_cannot_be_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = str(tmp_path / "x")
    open_unix_forward("rule", path).close()
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ForwardError, match=f"Failed to unlink '{path}': Permission denied"):
        open_unix_forward("rule", path)


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("/dev/null")])
def test_what_is_no_socket_stays(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "x"
    make(path)
    with pytest.raises(ForwardError, match="file exists and it's not unix socket"):
        open_unix_forward("rule", str(path))
    assert path.exists()


def test_a_unix_socket_that_cannot_be_made(tmp_path: Path) -> None:
    before = descriptors()
    with pytest.raises(ForwardError, match="Could not set up host forwarding rule 'rule': No such file or directory"):
        open_unix_forward("rule", str(tmp_path / "missing" / "x"))
    assert descriptors() == before


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_in_use(protocol: str) -> None:
    with open_forward("rule", protocol, LOOPBACK, 0) as opened, pytest.raises(ForwardError) as caught:
        open_forward("udp::1-:2", protocol, LOOPBACK, bound_endpoint(opened).port)
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.strerror == (
        "Could not set up host forwarding rule 'udp::1-:2': Address already in use; choose another host port, "
        "or 0 for a free one"
    )


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(ForwardError, match="Cannot assign requested address; the address is not one of this host's"):
        open_forward("rule", "tcp", IPv4Address("192.0.2.1"), 0)


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.EACCES, "choose a host port from 1024 on"),
        (errno.EMFILE, "raise the limit of open files"),
        (errno.EAFNOSUPPORT, "this host has no IPv6"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_a_host_that_has_no_socket(monkeypatch: pytest.MonkeyPatch, code: int, hint: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("pyslirp.host.forward.socket.socket", refuse)
    with pytest.raises(ForwardError, match=hint) as caught:
        open_forward("rule", "tcp", LOOPBACK, 22)
    assert caught.value.errno == code


def test_what_is_refused_leaves_no_descriptor() -> None:
    before = descriptors()
    for _ in range(3):
        with pytest.raises(ForwardError):
            open_forward("rule", "tcp", IPv4Address("192.0.2.1"), 0)
    assert descriptors() == before
