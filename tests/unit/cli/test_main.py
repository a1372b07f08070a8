"""Which command is meant."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import pytest

from pyslirp.cli import demo as demo_module
from pyslirp.cli import run as run_module
from pyslirp.cli import serve as serve_module
from pyslirp.cli.main import INTERRUPTED, main
from tests.unit.cli.program import run


@pytest.mark.parametrize(
    ("words", "command", "rest"),
    [
        (["demo", "--mib", "1"], "demo", ["--mib", "1"]),
        (["run", "--", "true"], "run", ["--", "true"]),
        (["--listen", ":0", "run"], "serve", ["--listen", ":0", "run"]),
        ([], "serve", []),
    ],
)
def test_commands(monkeypatch: pytest.MonkeyPatch, words: list[str], command: str, rest: list[str]) -> None:
    called: list[tuple[str, list[str]]] = []

    def recorded(name: str) -> Callable[[Sequence[str]], int]:
        def record(words: Sequence[str]) -> int:
            called.append((name, list(words)))
            return 5

        return record

    for name, module in (("demo", demo_module), ("run", run_module), ("serve", serve_module)):
        monkeypatch.setattr(module, name, recorded(name))
    assert main(words) == 5
    assert called == [(command, rest)]
    monkeypatch.setattr(sys, "argv", ["pyslirp", *words])
    assert main() == 5
    assert called[1] == called[0]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["rum", "--", "qemu-system-x86_64"], "did you mean 'run'?"),
        (["demoo"], "did you mean 'demo'?"),
        (["zzz"], "there are: demo, run, exec, ctl"),
    ],
)
def test_a_command_that_is_not_there(words: list[str], hint: str) -> None:
    outcome = run(*words)
    assert (outcome.status, outcome.complaints) == (2, [f"unknown command: '{words[0]}'; {hint}"])


@pytest.mark.parametrize("word", ["restrict", "restrct", "net=10.0.9.0/24", "hostfwd=tcp::1-:2"])
def test_an_option_is_not_taken_for_a_command(word: str) -> None:
    outcome = run(word)
    assert outcome.status == 2
    assert "unknown command" not in outcome.err


def test_ctrl_c_before_anything_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(serve_module, "serve", interrupted)
    assert main([]) == INTERRUPTED


def test_the_version() -> None:
    outcome = run("--version")
    assert (outcome.status, outcome.err) == (0, "")
    name, version = outcome.out.split()
    assert name == "pyslirp"
    assert version[0].isdigit()


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["demo", "--help"]])
def test_help(words: list[str]) -> None:
    outcome = run(*words)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("usage: pyslirp")
    assert max(map(len, outcome.out.splitlines())) <= 120
