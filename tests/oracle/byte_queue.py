"""A stream of bytes with holes, kept byte by byte: what was stored, and whether it was."""

from __future__ import annotations


class Stream:
    """Bytes by absolute offset; `head` to `tail` may be read, up to `top` something is stored."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.present = bytearray()  #: 1 for each byte of `content` that was stored
        self.head = self.tail = self.top = 0

    def store(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        missing = max(0, end - len(self.content))
        self.content += bytes(missing)
        self.present += bytes(missing)
        self.content[offset:end] = data
        self.present[offset:end] = b"\1" * len(data)
        if data:
            self.top = max(self.top, end)

    def append(self, data: bytes) -> None:
        self.store(self.tail, data)
        self.tail += len(data)

    def contiguous(self) -> int:
        """One past the last byte that can be reached from `tail` without a hole."""
        hole = self.present.find(0, self.tail, self.top)
        return self.top if hole < 0 else hole

    def extend(self, tail: int) -> None:
        self.tail = max(self.tail, min(tail, self.top))

    def pass_by(self, length: int) -> None:
        """Bytes that were consumed without ever being here; only where nothing waits to be consumed."""
        if self.head == self.tail:
            self.store(self.tail, bytes(length))
            self.tail += length
            self.head = self.tail

    def consume(self, length: int) -> None:
        self.head = min(self.head + length, self.tail)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.content[max(offset, self.head) : min(offset + length, self.tail)])
