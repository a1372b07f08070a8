"""/dev/net/tun: what is said where it cannot be used.  Real taps are in tests/interop/test_namespace.py."""

from __future__ import annotations

import errno
import fcntl
import os
import sys

import pytest

from pyslirp.errors import LinkError
from pyslirp.links import tun
from pyslirp.links.tun import IFF_NO_PI, IFF_TAP, IFF_TUN, IFF_VNET_HDR, Tap, inspect_tap, open_tap, take_offloads


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOENT, "; load the module (modprobe tun), or give the container its device (--device /dev/net/tun)"),
        (errno.EACCES, "; this user may not open it: chmod 666 /dev/net/tun"),
        (errno.EPERM, "; the container may not use it"),
        (errno.EMFILE, ""),
    ],
)
def test_a_device_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch, number: int, hint: str) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LinkError) as caught:
        open_tap("tap0")
    assert caught.value.errno == number
    assert caught.value.args[1].startswith(f"/dev/net/tun: {os.strerror(number)}{hint}")


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EBUSY, "another process has this tap"),
        (errno.EPERM, "no right to make interfaces in this network namespace"),
        (errno.EINVAL, "an interface of this name is there, and it is not a tap like this"),
    ],
)
def test_a_tap_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, number: int, hint: str) -> None:
    reading, writing = os.pipe()

    def refuse(fd: int, request: int, argument: bytes) -> bytes:
        if request == tun.TUNGETFEATURES:
            return IFF_VNET_HDR.to_bytes(4, sys.byteorder)
        assert (fd, request, argument[:5], len(argument)) == (reading, tun.TUNSETIFF, b"tap0\0", 40)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", lambda *_: reading)
    monkeypatch.setattr(fcntl, "ioctl", refuse)
    with pytest.raises(LinkError) as caught:
        open_tap("tap0")
    os.close(writing)
    assert caught.value.args[1].startswith(f"tap tap0: {os.strerror(number)}; {hint}")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)


@pytest.mark.parametrize(
    ("wanted", "features", "flags", "offloads"),
    [
        (
            True,
            IFF_VNET_HDR,
            IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
            [(tun.TUNSETVNETHDRSZ, 10), (tun.TUNSETOFFLOAD, 0x67)],
        ),
        (True, 0, IFF_TAP | IFF_NO_PI, []),
        (False, IFF_VNET_HDR, IFF_TAP | IFF_NO_PI, []),
    ],
)
def test_what_is_asked_of_a_tap(
    monkeypatch: pytest.MonkeyPatch, wanted: bool, features: int, flags: int, offloads: list[tuple[int, int]]
) -> None:
    asked: list[tuple[int, int]] = []

    def grant(_: int, request: int, argument: bytes | int) -> bytes:
        if request == tun.TUNGETFEATURES:
            return features.to_bytes(4, sys.byteorder)
        if request == tun.TUNSETIFF:
            assert isinstance(argument, bytes)
            assert int.from_bytes(argument[16:18], sys.byteorder) == flags
        else:
            value = int.from_bytes(argument, sys.byteorder) if isinstance(argument, bytes) else argument
            asked.append((request, value))
        return b""

    reading, writing = os.pipe()
    monkeypatch.setattr(os, "open", lambda *_: reading)
    monkeypatch.setattr(fcntl, "ioctl", grant)
    assert open_tap("tap0", vnet_header=wanted) == reading
    assert asked == offloads
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("old", [False, True])
def test_a_kernel_that_cuts_no_datagrams(monkeypatch: pytest.MonkeyPatch, old: bool) -> None:
    asked: list[int] = []

    def ioctl(_: int, request: int, argument: int | bytes) -> bytes:
        if request == tun.TUNSETOFFLOAD:
            assert isinstance(argument, int)
            asked.append(argument)
            if old and asked[-1] > 0x1F:
                raise OSError(errno.EINVAL, "Invalid argument")
        return b""

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    assert take_offloads(9) == (not old)
    assert asked == ([0x67, 7] if old else [0x67])


def test_a_kernel_that_refuses_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def ioctl(_: int, request: int, argument: int | bytes) -> bytes:
        if request == tun.TUNSETOFFLOAD:
            raise OSError(errno.EBADFD, "File descriptor in bad state")
        return b""

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    with pytest.raises(OSError, match="bad state"):
        take_offloads(9)


def test_a_descriptor_of_something_else() -> None:
    reading, writing = os.pipe()
    with pytest.raises(LinkError, match="not a tap: "):
        inspect_tap(reading)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    ("flags", "outcome"),
    [
        (IFF_TAP | IFF_NO_PI, Tap("tap7", IFF_TAP | IFF_NO_PI)),
        (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, Tap("tap7", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)),
        (IFF_TUN | IFF_NO_PI, "tap7 is a tun, without Ethernet: make it with IFF_TAP"),
        (IFF_TAP, "tap7 has packet information: make it with IFF_NO_PI"),
    ],
)
def test_which_taps_are_of_use(monkeypatch: pytest.MonkeyPatch, flags: int, outcome: Tap | str) -> None:
    answer = b"tap7".ljust(16, b"\0") + flags.to_bytes(2, "little") + bytes(22)
    monkeypatch.setattr(fcntl, "ioctl", lambda *_: answer)
    if isinstance(outcome, Tap):
        assert inspect_tap(9) == outcome
        assert outcome.vnet_header == bool(flags & IFF_VNET_HDR)
    else:
        with pytest.raises(LinkError) as caught:
            inspect_tap(9)
        assert caught.value.args[1] == outcome
