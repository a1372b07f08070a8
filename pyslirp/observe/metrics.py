"""Counters as text that Prometheus reads, from the tree of plain values that `Network.snapshot()` gives.

    {"tcp": {"retransmitted": 3}, "port": {0: {"rx_frames": 7}}}

becomes

    pyslirp_tcp_retransmitted 3
    pyslirp_port_rx_frames{port="0"} 7

A word is a level of the name.  An integer key is a label, named by the word above it.  Values are integers, floats and
booleans; anything else (a name, a list of leases) is no metric and is left out.  The text follows the Prometheus
exposition format, version 0.0.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pyslirp.records import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "pyslirp"

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class Description:
    """What a metric is: its sentence, and whether it only grows (counter) or also falls (gauge)."""

    sentence: str
    kind: str = "counter"  #: "counter" or "gauge"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric."""

    path: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    value: int | float

    @property
    def name(self) -> str:
        """The metric's name."""
        return "_".join([PREFIX, *map(_plain, self.path)])

    def __str__(self) -> str:
        labels = ",".join(f'{_plain(name)}="{_escaped(value)}"' for name, value in self.labels)
        return f"{self.name}{{{labels}}} {self.value}" if labels else f"{self.name} {self.value}"


def _plain(word: str) -> str:
    """`word` with nothing that a metric's or label's name may not hold; a label may not begin with a digit either."""
    plain = _NOT_IN_NAMES.sub("_", word)
    return f"_{plain}" if plain[:1].isdigit() else plain


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def samples(
    tree: Mapping[Any, Any], path: tuple[str, ...] = (), labels: tuple[tuple[str, str], ...] = ()
) -> Iterator[Sample]:
    """Every value of the tree, in the tree's order."""
    for key, value in tree.items():
        here, named = (
            (path, (*labels, (path[-1], str(key)))) if isinstance(key, int) and path else ((*path, str(key)), labels)
        )
        if isinstance(value, Mapping):
            yield from samples(value, here, named)
        elif isinstance(value, int | float):
            yield Sample(here, named, int(value) if isinstance(value, bool) else value)


def render(tree: Mapping[Any, Any], descriptions: Mapping[str, Description] | None = None) -> str:
    """The tree as text; `descriptions` by dotted path ("tcp.retransmitted").  A metric without one is untyped."""
    families: dict[str, list[Sample]] = {}
    for sample in samples(tree):
        families.setdefault(sample.name, []).append(sample)
    lines: list[str] = []
    for name, family in families.items():
        described = (descriptions or {}).get(".".join(family[0].path))
        if described is not None:
            lines.append(f"# HELP {name} {described.sentence.replace(chr(92), chr(92) * 2)}")
        lines.append(f"# TYPE {name} {described.kind if described is not None else 'untyped'}")
        lines += map(str, family)
    return "".join(f"{line}\n" for line in lines)
