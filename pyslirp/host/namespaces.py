"""Joining the namespaces of others (namespaces(7), user_namespaces(7)).

Everything here changes the calling process for good, so it is called in a child (errand.py).

Rights.  A process may join a network namespace, and make interfaces in it, if it has the capabilities in the user
namespace that owns it.  Root has them everywhere; an ordinary user has them in the user namespaces that he has made,
once inside.  So where joining is refused, the owner is joined first (ioctl NS_GET_USERNS).
"""

from __future__ import annotations

import errno
import fcntl
import os

from pyslirp.errors import LinkError
from pyslirp.host.syscalls import CLONE_NEWNET, CLONE_NEWUSER, setns

NS_GET_USERNS = 0xB701  #: linux/nsfs.h
STEP_JOIN = "join"  #: LinkError.step


def join(netns: str, userns: str | None = None) -> None:
    """Move this process into the network namespace that the file `netns` stands for, and into `userns` before.

    Without `userns` the owner of `netns` is joined where that is needed.  Raises LinkError with the remedy.
    """
    network = _open(netns)
    if userns is not None:
        enter_user(userns)
    try:
        setns(network, CLONE_NEWNET)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise LinkError(error.errno, f"{netns}: this is not a network namespace", STEP_JOIN) from None
        if error.errno != errno.EPERM or userns is not None:
            raise LinkError(error.errno, _refused(netns, error), STEP_JOIN) from None
        _join_by_owner(netns, network)


def _join_by_owner(netns: str, network: int) -> None:
    try:
        owner = fcntl.ioctl(network, NS_GET_USERNS)
        setns(owner, CLONE_NEWUSER)
        setns(network, CLONE_NEWNET)
    except OSError as error:
        raise LinkError(error.errno, _refused(netns, error), STEP_JOIN) from None


def enter_user(userns: str) -> None:
    """Move this process into the user namespace of the file `userns`, if it is another.  Raises LinkError."""
    fd = _open(userns)
    if os.path.samestat(os.fstat(fd), os.stat("/proc/self/ns/user")):  # noqa: PTH116 - of a namespace, not of a file
        return
    try:
        setns(fd, CLONE_NEWUSER)
    except OSError as error:
        raise LinkError(error.errno, _refused(userns, error)) from None


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LinkError(error.errno, f"{path}: {error.strerror}{_open_hint(path, error.errno)}") from None


def _open_hint(path: str, number: int | None) -> str:
    process = path.startswith("/proc/")
    if number in {errno.ENOENT, errno.ESRCH}:
        return "; is the process still there?" if process else "; `ip netns add NAME` makes /run/netns/NAME"
    if number in {errno.EACCES, errno.EPERM} and process:
        return "; the process is another user's, or has rights that you have not: become that user, or root"
    return ""


def _refused(path: str, error: OSError) -> str:
    remedy = "; you have no rights there: become root, or the user who has made it"
    return f"{path}: cannot join: {error.strerror}{remedy if error.errno == errno.EPERM else ''}"
