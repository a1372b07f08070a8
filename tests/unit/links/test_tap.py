"""A tap as a link, with a socket in the tap's place."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from pyslirp.errors import LinkError
from pyslirp.links import tap
from pyslirp.links.base import PortSpec
from pyslirp.links.tap import TapLink, duplicate
from pyslirp.links.tun import IFF_NO_PI, IFF_TAP, IFF_VNET_HDR, Tap


class Host:
    """What a link asks of a stack."""

    def __init__(self) -> None:
        self.specs: list[PortSpec] = []
        self.lost: list[Callable[[str], None]] = []
        self.detached: list[tuple[int, str]] = []
        self.refuses = False

    def attach(self, spec: PortSpec, lost: Callable[[str], None]) -> int:
        if self.refuses:
            os.close(spec.fd)
            raise OSError(28, "No space left on device")
        self.specs.append(spec)
        self.lost.append(lost)
        return 7

    def detach(self, port: int, reason: str) -> None:
        self.detached.append((port, reason))

    def watch(self, *_: Any) -> Any:
        raise AssertionError

    def unwatch(self, *_: Any) -> None:
        raise AssertionError

    def call_later(self, *_: Any) -> Any:
        raise AssertionError


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def descriptor(monkeypatch: pytest.MonkeyPatch) -> int:
    """What a tap is taken for."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    other.close()
    monkeypatch.setattr(tap, "inspect_tap", lambda _: Tap("tap0", IFF_TAP | IFF_NO_PI))
    return one.detach()


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_attached_without_blocking(host: Host, descriptor: int) -> None:
    link = TapLink("tap0 in 7", lambda: descriptor, 1500)
    link.open(host)
    assert host.specs == [PortSpec(descriptor, "tap", 1500, "tap0 in 7")]
    assert not os.get_blocking(descriptor)
    assert link.describe() == "tap0 in 7"
    link.close()
    link.close()
    assert host.detached == [(7, "the network is shut down")]
    os.close(descriptor)


def test_lost_is_told_once_and_then_there_is_nothing_to_close(host: Host, descriptor: int) -> None:
    reasons: list[str] = []
    link = TapLink("tap0", lambda: descriptor, 1500, reasons.append)
    link.open(host)
    host.lost[0]("File descriptor in bad state")
    link.close()
    assert reasons == ["File descriptor in bad state"]
    assert host.detached == []
    os.close(descriptor)


def test_a_socket_of_frames_is_not_asked_what_tap_it_is(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        TapLink("bess", one.fileno, 1500, framing="seqpacket").open(host)
        assert host.specs[0].framing == "seqpacket"


def test_virtio_net_headers_are_made_use_of(host: Host, descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(tap, "inspect_tap", lambda _: Tap("tap0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    monkeypatch.setattr(tap, "take_offloads", asked.append)
    TapLink("tap0 in 7", lambda: descriptor, 1500).open(host)
    assert host.specs == [PortSpec(descriptor, "tap+vnet", 1500, "tap0 in 7")]
    assert asked == [descriptor]
    os.close(descriptor)


def test_a_tap_that_gives_no_offloads(host: Host, descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> None:
        raise OSError(22, f"Invalid argument {fd}")

    monkeypatch.setattr(tap, "inspect_tap", lambda _: Tap("tap0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    monkeypatch.setattr(tap, "take_offloads", refuse)
    with pytest.raises(LinkError, match="tap0 in 7: no offloads: Invalid argument"):
        TapLink("tap0 in 7", lambda: descriptor, 1500).open(host)
    assert not is_open(descriptor)


def test_what_is_no_tap_is_refused(host: Host) -> None:
    reading, writing = os.pipe()
    with pytest.raises(LinkError, match="fd:3: not a tap: "):
        TapLink("fd:3", lambda: reading, 1500).open(host)
    assert not is_open(reading)
    os.close(writing)


def test_a_stack_without_room(host: Host, descriptor: int) -> None:
    host.refuses = True
    with pytest.raises(LinkError, match="tap0: No space left on device"):
        TapLink("tap0", lambda: descriptor, 1500).open(host)
    assert not is_open(descriptor)


def test_a_descriptor_that_is_handed_in_stays_its_owners() -> None:
    reading, writing = os.pipe()
    twin = duplicate(reading)
    assert twin != reading
    assert not os.get_inheritable(twin)
    for fd in (twin, reading, writing):
        os.close(fd)
    with pytest.raises(LinkError, match=f"descriptor {twin}: Bad file descriptor"):
        duplicate(twin)
