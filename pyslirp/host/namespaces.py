"""Joining the namespaces of others, and making new ones (namespaces(7), user_namespaces(7)).

Everything here changes the calling process for good, so it is called in a child (errand.py).

Rights.  A process may join a network namespace, and make interfaces in it, if it has the capabilities in the user
namespace that owns it.  Root has them everywhere; an ordinary user has them in the user namespaces that he has made,
once inside.  So where joining is refused, the owner is joined first (ioctl NS_GET_USERNS).
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from pathlib import Path

from pyslirp.errors import LinkError
from pyslirp.host.syscalls import (
    CAP_NET_ADMIN,
    CAP_NET_BIND_SERVICE,
    CAP_NET_BROADCAST,
    CAP_NET_RAW,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MS_BIND,
    MS_REC,
    MS_SLAVE,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_RAISE,
    mount,
    prctl,
    set_capabilities,
    setns,
    unshare,
)

NS_GET_USERNS = 0xB701  #: linux/nsfs.h
STEP_JOIN = "join"  #: LinkError.step
NET_CAPABILITIES = (CAP_NET_BIND_SERVICE, CAP_NET_BROADCAST, CAP_NET_ADMIN, CAP_NET_RAW)

#: What a system's administrator may have said about user namespaces: (sysctl, value that forbids, what permits).
_SYSCTLS = (
    ("user.max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("kernel.unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
)


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


# -- new ones ----------------------------------------------------------------------------------------------------------


def create(*, as_root: bool) -> None:
    """Move this process into new network and mount namespaces, and into a new user namespace unless it is root.

    as_root: be root in the new user namespace; else keep one's own user and group number.  Raises LinkError with the
    sysctl where the system forbids it.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        if uid == 0:
            try:
                unshare(CLONE_NEWNET | CLONE_NEWNS)
            except PermissionError:  # root without its capabilities, as in a container
                _create_user(uid, gid, as_root=True)
        else:
            _create_user(uid, gid, as_root=as_root)
        mount("none", "/", "", MS_REC | MS_SLAVE)  # what is mounted here stays here
    except OSError as error:
        raise LinkError(error.errno, f"no new namespace: {error.strerror}{_forbidden()}") from None


def _create_user(uid: int, gid: int, *, as_root: bool) -> None:
    unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS)
    for name, text in (
        ("setgroups", "deny"),  # without it no group may be mapped: it could take rights away (user_namespaces(7))
        ("uid_map", f"{0 if as_root else uid} {uid} 1"),
        ("gid_map", f"{0 if as_root else gid} {gid} 1"),
    ):
        Path("/proc/self", name).write_text(text)


def _forbidden() -> str:
    for name, value, remedy in _SYSCTLS:
        try:
            found = Path("/proc/sys", name.replace(".", "/")).read_text().strip()
        except OSError:
            continue
        if found == value:
            return f"; this system forbids them to ordinary users: {remedy}"
    return "; this system, or the container we are in, forbids user namespaces"


def keep_net_capabilities() -> None:
    """What this process becomes may do as it likes with its network, and nothing else that its user may not.

    For one who is not root, in a user namespace of its own.
    """
    if os.geteuid() == 0:
        return
    bits = sum(1 << number for number in NET_CAPABILITIES)
    set_capabilities(bits, inheritable=bits)
    for number in NET_CAPABILITIES:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)


def overlay_file(path: str, text: str) -> None:
    """In this process's mount namespace alone, the file `path` has `text` in it.  Raises OSError."""
    real = os.path.realpath(path, strict=True)
    with tempfile.NamedTemporaryFile("w", prefix="pyslirp-") as source:
        source.write(text)
        source.flush()
        os.fchmod(source.fileno(), 0o644)
        mount(source.name, real, "", MS_BIND)  # stays when the name goes
