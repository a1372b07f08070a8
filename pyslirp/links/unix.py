"""A listening Unix socket at a path: private from the moment that it is there, and taken away again at the end.

One that a killed process has left behind is recognised by trying it (connect is refused) and replaced; one where
somebody answers is refused.  The path is unlinked at close only while it is still our socket.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from typing import Self

BACKLOG = 128

_PRIVATE = 0o600

_log = logging.getLogger("pyslirp.links.unix")


class UnixSocket:
    """A stream socket that listens at `path`, for us alone (mode 0600)."""

    def __init__(self, path: str, bound: socket.socket) -> None:
        self.path = path
        self.socket = bound  #: blocking, until its user changes that
        self._identity = _identity(path)

    @classmethod
    def bind(cls, path: str) -> Self:
        """Listen at `path`; raises OSError where somebody does, or where it is no socket."""
        _remove_stale(path)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # Linux gives the file the mode of the socket (unix_bind_bsd in net/unix/af_unix.c): at no moment is it open
            # to others, and no other thread of the process sees a changed umask.
            os.fchmod(bound.fileno(), _PRIVATE)
            bound.bind(path)
            made = cls(path, bound)
            bound.listen(BACKLOG)
        except OSError:
            bound.close()
            raise
        return made

    def close(self) -> None:
        """Stop listening, take the file away.  May be called twice."""
        self.socket.close()
        if self._identity is not None and _identity(self.path) == self._identity:
            _unlink(self.path)
        self._identity = None


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of what lies at `path`."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _unlink(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 - a path of bytes that need not be text
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("unix:%s: the socket file stays: %s", path, error.strerror)


def _remove_stale(path: str) -> None:
    """Unlink a socket that nobody listens at; raises OSError where somebody does, or where it is no socket."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "file exists and it's not unix socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(path)
    if code == errno.ECONNREFUSED:
        _unlink(path)
    elif code in {0, errno.EAGAIN}:  # accepted, or the backlog is full
        raise OSError(errno.EADDRINUSE, "somebody listens there already")
    elif code != errno.ENOENT:
        raise OSError(code, os.strerror(code))
