"""Tests of networks in an asyncio loop, and their guests."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from pyslirp.network import Network
from tests.unit.loops.wired_guest import AioGuest, descriptors


async def join(net: Network, number: int = 1, *, lease: bool = True) -> AioGuest:
    """A guest at the other end of a socket pair."""
    ours, theirs = socket.socketpair()
    net.attach(ours, f"guest{number}")
    guest = AioGuest(theirs, number)
    if lease:
        await guest.take_lease()
    return guest


Scenario = Callable[[], Coroutine[Any, Any, None]]


def scenario(test: Scenario) -> Callable[[], None]:
    """A test in a loop of its own, which must leave no descriptor, no task and no complaint behind."""

    def run() -> None:
        before = descriptors()
        complaints: list[dict[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            await test()
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(watched())
        gc.collect()
        assert complaints == []
        assert descriptors() == before

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
