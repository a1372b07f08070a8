"""Invariant tested: option text is refused with ConfigErrors, or makes a value whose printed text reads back the same.

The first byte of the input chooses the parser, so that one target covers every text that a user, or a script that a
user was given, can hand to us.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyslirp.addresses import Endpoint
from pyslirp.config.boot import ClientBootfile
from pyslirp.config.dhcp import StaticLease
from pyslirp.config.dns import check_upstream, parse_upstream
from pyslirp.config.forward import ForwardKey, HostForward
from pyslirp.config.guestfwd import GuestForward, GuestForwardKey
from pyslirp.config.link import ConnectAddress, ListenAddress
from pyslirp.config.qemu import format_netdev, format_options, parse_netdev, parse_options
from pyslirp.errors import ConfigError, ConfigErrors


def fuzz(data: bytes) -> None:
    """One input: a byte that chooses the parser, and its text."""
    if not data:
        return
    parse, render = SYNTAXES[data[0] % len(SYNTAXES)]
    text = data[1:].decode("utf-8", "surrogateescape")
    try:
        value = parse(text)
    except (ConfigError, ConfigErrors):
        return
    assert parse(render(value)) == value, text


def _upstream(text: str) -> Endpoint:
    server = parse_upstream(text)
    check_upstream(server)
    return server


SYNTAXES: tuple[tuple[Callable[[str], Any], Callable[[Any], str]], ...] = (
    (parse_netdev, format_netdev),
    (parse_options, format_options),
    (HostForward.parse, str),
    (ForwardKey.parse, str),
    (ListenAddress.parse, str),
    (ConnectAddress.parse, str),
    (StaticLease.parse, str),
    (_upstream, str),
    (GuestForward.parse, str),
    (GuestForwardKey.parse, str),
    (ClientBootfile.parse, str),
)
