"""Host forwarding at work: the rules that listen, and the clients that they bring.

A client's connection is taken from the kernel at once, but nothing is read from it before the guest has answered:
what the client sends early waits in its socket.  A guest that refuses has the client reset.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pyslirp.addresses import Endpoint, pack, unpack
from pyslirp.config.forward import ForwardKey, HostForward
from pyslirp.config.stack import Config
from pyslirp.engine.reactor import Engine
from pyslirp.errors import ForwardError
from pyslirp.events import FlowOpened, ForwardAdded, ForwardRemoved
from pyslirp.host.forward import bound_endpoint, open_forward
from pyslirp.nat.clients import Clients
from pyslirp.observe.bus import Bus

PORT_TRIES = 64  #: source ports tried where a client's own is in use towards that guest
DYNAMIC_PORTS = 49152, 16384  #: first and how many (RFC 6335 section 6)
PORT_STEP = 251  #: odd, so that it leads to every one of them


@dataclass(slots=True)
class Forward:
    """A rule that listens."""

    rule: HostForward  #: with the port that was really chosen
    listen: Endpoint
    token: int
    connections: int = 0  #: TCP clients so far


class Forwards:
    """The host forwarding rules of one network."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        inbound: dict[int, Callable[[int, bytes, int], None]],
        bus: Bus,
        next_token: Callable[[], int],
    ) -> None:
        """`inbound` is where the dispatcher looks up, by token, who is told of an accepted descriptor."""
        self._network = config.network
        self._default_guest = config.dhcp.default_guest(config.network)
        self._clients = Clients(config.network)
        self._engine = engine
        self._inbound = inbound
        self._bus = bus
        self._next_token = next_token
        self._rules: dict[ForwardKey, Forward] = {}

    def __iter__(self) -> Iterator[Forward]:
        return iter(tuple(self._rules.values()))

    def __len__(self) -> int:
        return len(self._rules)

    def add(self, rule: HostForward) -> Endpoint:
        """Listen for a rule; where, with the port that the host has chosen for port 0.

        Raises ForwardError in QEMU's words and with a remedy.
        """
        rule = rule.towards(self._default_guest)
        if not self._network.holds(rule.guest):
            why = f"{rule.guest} is not in the guests' net {self._network.nets}"
            raise ForwardError(None, f"Could not set up host forwarding rule '{rule}': {why}")
        opened = open_forward(str(rule), rule.protocol, rule.host, rule.host_port)
        listen = bound_endpoint(opened)
        rule = replace(rule, host_port=listen.port)
        forward = Forward(rule, listen, self._next_token())
        try:
            self._listen(forward, opened.fileno())
        except OSError as error:
            opened.close()
            text = f"Could not set up host forwarding rule '{rule}': {error.strerror}"
            raise ForwardError(error.errno, text) from None
        except BaseException:
            opened.close()
            raise
        opened.detach()
        self._rules[rule.key] = forward
        self._bus.publish(ForwardAdded(self._engine.now(), str(rule), listen))
        return listen

    def _listen(self, forward: Forward, descriptor: int) -> None:
        rule = forward.rule
        if rule.protocol == "udp":
            self._engine.add_datagram_listener(descriptor, pack(rule.guest), rule.guest_port, forward.token)
            return
        self._engine.add_listener(descriptor, forward.token)
        self._inbound[forward.token] = lambda fd, client, port: self._accepted(forward, fd, client, port)

    def remove(self, key: ForwardKey) -> bool:
        """Stop listening; established connections stay, UDP conversations end.  False: there is no such rule."""
        forward = self._rules.pop(key, None)
        if forward is None:
            return False
        self._inbound.pop(forward.token, None)
        self._engine.remove_listener(forward.token)
        self._bus.publish(ForwardRemoved(self._engine.now(), str(forward.rule)))
        return True

    def _accepted(self, forward: Forward, fd: int, client: bytes, client_port: int) -> None:
        """A client of a rule: the guest is connected to from its address."""
        far = self._clients.shown_as(client, pack(forward.rule.guest))
        try:
            flow, port = self._open(forward.rule, fd, far, client_port)
        except BaseException:
            os.close(fd)
            raise
        if not flow:
            os.close(fd)
            return
        forward.connections += 1
        if len(self._bus):
            ends = Endpoint(forward.rule.guest, forward.rule.guest_port), Endpoint(unpack(far), port)
            target = str(Endpoint(unpack(client), client_port))
            self._bus.publish(FlowOpened(self._engine.now(), flow, "tcp", *ends, target, inbound=True))

    def _open(self, rule: HostForward, fd: int, far: bytes, client_port: int) -> tuple[int, int]:
        """The flow, 0 where there is no room for one (counted in the engine), and the port that the guest sees."""
        for port in ports_to_try(client_port):
            flow = self._engine.open_inbound(fd, pack(rule.guest), rule.guest_port, far, port, 0)
            if flow:
                return flow, port
        return 0, 0


def ports_to_try(wanted: int = 0) -> Iterator[int]:
    """`wanted` (0: none), then some of the dynamic ports in no particular order."""
    if wanted:
        yield wanted
    first, count = DYNAMIC_PORTS
    start = int.from_bytes(os.urandom(2))
    for step in range(PORT_TRIES):
        yield first + (start + step * PORT_STEP) % count
