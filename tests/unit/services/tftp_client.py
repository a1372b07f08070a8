"""A TFTP client against the service alone, one packet at a time, and a folder that lies in memory."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from pyslirp.addresses import Endpoint, Mac
from pyslirp.events import TransferEnded
from pyslirp.services.base import Action, ClosePort, Datagram, OpenPort, SendDatagram
from pyslirp.services.tftp import PORT, TftpService

HOST, HOST6 = IPv4Address("10.0.2.2"), IPv6Address("fec0::2")
GUEST = Endpoint(IPv4Address("10.0.2.15"), 2000)
MAC = Mac("52:54:00:12:34:56")
SECOND = 1_000_000_000


class FakeFile:
    """Content, or a file of that size whose content is a pattern; reading fails when it is told to."""

    def __init__(self, content: bytes | int) -> None:
        self._content = content
        self.size = content if isinstance(content, int) else len(content)
        self.at = 0
        self.closed = False
        self.fails = False

    def read(self, most: int) -> bytes:
        if self.fails:
            raise OSError(5, "Input/output error")
        at, self.at = self.at, min(self.at + most, self.size)
        return bytes(self.at - at) if isinstance(self._content, int) else self._content[at : self.at]

    def close(self) -> None:
        self.closed = True


class FakeFolder:
    def __init__(self) -> None:
        self.contents: dict[bytes, bytes | int] = {}
        self.refusals: dict[bytes, OSError] = {}
        self.opened: list[FakeFile] = []

    def open(self, name: bytes) -> FakeFile:
        if name in self.refusals:
            raise self.refusals[name]
        if name not in self.contents:
            raise FileNotFoundError(2, "No such file or directory")
        self.opened.append(FakeFile(self.contents[name]))
        return self.opened[-1]


class House:
    """A service with its folder, and what it has done."""

    def __init__(self, mtu: int = 1500, **files: bytes | int) -> None:
        self.folder = FakeFolder()
        self.folder.contents = {name.encode(): content for name, content in files.items()}
        self.numbers = 0
        self.service = TftpService((HOST, HOST6), self.folder, lambda: mtu, self._random)
        self.now = 0
        self.ports: set[Endpoint] = set()
        self.ended: list[TransferEnded] = []

    def _random(self) -> int:
        self.numbers += 7919
        return self.numbers & 0xFFFF

    def take(self, actions: Iterable[Action]) -> list[SendDatagram]:
        """What is sent; ports and events are noted."""
        sent = []
        for action in actions:
            if isinstance(action, SendDatagram):
                sent.append(action)
            elif isinstance(action, OpenPort):
                assert action.service is self.service
                self.ports.add(action.endpoint)
            elif isinstance(action, ClosePort):
                self.ports.remove(action.endpoint)
            else:
                assert isinstance(action, TransferEnded)
                self.ended.append(action)
        return sent

    def send(self, payload: bytes, port: int = PORT, source: Endpoint = GUEST) -> list[SendDatagram]:
        to = HOST if source.address.version == 4 else HOST6
        return self.take(self.service.handle(Datagram(0, MAC, source, Endpoint(to, port), payload), self.now))

    def wait(self) -> list[SendDatagram]:
        """Let the next deadline come."""
        due = self.service.deadline()
        assert due is not None
        self.now = due
        return self.take(self.service.expire(self.now))

    def count(self, name: str) -> int:
        counters: dict[str, int] = self.service.snapshot()["counters"]
        return counters[name]


class Client:
    """One download."""

    def __init__(self, house: House, name: str, mode: str = "octet", source: Endpoint = GUEST, **options: int) -> None:
        self.house = house
        self.source = source
        words = [name, mode, *(str(word) for pair in options.items() for word in pair)]
        self.request = b"\0\1" + b"".join(word.encode() + b"\0" for word in words)
        self.sent = self.begin()

    def begin(self) -> list[SendDatagram]:
        """Send the request (again)."""
        self.sent = self.house.send(self.request, source=self.source)
        return self.sent

    @property
    def packets(self) -> list[bytes]:
        """What came last."""
        return [datagram.payload for datagram in self.sent]

    @property
    def port(self) -> int:
        """The transfer's."""
        (port,) = {datagram.source.port for datagram in self.sent}
        return port

    @property
    def granted(self) -> dict[str, int]:
        """Of the option acknowledgement, which is what came last."""
        (packet,) = self.packets
        assert packet[:2] == b"\0\6"
        words = packet[2:].decode().split("\0")[:-1]
        return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}

    def acknowledge(self, block: int, port: int | None = None) -> list[bytes]:
        """What comes of an acknowledgement."""
        port = self.port if port is None else port
        sent = self.house.send(b"\0\4" + (block & 0xFFFF).to_bytes(2, "big"), port, self.source)
        if sent:
            self.sent = sent
        return [datagram.payload for datagram in sent]

    def download(self, block_bytes: int = 512) -> bytes:
        """All of it, every window acknowledged."""
        content = b""
        block = 0
        port = self.port
        if self.packets[0][:2] == b"\0\6":
            block_bytes = self.granted.get("blksize", 512)
            self.acknowledge(0, port)
        while True:
            packets = self.packets
            for packet in packets:
                block += 1
                assert packet[:4] == b"\0\3" + (block & 0xFFFF).to_bytes(2, "big")
                content += packet[4:]
            last = packets[-1]
            more = self.acknowledge(block, port)
            if len(last) < 4 + block_bytes:
                assert not more
                return content
