"""The Python face of a world: what the stack, the simulator and the tests call.

Addresses are 16 engine bytes (pyslirp.addresses.pack), MAC addresses 6 bytes (exactly `bytes`: no subclass), times
nanoseconds on the caller's clock, flows the handles that punts carry.
"""

from typing import Any, Final, Literal, Self, TypeAlias, final

KIND_FLOW: Final = 1
KIND_DATAGRAM: Final = 2
KIND_CONNECTED: Final = 3
KIND_READABLE: Final = 4
KIND_WRITABLE: Final = 5
KIND_FINISHED: Final = 6
KIND_CLOSED: Final = 7
KIND_MESSAGE: Final = 8
KIND_LINK: Final = 9
KIND_WATCH: Final = 10
KIND_INBOUND: Final = 11
KIND_CONNECT: Final = 12
KIND_STRANGER: Final = 13
KIND_SOLICITATION: Final = 14

# How `deny` refuses: a TCP reset, an ICMP unreachable of that code (for UDP RESET means port), or not at all.
REFUSE_RESET: int
REFUSE_PORT: int
REFUSE_HOST: int
REFUSE_NET: int
REFUSE_PROHIBITED: int
REFUSE_SILENT: int

REASONS: tuple[str, ...]  # by the reason of a CLOSED punt
NEIGHBOR_STATES: tuple[str, ...]
PROTOCOLS: dict[int, str]
TCP_STATES: tuple[str, ...]

# -- punts: what `Core.punts` returns, told apart by their first item ----------------------------------------------------

_Key: TypeAlias = tuple[
    int, bytes, int, bytes, int
]  # protocol, guest, its port, far end as the guest sees it, its port

# A first packet waits for a verdict (serve, deny, or the engine's attach): flow, key, its TTL, switch port.
_FlowPunt: TypeAlias = tuple[Literal[1], int, _Key, int, int]
# A datagram that somebody has claimed: switch port, source MAC, key (guest: its source, far: its destination), payload.
# Protocol 1, where forwarding is off: the answer to a ping, with the identifier and sequence number as ports.
_DatagramPunt: TypeAlias = tuple[Literal[2], int, bytes, _Key, bytes]
# Of a served stream: CONNECTED (handshake done), READABLE, WRITABLE (there is room again after a write was cut short),
# FINISHED (the guest will send no more, and all it sent has been read): flow, tag.
_StreamPunt: TypeAlias = tuple[Literal[3, 4, 5, 6], int, int]
# A flow is gone, and somebody awaits that (`Core.observed`): flow, tag, key, reason (an index of REASONS), bytes to the
# host, bytes to the guest, opened towards the guest.
_ClosedPunt: TypeAlias = tuple[Literal[7], int, int, _Key, int, int, int, bool]
# A datagram of a served flow: flow, tag, payload (of a ping: the whole ICMP message).
_MessagePunt: TypeAlias = tuple[Literal[8], int, int, bytes]
# A port has lost its link: port, why (0: end of file; -1: a frame of a bad length; else errno), that length.
_LinkPunt: TypeAlias = tuple[Literal[9], int, int, int]
# A watched descriptor is ready: token, epoll events.
_WatchPunt: TypeAlias = tuple[Literal[10], int, int]
# A forwarding listener has accepted: token of the rule, descriptor, address and port of the client.
_InboundPunt: TypeAlias = tuple[Literal[11], int, int, bytes, int]
# The host's connect of a flow has ended: flow, errno (0: it has succeeded).
_ConnectPunt: TypeAlias = tuple[Literal[12], int, int]

# A remote has begun a datagram flow (a client of a UDP forwarding rule): flow, key, the remote's own address and port.
_StrangerPunt: TypeAlias = tuple[Literal[13], int, _Key, bytes, int]
# A guest looks for routers: switch port, source MAC, its address (all zero: it has none yet).
_SolicitationPunt: TypeAlias = tuple[Literal[14], int, bytes, bytes]

_Punt: TypeAlias = (
    _FlowPunt
    | _DatagramPunt
    | _StreamPunt
    | _ClosedPunt
    | _MessagePunt
    | _LinkPunt
    | _WatchPunt
    | _InboundPunt
    | _ConnectPunt
    | _StrangerPunt
    | _SolicitationPunt
)

@final
class Core:
    def __new__(cls, seed: bytes, mac: bytes, *, mtu: int = 1500, forwarding: bool = True) -> Self: ...
    def set_families(self, ipv4: bool, ipv6: bool) -> None: ...
    def set_network(self, net: bytes, prefix: int) -> None: ...
    def set_router(self, router: bytes) -> None: ...
    def set_mtu(self, mtu: int) -> None: ...
    def set_congestion(self, name: str) -> None: ...
    def set_ecn(self, asks: bool) -> None: ...
    def add_address(self, address: bytes) -> None: ...
    def clear_addresses(self) -> None: ...
    def claim_udp(self, address: bytes | None, port: int) -> None: ...
    def add_port(self, mtu: int, burst: int = 0, offload: bool = False, uso: bool = False) -> int: ...
    def remove_port(self, port: int) -> None: ...
    def deliver(self, port: int, frames: list[bytes], now: int) -> None: ...
    def run(self, now: int, budget: int = 1024) -> bool: ...
    def next_deadline(self) -> int | None: ...
    def collect(self, port: int, most: int = ...) -> list[bytes]: ...
    def punts(self) -> list[_Punt]: ...
    @property
    def observed(self) -> bool: ...
    @observed.setter
    def observed(self, value: bool) -> None: ...
    @property
    def capturing(self) -> bool: ...
    @capturing.setter
    def capturing(self, value: bool) -> None: ...
    def captured(self) -> tuple[list[tuple[int, bool, int, bytes]], int]: ...
    def serve(self, flow: int, tag: int, now: int) -> None: ...
    def deny(self, flow: int, how: int, now: int) -> None: ...
    def open(self, guest: bytes, guest_port: int, far: bytes, far_port: int, tag: int, now: int) -> int: ...
    def stream_read(self, flow: int, most: int, now: int) -> bytes: ...
    def stream_write(self, flow: int, data: bytes, urgent: bool = False) -> int: ...
    def stream_urgent(self, flow: int) -> int: ...
    def stream_waiting(self, flow: int) -> int: ...
    def stream_finish(self, flow: int) -> None: ...
    def close_flow(self, flow: int, now: int) -> None: ...
    def datagram_reply(self, flow: int, data: bytes, now: int) -> bool: ...
    def send_udp(
        self,
        source: bytes,
        source_port: int,
        to: bytes,
        to_port: int,
        payload: bytes,
        now: int,
        mac: bytes | None = None,
        port: int = -1,
    ) -> bool: ...
    def send_icmp(self, source: bytes, to: bytes, kind: int, code: int, rest: int, body: bytes, now: int) -> bool: ...
    def send_icmp6(
        self,
        source: bytes,
        to: bytes,
        kind: int,
        code: int,
        body: bytes,
        now: int,
        mac: bytes | None = None,
        port: int = -1,
    ) -> bool: ...
    def learn(self, address: bytes, mac: bytes, now: int) -> None: ...
    def counters(self) -> dict[str, int]: ...
    def memory(self) -> dict[str, int]: ...
    def set_memory(self, limit: int) -> None: ...
    def _unsound(self) -> list[tuple[int, str]]: ...
    def ports(self) -> list[dict[str, int]]: ...
    def neighbors(self) -> list[dict[str, Any]]: ...
    def flows(self, most: int = ...) -> list[dict[str, Any]]: ...
    def flow(self, flow: int) -> dict[str, Any]: ...
