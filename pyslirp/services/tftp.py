"""The TFTP server of the guests' network: read only (RFC 1350, 2347, 2348, 2349, 7440; RFC 1123 section 4.2).

A request comes to port 69 of the gateway; the transfer has a port (TID) of its own, drawn at random, that is ours for as
long as it lasts (OpenPort).  The client is who has sent the request, by address and port: what anybody else sends to the
transfer's port gets an error and changes nothing.

A transfer sends a window of blocks (one, where the client has asked for no more) and waits for the acknowledgement of
the last it has got:

    acknowledged   everything up to that block; the window goes on behind it, with what was sent behind it once more
    already so     one block: ignored, or every block would be sent twice from then on (RFC 1123 section 4.2.3.1)
                   a window: its first block was lost; the window is sent again, once (RFC 7440 section 4)
    not at all     sent again after the timeout, which doubles up to RETRANSMIT_MAX_NS; after MAX_TRIES it is over

The option acknowledgement takes the place of block 0.  Block numbers wrap from 65535 to 0, so that a file may be of any
size.  Netascii changes the size of a file, so that its size is not told there (RFC 2349 section 3 speaks of octets).

Limits: MAX_TRANSFERS, each with a window of WINDOW_BYTES.  When there are too many, one that nobody has acknowledged
yet makes room, and where there is none the client is told to come back later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pyslirp.addresses import Address, Endpoint
from pyslirp.events import TransferEnded
from pyslirp.records import dataclass, field
from pyslirp.services.base import Action, Claim, ClosePort, Datagram, OpenPort, SendDatagram
from pyslirp.services.deadlines import Deadlines
from pyslirp.services.tftp_message import (
    BLOCKS,
    DEFAULT_BLOCK_BYTES,
    Code,
    MalformedError,
    Request,
    build_data,
    build_error,
    build_oack,
    is_error,
    read_ack,
    read_request,
    to_netascii,
)

PORT = 69
SECOND_NS = 1_000_000_000
FIRST_PORT, PORTS = 49152, 16384  #: of transfers (RFC 6335 section 6)
MAX_TRANSFERS = 64
MAX_TRIES = 6  #: of one window
WINDOW_BYTES = 262_144  #: of one transfer, under way
WINDOW_BLOCKS = 64
RETRANSMIT_NS = 1 * SECOND_NS  #: first, where the client asks for no other timeout
RETRANSMIT_MAX_NS = 8 * SECOND_NS
HEADERS = {4: 20 + 8 + 4, 6: 40 + 8 + 4}  #: IP, UDP and TFTP, by the version of IP

COUNTERS = (
    *(f"received.{word}" for word in ("rrq", "ack", "error")),
    *(f"sent.{word}" for word in ("data", "oack", "error")),
    *(f"ended.{word}" for word in ("done", "given_up", "aborted", "replaced", "read_failed")),
    "retransmitted",
    "drop.busy",  # too many transfers
    "drop.malformed",
    "drop.refused",  # a file that cannot be had
    "drop.write",  # a request to write
    "drop.stranger",  # sent to a transfer's port by somebody else
    "drop.unexpected",  # neither an acknowledgement nor an error, or one of what was not sent
)


class File(Protocol):
    """An open file."""

    size: int  #: bytes

    def read(self, most: int) -> bytes:
        """The next `most` bytes, fewer only at the end.  Raises OSError."""

    def close(self) -> None:
        """Read no more.  May be called twice."""


class Files(Protocol):
    """The folder that is served."""

    def open(self, name: bytes) -> File:
        """Open a file by the name that a client gives.

        Raises PermissionError for what guests must not read, FileNotFoundError, NotADirectoryError, or another OSError.
        """


@dataclass(slots=True)
class _Transfer:
    client: Endpoint
    server: Endpoint  #: our end, with the transfer's own port
    name: str
    file: File
    netascii: bool
    block_bytes: int
    window: int  #: blocks
    first_timeout_ns: int
    fixed_timeout: bool  #: the client has chosen it
    timeout_ns: int  #: of what is under way
    acknowledged: int = 0  #: the last block
    unacknowledged: deque[bytes] = field(default_factory=deque)  #: packets, the first for block `acknowledged` + 1
    ended: bool = False  #: the last block has been read
    started: bool = False  #: something has been acknowledged
    again: bool = False  #: the window was sent again because its first block was missing
    tries: int = 1
    sent_bytes: int = 0
    waiting: bytearray = field(default_factory=bytearray)  #: text beyond what the last block has held


class TftpService:
    """TFTP on UDP port 69 of the gateway."""

    name = "tftp"

    def __init__(
        self, addresses: Sequence[Address], files: Files, mtu: Callable[[], int], random: Callable[[], int]
    ) -> None:
        """`mtu`: of the network, bytes; `random`: numbers from 0 to 65535."""
        self._addresses = tuple(addresses)
        self._files = files
        self._mtu = mtu
        self._random = random
        self._transfers: dict[int, _Transfer] = {}  # by port
        self._by_client: dict[Endpoint, _Transfer] = {}
        self._deadlines: Deadlines[int] = Deadlines()
        self._counters = dict.fromkeys(COUNTERS, 0)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Port 69 of the gateway."""
        return tuple(Claim("udp", address, PORT) for address in self._addresses)

    def handle(self, datagram: Datagram, now: int) -> list[Action]:
        """A request, or a packet to the port of a transfer."""
        if datagram.destination.port == PORT:
            return self._request(datagram, now)
        transfer = self._transfers.get(datagram.destination.port)
        if transfer is None or transfer.client != datagram.source:
            if is_error(datagram.payload):  # an error is never answered with another
                return []
            self._counters["drop.stranger"] += 1
            return [self._error(datagram, Code.UNKNOWN_TRANSFER, "Unknown transfer ID")]
        if is_error(datagram.payload):
            self._counters["received.error"] += 1
            return self._end(transfer, "aborted", now)
        block = read_ack(datagram.payload)
        if block is None:
            self._counters["drop.unexpected"] += 1
            return []
        self._counters["received.ack"] += 1
        return self._acknowledged(transfer, block, now)

    def deadline(self) -> int | None:
        """When something is to be sent again."""
        return self._deadlines.earliest()

    def expire(self, now: int) -> list[Action]:
        """Send again what was not acknowledged in time."""
        actions: list[Action] = []
        for port in self._deadlines.due(now):
            transfer = self._transfers[port]
            if transfer.tries >= MAX_TRIES:
                actions += self._end(transfer, "given_up", now)
                continue
            transfer.tries += 1
            if not transfer.fixed_timeout:
                transfer.timeout_ns = min(2 * transfer.timeout_ns, RETRANSMIT_MAX_NS)
            actions += self._send_again(transfer, now)
        return actions

    def close(self) -> None:
        """Close every file."""
        for transfer in self._transfers.values():
            transfer.file.close()

    def snapshot(self) -> dict[str, Any]:
        """Transfers and counters."""
        transfers = [
            {
                "guest": str(transfer.client),
                "name": transfer.name,
                "size": transfer.file.size,
                "sent": transfer.sent_bytes,
                "blksize": transfer.block_bytes,
                "windowsize": transfer.window,
            }
            for transfer in self._transfers.values()
        ]
        return {"transfers": transfers, "counters": dict(self._counters)}

    # ------------------------------------------------------------------------------------------------------ requests

    def _request(self, datagram: Datagram, now: int) -> list[Action]:
        try:
            request = read_request(datagram.payload)
        except MalformedError as error:
            self._counters["drop.malformed"] += 1
            return [] if is_error(datagram.payload) else [self._error(datagram, error.code, error.text)]
        if request.write:
            self._counters["drop.write"] += 1
            return [self._error(datagram, Code.ACCESS_VIOLATION, "Access violation: the files can only be read")]
        self._counters["received.rrq"] += 1
        before = self._by_client.get(datagram.source)
        actions: list[Action] = []
        if before is not None:
            if not before.started and before.name == _shown(request.name):  # our answer was lost, or is slow
                return self._send_again(before, now)
            actions = self._end(before, "replaced", now)
        if len(self._transfers) >= MAX_TRANSFERS:
            room = self._make_room(now)
            if not room:
                self._counters["drop.busy"] += 1
                return [*actions, self._error(datagram, Code.UNDEFINED, "too many transfers; try again later")]
            actions += room
        try:
            file = self._files.open(request.name)
        except OSError as error:
            self._counters["drop.refused"] += 1
            code, text = _refusal(error)
            ended = TransferEnded(now, datagram.source, _shown(request.name), 0, text)
            return [*actions, ended, self._error(datagram, code, text)]
        return actions + self._begin(datagram, request, file, now)

    def _make_room(self, now: int) -> list[Action]:
        """End the oldest transfer that nobody has acknowledged yet."""
        for transfer in self._transfers.values():
            if not transfer.started:
                return self._end(transfer, "replaced", now)
        return []

    def _begin(self, datagram: Datagram, request: Request, file: File, now: int) -> list[Action]:
        options = self._granted(request, file, datagram.destination.address.version)
        block_bytes = options.get("blksize", DEFAULT_BLOCK_BYTES)
        seconds = options.get("timeout")
        timeout_ns = RETRANSMIT_NS if seconds is None else seconds * SECOND_NS
        transfer = _Transfer(
            datagram.source,
            Endpoint(datagram.destination.address, self._free_port()),
            _shown(request.name),
            file,
            request.netascii,
            block_bytes,
            options.get("windowsize", 1),
            timeout_ns,
            seconds is not None,
            timeout_ns,
        )
        self._transfers[transfer.server.port] = transfer
        self._by_client[transfer.client] = transfer
        opened = OpenPort(transfer.server, self)
        if options:
            transfer.acknowledged = -1
            transfer.unacknowledged.append(build_oack(options))
            self._counters["sent.oack"] += 1
            return [opened, *self._send(transfer, now)]
        try:
            self._fill(transfer)
        except OSError:
            return [opened, *self._read_failed(transfer, now)]
        return [opened, *self._send(transfer, now)]

    def _granted(self, request: Request, file: File, version: int) -> dict[str, int]:
        """What is granted of the options, in the order in which they were asked for."""
        granted: dict[str, int] = {}
        most = self._mtu() - HEADERS[version]
        block_bytes = min(request.options.get("blksize", DEFAULT_BLOCK_BYTES), most)
        for name, value in request.options.items():
            if name == "blksize":
                granted[name] = block_bytes
            elif name == "windowsize":
                granted[name] = max(1, min(value, WINDOW_BLOCKS, WINDOW_BYTES // block_bytes))
            elif name == "timeout":
                granted[name] = value
            elif not request.netascii:
                granted[name] = file.size
        return granted

    def _free_port(self) -> int:
        start = self._random()
        return next(
            port for step in range(PORTS) if (port := FIRST_PORT + (start + step) % PORTS) not in self._transfers
        )

    # ----------------------------------------------------------------------------------------------------- transfers

    def _acknowledged(self, transfer: _Transfer, block: int, now: int) -> list[Action]:
        count = (block - transfer.acknowledged) % BLOCKS
        if count == 0:
            if transfer.window == 1 or transfer.again:
                return []
            transfer.again = True
            return self._send_again(transfer, now)
        if count > len(transfer.unacknowledged):
            self._counters["drop.unexpected"] += 1
            return []
        transfer.started = True
        transfer.again = False
        transfer.tries = 1
        transfer.timeout_ns = transfer.first_timeout_ns
        transfer.acknowledged += count
        for _ in range(count):
            transfer.unacknowledged.popleft()
        lost = len(transfer.unacknowledged)
        self._counters["retransmitted"] += lost
        if transfer.ended and not lost:
            return self._end(transfer, "done", now)
        try:
            self._fill(transfer)
        except OSError:
            return self._read_failed(transfer, now)
        return self._send(transfer, now)

    def _fill(self, transfer: _Transfer) -> None:
        """Read blocks until the window is full.  Raises OSError."""
        while len(transfer.unacknowledged) < transfer.window and not transfer.ended:
            data = self._next_block(transfer)
            transfer.ended = len(data) < transfer.block_bytes
            transfer.sent_bytes += len(data)
            block = transfer.acknowledged + len(transfer.unacknowledged) + 1
            transfer.unacknowledged.append(build_data(block, data))

    def _next_block(self, transfer: _Transfer) -> bytes:
        if not transfer.netascii:
            return transfer.file.read(transfer.block_bytes)
        while len(transfer.waiting) < transfer.block_bytes:
            data = transfer.file.read(transfer.block_bytes)
            if not data:
                break
            transfer.waiting += to_netascii(data)
        block = bytes(transfer.waiting[: transfer.block_bytes])
        del transfer.waiting[: transfer.block_bytes]
        return block

    def _send(self, transfer: _Transfer, now: int) -> list[Action]:
        """Send what is not acknowledged, and wait for that."""
        self._deadlines.set(transfer.server.port, now + transfer.timeout_ns)
        self._counters["sent.data"] += len(transfer.unacknowledged) - (transfer.acknowledged < 0)
        return [SendDatagram(transfer.server, transfer.client, packet) for packet in transfer.unacknowledged]

    def _send_again(self, transfer: _Transfer, now: int) -> list[Action]:
        self._counters["retransmitted"] += len(transfer.unacknowledged)
        return self._send(transfer, now)

    def _read_failed(self, transfer: _Transfer, now: int) -> list[Action]:
        self._counters["sent.error"] += 1
        packet = build_error(Code.UNDEFINED, "the file cannot be read")
        failed = SendDatagram(transfer.server, transfer.client, packet)
        return [failed, *self._end(transfer, "read_failed", now)]

    def _end(self, transfer: _Transfer, how: str, now: int) -> list[Action]:
        self._counters[f"ended.{how}"] += 1
        transfer.file.close()
        del self._transfers[transfer.server.port]
        if self._by_client.get(transfer.client) is transfer:
            del self._by_client[transfer.client]
        self._deadlines.cancel(transfer.server.port)
        ended = TransferEnded(now, transfer.client, transfer.name, transfer.sent_bytes, how.replace("_", " "))
        return [ClosePort(transfer.server), ended]

    def _error(self, datagram: Datagram, code: Code, text: str) -> SendDatagram:
        self._counters["sent.error"] += 1
        return SendDatagram(datagram.destination, datagram.source, build_error(code, text))


def _refusal(error: OSError) -> tuple[Code, str]:
    """Why a file is not sent, as the client is told."""
    if isinstance(error, PermissionError):
        return Code.ACCESS_VIOLATION, "Access violation"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Code.NOT_FOUND, "File not found"
    return Code.UNDEFINED, "the file cannot be opened"


def _shown(name: bytes) -> str:
    """A file's name for people: what a guest may have put into it cannot do anything in a terminal."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
