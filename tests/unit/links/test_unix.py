"""Socket files: private, replaced where they are stale, and left alone where they are somebody else's."""

from __future__ import annotations

import errno
import socket
import stat
from pathlib import Path

import pytest

from pyslirp.links.unix import UnixSocket


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_it_listens_in_private_until_it_is_closed(path: Path) -> None:
    bound = UnixSocket.bind(str(path))
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert answers(path)
    bound.close()
    assert not path.exists()
    bound.close()


def test_a_socket_that_a_dead_process_has_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    bound = UnixSocket.bind(str(path))
    assert answers(path)
    bound.close()
    assert not path.exists()


@pytest.mark.parametrize("backlog_full", [False, True])
def test_a_socket_where_somebody_answers_is_refused(path: Path, *, backlog_full: bool) -> None:
    with socket.socket(socket.AF_UNIX) as alive, socket.socket(socket.AF_UNIX) as first:
        alive.bind(str(path))
        alive.listen(0)
        if backlog_full:
            first.connect(str(path))
        with pytest.raises(OSError, match="somebody listens there already") as caught:
            UnixSocket.bind(str(path))
        assert caught.value.errno == errno.EADDRINUSE
        assert path.exists()


def test_a_file_that_is_no_socket_is_refused_and_stays(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="file exists and it's not unix socket"):
        UnixSocket.bind(str(path))
    assert path.read_text() == "precious"


def test_a_link_to_a_socket_is_refused(path: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "elsewhere"))
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        UnixSocket.bind(str(path))
    assert (tmp_path / "elsewhere").exists()


def test_a_socket_of_another_kind_is_refused(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(OSError, match="Protocol wrong type for socket"):
            UnixSocket.bind(str(path))
        assert path.exists()


def test_a_path_that_is_not_ours_any_more_stays(path: Path) -> None:
    bound = UnixSocket.bind(str(path))
    path.rename(path.with_name("moved"))
    other = UnixSocket.bind(str(path))
    bound.close()
    assert path.exists()
    other.close()
    assert not path.exists()


def test_a_path_that_has_gone_is_no_trouble(path: Path) -> None:
    bound = UnixSocket.bind(str(path))
    path.unlink()
    bound.close()


def test_a_file_that_cannot_be_removed_is_told(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = UnixSocket.bind(str(path))

    def refuse(_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pyslirp.links.unix.os.unlink", refuse)
    bound.close()
    assert caplog.messages == [f"unix:{path}: the socket file stays: Permission denied"]
