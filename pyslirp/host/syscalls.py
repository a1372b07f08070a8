"""System calls that Python has no name for (or not yet in 3.11), as functions that raise OSError.

Each is one call of the C library: no policy here.  What they are for is in namespaces.py and sandbox.py.
"""

from __future__ import annotations

import ctypes
import functools
import os

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNET = 0x4000_0000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 4096, 16384, 1 << 18, 1 << 19
MNT_DETACH = 2

PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 47, 2, 4
SECCOMP_MODE_FILTER = 2

CAP_NET_BIND_SERVICE, CAP_NET_BROADCAST, CAP_NET_ADMIN, CAP_NET_RAW = 10, 11, 12, 13

RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH = 0x02, 0x08  # linux/openat2.h

_OPENAT2 = 437  # on every machine (Linux 5.6)
_CAPABILITY_VERSION_3 = 0x2008_0522  # linux/capability.h: 64 capabilities in two words
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "s390x": 217, "ppc64le": 203}
_WORDS = ctypes.c_uint32 * 6


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _SockFilter(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jump_true", ctypes.c_uint8),
        ("jump_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _SockFilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_SockFilter)))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object, what: str | None = None) -> int:
    """Call a function that returns -1 and sets errno."""
    result: int = getattr(_libc(), name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def setns(fd: int, kind: int) -> None:
    """Join the namespace of `fd`, which is of `kind` (CLONE_NEW*)."""
    _call("setns", fd, kind)


def unshare(kinds: int) -> None:
    """Move this process into new namespaces of these kinds (CLONE_NEW*)."""
    _call("unshare", kinds)


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Mount `source` at `target`, or change what is mounted there."""
    texts = [os.fsencode(text) for text in (source, target, kind)]
    _call("mount", *texts, ctypes.c_ulong(flags), os.fsencode(data) or None, what=target)


def unmount(target: str, flags: int) -> None:
    """Take away what is mounted at `target`."""
    _call("umount2", os.fsencode(target), flags, what=target)


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root and put the old one at `old`; the C library has no function for it."""
    number = _PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(38, f"the number of pivot_root on {os.uname().machine} is not known here")
    _call("syscall", ctypes.c_long(number), os.fsencode(new), os.fsencode(old), what=new)


def openat2(folder: int, name: bytes, flags: int, resolve: int) -> int:
    """Open a file by its name, looked up from `folder` under the restrictions RESOLVE_*."""
    how = _OpenHow(flags, 0, resolve)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    return _call("syscall", ctypes.c_long(_OPENAT2), folder, name, ctypes.byref(how), size)


def prctl(option: int, *values: int) -> int:
    """Ask something of this process, with numbers as arguments."""
    padded = [*values, 0, 0, 0, 0][:4]
    return _call("prctl", option, *map(ctypes.c_ulong, padded))


def set_capabilities(effective: int, inheritable: int = 0) -> None:
    """Have these capabilities (bits by number), permitted as effective, and no other; capset(2)."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = (effective & 0xFFFF_FFFF, inheritable & 0xFFFF_FFFF), (effective >> 32, inheritable >> 32)
    _call("capset", header, _WORDS(low[0], low[0], low[1], high[0], high[0], high[1]))


def install_seccomp_filter(program: list[tuple[int, int, int, int]]) -> None:
    """A classic BPF program judges every later system call (seccomp(2)); needs no_new_privs or CAP_SYS_ADMIN."""
    instructions = (_SockFilter * len(program))(*(_SockFilter(*instruction) for instruction in program))
    whole = _SockFilterProgram(len(program), ctypes.cast(instructions, ctypes.POINTER(_SockFilter)))
    _call(
        "prctl",
        PR_SET_SECCOMP,
        ctypes.c_ulong(SECCOMP_MODE_FILTER),
        ctypes.byref(whole),
        ctypes.c_ulong(0),
        ctypes.c_ulong(0),
    )
