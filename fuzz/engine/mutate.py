"""New inputs from old ones: the usual mutations of byte strings, drawn from one seeded generator.

Everything here is a function of the generator's state and the pool, so a seed replays a whole run.  Integers are
written big-endian, as all protocols here do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

MAX_BYTES = 70_000  #: no mutation makes more: just over the largest frame that a stream link carries (69,632)
MAX_STEPS = 6  #: mutations on top of one another for one input
MAX_CHUNK = 64  #: bytes that one step inserts of its own making
DELTA = 35  #: how far a step moves a number (AFL's figure)

# Where parsers change their mind: ends of the integer types, and lengths of headers, frames and datagrams.
EDGES = (
    0,
    1,
    4,
    5,
    7,
    8,
    13,
    14,
    15,
    19,
    20,
    21,
    27,
    28,
    40,
    60,
    63,
    64,
    65,
    127,
    128,
    191,
    192,
    240,
    255,
    256,
    511,
    512,
    576,
    1279,
    1280,
    1499,
    1500,
    1514,
    4095,
    4096,
    8191,
    32767,
    32768,
    65507,
    65515,
    65520,
    65535,
    65536,
    69632,
    69633,
    2**31 - 1,
    2**31,
    2**32 - 1,
)


class Mutator:
    """Mutates members of a pool with `rng`; `words` are byte strings that the format knows."""

    def __init__(self, rng: Random, words: Sequence[bytes] = ()) -> None:
        self._rng = rng
        self._words = list(words)
        self._steps: list[Callable[[bytearray], None]] = [
            self._flip_bit,
            self._set_byte,
            self._add,
            self._write_edge,
            self._write_length,
            self._insert,
            self._delete,
            self._duplicate,
            self._truncate,
            self._swap,
        ]
        if self._words:
            self._steps += [self._write_word, self._insert_word]

    def mutate(self, pool: Sequence[bytes]) -> bytes:
        """A new input from one or two members of `pool` (which must not be empty)."""
        rng = self._rng
        data = bytearray(rng.choice(pool))
        if len(pool) > 1 and rng.random() < 0.15:
            self._splice(data, rng.choice(pool))
        for _ in range(rng.randint(1, MAX_STEPS)):
            rng.choice(self._steps)(data)
        return bytes(data[:MAX_BYTES])

    def _at(self, data: bytearray, room: int = 1) -> int:
        """A place with `room` bytes after it where there is one, else 0.  Half of them are near the front: headers."""
        last = max(0, len(data) - room)
        return self._rng.randint(0, min(last, 64) if self._rng.random() < 0.5 else last)

    def _chunk(self, data: bytearray) -> tuple[int, int]:
        start = self._at(data)
        return start, min(len(data), start + self._rng.choice((1, 2, 4, 8, 16, 32, 64, 256, 1024)))

    def _write(self, data: bytearray, value: int, *, width: int | None = None) -> None:
        width = width or self._rng.choice((1, 2, 4))
        at = self._at(data, width)
        data[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "big")

    def _flip_bit(self, data: bytearray) -> None:
        if data:
            data[self._at(data)] ^= 1 << self._rng.randrange(8)

    def _set_byte(self, data: bytearray) -> None:
        if data:
            data[self._at(data)] = self._rng.randrange(256)

    def _add(self, data: bytearray) -> None:
        width = self._rng.choice((1, 2, 4))
        if len(data) >= width:
            at = self._at(data, width)
            value = int.from_bytes(data[at : at + width], "big") + self._rng.randint(-DELTA, DELTA)
            data[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "big")

    def _write_edge(self, data: bytearray) -> None:
        self._write(data, self._rng.choice(EDGES))

    def _write_length(self, data: bytearray) -> None:
        """A number that is, or just misses, what is left of the input."""
        self._write(
            data,
            len(data) - self._at(data) + self._rng.choice((-4, -2, -1, 0, 1, 2, 4)),
            width=self._rng.choice((1, 2, 4)),
        )

    def _insert(self, data: bytearray) -> None:
        at = self._at(data)
        count = self._rng.randint(1, MAX_CHUNK)
        data[at:at] = bytes(count) if self._rng.random() < 0.3 else self._rng.randbytes(count)

    def _delete(self, data: bytearray) -> None:
        start, end = self._chunk(data)
        del data[start:end]

    def _duplicate(self, data: bytearray) -> None:
        start, end = self._chunk(data)
        times = self._rng.choice((1, 1, 1, 2, 4, 16))
        if len(data) + (end - start) * times <= MAX_BYTES:
            data[end:end] = data[start:end] * times

    def _truncate(self, data: bytearray) -> None:
        del data[self._at(data) :]

    def _swap(self, data: bytearray) -> None:
        (one, one_end), (other, other_end) = sorted((self._chunk(data), self._chunk(data)))
        if one_end <= other:
            data[:] = data[:one] + data[other:other_end] + data[one_end:other] + data[one:one_end] + data[other_end:]

    def _splice(self, data: bytearray, other: bytes) -> None:
        """The front of one input, the back of another."""
        del data[self._rng.randint(0, len(data)) :]
        data += other[self._rng.randint(0, len(other)) :]

    def _write_word(self, data: bytearray) -> None:
        word = self._rng.choice(self._words)
        at = self._at(data, len(word))
        data[at : at + len(word)] = word

    def _insert_word(self, data: bytearray) -> None:
        at = self._at(data)
        data[at:at] = self._rng.choice(self._words)
