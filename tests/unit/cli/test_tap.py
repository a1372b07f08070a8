"""The options of a guest behind a tap."""

from __future__ import annotations

import argparse
import os

import pytest

from pyslirp.cli.tap import Tap, TapRequest, add_tap
from pyslirp.config.stack import Config
from pyslirp.config.tap import NetnsAddress, TapAddress
from pyslirp.errors import ConfigError, LinkError


def read(*arguments: str) -> TapRequest | None:
    parser = argparse.ArgumentParser()
    add_tap(parser)
    return TapRequest.read(parser.parse_args(arguments))


def test_no_tap_is_asked_for() -> None:
    assert read() is None


@pytest.mark.parametrize(
    ("arguments", "request_", "printed"),
    [
        (("--netns", "7"), TapRequest(TapAddress("name", "tap0"), NetnsAddress("pid", 7), None, False), "tap0 in 7"),
        (
            ("--netns=/run/netns/x", "--tap=eth0", "--userns=/u", "--configure"),
            TapRequest(TapAddress("name", "eth0"), NetnsAddress("path", path="/run/netns/x"), "/u", True),
            "eth0 in /run/netns/x",
        ),
        (("--tap", "eth0"), TapRequest(TapAddress("name", "eth0"), None, None, False), "eth0"),
        (("--tap", "fd:5"), TapRequest(TapAddress("fd", fd=5), None, None, False), "fd:5"),
    ],
)
def test_what_is_asked_for(arguments: tuple[str, ...], request_: TapRequest, printed: str) -> None:
    assert read(*arguments) == request_
    assert str(request_) == printed


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--configure",), "configure: there is no tap that it could be for (give --netns or --tap)"),
        (("--userns", "/u"), "userns: there is no tap that it could be for (give --netns or --tap)"),
        (("--tap", "tap0", "--userns", "/u"), "userns=/u: there is no namespace that it could own (give --netns)"),
        (("--netns", "blue"), "netns=blue: this is neither a process number nor a path"),
        (("--tap", "a/b"), "tap=a/b: an interface's name has no"),
        (("--tap", "fd:5", "--netns", "7"), "tap=fd:5: a descriptor is a tap already"),
        (("--tap", "fd:5", "--configure"), "tap=fd:5: a descriptor is a tap already"),
    ],
)
def test_what_cannot_be(arguments: tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(*arguments)
    assert str(caught.value).startswith(text)


def test_a_process_that_is_not_there() -> None:
    request = read("--netns", "4194304")
    assert request is not None
    with pytest.raises(LinkError, match=r"--netns 4194304: No such process; is the process still there\?"):
        Tap(request, Config())


def test_a_descriptor_needs_no_child() -> None:
    reading, writing = os.pipe()
    request = read("--tap", f"fd:{reading}")
    assert request is not None
    tap = Tap(request, Config())
    assert tap.config == Config()
    twin = tap._take()
    assert os.path.sameopenfile(twin, reading)
    for fd in (twin, reading, writing):
        os.close(fd)
