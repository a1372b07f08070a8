"""A guest and a gateway on a clean link, acquainted: for the tests of the modules that need both."""

from __future__ import annotations

from ipaddress import IPv4Address

from pyslirp.addresses import Endpoint, Mac
from pyslirp.sim.guest import Guest
from pyslirp.sim.host import Gateway
from pyslirp.sim.link import Link
from pyslirp.sim.segment import Options, Segment, Way, build_frame
from pyslirp.sim.world import World

FAR = IPv4Address("192.0.2.1")
OWN = IPv4Address("10.0.2.15")
UP = Way(Mac("52:54:00:12:34:56"), Endpoint(OWN, 40000), Mac("52:55:0a:00:02:02"), Endpoint(FAR, 80))


class Rig:
    def __init__(self, gateway: Gateway | None = None, guest: Guest | None = None, link: Link | None = None) -> None:
        self.gateway = gateway or Gateway()
        self.guest = guest or Guest(address=OWN, router=self.gateway.host)
        self.world = World()
        self.world.add(self.gateway, self.guest)
        self.world.connect(self.gateway.attach(), self.guest, link or Link.plain())
        if self.guest.address is not None:
            self.guest.ping(self.gateway.host, self.now)  # so that ARP is done
            self.world.settle()

    @property
    def now(self) -> int:
        return self.world.now


def frame(flags: str, seq: int, ack: int = 0, payload: bytes = b"", *, way: Way = UP, window: int = 1000) -> bytes:
    """A segment from the guest; a SYN announces an MSS of 100."""
    options = Options(mss=100) if "S" in flags else Options()
    return build_frame(Segment(flags, seq, ack, window, payload, options=options), way)
