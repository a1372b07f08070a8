"""DNS messages on a TCP stream: two bytes of length, then the message (RFC 1035 section 4.2.2)."""

from __future__ import annotations

MAX_BUFFER_BYTES = 2 * (2 + 0xFFFF)  #: two of the largest messages


class DnsStream:
    """What a guest has sent on one stream and nobody has taken yet."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> bool:
        """Keep `data`; False when the guest has sent more than MAX_BUFFER_BYTES ahead of its answers."""
        if len(self._buffer) + len(data) > MAX_BUFFER_BYTES:
            return False
        self._buffer += data
        return True

    def take(self) -> bytes | None:
        """The next whole message, or None."""
        end = 2 + int.from_bytes(self._buffer[:2], "big")
        if len(self._buffer) < max(end, 2):
            return None
        message = bytes(self._buffer[2:end])
        del self._buffer[:end]
        return message


def frame(message: bytes) -> bytes:
    """A message as it goes on a stream; it has 65,535 bytes at most, as every DNS message does."""
    return len(message).to_bytes(2, "big") + message
