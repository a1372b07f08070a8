"""The names of Status, as the engine counts them."""

from __future__ import annotations

from pyslirp.engine.stores.counters import names

NAMES = names()


def name_of(status: int) -> str:
    """`tcp.port_zero` for TCP_PORT_ZERO."""
    return NAMES[status]
