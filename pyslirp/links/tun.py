"""/dev/net/tun: making a tap, and looking at one that is there (Documentation/networking/tuntap.rst)."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import NamedTuple

from pyslirp.errors import LinkError

DEVICE = "/dev/net/tun"
STEP_DEVICE, STEP_TAP = "device", "tap"  #: LinkError.step

TUNSETIFF, TUNGETIFF = 0x4004_54CA, 0x8004_54D2
TUNGETFEATURES, TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x8004_54CF, 0x4004_54D0, 0x4004_54D8
IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x0001, 0x0002, 0x1000, 0x4000, 0x0100

TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 0x01, 0x02, 0x04
TUN_F_USO4, TUN_F_USO6 = 0x20, 0x40  # Linux since 6.2
VNET_HEADER_BYTES = 10  #: struct virtio_net_hdr without num_buffers: what the engine reads and writes

_INT = struct.Struct("i")
_IFREQ = struct.Struct("16sH22x")  # linux/if.h, struct ifreq: ifr_name, ifr_flags

_DEVICE_HINTS = {
    errno.ENOENT: "load the module (modprobe tun), or give the container its device (--device /dev/net/tun)",
    errno.ENODEV: "load the module (modprobe tun)",
    errno.EACCES: "this user may not open it: chmod 666 /dev/net/tun, as most systems have it, or become root",
    errno.EPERM: "the container may not use it: --device /dev/net/tun",
}
_NAME_HINTS = {
    errno.EBUSY: "another process has this tap: end it, or choose another name",
    errno.EPERM: "no right to make interfaces in this network namespace: become root, or the user who has made it",
    errno.EINVAL: "an interface of this name is there, and it is not a tap like this: choose another name",
}


class Tap(NamedTuple):
    """A tap that is open."""

    name: str  #: of its interface, in the namespace where that is
    flags: int  #: IFF_*

    @property
    def vnet_header(self) -> bool:
        """Does a struct virtio_net_hdr stand in front of each frame?"""
        return bool(self.flags & IFF_VNET_HDR)


def open_tap(name: str, *, vnet_header: bool = True) -> int:
    """The descriptor of the tap `name` of this process's network namespace, which is made if it is not there.

    vnet_header: with struct virtio_net_hdr in front of each frame, and with all that the kernel then leaves undone, where
    it can do that.  Raises LinkError with the remedy.
    """
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise LinkError(error.errno, _said(DEVICE, error, _DEVICE_HINTS), STEP_DEVICE) from None
    try:
        features = _INT.unpack(fcntl.ioctl(fd, TUNGETFEATURES, bytes(_INT.size)))[0] if vnet_header else 0
        flags = IFF_TAP | IFF_NO_PI | features & IFF_VNET_HDR
        fcntl.ioctl(fd, TUNSETIFF, _IFREQ.pack(os.fsencode(name), flags))
        if flags & IFF_VNET_HDR:
            take_offloads(fd)
    except OSError as error:
        os.close(fd)
        raise LinkError(error.errno, _said(f"tap {name}", error, _NAME_HINTS), STEP_TAP) from None
    return fd


def take_offloads(fd: int) -> bool:
    """Tell the kernel that it may leave checksums and segmentation to us, for a tap with IFF_VNET_HDR.  Raises OSError.

    True: UDP's too, so that both sides may put several datagrams into one frame.
    """
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, _INT.pack(VNET_HEADER_BYTES))
    most = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
    try:
        fcntl.ioctl(fd, TUNSETOFFLOAD, most | TUN_F_USO4 | TUN_F_USO6)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fcntl.ioctl(fd, TUNSETOFFLOAD, most)
        return False
    return True


def inspect_tap(fd: int) -> Tap:
    """What tap the descriptor is of.  Raises LinkError where it is none, or one whose frames we cannot read."""
    try:
        raw = fcntl.ioctl(fd, TUNGETIFF, bytes(_IFREQ.size))
    except OSError as error:
        raise LinkError(error.errno, f"not a tap: {error.strerror}") from None
    encoded, flags = _IFREQ.unpack(raw)
    name = os.fsdecode(encoded.partition(b"\0")[0])
    if not flags & IFF_TAP:
        raise LinkError(errno.EINVAL, f"{name} is a tun, without Ethernet: make it with IFF_TAP")
    if not flags & IFF_NO_PI:
        raise LinkError(errno.EINVAL, f"{name} has packet information: make it with IFF_NO_PI")
    return Tap(name, flags)


def _said(what: str, error: OSError, hints: dict[int, str]) -> str:
    hint = hints.get(error.errno or 0)
    return f"{what}: {error.strerror}" + (f"; {hint}" if hint else "")
