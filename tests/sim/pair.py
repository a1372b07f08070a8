"""A guest and a gateway, an impaired link between them, an auditor on it: the rig of the tests in this folder.

    pair = Pair(seed, mtu=1500, there=Impairments(loss=0.02))
    ours, theirs = pair.transfer(up=1_000_000, down=1_000_000)
    pair.run(lambda: pair.over(ours, theirs))
    pair.check_outcome(ours, theirs)

While it runs, the state of both sides is checked after every instant, and every segment by the auditor.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

from pyslirp.addresses import Endpoint, pack
from pyslirp.sim.apps import Transfer, pattern
from pyslirp.sim.audit import Auditor
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.faults import Impairments, impaired
from pyslirp.sim.guest import Guest
from pyslirp.sim.host import Gateway
from pyslirp.sim.link import Link, Pipe
from pyslirp.sim.stream import Stream
from pyslirp.sim.world import End, World

SEEDS = range(int(os.environ.get("PYSLIRP_SIM_SEEDS", "2")))  # `make sim` runs many
FAR = IPv4Address("192.0.2.1")
PORT = 80
PATIENCE_NS = 3600 * SECOND_NS
DELAY = Pipe(delay_ns=2 * MILLISECOND_NS)


def with_mtu(impairments: Impairments, mtu: int) -> Impairments:
    return replace(impairments, pipe=replace(impairments.pipe, mtu=mtu))


class Valve:
    """An end whose frames can be held back, as those of a link that takes no more."""

    def __init__(self, end: End) -> None:
        self._end = end
        self.shut = False

    def deliver(self, frames: list[bytes], now: int) -> None:
        self._end.deliver(frames, now)

    def collect(self) -> list[bytes]:
        return [] if self.shut else self._end.collect()


class Pair:
    def __init__(
        self,
        seed: int = 0,
        *,
        mtu: int = 1500,
        there: Impairments | None = None,
        back: Impairments | None = None,
        audit: bool = True,
        keep: bool = True,
        congestion: str = "bbr",
        ecn: bool = False,
    ) -> None:
        self.mtu = mtu
        self.seed = seed
        self.world = World()
        self.gateway = Gateway(seed * 2 + 2, mtu=mtu, congestion=congestion, ecn=ecn)
        self.guest = Guest(
            seed * 2 + 1,
            mtu=mtu,
            address=self.gateway.net.network_address + 15,
            router=self.gateway.host,
            congestion=congestion,
            ecn=ecn,
        )
        self.world.add(self.gateway, self.guest)
        self.auditor = Auditor(mtu, keep=keep)
        self.audit = audit
        self.link = Link.plain(mtu)
        self.valves = {"host": Valve(self.gateway.attach()), "guest": Valve(self.guest)}
        self.world.connect(self.valves["host"], self.valves["guest"], self.link)
        self._meet()
        self.change_link(there or Impairments(DELAY), back)

    def _meet(self) -> None:
        """Guest and gateway learn of each other, before the link is made bad: ARP gives up after three requests."""
        ping = self.guest.ping(self.gateway.host, self.world.now)
        self.world.settle()
        assert ping.rtt_ns == 0

    def stuff(self, side: str) -> None:
        """Shut that side's valve, and fill the queue before it with datagrams: TCP finds no room in it."""
        self.valves[side].shut = True
        assert self.guest.address is not None
        to, filling, now = Endpoint(self.guest.address, 9), bytes(self.mtu - 28), self.world.now
        if side == "host":
            ends = pack(FAR), 9, pack(to.address), to.port
            while self.gateway.core.send_udp(*ends, filling, now) or self.gateway.core.send_udp(*ends, b"", now):
                pass
        else:
            while self.guest.send_udp(9, Endpoint(FAR, 9), filling, now):
                pass

    def made_link(self, there: Impairments, back: Impairments | None = None) -> Link:
        """There: to the guest; back: from it."""
        made = impaired(with_mtu(there, self.mtu), self.seed, back=None if back is None else with_mtu(back, self.mtu))
        return self.auditor.watch(made) if self.audit else made

    def change_link(self, there: Impairments, back: Impairments | None = None) -> None:
        """Another link takes the place of this one; what was under way is lost."""
        made = self.made_link(there, back)
        self.world.replace(self.link, made)
        self.link = made

    # -- connections --------------------------------------------------------------------------------------------------

    def connect(self, guest: Transfer, host: Transfer, port: int = PORT) -> Stream:
        """The guest opens a connection; who serves it is `host`."""
        self.gateway.listen(port, lambda: host)
        guest.stream = self.guest.connect(FAR, port, self.world.now, guest)
        return guest.stream

    def transfer(self, up: int, down: int, *, stalled: bool = False) -> tuple[Transfer, Transfer]:
        """The applications of a connection that carries so many bytes from the guest and to it: guest's and host's."""
        guest = Transfer(pattern(self.seed * 2 + 1, up), stalled=stalled)
        host = Transfer(pattern(self.seed * 2 + 2, down), stalled=stalled)
        self.connect(guest, host)
        return guest, host

    # -- running ------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Does the state of both sides agree with itself?"""
        for name, core in (("gateway", self.gateway.core), ("guest", self.guest.core)):
            unsound = core._unsound()
            assert not unsound, f"{name} at {self.world.now} ns: {unsound}"

    def run(self, done: Callable[[], bool], limit_ns: int = PATIENCE_NS) -> bool:
        def look() -> bool:
            self.check()
            return done()

        return self.world.run_until(look, limit_ns)

    def rest(self, duration_ns: int) -> None:
        self.run(lambda: False, duration_ns)

    # -- what must hold -----------------------------------------------------------------------------------------------

    @staticmethod
    def over(guest: Transfer, host: Transfer) -> bool:
        """Are both sides done?  One that was never reached is."""
        return guest.closed is not None and (host.closed is not None or host.stream is None)

    def check_outcome(self, guest: Transfer, host: Transfer) -> str:
        """The bytes have arrived exactly, or the connection was reset and they are a beginning; how it ended."""
        for receiver, sender in ((guest, host), (host, guest)):
            assert sender.data.startswith(bytes(receiver.received)), "other bytes than were sent"
            if receiver.closed == "closed":
                assert len(receiver.received) == len(sender.data), f"closed after {len(receiver.received)} bytes"
        return guest.closed or "open"

    def check_empty(self) -> None:
        """Nothing is left behind: no flow, no timer, no buffer."""
        for core in (self.gateway.core, self.guest.core):
            memory = core.memory()
            left = {name: memory[name] for name in ("flows", "timers", "buffer_bytes") if memory[name]}
            assert not left, left
