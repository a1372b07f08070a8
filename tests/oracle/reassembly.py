"""Reassembly of one datagram, from the words of RFC 791 section 3.2 and RFC 8200 section 4.5, with nothing clever.

All fragments that have come are kept as they are, and looked through again for each new one.
"""

from __future__ import annotations

from typing import NamedTuple

MAXIMUM = 65535


class Fragment(NamedTuple):
    """One fragment, its header reduced to its length."""

    header_bytes: int
    start: int
    payload: bytes
    more: bool

    @property
    def end(self) -> int:
        return self.start + len(self.payload)


class Datagram:
    """What has come of one datagram."""

    def __init__(self) -> None:
        self.fragments: list[Fragment] = []
        self.dropped = False

    def add(self, new: Fragment) -> tuple[str, bytes | None]:
        """The name of the status, and the payload once it is whole."""
        if not new.payload or (new.more and len(new.payload) % 8):
            return "fragment.malformed", None
        if self.dropped:
            return "fragment.overlap", None
        status = self.judge(new)
        if status != "fragment.received":
            self.dropped = True
            return status, None
        if (new.start, new.payload) not in [(one.start, one.payload) for one in self.fragments]:
            self.fragments.append(new)
        whole = self.whole()
        return ("fragment.received", None) if whole is None else ("fragment.reassembled", whole)

    def judge(self, new: Fragment) -> str:
        known = [*self.fragments, new]
        header_bytes = max([20, *(one.header_bytes for one in known if one.start == 0)])
        if header_bytes + max(one.end for one in known) > MAXIMUM:
            return "fragment.too_big"
        ends = {one.end for one in known if not one.more}
        if len(ends) > 1 or any(one.end > end or (one.more and one.end == end) for one in known for end in ends):
            return "fragment.overlap"
        for one in self.fragments:
            if (one.start, one.payload) == (new.start, new.payload):
                continue  # a duplicate
            if one.start < new.end and new.start < one.end:
                return "fragment.overlap"
        return "fragment.received"

    def whole(self) -> bytes | None:
        payload = b""
        for one in sorted(self.fragments, key=lambda fragment: fragment.start):
            if one.start != len(payload):
                return None
            payload += one.payload
            if not one.more:
                return payload
        return None
