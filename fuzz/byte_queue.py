"""Invariant tested: any sequence of operations leaves the bytes that the twin of tests/oracle has, within the budget,
and nothing is held when nothing is stored.

An operation is six bytes: what to do, a salt for the content, an offset or room, and a length, of 16 bits each.
"""

from __future__ import annotations

import struct

from pyslirp.engine.stores.byte_queue import _Queue
from tests.oracle.byte_queue import Stream

OPERATION = struct.Struct("<BBHH")
OPERATIONS = 150
CHUNK = 16384
LIMIT = 6 * CHUNK
RING_KEPT = 8
EVERYTHING = 2**64 - 1
PATTERN = bytes(range(251)) * 264


def fuzz(data: bytes) -> tuple[int, ...]:
    """One input: operations."""
    queue, stream = _Queue(LIMIT), Stream()
    count = min(len(data) // OPERATION.size, OPERATIONS)
    for verb, salt, offset, length in OPERATION.iter_unpack(data[: count * OPERATION.size]):
        operate(queue, stream, (verb % 7, offset), PATTERN[salt : salt + length % 40_000])
        assert (queue.head, queue.tail, queue.top) == (stream.head, stream.tail, stream.top)
        spanned = -(-queue.top // CHUNK) - queue.head // CHUNK if queue.top > queue.head else 0
        assert queue.held <= spanned
        assert queue.used_bytes == queue.held * CHUNK <= LIMIT
        assert spanned or queue.slots <= RING_KEPT
    assert b"".join(queue.peek(queue.head, EVERYTHING)) == stream.read(stream.head, EVERYTHING)
    return queue.held, queue.slots, queue.tail > queue.head, queue.top > queue.tail


def operate(queue: _Queue, stream: Stream, step: tuple[int, int], content: bytes) -> None:
    """One operation on both."""
    verb, offset = step
    if verb == 0:
        if queue.store(stream.tail + offset, content):
            stream.store(stream.tail + offset, content)
    elif verb == 1:
        stream.append(content[: queue.append(content)])
    elif verb == 2 and stream.top == stream.tail:  # nobody asks for room in a queue that stores ahead
        _, committed = queue.fill(offset, content)
        stream.append(content[:committed])
    elif verb == 3:
        tail = min(stream.contiguous(), stream.tail + offset)
        queue.extend(tail)
        stream.extend(tail)
    elif verb == 4:
        queue.consume(offset)
        stream.consume(offset)
    elif verb == 6:
        queue.pass_by(offset)
        stream.pass_by(offset)
    else:
        at = stream.head + offset
        assert b"".join(queue.peek(at, len(content))) == stream.read(at, len(content))
