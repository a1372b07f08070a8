"""The guest that QEMU boots: Debian's kernel, and an initramfs of busybox, the drivers, `peer` and the init script."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tests.interop.guest import initramfs, kernel
from tests.interop.rig.compile import CACHE, compile_c
from tests.interop.rig.require import require

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Image:
    """What QEMU's ``-kernel`` and ``-initrd`` get, and what boots by way of firmware."""

    kernel: Path
    initrd: Path
    bzimage: Path  #: the kernel for firmware


def build() -> Image:
    """The guest's image, built from the cache in well under a second when nothing has changed."""
    busybox = Path(require("busybox", "busybox-static"))
    linux = kernel.fetch(CACHE)
    files = {f"modules/{path.name}": path.read_bytes() for path in linux.modules}
    files |= {
        "bin/busybox": busybox.read_bytes(),
        "bin/peer": compile_c(_HERE / "peer.c", static=True).read_bytes(),
        "etc/udhcpc.script": (_HERE / "udhcpc.script").read_bytes(),
        "init": (_HERE / "init").read_bytes(),
    }
    data = initramfs.archive(files)
    initrd = CACHE / f"initramfs-{hashlib.sha256(data).hexdigest()[:12]}.cpio"
    if not initrd.exists():
        scratch = initrd.with_suffix(".new")
        scratch.write_bytes(data)
        scratch.rename(initrd)
    return Image(linux.image, initrd, linux.bzimage)
