"""The state of a network as plain values: what `Network.snapshot()` returns and the control commands show."""

from __future__ import annotations

from typing import Any

from pyslirp.addresses import Endpoint, Mac, unpack
from pyslirp.engine.core.core import Core


def flows_of(core: Core) -> list[dict[str, Any]]:
    """Every conversation, addresses as text."""
    return [_flow(flow) for flow in core.flows()]


def neighbors_of(core: Core) -> list[dict[str, Any]]:
    """Who is at which MAC address."""
    return [
        {**neighbor, "address": str(unpack(neighbor["address"])), "mac": str(Mac(neighbor["mac"]))}
        for neighbor in core.neighbors()
    ]


def _flow(flow: dict[str, Any]) -> dict[str, Any]:
    shown = {
        **flow,
        "guest": str(Endpoint(unpack(flow["guest"]), flow["guest_port"])),
        "far": str(Endpoint(unpack(flow["far"]), flow["far_port"])),
    }
    if "host" in flow:
        shown["host"] = str(Endpoint(unpack(flow["host"]), flow["host_port"]))
    for merged in ("guest_port", "far_port", "host_port"):
        shown.pop(merged, None)
    return shown
