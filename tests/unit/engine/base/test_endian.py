from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from pyslirp.engine.stores.leaves import _load16, _load32, _store16, _store32


@given(st.integers(0, 2**16 - 1), st.integers(0, 3))
def test_16_bits_at_any_alignment(value: int, offset: int) -> None:
    assert _store16(value) == struct.pack("!H", value)
    assert _load16(bytes(offset) + struct.pack("!H", value), offset) == value


@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_32_bits_at_any_alignment(value: int, offset: int) -> None:
    assert _store32(value) == struct.pack("!I", value)
    assert _load32(bytes(offset) + struct.pack("!I", value), offset) == value
