"""What the child does that makes a tap, and in what order; with the kernel's part taken down instead of done."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface

import pytest

from pyslirp import taps
from pyslirp.errors import LinkError
from pyslirp.host import unsharing
from pyslirp.links.interface import InterfaceSettings

SETTINGS = InterfaceSettings(((IPv4Interface("10.0.2.15/24"), IPv4Address("10.0.2.2")),), 1500)

Done = Callable[[], list[str]]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Iterator[Done]:
    """What has been done, in the child: its words come through a pipe."""
    reading, writing = os.pipe()

    def note(name: str) -> Callable[..., int]:
        def noted(*arguments: object, **named: object) -> int:
            words = [name, *(str(argument) for argument in arguments if not isinstance(argument, InterfaceSettings))]
            words += [f"{key}={value}" for key, value in named.items()]
            os.write(writing, (" ".join(words) + "\n").encode())
            return os.dup(writing)

        return noted

    for home, names in (
        (taps, ("join", "open_tap", "configure")),
        (unsharing, ("create", "keep_net_capabilities", "overlay_file")),
    ):
        for name in names:
            monkeypatch.setattr(home, name, note(name))
    yield lambda: os.read(reading, 10_000).decode().splitlines()
    os.close(reading)
    os.close(writing)


def test_a_tap_elsewhere(done: Done) -> None:
    errand = taps.open_inside("/proc/1/ns/net", "tap11", SETTINGS, "/proc/1/ns/user")
    os.close(errand.fetch())
    errand.finish()
    assert done() == ["join /proc/1/ns/net /proc/1/ns/user", "open_tap tap11", "configure tap11"]


def test_a_tap_here_as_it_is(done: Done) -> None:
    errand = taps.open_inside(None, "tap0", None)
    os.close(errand.fetch())
    errand.finish()
    assert done() == ["open_tap tap0"]


def test_a_tap_with_a_command(done: Done) -> None:
    errand = taps.open_with_command(
        ["sh", "-c", "exit 7"], "tap0", SETTINGS, "nameserver", as_root=True, hostname="inner"
    )
    os.close(errand.fetch())
    errand.go_on()
    assert errand.wait() == 7
    assert done() == [
        "create as_root=True hostname=inner",
        "open_tap tap0",
        "configure tap0",
        "overlay_file /etc/resolv.conf nameserver",
        "keep_net_capabilities",
    ]


def test_a_resolv_conf_that_cannot_be_laid_over_is_complained_of(
    done: Done, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(unsharing, "overlay_file", refuse)
    errand = taps.open_with_command(["true"], "tap0", SETTINGS, "", as_root=False)
    os.close(errand.fetch())
    errand.go_on()
    assert errand.wait() == 0
    assert capfd.readouterr().err == "pyslirp: /etc/resolv.conf stays that of the host: No such file or directory\n"
    assert done()[-1] == "keep_net_capabilities"


def test_a_command_that_is_not_there(done: Done) -> None:
    errand = taps.open_with_command(["/no/such"], "tap0", SETTINGS, "", as_root=False)
    os.close(errand.fetch())
    with pytest.raises(LinkError, match="/no/such: No such file or directory"):
        errand.go_on()
    assert done()[0] == "create as_root=False hostname=None"
