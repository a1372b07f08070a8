"""The flows that guests open towards the host's world: what is decided of each is carried out here, and taken back.

Who decides is asked once (nat/targets.py, guestfwd.py) and says a Verdict; the engine keeps to it for as long as the flow
lives.  Here a verdict becomes a socket of the host, or the answer that the guest deserves, and an event.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from pyslirp.addresses import Endpoint, unpack
from pyslirp.engine.reactor import Engine
from pyslirp.events import FlowDenied, FlowOpened
from pyslirp.flows import ends_of
from pyslirp.observe.bus import Bus
from pyslirp.observe.log import RateLimited
from pyslirp.verdicts import NUMBERS, PROTOCOLS, TCP, UDP, Allow, Attach, Deny, FlowName, How, Verdict

PROHIBITED = Deny(How.PROHIBITED, "ping sockets are not permitted")

_log = RateLimited(logging.getLogger("pyslirp.outbound"))


class Outbound:
    """Carries out what `decide` says of each flow."""

    def __init__(self, engine: Engine, bus: Bus, decide: Callable[[FlowName], Verdict]) -> None:
        self._engine = engine
        self._core = engine.core
        self._bus = bus
        self._decide = decide
        self._told_of_ping = False

    def open(self, flow: int, name: FlowName) -> None:
        """A guest has opened a flow."""
        verdict = self._decide(name)
        if isinstance(verdict, Allow):
            verdict = self._connect(flow, name, verdict) or verdict
        elif isinstance(verdict, Attach):
            verdict = self._attach(flow, name, verdict) or verdict
        if isinstance(verdict, Deny):
            now = self._engine.now()
            self._core.deny(flow, verdict.how, now)
            if len(self._bus):
                self._bus.publish(FlowDenied(now, PROTOCOLS[name.protocol], *ends_of(name), verdict.reason))

    def cut(self) -> int:
        """End the flows of guests that would be refused, were they new, TCP by a reset both ways; how many there were."""
        ended = 0
        for flow in self._core.flows():
            if not (flow["inbound"] or flow["served"] or flow["waiting"]) and self._is_denied(flow):
                self._core.close_flow(flow["flow"], self._engine.now())
                ended += 1
        return ended

    def _is_denied(self, flow: dict[str, Any]) -> bool:
        """Would this flow of a guest to a host socket be refused, were it new?  One that was denied before is not cut."""
        name = FlowName(NUMBERS[flow["protocol"]], flow["guest"], flow["guest_port"], flow["far"], flow["far_port"])
        return flow["state"] != "denied" and isinstance(self._decide(name), Deny)

    def _connect(self, flow: int, name: FlowName, verdict: Allow) -> Deny | None:
        """Open the host's side; a Deny where it cannot be (where the host refuses a socket, the engine has said so)."""
        if name.protocol == TCP:
            error = self._engine.connect_stream(flow, verdict.address, verdict.port, flow)
        elif name.protocol == UDP:
            error = self._engine.connect_datagram(flow, verdict.address, verdict.port, flow)
        else:
            try:
                error = self._engine.connect_echo(flow, verdict.address, flow)
            except PermissionError:
                self._tell_of_ping()
                return PROHIBITED
        if error:
            return Deny(How.SILENT, os.strerror(error))
        if len(self._bus):
            self._opened(flow, name, str(Endpoint(unpack(verdict.address), verdict.port)))
        return None

    def _attach(self, flow: int, name: FlowName, verdict: Attach) -> Deny | None:
        """Give a flow the socket that its verdict makes; a Deny where that cannot be."""
        try:
            descriptor = verdict.open(flow)
        except OSError as error:
            _log.warning("%s: %s", verdict.target, error.strerror)
            return Deny(How.RESET, f"{verdict.target}: {error.strerror}")
        if error_number := self._engine.attach_stream(flow, descriptor, flow):
            os.close(descriptor)
            return Deny(How.SILENT, os.strerror(error_number))
        if len(self._bus):
            self._opened(flow, name, verdict.target)
        return None

    def _opened(self, flow: int, name: FlowName, target: str) -> None:
        now = self._engine.now()
        self._bus.publish(FlowOpened(now, flow, PROTOCOLS[name.protocol], *ends_of(name), target, inbound=False))

    def _tell_of_ping(self) -> None:
        if not self._told_of_ping:
            self._told_of_ping = True
            _log.warning(
                "guests' pings are refused: this user may not open ping sockets; widen the range of the sysctl "
                "net.ipv4.ping_group_range, e.g. to '0 2147483647'"
            )
