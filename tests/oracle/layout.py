"""Where dpkt has the fields of a header, and where the engine's named offsets (base/header/*.pxd) say that they are."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import dpkt

HEADERS = Path(__file__).parents[2] / "ext" / "pyslirp" / "engine" / "base" / "header"


def offsets(packet: type[dpkt.Packet]) -> dict[str, int]:
    """The offset of each field of a dpkt packet, and under "end" the length of its header."""
    found: dict[str, int] = {}
    at = 0
    for name, form, _ in packet.__hdr__:
        found[name] = at
        at += struct.calcsize("!" + form)
    return found | {"end": at}


def constants(name: str) -> dict[str, int]:
    """The members of the enum in base/header/NAME.pxd."""
    text = (HEADERS / f"{name}.pxd").read_text()
    return {member: int(value, 0) for member, value in re.findall(r"^    (\w+) = (\w+)", text, re.MULTILINE)}


def disagreements(name: str, packet: type[dpkt.Packet], fields: dict[str, str]) -> dict[str, tuple[int, int]]:
    """{constant: (ours, dpkt's)} where they differ.

    `fields` says of every offset which field of dpkt it is: "dst", or "end+2" for two bytes behind one.
    """
    ours, theirs = constants(name), offsets(packet)
    forgotten = {constant for constant in ours if "_AT_" in constant} - set(fields)
    assert not forgotten, f"say which field of dpkt these are: {forgotten}"
    places = {constant: place(theirs, field) for constant, field in fields.items()}
    return {constant: (ours[constant], there) for constant, there in places.items() if ours[constant] != there}


def place(theirs: dict[str, int], field: str) -> int:
    name, _, behind = field.partition("+")
    return theirs[name] + int(behind or 0)
