"""Host forwarding at work: the rules that listen, and the clients that they bring.

A client's connection is taken from the kernel at once, but nothing is read from it before the guest has answered: what the
client sends early waits in its socket.  A guest that refuses has the client reset.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pyslirp.addresses import Endpoint, pack
from pyslirp.config.forward import ForwardKey, HostForward
from pyslirp.config.stack import Config
from pyslirp.engine.reactor import Engine
from pyslirp.errors import ForwardError
from pyslirp.events import Event, FlowOpened, ForwardAdded, ForwardRemoved
from pyslirp.host.forward import bound_endpoint, open_forward
from pyslirp.nat.clients import shown_as

PORT_TRIES = 64  #: source ports tried where a client's own is in use towards that guest
DYNAMIC_PORTS = 49152, 16384  #: first and how many (RFC 6335 section 6)


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
        inbound: dict[int, Callable[[int, Endpoint], None]],
        publish: Callable[[Event], None],
        next_token: Callable[[], int],
    ) -> None:
        """`inbound` is where the dispatcher looks up who is told of an accepted descriptor, by token."""
        self._config = config
        self._engine = engine
        self._inbound = inbound
        self._publish = publish
        self._next_token = next_token
        self._rules: dict[ForwardKey, Forward] = {}

    def __iter__(self) -> Iterator[Forward]:
        return iter(self._rules.values())

    def add(self, rule: HostForward) -> Endpoint:
        """Listen for a rule; where, with the port that the host has chosen for port 0.

        Raises ForwardError in QEMU's words and with a remedy.
        """
        rule = rule.towards(self._config.dhcp.start)
        if rule.guest not in self._config.network.net:
            why = f"{rule.guest} is not in the guests' net {self._config.network.net}"
            raise ForwardError(None, f"Could not set up host forwarding rule '{rule}': {why}")
        opened = open_forward(str(rule), rule.protocol, rule.host, rule.host_port)
        listen = bound_endpoint(opened)
        rule = replace(rule, host_port=listen.port)
        forward = Forward(rule, listen, self._next_token())
        if rule.protocol == "tcp":
            self._inbound[forward.token] = lambda fd, client: self._accepted(forward, fd, client)
            self._engine.add_listener(opened.detach(), forward.token)
        else:
            self._engine.add_datagram_listener(opened.detach(), pack(rule.guest), rule.guest_port, forward.token)
        self._rules[rule.key] = forward
        self._publish(ForwardAdded(self._engine.now(), str(rule), listen))
        return listen

    def remove(self, key: ForwardKey) -> bool:
        """Stop listening; established connections stay.  False: there is no such rule."""
        forward = self._rules.pop(key, None)
        if forward is None:
            return False
        self._inbound.pop(forward.token, None)
        self._engine.remove_listener(forward.token)
        self._publish(ForwardRemoved(self._engine.now(), str(forward.rule)))
        return True

    def _accepted(self, forward: Forward, fd: int, client: Endpoint) -> None:
        """A client of a rule: the guest is connected to from its address."""
        address = shown_as(pack(client.address), self._config.network.net, self._config.network.host)
        guest = Endpoint(forward.rule.guest, forward.rule.guest_port)
        for port in ports_to_try(client.port):
            flow = self._engine.open_inbound(fd, pack(guest.address), guest.port, pack(address), port, 0)
            if flow:
                forward.connections += 1
                far = Endpoint(address, port)
                self._publish(FlowOpened(self._engine.now(), flow, "tcp", guest, far, str(client), inbound=True))
                return
        os.close(fd)  # the flow table is full: counted there


def ports_to_try(wanted: int = 0) -> list[int]:
    """`wanted` (0: none), then some of the dynamic ports in no particular order."""
    first, count = DYNAMIC_PORTS
    start = int.from_bytes(os.urandom(2))
    dynamic = [first + (start + step * 251) % count for step in range(PORT_TRIES)]
    return [wanted, *dynamic] if wanted else dynamic
