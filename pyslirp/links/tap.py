"""A tap as a link: the guest is whoever uses the interface at its other end, as a rule all that runs in a namespace.

The tap is there from the start, and there is one guest.  It is lost when its interface is deleted; then the link is at
its end, for a tap of that name would be another.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from pyslirp.errors import LinkError
from pyslirp.links.base import LinkHost, PortSpec
from pyslirp.links.tun import inspect_tap, take_offloads

_log = logging.getLogger("pyslirp.links.tap")


class TapLink:
    """A link over one tap.  States: made, attached, lost or closed."""

    def __init__(
        self,
        description: str,
        take: Callable[[], int],
        mtu: int,
        lost: Callable[[str], None] | None = None,
        framing: str = "tap",
    ) -> None:
        """`take` opens the tap (or fetches it from where it was opened): a descriptor, ours from then on.

        description: for people; mtu: largest IP packet of the network, bytes; lost: is told when it has gone, and why;
        framing: "tap", or "seqpacket" for a socket whose messages are frames; of a tap it is seen whether it is
        "tap+vnet", or "tap+vnet+uso"
        """
        self._description = description
        self._take = take
        self._mtu = mtu
        self._on_lost = lost
        self._framing = framing
        self._host: LinkHost | None = None
        self._port: int | None = None

    def open(self, host: LinkHost) -> None:
        """Attach.  Raises LinkError."""
        self._host = host
        fd = self._take()
        try:
            if self._framing == "tap":
                self._framing = self._check(fd)
            os.set_blocking(fd, False)
        except BaseException:
            os.close(fd)
            raise
        try:
            self._port = host.attach(PortSpec(fd, self._framing, self._mtu, self._description), self._lost)
        except OSError as error:
            raise LinkError(error.errno, f"{self._description}: {error.strerror or error}") from None

    def close(self) -> None:
        """Let go of the tap; unless somebody has made it persistent, its interface goes with it."""
        if self._port is not None and self._host is not None:
            self._host.detach(self._port, "the network is shut down")
            self._port = None

    def describe(self) -> str:
        """The tap as the user would name it."""
        return self._description

    def _check(self, fd: int) -> str:
        """The framing of the tap `fd`.  Raises LinkError where it is none, or none of use."""
        try:
            tap = inspect_tap(fd)
            if not tap.vnet_header:
                return "tap"
            return "tap+vnet+uso" if take_offloads(fd) else "tap+vnet"
        except LinkError as error:
            raise LinkError(error.errno, f"{self._description}: {error.args[1]}") from None
        except OSError as error:
            raise LinkError(error.errno, f"{self._description}: no offloads: {error.strerror}") from None

    def _lost(self, reason: str) -> None:
        self._port = None
        _log.warning("%s: the tap is gone (%s)", self._description, reason)
        if self._on_lost is not None:
            self._on_lost(reason)


def duplicate(fd: int) -> int:
    """A descriptor that the caller goes on to own, for a link.  Raises LinkError where it is not open."""
    try:
        return os.dup(fd)
    except OSError as error:
        raise LinkError(error.errno, f"descriptor {fd}: {error.strerror}") from None
