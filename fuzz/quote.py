"""Invariant tested: what is taken of a quoted packet lies in it, where dpkt finds it; what is refused is none.

An input is the body of an ICMP error: a packet's first bytes.
"""

from __future__ import annotations

from collections.abc import Hashable

from pyslirp.engine.codecs.quote import _quote_parse
from tests.oracle import quote


def fuzz(data: bytes) -> Hashable:
    """One input: a quote."""
    read = _quote_parse(data)
    assert read == quote.read(data)
    return None if read is None else (read["protocol"], data[0])
