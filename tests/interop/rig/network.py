"""A namespace guest that is up: attached to a backend, with a lease, in the middle of the topology."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.rig.backend import Backend, Forward, Pyslirp, start_backend
from tests.interop.rig.guest import take_lease
from tests.interop.rig.netns_guest import NetnsGuest
from tests.interop.rig.topology import GATEWAY, Topology

TCP_FORWARD = Forward(port=2222, guest_port=22)
UDP_FORWARD = Forward(port=2223, guest_port=23, protocol="udp")
OPEN_TCP_FORWARD = Forward(port=2224, guest_port=24, address="0.0.0.0")
OPEN_UDP_FORWARD = Forward(port=2225, guest_port=25, protocol="udp", address="0.0.0.0")
FORWARDS = (TCP_FORWARD, UDP_FORWARD, OPEN_TCP_FORWARD, OPEN_UDP_FORWARD)


@dataclass(frozen=True)
class Network:
    """One guest, its backend, and the machines around them."""

    guest: NetnsGuest
    backend: Backend
    topology: Topology
    lease: dict[str, str]
    gateway: str = GATEWAY

    @property
    def pyslirp(self) -> Pyslirp:
        """The backend, in tests that are marked ``pyslirp``."""
        assert isinstance(self.backend, Pyslirp)
        return self.backend


@contextmanager
def network(
    backend_name: str, topology: Topology, folder: Path, mtu: int = 1500, extra: Sequence[str] = ()
) -> Iterator[Network]:
    """Start everything, and take it down again; the guest's interface has ``mtu`` from the start."""
    backend = start_backend(backend_name, topology.host, folder, FORWARDS, mtu, extra)
    try:
        guest = NetnsGuest("guest", topology.lab, folder, mtu=mtu)
        try:
            backend.attach(guest)
            yield Network(guest, backend, topology, take_lease(guest))
        finally:
            guest.close()
    finally:
        backend.close()
