"""Invariant tested: whatever guests send to the TFTP server, a client gets the file it asked for, in order, or an error.

An input is a sequence of packets: a byte of client (two bits), of kind (two bits) and of time to pass before (four
bits, seconds), two bytes of length, the packet.  A kind sends the packet to port 69, to the port of the client's own
transfer, to that of another client's, or acknowledges what the client has got last.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from ipaddress import IPv4Address

from pyslirp.addresses import Endpoint, Mac
from pyslirp.events import TransferEnded
from pyslirp.services.base import Action, ClosePort, Datagram, OpenPort, SendDatagram
from pyslirp.services.tftp import MAX_TRANSFERS, PORT, WINDOW_BLOCKS, TftpService

HOST = IPv4Address("10.0.2.2")
SECOND_NS = 1_000_000_000
FILES = {b"a": b"", b"b": bytes(range(256)) * 9, b"c": bytes(70_000)}
MTU = 576


class _File:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self.size = len(content)
        self.open = True

    def read(self, most: int) -> bytes:
        """As the host's."""
        assert self.open
        at, self._at = self._at, self._at + most
        return self._content[at : self._at]

    def close(self) -> None:
        """As the host's."""
        self.open = False


class _Folder:
    def __init__(self) -> None:
        self.opened: list[_File] = []

    def open(self, name: bytes) -> _File:
        """As the host's."""
        if name not in FILES:
            raise FileNotFoundError
        self.opened.append(_File(FILES[name]))
        return self.opened[-1]


def fuzz(data: bytes) -> Hashable:
    """One input: a sequence of packets; what it gives are the counters that moved."""
    folder, now = _Folder(), 0
    service = TftpService((HOST,), folder, lambda: MTU, lambda: 7)
    ports: dict[int, int] = {}  # of each client's transfer
    heard: dict[int, bytes] = {}  # what each client was sent last
    for first, payload in packets(data):
        client = first & 3
        now += (first >> 4) * SECOND_NS
        sent = check(service.expire(now), ports, heard)
        assert sent <= MAX_TRANSFERS * WINDOW_BLOCKS
        kind = first >> 2 & 3
        port = PORT if kind == 0 else ports.get(client if kind != 2 else (client + 1) & 3, 1)
        packet = b"\0\4" + heard.get(client, b"")[2:4].ljust(2, b"\0") if kind == 3 else payload
        guest = Endpoint(IPv4Address("10.0.2.15"), 1000 + client)
        datagram = Datagram(0, Mac(b"\x52" * 6), guest, Endpoint(HOST, port), packet)
        assert check(service.handle(datagram, now), ports, heard) <= WINDOW_BLOCKS + 1
        deadline = service.deadline()
        assert deadline is None or deadline > now
        assert sum(file.open for file in folder.opened) == len(service.snapshot()["transfers"]) <= MAX_TRANSFERS
    counters = service.snapshot()["counters"]
    service.close()
    return frozenset(name for name, count in counters.items() if count)


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The packets of an input, cut short where it ends."""
    while len(data) >= 3:
        end = 3 + int.from_bytes(data[1:3], "big")
        yield data[0], data[3:end]
        data = data[end:]


def check(actions: list[Action], ports: dict[int, int], heard: dict[int, bytes]) -> int:
    """Each action is one that the service may take; how many packets are sent."""
    sent = 0
    for action in actions:
        if isinstance(action, SendDatagram):
            sent += 1
            assert action.source.address == HOST
            opcode = int.from_bytes(action.payload[:2], "big")
            assert opcode in (3, 5, 6)
            assert len(action.payload) <= max(4 + 512, MTU - 28)
            client = action.destination.port - 1000
            if opcode != 5:
                ports[client] = action.source.port
                heard[client] = action.payload
        else:
            assert isinstance(action, OpenPort | ClosePort | TransferEnded)
    return sent
