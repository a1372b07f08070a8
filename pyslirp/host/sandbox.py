"""A process that has opened all it needs gives up the rest (slirp4netns's ``--enable-sandbox``).

Afterwards its root holds /etc and /run, read-only (where resolv.conf is, and what it may point to), it can gain no right
by running a program, and of its capabilities only that of low ports is left.  One who is not root does this in a user
namespace of his own, where he is root over nothing but these mounts.

Python finds no module any more, so everything must have been imported.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pyslirp.errors import SlirpError
from pyslirp.host.syscalls import (
    CAP_NET_BIND_SERVICE,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SLAVE,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAPBSET_DROP,
    PR_SET_NO_NEW_PRIVS,
    mount,
    pivot_root,
    prctl,
    set_capabilities,
    unmount,
    unshare,
)

KEPT = ("/etc", "/run")
RESOLV_CONF = "/etc/resolv.conf"
CAPABILITIES_MAX = 64  #: two words of 32 (linux/capability.h)
_HARMLESS = MS_NOSUID | MS_NODEV | MS_NOEXEC
_ROOT = "/tmp"  # noqa: S108 - nothing is written there: a new file system is mounted over it, in our namespace alone


def enter() -> None:
    """Go in; there is no way back.  Raises SlirpError with the step that failed."""
    for what, step in (
        ("make a mount namespace", _unshare),
        ("make a new root", _make_root),
        ("enter it", _pivot),
        ("give up capabilities", _drop_capabilities),
    ):
        try:
            step()
        except OSError as error:
            where = f" {error.filename}" if error.filename else ""
            raise SlirpError(f"sandbox: cannot {what}:{where} {error.strerror}") from None


def _unshare() -> None:
    uid, gid = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWNS)
    except PermissionError:  # not root, or root in name only
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    mount("none", "/", "", MS_REC | MS_SLAVE)  # what we mount, the host does not see; what it unmounts goes here too


def _make_root() -> None:
    mount("tmpfs", _ROOT, "tmpfs", _HARMLESS, "size=64k,mode=0755")
    Path(_ROOT, "old").mkdir()
    for path in (*KEPT, *_target_of_resolv_conf()):
        _keep(path)


def _target_of_resolv_conf() -> list[str]:
    """The folder that resolv.conf really is in, where that is none of those that are kept."""
    real = Path(os.path.realpath(RESOLV_CONF)).parent
    kept = any(real.is_relative_to(path) for path in KEPT)
    return [] if kept or not real.is_dir() or real == Path("/") else [str(real)]


def _keep(path: str) -> None:
    """Show a folder of the host, read-only (which a bind mount becomes only in a second step: mount(2))."""
    if not Path(path).is_dir():
        return
    inside = _ROOT + path
    Path(inside).mkdir(parents=True)
    mount(path, inside, "", MS_BIND | MS_REC)
    mount(path, inside, "", MS_REMOUNT | MS_BIND | MS_RDONLY | _HARMLESS)


def _pivot() -> None:
    os.chdir(_ROOT)
    pivot_root(".", "old")
    os.chdir("/")
    unmount("/old", MNT_DETACH)
    Path("/old").rmdir()
    mount("tmpfs", "/", "tmpfs", MS_REMOUNT | MS_RDONLY | _HARMLESS, "size=64k")


def _drop_capabilities() -> None:
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(CAPABILITIES_MAX):
        if number == CAP_NET_BIND_SERVICE:
            continue
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break  # the kernel has no more
    bit = 1 << CAP_NET_BIND_SERVICE
    set_capabilities(bit, inheritable=bit)
