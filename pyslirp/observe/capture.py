"""A capture of a running network: every frame of every port into one pcapng file, an interface each."""

from __future__ import annotations

import time
from collections.abc import Callable

from pyslirp._version import __version__
from pyslirp.observe.pcapng import PcapngWriter

#: Frames as (port, from the guest, ns, frame), and how many were lost in all.
Taken = tuple[list[tuple[int, bool, int, bytes]], int]


class Capture:
    """Moves captured frames to a file.  `active` is False once the file has failed; the network goes on."""

    def __init__(self, path: str, now: int, take: Callable[[], Taken]) -> None:
        """`now`: the engine's clock, which the frames bear; `take` gives the frames since it was last called.

        Raises OSError where the file cannot be made.
        """
        self._writer = PcapngWriter(path, version=__version__)
        self._take = take
        self._wall_ns = time.time_ns() - now  # engine time becomes the time of day
        self._interfaces: dict[int, int] = {}
        _, self._lost = take()  # what an earlier capture has left is not this one's

    @property
    def active(self) -> bool:
        """Are frames still written?"""
        return self._writer.active

    def add_port(self, port: int, name: str) -> None:
        """A port has come; a number that was used before is another interface now (`write` first)."""
        self._interfaces[port] = self._writer.interface(name)

    def write(self) -> None:
        """Take what there is and write it."""
        frames, lost = self._take()
        dropped, self._lost = lost - self._lost, lost
        for port, inbound, when, frame in frames:
            interface = self._interfaces.get(port)
            if interface is not None:
                self._writer.packet(interface, when + self._wall_ns, frame, inbound, dropped=dropped)
                dropped = 0
        self._lost -= dropped  # nobody has been told of these yet
        if frames:
            self._writer.flush()

    def close(self) -> None:
        """Write the rest and end the file."""
        self.write()
        self._writer.close()
