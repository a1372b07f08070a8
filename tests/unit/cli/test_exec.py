"""``pyslirp exec``: what is written wrong, and whose signals are whose.  What it does is in tests/interop."""

from __future__ import annotations

import signal

import pytest

from pyslirp.cli.exec import _hand_on, exec_


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "exec: no '--' in front of the command; write: pyslirp exec [OPTIONS] -- COMMAND ..."),
        (("--",), "exec: no command; write: pyslirp exec [OPTIONS] -- COMMAND ..."),
        (("--tap", "a/b", "--", "true"), "tap=a/b: an interface's name has no '/', ':' or white space in it"),
        (("--net=x", "--", "true"), "net=x: Failed to parse netmask"),
    ],
)
def test_what_is_written_wrong(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str) -> None:
    assert exec_(arguments) == 2
    assert capsys.readouterr().err.startswith(f"pyslirp: {text}")


class Errand:
    signals: list[int]

    def __init__(self) -> None:
        self.signals = []

    def signal(self, number: int) -> None:
        self.signals.append(number)


@pytest.mark.parametrize(("terminal", "handed"), [(True, [15, 1]), (False, [2, 15, 1])])
def test_which_signals_are_handed_on(monkeypatch: pytest.MonkeyPatch, terminal: bool, handed: list[int]) -> None:
    monkeypatch.setattr("pyslirp.cli.exec.in_foreground", lambda: terminal)
    errand = Errand()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        _hand_on(errand, number)  # type: ignore[arg-type]
    assert errand.signals == handed
