"""The loop of the command line: signals, and what ends it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pyslirp.config.stack import Config
from pyslirp.loops.plain import STOP_SIGNALS, PlainLoop
from pyslirp.stack import Stack
from tests.unit.loops.wired_guest import descriptors


@pytest.fixture
def stack() -> Generator[Stack]:
    made = Stack(Config())
    yield made
    made.close()


def kill(number: int) -> None:
    os.kill(os.getpid(), number)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in STOP_SIGNALS]


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_ends_it(stack: Stack, number: int) -> None:
    before = handlers()
    with PlainLoop(stack) as loop:
        stack.call_later(1_000_000, lambda: kill(number))
        loop.run()
    assert handlers() == before
    assert not stack.closed


def test_a_signal_that_comes_before_it_runs_ends_it_at_once(stack: Stack) -> None:
    """As while links are opened: there must be no moment at which a signal would leave a socket file behind."""
    with PlainLoop(stack) as loop:
        kill(signal.SIGTERM)
        loop.run()


def kill_when_asleep(process: int) -> None:
    """Send SIGTERM to a process that sleeps in the kernel."""
    while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        os.sched_yield()
    os.kill(process, signal.SIGTERM)


def test_a_signal_that_finds_it_asleep_wakes_it(stack: Stack) -> None:
    """Nothing is due for hours: only the signal can be what wakes it."""
    with PlainLoop(stack) as loop:
        child = os.fork()
        if not child:
            kill_when_asleep(os.getppid())
            os._exit(0)
        loop.run()
    os.waitpid(child, 0)


def test_signals_may_be_somebody_elses(stack: Stack) -> None:
    seen: list[int] = []
    with PlainLoop(stack, seen.append) as loop:
        stack.call_later(1_000_000, lambda: kill(signal.SIGINT))
        loop.run(until=lambda: bool(seen))
        assert seen == [signal.SIGINT]
        kill(signal.SIGTERM)
        loop.stop()
        loop.run()
    assert seen == [signal.SIGINT, signal.SIGTERM]


def test_until_ends_it(stack: Stack) -> None:
    done: list[bool] = []
    with PlainLoop(stack) as loop:
        stack.call_later(1_000_000, lambda: done.append(True))
        loop.run(until=lambda: bool(done))
    assert done


def test_stop_ends_it(stack: Stack) -> None:
    with PlainLoop(stack) as loop:
        stack.call_later(1_000_000, loop.stop)
        loop.run()
    loop.stop()


def test_the_end_of_the_stack_ends_it(stack: Stack) -> None:
    with PlainLoop(stack) as loop:
        stack.call_later(1_000_000, stack.close)
        loop.run()
    assert stack.closed


def test_hanging_up_is_ignored_under_nohup(stack: Stack) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with PlainLoop(stack) as loop:
            kill(signal.SIGHUP)
            stack.call_later(1_000_000, loop.stop)
            loop.run()
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_full_pipe_is_no_trouble(stack: Stack) -> None:
    with PlainLoop(stack) as loop:
        with contextlib.suppress(BlockingIOError):
            while os.write(loop._wake_write, bytes(4096)):
                continue
        loop.stop()
        kill(signal.SIGTERM)
        loop.run()


def test_nothing_stays_open(stack: Stack) -> None:
    before = descriptors()
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    with PlainLoop(stack) as loop:
        loop.stop()
        loop.run()
    assert descriptors() == before
    assert signal.set_wakeup_fd(wakeup) == wakeup
