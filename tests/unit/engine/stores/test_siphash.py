from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.engine.stores.siphash import _siphash
from tests.oracle.siphash import siphash13

words = st.integers(0, 2**64 - 1)


@given(st.binary(max_size=300), words, words)
def test_any_message_under_any_key(data: bytes, key0: int, key1: int) -> None:
    assert _siphash(data, key0, key1) == siphash13(data, key0, key1)


def test_cpython_agrees() -> None:
    """CPython hashes bytes with SipHash-1-3; PYTHONHASHSEED=0 is the key of all zeros."""
    if sys.hash_info.algorithm != "siphash13":
        pytest.skip(f"this CPython hashes with {sys.hash_info.algorithm}")
    messages = [bytes(range(length)) for length in range(1, 70)]
    program = f"for message in {messages!r}: print(hash(message) % 2**64)"
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": "0"},
                          capture_output=True, text=True, check=True)
    assert [_siphash(message, 0, 0) for message in messages] == [int(line) for line in done.stdout.split()]


def test_the_key_matters() -> None:
    keys = {(key, 0) for key in range(64)} | {(0, key) for key in range(64)}
    assert len({_siphash(b"flow", *key) for key in keys}) == len(keys)
