"""A stack in an asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pyslirp.config.stack import Config
from pyslirp.loops.aio import AsyncioDriver
from pyslirp.stack import Stack
from tests.unit.loops.wired_guest import descriptors


def in_loop(check: Callable[[Stack, AsyncioDriver], None]) -> None:
    """Let `check` have a stack in a running loop, which then runs until nothing is left to do at once."""

    async def main() -> None:
        stack = Stack(Config())
        driver = AsyncioDriver(stack, asyncio.get_running_loop())
        try:
            check(stack, driver)
            for _ in range(5):
                await asyncio.sleep(0)
        finally:
            driver.detach()
            stack.close()

    asyncio.run(main())


def test_what_is_due_happens() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        stack = Stack(Config())
        driver = AsyncioDriver(stack, loop)
        driver.attach()
        happened = loop.create_future()
        stack.call_later(1_000_000, lambda: happened.set_result("yes"))
        assert await asyncio.wait_for(happened, 10) == "yes"
        driver.detach()
        driver.detach()
        stack.close()

    before = descriptors()
    asyncio.run(main())
    assert descriptors() == before


def test_many_kicks_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    kicks: list[int] = []
    real = Stack.kick

    def counted(stack: Stack) -> None:
        kicks.append(1)
        real(stack)

    def check(_stack: Stack, driver: AsyncioDriver) -> None:
        driver.attach()
        for _ in range(10):
            driver.kick()

    monkeypatch.setattr(Stack, "kick", counted)
    in_loop(check)
    assert len(kicks) == 1


def test_a_kick_after_the_end_is_none() -> None:
    def check(stack: Stack, driver: AsyncioDriver) -> None:
        driver.attach()
        driver.kick()
        driver.detach()
        driver.kick()
        stack.close()

    in_loop(check)


def test_a_stack_that_a_handler_closes_is_let_go() -> None:
    before = descriptors()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stack = Stack(Config())
        driver = AsyncioDriver(stack, loop)
        driver.attach()
        over = loop.create_future()

        def close() -> None:
            stack.close()
            loop.call_soon(over.set_result, None)

        stack.call_later(1_000_000, close)
        await asyncio.wait_for(over, 10)
        assert driver._watched == -1

    asyncio.run(main())
    assert descriptors() == before


def test_it_may_be_detached_when_the_loop_is_closed() -> None:
    stack = Stack(Config())
    loop = asyncio.new_event_loop()
    driver = AsyncioDriver(stack, loop)
    driver.attach()
    loop.close()
    driver.detach()
    stack.close()
