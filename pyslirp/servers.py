"""What of the guests' network lives in this process: servers that guests reach, and connections to guests.

A server has an endpoint.  One inside the net gives its address to the network (ARP or ND, ping), for as long as the network
lives; one outside is taken over for that port only.  Servers are asked before the address plan (nat/targets.py), so that
``restrict=on`` leaves them.  The services' TCP (DNS) goes the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from pyslirp.addresses import Address, Endpoint, pack
from pyslirp.config.network import NetworkConfig
from pyslirp.dispatch import Dispatcher, ServiceStream
from pyslirp.engine.core.core import Core
from pyslirp.errors import ClosedError, SlirpError
from pyslirp.events import FlowOpened
from pyslirp.flows import DatagramHandler, ServedDatagrams, ServedStream, StreamHandler, ends_of
from pyslirp.forwards import ports_to_try
from pyslirp.nat.targets import Targets
from pyslirp.observe.bus import Bus
from pyslirp.verdicts import PROTOCOLS, TCP, UDP, FlowName

MAX_PORT = 65535
HANDLER = "handler"  #: what events call a target in this process

StreamFactory = Callable[[ServedStream], StreamHandler]


class Servers:
    """The servers of one network."""

    def __init__(
        self,
        network: NetworkConfig,
        taken: Container[Address],
        core: Core,
        clock: Callable[[], int],
        dispatcher: Dispatcher,
        targets: Targets,
        bus: Bus,
    ) -> None:
        """`taken`: the gateway, and what other addresses of the network are our own already."""
        self._network = network
        self._taken = taken
        self._own: set[Address] = set()
        self._core = core
        self._clock = clock
        self._dispatcher = dispatcher
        self._targets = targets
        self._bus = bus
        self._streams: dict[tuple[bytes, int], StreamFactory] = {}
        self._datagrams: dict[tuple[bytes, int], DatagramHandler] = {}

    # -- servers ------------------------------------------------------------------------------------------------------

    def serve_stream(self, endpoint: Endpoint, factory: StreamFactory) -> None:
        """Answer guests' TCP connections to `endpoint` here.

        Raises SlirpError where something is served there already or a guest has the address, ValueError for no port.
        """
        key = self._free(endpoint, self._streams)
        if self._dispatcher.stream_service(*key) is not None:
            raise SlirpError(f"{endpoint} is served already")
        self._take(endpoint.address)
        self._streams[key] = factory

    def unserve_stream(self, endpoint: Endpoint) -> None:
        """Answer no more new connections to `endpoint`."""
        self._streams.pop((pack(endpoint.address), endpoint.port), None)

    def serve_datagrams(self, endpoint: Endpoint, handler: DatagramHandler) -> None:
        """Answer guests' UDP to `endpoint` here.  As serve_stream; what a service has claimed goes to that."""
        key = self._free(endpoint, self._datagrams)
        self._take(endpoint.address)
        self._datagrams[key] = handler

    def unserve_datagrams(self, endpoint: Endpoint) -> None:
        """Begin no more conversations with `endpoint`."""
        self._datagrams.pop((pack(endpoint.address), endpoint.port), None)

    def _free(self, endpoint: Endpoint, served: Container[tuple[bytes, int]]) -> tuple[bytes, int]:
        self._check(endpoint)
        key = (pack(endpoint.address), endpoint.port)
        if key in served:
            raise SlirpError(f"{endpoint} is served already")
        return key

    def take(self, protocol: str, endpoint: Endpoint) -> None:
        """Make the address of `endpoint` the network's own, for what answers there is elsewhere.

        Raises SlirpError where something here answers at that endpoint, where a guest has the address, and where it
        cannot be a server's.
        """
        raw = pack(endpoint.address)
        streams = protocol == "tcp"
        if (raw, endpoint.port) in (self._streams if streams else self._datagrams) or (
            streams and self._dispatcher.stream_service(raw, endpoint.port) is not None
        ):
            raise SlirpError(f"{endpoint} is served already")
        if not self._network.holds(endpoint.address):
            raise SlirpError(f"{endpoint.address} is not in the guests' net {self._network.nets}")
        self._take(endpoint.address)

    def _take(self, address: Address) -> None:
        """Answer ARP or Neighbour Discovery, and ping, for an address of the network."""
        if not self._network.holds(address) or address in self._taken or address in self._own:
            return
        if self._network.has_no_host(address):
            raise SlirpError(f"{address} cannot be a server's address in {self._network.nets}")
        raw = pack(address)
        if any(neighbor["address"] == raw for neighbor in self._core.neighbors() if neighbor["reachable"]):
            raise SlirpError(f"{address} is the address of a guest; choose one outside the DHCP pool")
        try:
            self._core.add_address(raw)
        except ValueError as error:
            raise SlirpError(f"{address} cannot be added: {error}") from None
        self._own.add(address)
        self._targets.add_server(raw)

    # -- flows --------------------------------------------------------------------------------------------------------

    def answer(self, flow: int, name: FlowName) -> bool:
        """Serve this new flow of a guest, if anything here does; False: it goes elsewhere."""
        key = (name.far, name.far_port)
        if name.protocol == TCP:
            factory = self._streams.get(key)
            if factory is None:
                factory = self._service(key)
            if factory is None:
                return False
            stream = ServedStream(self._core, self._clock, flow, *ends_of(name))
            stream.handler = factory(stream)
            self._dispatcher.streams[flow] = stream
        else:
            handler = self._datagrams.get(key) if name.protocol == UDP else None
            if handler is None:
                return False
            conversation = ServedDatagrams(self._core, self._clock, flow, *ends_of(name), handler)
            self._dispatcher.conversations[flow] = conversation
        self._core.serve(flow, flow, self._clock())
        if len(self._bus):
            self._publish(flow, PROTOCOLS[name.protocol], *ends_of(name), inbound=False)
        return True

    def _service(self, key: tuple[bytes, int]) -> StreamFactory | None:
        service = self._dispatcher.stream_service(*key)
        if service is None:
            return None
        return lambda stream: ServiceStream(self._dispatcher, service, stream, self._clock)

    def connect(
        self, guest: Endpoint, factory: StreamFactory, source: Endpoint | None = None, target: str = HANDLER
    ) -> ServedStream:
        """Connect to a guest's port from this process; `source` (default: the gateway, a free port) is whom it sees.

        target: what events call this end.  The handler's `connected` or `closed` follows.  Raises SlirpError for an
        address outside the net or of no host and when no source port is free, ValueError for no port.
        """
        self._check(guest)
        why = self._network.why_no_guest(guest.address)  # RFC 9293 MUST-46
        if why:
            raise SlirpError(why)
        far = source or Endpoint(self._network.gateway(guest.address.version), 0)
        for port in ports_to_try(far.port):
            flow = self._core.open(pack(guest.address), guest.port, pack(far.address), port, 0, self._clock())
            if flow:
                return self._connecting(flow, guest, Endpoint(far.address, port), factory, target)
        raise SlirpError(f"no source port is free for a connection to {guest}")

    def _connecting(
        self, flow: int, guest: Endpoint, far: Endpoint, factory: StreamFactory, target: str
    ) -> ServedStream:
        stream = ServedStream(self._core, self._clock, flow, guest, far)
        try:
            stream.handler = factory(stream)
        except BaseException:
            stream.abort()
            raise
        self._dispatcher.streams[flow] = stream
        if len(self._bus):
            self._publish(flow, PROTOCOLS[TCP], guest, far, inbound=True, target=target)
        return stream

    def _check(self, endpoint: Endpoint) -> None:
        if self._dispatcher.over:
            raise ClosedError("the network has been closed")
        if not 0 < endpoint.port <= MAX_PORT:
            raise ValueError(f"port {endpoint.port}: 1 to {MAX_PORT} is possible")

    def _publish(
        self, flow: int, protocol: str, guest: Endpoint, far: Endpoint, *, inbound: bool, target: str = HANDLER
    ) -> None:
        self._bus.publish(FlowOpened(self._clock(), flow, protocol, guest, far, target, inbound))
