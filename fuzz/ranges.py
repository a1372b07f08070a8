"""Invariant tested: any sequence of operations leaves the set that the twin of tests/oracle has, sorted and merged.

An operation is four bytes: what to do, an offset of 16 bits, a length.
"""

from __future__ import annotations

import struct

from pyslirp.engine.stores.ranges import _Set
from tests.oracle.ranges import Ranges

OPERATION = struct.Struct("<BHB")
OPERATIONS = 80  #: the twin counts every number up to OFFSETS; more adds time and no state
OFFSETS = 512


def fuzz(data: bytes) -> tuple[int, int]:
    """One input: operations."""
    ranges, twin = _Set(), Ranges()
    count = min(len(data) // OPERATION.size, OPERATIONS)
    for verb, offset, length in OPERATION.iter_unpack(data[: count * OPERATION.size]):
        at = offset % OFFSETS
        if verb % 8 == 0:
            ranges.drop_below(at)
            twin.drop_below(at)
        else:
            assert ranges.add(at, at + length % 64) == twin.add(at, at + length % 64)
        assert ranges.find(at) == twin.find(at)
        assert ranges.after(at) == twin.after(at)
        assert ranges.items() == twin.items()
    assert ranges.covered() == twin.covered()
    assert (ranges.room == 0) == (not ranges.items())
    return len(ranges.items()), ranges.room
