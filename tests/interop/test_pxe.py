"""QEMU's own iPXE ROM boots a kernel from pyslirp: DHCP names a script, TFTP and HTTP bring what it asks for."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.guest.image import Image
from tests.interop.guest.qemu import KERNEL_OPTIONS, QemuGuest
from tests.interop.rig.backend import Pyslirp
from tests.interop.rig.process import Process
from tests.interop.rig.require import require_path
from tests.interop.rig.topology import GATEWAY, Topology

pytestmark = pytest.mark.pyslirp

ROMS = Path("/usr/lib/ipxe/qemu")
HTTP_PORT = 8000
MARK = "booted.from=pyslirp"


@pytest.fixture
def served(guest_image: Image, tmp_path: Path) -> Path:
    """A folder with a kernel, an initramfs and the script that boots them."""
    folder = tmp_path / "served"
    folder.mkdir()
    shutil.copyfile(guest_image.bzimage, folder / "vmlinuz")
    shutil.copyfile(guest_image.initrd, folder / "initrd")
    script = f"""#!ipxe
kernel tftp://{GATEWAY}/vmlinuz {KERNEL_OPTIONS} {MARK} initrd=initrd
initrd http://{GATEWAY}:{HTTP_PORT}/initrd
boot
"""
    (folder / "boot.ipxe").write_text(script)
    return folder


@pytest.fixture
def web(topology: Topology, served: Path, tmp_path: Path) -> Iterator[Process]:
    """The same folder by HTTP, on the host's loopback."""
    module = [
        sys.executable,
        "-u",
        "-m",
        "http.server",
        str(HTTP_PORT),
        "--bind",
        "127.0.0.1",
        "--directory",
        str(served),
    ]
    server = topology.host.start("web server", module, tmp_path)
    server.expect("Serving HTTP")
    yield server
    server.stop()


@pytest.mark.parametrize("nic", ["virtio-net-pci", "e1000"])
def test_ipxe_boots_a_kernel(
    boot: Callable[..., QemuGuest], topology: Topology, served: Path, web: Process, tmp_path: Path, nic: str
) -> None:
    """From the ROM to a shell: the script by the boot file for iPXE, the kernel by TFTP, the initramfs by HTTP."""
    require_path(ROMS / "pxe-virtio.rom", "ipxe-qemu")
    options = f"tftp={served},bootfile=nothing,bootfile-for=ipxe=boot.ipxe"
    server = Pyslirp(topology.host, tmp_path, extra=[options, "-v"])
    guest = boot("pxe", server.qemu_netdev("stream-unix"), nic=nic, from_network=True)
    assert MARK in guest.run("cat /proc/cmdline").check()
    assert "GET /initrd" in web.text()
    assert "tftp boot.ipxe" in server.server.text()
    guest.kill()
    server.close()
