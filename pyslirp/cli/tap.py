"""The options for a guest behind a tap: ``--netns PID|PATH``, ``--tap NAME|fd:N``, ``--configure``."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from pyslirp.config.stack import Config
from pyslirp.config.tap import DEFAULT_TAP_NAME, NetnsAddress, TapAddress
from pyslirp.errors import ConfigError, LinkError
from pyslirp.records import dataclass

if TYPE_CHECKING:
    from pyslirp.host.errand import Errand
    from pyslirp.loops.plain import PlainLoop
    from pyslirp.stack import Stack


def add_tap(parser: argparse.ArgumentParser) -> None:
    """Add the options to `parser`."""
    group = parser.add_argument_group("a guest behind a tap")
    group.add_argument(
        "--netns",
        metavar="PID|PATH",
        help="make the tap in the network namespace of a process, with whose end the network ends, or of a file",
    )
    group.add_argument("--userns", metavar="PATH", help="user namespace to join before (default: the owner of --netns)")
    group.add_argument(
        "--tap",
        metavar="NAME|fd:N",
        help=f"the tap's name (default {DEFAULT_TAP_NAME}; without --netns, in this namespace), or an open one",
    )
    group.add_argument(
        "--configure", action="store_true", help="give the tap its address and route, as DHCP would, and set it up"
    )


@dataclass(frozen=True, slots=True)
class TapRequest:
    """A tap that was asked for."""

    tap: TapAddress
    netns: NetnsAddress | None
    userns: str | None
    configure: bool

    def __str__(self) -> str:
        return f"{self.tap} in {self.netns}" if self.netns is not None else str(self.tap)

    @classmethod
    def read(cls, namespace: argparse.Namespace) -> TapRequest | None:
        """What the options ask for; None: no tap.  Raises ConfigError for what cannot be."""
        if namespace.tap is None and namespace.netns is None:
            for option in ("userns", "configure"):
                if getattr(namespace, option):
                    raise ConfigError(option, None, "there is no tap that it could be for", "give --netns or --tap")
            return None
        netns = NetnsAddress.parse(namespace.netns) if namespace.netns is not None else None
        if netns is None and namespace.userns is not None:
            raise ConfigError("userns", namespace.userns, "there is no namespace that it could own", "give --netns")
        tap = TapAddress.parse(namespace.tap if namespace.tap is not None else DEFAULT_TAP_NAME)
        if tap.kind == "fd" and (netns is not None or namespace.configure):
            reason = "a descriptor is a tap already: --netns and --configure are for one that is made"
            raise ConfigError("tap", str(tap), reason)
        return cls(tap, netns, namespace.userns, namespace.configure)


class Tap:
    """A tap on its way to become a link: begun before the engine is imported, because both take a moment."""

    def __init__(self, request: TapRequest, config: Config) -> None:
        """Raises LinkError where the process of --netns is not there."""
        from pyslirp.provision import first_guest  # noqa: PLC0415 - who has no tap need not wait for it
        from pyslirp.taps import open_inside  # noqa: PLC0415

        self._request = request
        self._errand: Errand | None = None
        self._process: int | None = None
        self.config = config  #: in which DHCP keeps the address of a configured tap for it
        settings = None
        if request.configure:
            self.config, settings = first_guest(config)
        if request.netns is not None and request.netns.kind == "pid":
            self._process = _open_process(request.netns.pid)
        if request.tap.kind == "name":
            netns = request.netns.file if request.netns is not None else None
            self._errand = open_inside(netns, request.tap.name, settings, request.userns)

    def attach(self, stack: Stack, loop: PlainLoop, *, alone: bool) -> None:
        """Make it a link of `stack`; `loop` ends with the namespace's process, and, if it is `alone`, with the tap.

        Raises LinkError.
        """
        from pyslirp.links.tap import TapLink  # noqa: PLC0415

        def lost(reason: str) -> None:
            del reason
            if alone:
                loop.stop()

        stack.open_link(TapLink(str(self._request), self._take, stack.mtu, lost))
        if self._process is not None:
            stack.watch(self._process, loop.stop)

    def _take(self) -> int:
        if self._errand is None:
            from pyslirp.links.tap import duplicate  # noqa: PLC0415

            return duplicate(self._request.tap.fd)
        descriptor = self._errand.fetch()
        self._errand.finish()
        return descriptor


def _open_process(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise LinkError(error.errno, f"--netns {pid}: {error.strerror}; is the process still there?") from None
