"""The contract of a link: how guests come to a port of the switch, and what the stack does for a link.

A link opens and negotiates in Python; once a guest is attached the engine moves the frames.  Connecting, listening
again and reconnecting are states of the link: the stack sees ports come and go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

STREAM_MTU = 65520  #: largest IP packet of QEMU's stream framing that we announce: its frames may have 69,632 bytes


class PortSpec(NamedTuple):
    """A guest that is to be attached to the switch."""

    fd: int  #: what the framing is of; owned by the engine from now on
    framing: str  #: "stream", a stream socket with QEMU's 4-byte length in front of each frame; "tap", "tap+vnet", "seqpacket"
    mtu: int  #: largest IP packet the link carries, bytes
    name: str  #: for people: events, captures, logs


class LinkHost(Protocol):
    """What a link may ask of the stack."""

    def watch(self, fd: int, readable: Callable[[], None] | None, writable: Callable[[], None] | None = None) -> Any:
        """Call back whenever `fd` is ready; the token is for `unwatch`.  Raises OSError."""

    def unwatch(self, token: Any) -> None:
        """End a watch, before the descriptor is closed."""

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> Any:
        """Call back after `delay_ns`; the token has `cancel()`."""

    def attach(self, spec: PortSpec, lost: Callable[[str], None]) -> int:
        """Make a port; `lost(reason)` is called when the guest has gone.  Where it raises it has closed the fd.

        Raises OSError where there is no port or no memory for one more guest.
        """

    def detach(self, port: int, reason: str) -> None:
        """Take the port away; `lost` is not called."""


class Link(Protocol):
    """Somewhere that guests come from."""

    def open(self, host: LinkHost) -> None:
        """Begin to listen or to connect.  Raises LinkError for what will not go away by itself."""

    def close(self) -> None:
        """Let go of everything, guests included.  May be called twice."""

    def describe(self) -> str:
        """The address, as the user would write it, with the port that was really chosen."""
