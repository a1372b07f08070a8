"""The table of counters and the enum that it names have the same members in the same order."""

from __future__ import annotations

import re

from pyslirp.engine.stores.counters import names
from tests.meta.cython_source import blank
from tests.meta.tree import EXT

STATUS = EXT / "pyslirp" / "engine" / "base" / "status.pxd"
LAST = "STATUS_COUNT"


def members(text: str) -> list[str]:
    """The members of the one enum in `text`, in order."""
    body = blank(text).split("cdef enum Status:", 1)[1]
    return re.findall(r"^ +([A-Z][A-Z0-9_]*)\b", body, re.MULTILINE)


def counter_name(member: str) -> str:
    """TCP_OUT_OF_WINDOW is tcp.out_of_window."""
    floor, _, what = member.lower().partition("_")
    return f"{floor}.{what}" if what else floor


def test_every_status_has_its_counter_in_its_place() -> None:
    declared = members(STATUS.read_text())
    assert declared[0] == "OK"
    assert declared[-1] == LAST
    assert list(names()) == [counter_name(member) for member in declared[:-1]]


def test_names_are_unique() -> None:
    assert len(set(names())) == len(names())


def test_members_are_read() -> None:
    text = "cdef enum Status:\n    OK = 0  # FINE\n    # -- NOT_ONE\n    IPV4_SHORT\n    STATUS_COUNT    # last\n"
    assert members(text) == ["OK", "IPV4_SHORT", "STATUS_COUNT"]
    assert [counter_name(member) for member in members(text)[:2]] == ["ok", "ipv4.short"]
