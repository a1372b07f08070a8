"""New namespaces of one's own, and what a command may do and see in there (unshare(2), capabilities(7)).

Everything here changes the calling process for good, so it is called in a child (errand.py).  Everything that is needed is
imported before: in a new user namespace one may lose the right to read Python's files.
"""

from __future__ import annotations

import errno
import os
import socket
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
    CLONE_NEWUTS,
    MS_BIND,
    MS_REC,
    MS_SLAVE,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_RAISE,
    mount,
    prctl,
    set_capabilities,
    unshare,
)

HOSTNAME_BYTES = 64  #: __NEW_UTS_LEN
NET_CAPABILITIES = (CAP_NET_BIND_SERVICE, CAP_NET_BROADCAST, CAP_NET_ADMIN, CAP_NET_RAW)

_NEW = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS

#: What a system's administrator may have said about user namespaces: (sysctl, value that forbids, what permits).
_SYSCTLS = (
    ("user.max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("kernel.unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
)


def create(*, as_root: bool, hostname: str | None = None) -> None:
    """Move this process into new network, mount and UTS namespaces, and into a new user namespace unless it is root.

    as_root: be root in the new user namespace; else keep one's own user and group number.  hostname: what the machine is
    called in there; None: as outside.  Raises LinkError with the sysctl where the system forbids it.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        if uid == 0:
            try:
                unshare(_NEW)
            except PermissionError:  # root without its capabilities, as in a container
                _create_user(uid, gid, as_root=True)
        else:
            _create_user(uid, gid, as_root=as_root)
        mount("none", "/", "", MS_REC | MS_SLAVE)  # what is mounted here stays here
    except OSError as error:
        raise LinkError(error.errno, f"no new namespace: {error.strerror}{_forbidden()}") from None
    if hostname is not None:
        _name(hostname)


def _name(hostname: str) -> None:
    try:
        socket.sethostname(hostname)
    except OSError as error:
        remedy = f"; a machine's name has at most {HOSTNAME_BYTES} bytes" if error.errno == errno.EINVAL else ""
        raise LinkError(error.errno, f"--hostname {hostname}: {error.strerror}{remedy}") from None


def _create_user(uid: int, gid: int, *, as_root: bool) -> None:
    unshare(CLONE_NEWUSER | _NEW)
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
