"""Debian's kernel for the guest: which package, where it is kept, and what of it the guest needs.

The package is named by the meta package (``linux-image-amd64`` depends on ``linux-image-<release>-amd64``), fetched
with ``apt-get download`` (no root, nothing installed) and unpacked with ``dpkg-deb`` into a cache folder that is named
after package, version and drivers: a kernel update makes a new folder, and two runs never share a half-made one.  The
cloud flavour is of no use here: it has neither e1000 nor 8139cp.

The kernel image is unpacked to its ELF form: QEMU boots that through PVH, which saves the guest two to three
seconds of decompressing itself under emulation at every boot.  Of the modules only the drivers below and what they
depend on are kept, numbered in the order in which they load.
"""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.interop.rig.require import require, unavailable

META_PACKAGE = "linux-image-amd64"
DRIVERS = ("virtio_pci", "virtio_net", "e1000", "8139cp")  # 8139cp drives QEMU's rtl8139 (it is a C+ chip)

_VERSIONED = re.compile(r"^\s*Depends: (linux-image-\d\S+)$", re.MULTILINE)
_DOWNLOAD_SECONDS = 300.0


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel: the image that QEMU boots, and its modules in the order in which they load."""

    image: Path
    bzimage: Path  #: the same as Debian has it, for firmware, which knows nothing of PVH
    modules: list[Path]


def fetch(cache: Path) -> Kernel:
    """The kernel that apt offers, from ``cache`` when it is there; ends the test where apt has none."""
    package, version = _candidate()
    folder = cache / f"{package}_{version.replace(':', '%')}_{'+'.join(DRIVERS)}_bzimage"
    if not folder.exists():
        _unpack(package, version, folder)
    return Kernel(next(folder.glob("vmlinu*")), folder / "bzimage", sorted(folder.glob("*.ko")))


def _candidate() -> tuple[str, str]:
    """Package and version behind the meta package."""
    apt_cache = require("apt-cache", "apt (the guest's kernel comes from Debian's archive)")
    depends = subprocess.run([apt_cache, "depends", META_PACKAGE], capture_output=True, text=True, check=False).stdout
    if not (found := _VERSIONED.search(depends)):
        unavailable(f"apt knows no {META_PACKAGE}: on Debian, apt-get update as root")
    policy = subprocess.run([apt_cache, "policy", found[1]], capture_output=True, text=True, check=True).stdout
    version = re.search(r"Candidate: (\S+)", policy)
    assert version, f"apt-cache policy {found[1]} names no candidate:\n{policy}"
    return found[1], version[1]


def _unpack(package: str, version: str, folder: Path) -> None:
    """Download and unpack to a folder beside ``folder``, then rename: a run that is cut short leaves nothing."""
    apt_get, dpkg_deb = require("apt-get", "apt"), require("dpkg-deb", "dpkg")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="unpack-") as scratch:
        command = [apt_get, "download", f"{package}={version}"]
        got = subprocess.run(
            command, cwd=scratch, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False
        )
        if got.returncode:
            unavailable(f"apt-get download {package} failed; apt-get update may help:\n{got.stderr.strip()}")
        tree, made = Path(scratch, "tree"), Path(scratch, "made")
        subprocess.run([dpkg_deb, "-x", str(next(Path(scratch).glob("*.deb"))), str(tree)], check=True)
        made.mkdir()
        packed = next(tree.glob("boot/vmlinuz-*"))
        _write_image(packed, made)
        shutil.copyfile(packed, made / "bzimage")
        _write_modules(tree, made)
        try:
            made.rename(folder)
        except OSError:
            if not folder.exists():  # else another run was first, with the same content
                raise


def _write_image(bzimage: Path, folder: Path) -> None:
    """The ELF kernel inside ``bzimage``, or ``bzimage`` itself where its compression is one we do not undo."""
    for payload in _payloads(bzimage.read_bytes()):
        if payload.startswith(b"\x7fELF"):
            (folder / "vmlinux").write_bytes(payload)
            return
    shutil.copyfile(bzimage, folder / "vmlinuz")


def _payloads(bzimage: bytes) -> Iterator[bytes]:
    """Whatever unpacks at a place in ``bzimage`` that looks like the start of xz or gzip data."""
    for found in re.finditer(rb"\xfd7zXZ\0|\x1f\x8b\x08", bzimage):
        packed = bzimage[found.start() :]
        try:
            if packed.startswith(b"\xfd"):
                yield lzma.LZMADecompressor().decompress(packed)
            else:
                yield zlib.decompressobj(wbits=31).decompress(packed)
        except (lzma.LZMAError, zlib.error, EOFError):
            continue  # the magic was there by chance


def _write_modules(tree: Path, folder: Path) -> None:
    """The drivers and what they depend on, plain, named ``NN-name.ko`` in load order."""
    # Built-in code has no module and needs none; Debian 13 has lib below usr.
    modules = {_module_name(path): path for path in tree.glob("**/lib/modules/*/kernel/**/*.ko*")}
    order: dict[str, bytes] = {}

    def add(name: str) -> None:
        data = _read_module(modules[name])
        for dependency in _depends(data):
            if dependency not in order:
                add(dependency)
        order[name] = data

    for driver in DRIVERS:
        if driver in modules and driver not in order:
            add(driver)
    for number, (name, data) in enumerate(order.items()):
        (folder / f"{number:02}-{name}.ko").write_bytes(data)


def _module_name(path: Path) -> str:
    """The name that other modules depend on it by: file names may have hyphens for underscores."""
    return path.name.split(".ko")[0].replace("-", "_")


def _read_module(path: Path) -> bytes:
    """The ELF bytes of a module: Debian 12 keeps them plain, later releases compressed."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return subprocess.run([require("zstd", "zstd"), "-dcq"], input=data, capture_output=True, check=True).stdout
    return data


def _depends(module: bytes) -> list[str]:
    """Names in the ``depends=`` line of ``.modinfo`` (the package has no modules.dep: installing makes it)."""
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name.decode().replace("-", "_") for name in found[1].split(b",") if name] if found else []
