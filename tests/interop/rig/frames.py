"""A guest made of bytes: speaks QEMU's framing on a stream socket, frame by frame, rightly or wrongly."""

from __future__ import annotations

import socket
import struct

from tests.interop.rig.conversation import receive_exactly
from tests.interop.rig.deadline import Deadline

LENGTH_BYTES = 4
SMALLEST_FRAME, LARGEST_FRAME = 14, 69_632  # an Ethernet header; QEMU's NET_BUFSIZE
BROADCAST = b"\xff" * 6
ARP = 0x0806


def framed(frame: bytes) -> bytes:
    """The frame behind its length."""
    return struct.pack("!I", len(frame)) + frame


def arp_request(mac: bytes, sender: str, target: str, to: bytes = BROADCAST) -> bytes:
    """Who has ``target``?  Tell ``sender`` (RFC 826).  ``to`` is the frame's destination."""
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    body += mac + socket.inet_aton(sender) + bytes(6) + socket.inet_aton(target)
    return to + mac + struct.pack("!H", ARP) + body


class FrameGuest:
    """The guest's end of one stream."""

    def __init__(self, stream: socket.socket, number: int = 1, address: str = "10.0.2.15") -> None:
        self.stream = stream
        self.mac = bytes([0x52, 0x54, 0, 0x12, 0x35, number])
        self.address = address

    def send(self, *frames: bytes) -> None:
        """Send frames, all in one write."""
        self.stream.sendall(b"".join(map(framed, frames)))

    def receive(self, seconds: float = 5.0) -> bytes:
        """The next frame."""
        self.stream.settimeout(seconds)
        head = receive_exactly(self.stream, LENGTH_BYTES)
        assert len(head) == LENGTH_BYTES, "the stream has ended"
        (length,) = struct.unpack("!I", head)
        assert SMALLEST_FRAME <= length <= LARGEST_FRAME
        frame = receive_exactly(self.stream, length)
        assert len(frame) == length, "the stream has ended inside a frame"
        return frame

    def ask(self, target: str, to: bytes = BROADCAST) -> None:
        """Send an ARP request for ``target``."""
        self.send(arp_request(self.mac, self.address, target, to))

    def mac_of(self, target: str, seconds: float = 5.0) -> bytes:
        """Ask, and wait for the answer; other frames are passed over."""
        self.ask(target)
        return self.answer_for(target, seconds)

    def answer_for(self, target: str, seconds: float = 5.0) -> bytes:
        """Wait for the ARP reply that says where ``target`` is."""
        deadline = Deadline(seconds)
        while not deadline.passed():
            frame = self.receive(max(0.01, deadline.left()))
            is_reply = frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2"
            if is_reply and frame[28:32] == socket.inet_aton(target):
                assert frame[:6] == self.mac
                return frame[22:28]
        raise AssertionError(f"{seconds:g} s without an ARP reply for {target}")

    def expect_end(self, seconds: float = 5.0) -> None:
        """The other side closes the stream."""
        self.stream.settimeout(seconds)
        try:
            while self.stream.recv(65536):
                pass
        except ConnectionResetError:
            pass  # it had not read all that we sent
