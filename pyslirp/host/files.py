"""A folder of the host that guests may read, and nothing outside of it (``tftp=DIR``).

The kernel sees to it: openat2 with RESOLVE_BENEATH follows no ``..``, no absolute name and no symbolic link out of the
folder, and no rename meanwhile can deceive it.  Where there is no openat2 (before Linux 5.6, or in a sandbox that does
not know it) the way is gone component by component, and symbolic links are not followed at all.

A name that begins with slashes means the folder, as PXE clients expect.  Only regular files are opened, and for
reading; a FIFO or a device is refused before it could make anybody wait.  The folder is opened
by its name for each file: it may come, and be another one, while the network runs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from pyslirp.host.syscalls import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY

_OUTSIDE = {errno.EXDEV, errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR}
_NO_OPENAT2 = {errno.ENOSYS, errno.EPERM}


def is_readable_folder(path: str) -> bool:
    """Is there a folder that this user may list and enter?"""
    return os.access(path, os.R_OK | os.X_OK) and Path(path).is_dir()


class OpenFile:
    """A regular file, open for reading."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size  #: bytes, when it was opened

    def read(self, most: int) -> bytes:
        """The next `most` bytes, fewer only at the end of the file.  Raises OSError."""
        data = os.read(self._descriptor, most)
        while data and len(data) < most and (more := os.read(self._descriptor, most - len(data))):
            data += more
        return data

    def close(self) -> None:
        """Close it.  May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Folder:
    """A folder that is served."""

    def __init__(self, path: str) -> None:
        self.path = path

    def open(self, name: bytes) -> OpenFile:
        """Open a file beneath the folder.

        Raises PermissionError for what is outside of it, is no regular file or may not be read, FileNotFoundError for
        what is not there, and OSError for the rest.
        """
        inside = name.lstrip(b"/")
        if not inside or b"\0" in inside or inside.endswith(b"/"):
            raise PermissionError(errno.EACCES, "not a file's name")
        folder = os.open(self.path, _FOLDER)
        try:
            descriptor = _open_beneath(folder, inside)
        except OSError as error:
            if error.errno in _OUTSIDE:
                raise PermissionError(errno.EACCES, "not in the folder, or not to be read") from None
            raise
        finally:
            os.close(folder)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise PermissionError(errno.EACCES, "not a regular file")
        return OpenFile(descriptor, status.st_size)


def _open_beneath(folder: int, name: bytes) -> int:
    try:
        return openat2(folder, name, _FLAGS, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno not in _NO_OPENAT2:
            raise
    return _walk(folder, name)


def _walk(folder: int, name: bytes) -> int:
    """As openat2, without symbolic links; raises OSError."""
    *folders, last = [part for part in name.split(b"/") if part not in (b"", b".")] or [b"."]
    if b".." in (*folders, last):
        raise PermissionError(errno.EACCES, "the name leads out of the folder")
    with contextlib.ExitStack() as opened:
        here = folder
        for part in folders:
            here = _enter(here, part)
            opened.callback(os.close, here)
        return os.open(last, _FLAGS | os.O_NOFOLLOW, dir_fd=here)


def _enter(here: int, part: bytes) -> int:
    try:
        return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
    except NotADirectoryError:
        if stat.S_ISLNK(os.lstat(part, dir_fd=here).st_mode):
            raise PermissionError(errno.EACCES, "a symbolic link") from None
        raise
