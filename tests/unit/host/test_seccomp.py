"""The filter, run by an interpreter of classic BPF, and by the kernel."""

from __future__ import annotations

import os
import platform
import signal
import sys
from pathlib import Path

import pytest

from pyslirp.errors import SlirpError
from pyslirp.host import seccomp
from pyslirp.host.errand import Errand
from pyslirp.host.seccomp import ALLOW, EVERYWHERE, KILL_PROCESS, MACHINES, X32_BIT, filter_program, install

LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06


def judge(program: list[tuple[int, int, int, int]], architecture: int, number: int) -> int:
    """What the program says of a system call (struct seccomp_data: number, architecture)."""
    at = accumulator = 0
    while True:
        code, jump_true, jump_false, value = program[at]
        at += 1
        if code == RETURN:
            return value
        if code == LOAD:
            accumulator = {0: number, 4: architecture}[value]
        else:
            true = accumulator == value if code == EQUAL else accumulator >= value
            assert code in (EQUAL, AT_LEAST)
            at += jump_true if true else jump_false


@pytest.mark.parametrize("machine", MACHINES)
def test_only_what_is_named_is_killed(machine: str) -> None:
    program = filter_program(machine)
    architecture, calls = MACHINES[machine]
    named = {*calls.values(), *EVERYWHERE.values()}
    assert len(named) == len(calls) + len(EVERYWHERE)
    for number in range(600):
        assert judge(program, architecture, number) == (KILL_PROCESS if number in named else ALLOW)


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_are_killed(machine: str) -> None:
    assert judge(filter_program(machine), 0x4000_0003, 0) == KILL_PROCESS


def test_calls_by_their_x32_names_are_killed() -> None:
    architecture = MACHINES["x86_64"][0]
    assert judge(filter_program("x86_64"), architecture, X32_BIT) == KILL_PROCESS
    assert judge(filter_program("x86_64"), architecture, X32_BIT | 1) == KILL_PROCESS


def test_every_machine_does_without_the_same_calls() -> None:
    names = [set(calls) for _, calls in MACHINES.values()]
    assert all(name == names[0] for name in names)


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(SlirpError, match="the system calls of vax are not known here"):
        filter_program("vax")


def test_the_kernels_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(seccomp, "prctl", refuse)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(SlirpError, match="seccomp: Invalid argument; does this kernel have"):
        install()


def confined_then_exec() -> None:
    install()
    os.execv(sys.executable, [sys.executable, "-c", ""])


def confined_then_read() -> None:
    install()
    Path("/proc/self/status").read_bytes()


@pytest.mark.skipif(platform.machine() not in MACHINES, reason="the numbers of this machine's calls are not known")
@pytest.mark.parametrize(("then", "status"), [(confined_then_exec, 128 + signal.SIGSYS), (confined_then_read, 0)])
def test_the_kernel_carries_it_out(then: object, status: int) -> None:
    errand = Errand(lambda: os.open("/dev/null", os.O_RDONLY), then)  # type: ignore[arg-type]
    os.close(errand.fetch())
    errand.go_on()
    assert errand.wait() == status
