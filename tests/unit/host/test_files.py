"""A folder that guests may read, and everything that must not lead out of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from pyslirp.host import files
from pyslirp.host.files import Folder, is_readable_folder
from tests.unit.loops.wired_guest import descriptors


def no_openat2(*_: object) -> int:
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.fixture(params=["openat2", "walk"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    if request.param == "walk":
        monkeypatch.setattr(files, "openat2", no_openat2)
    (tmp_path / "secret").write_text("of the host")
    folder = tmp_path / "served"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_text("hello")
    (folder / "sub" / "file").write_text("below")
    (folder / "out").symlink_to("../secret")
    (folder / "out-absolute").symlink_to(tmp_path / "secret")
    (folder / "out-folder").symlink_to("..")
    (folder / "proc").symlink_to("/proc/self/root")
    os.mkfifo(folder / "fifo")
    before = descriptors()
    yield folder
    assert descriptors() == before


def read(root: Path, name: bytes) -> bytes:
    file = Folder(str(root)).open(name)
    try:
        return file.read(1000)
    finally:
        file.close()
        file.close()


@pytest.mark.parametrize("name", [b"file", b"/file", b"//file", b"./file"])
def test_a_file(root: Path, name: bytes) -> None:
    assert read(root, name) == b"hello"


def test_a_file_further_down(root: Path) -> None:
    assert read(root, b"/sub/file") == b"below"


def test_pieces_and_size(root: Path) -> None:
    file = Folder(str(root)).open(b"file")
    assert file.size == 5
    assert [file.read(3), file.read(3), file.read(3)] == [b"hel", b"lo", b""]
    file.close()


@pytest.mark.parametrize(
    "name",
    [
        *(b"../secret", b"/../secret", b"sub/../../secret", b"sub/../../served/../secret", b"..", b"sub/../.."),
        *(b"out", b"out-absolute", b"out-folder/secret", b"proc/etc/passwd", b"out-folder/served/../secret"),
        *(b"", b"/", b"sub", b"sub/", b".", b"file\0", b"fifo"),
    ],
)
def test_nothing_else(root: Path, name: bytes) -> None:
    with pytest.raises(PermissionError):
        read(root, name)


@pytest.mark.parametrize("name", [b"missing", b"missing/file", b"..\\secret", b"a" * 255])
def test_what_is_not_there(root: Path, name: bytes) -> None:
    with pytest.raises(FileNotFoundError):
        read(root, name)


def test_a_file_is_no_folder(root: Path) -> None:
    with pytest.raises(NotADirectoryError):
        read(root, b"file/x")


def test_a_link_inside_is_followed_by_openat2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    (tmp_path / "link").symlink_to("file")
    assert read(tmp_path, b"link") == b"hello"


def test_the_walk_follows_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "openat2", no_openat2)
    (tmp_path / "file").write_text("hello")
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(PermissionError):
        read(tmp_path, b"link")


def test_what_a_folder_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = [is_readable_folder(str(tmp_path / name)) for name in ("", "file", "none")]
    assert found == [True, False, False]


def test_a_folder_that_comes_later(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "later"))
    with pytest.raises(FileNotFoundError):
        folder.open(b"file")
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "file").touch()
    folder.open(b"file").close()
