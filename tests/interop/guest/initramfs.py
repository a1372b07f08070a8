"""The guest's initramfs: a cpio archive written here, byte for byte the same from the same files.

Format: "newc", as described in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.  Times are
zero and inodes are numbered in order, so that the archive depends on its contents alone.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping

_TRAILER = "TRAILER!!!"


def archive(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """A cpio archive of ``files`` (path to content, all executable) and symbolic ``links`` (path to target).

    Folders above them are made.  Paths are relative, with ``/`` between parts.
    """
    out = bytearray()
    entries: list[tuple[str, int, bytes]] = [(path, stat.S_IFDIR | 0o755, b"") for path in _folders([*files])]
    entries += [(path, stat.S_IFREG | 0o755, data) for path, data in sorted(files.items())]
    entries += [(path, stat.S_IFLNK | 0o777, target.encode()) for path, target in sorted((links or {}).items())]
    entries.append((_TRAILER, 0, b""))
    for inode, (path, mode, data) in enumerate(entries, start=1):
        out += _header(path, mode, inode, len(data))
        out += _padded(path.encode() + b"\0", already=110)
        out += _padded(data)
    return bytes(out)


def _folders(paths: list[str]) -> list[str]:
    found: set[str] = set()
    for path in paths:
        parts = path.split("/")[:-1]
        found.update("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return sorted(found)


def _header(path: str, mode: int, inode: int, size: int) -> bytes:
    # inode mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    fields = (inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(path.encode()) + 1, 0)
    return b"070701" + b"".join(b"%08X" % field for field in fields)


def _padded(data: bytes, already: int = 0) -> bytes:
    """``data`` and the zeros that bring ``already`` and it to a multiple of four."""
    return data + bytes(-(already + len(data)) % 4)
