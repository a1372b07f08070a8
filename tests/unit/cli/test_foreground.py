"""Whether Ctrl-C is for us: seen by processes that have a terminal, and by ones that have none."""

from __future__ import annotations

import sys
from pathlib import Path

import pexpect
import pytest

from pyslirp.cli import foreground

ROOT = Path(__file__).resolve().parents[3]
SAY = "from pyslirp.cli.foreground import in_foreground; print(in_foreground())"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('"$0" -c "$1"', "True"),
        ('true | "$0" -c "$1" | cat', "True"),
        ('set -m; "$0" -c "$1" & wait', "False"),
        ('setsid --wait "$0" -c "$1"', "False"),
    ],
    ids=["in front", "between pipes", "in the background", "without a terminal"],
)
def test_who_is_in_the_foreground(line: str, said: str) -> None:
    terminal = pexpect.spawn("bash", ["-c", line, sys.executable, SAY], timeout=30, cwd=str(ROOT), encoding="utf-8")
    try:
        terminal.expect(pexpect.EOF)
        assert [word for word in terminal.before.split() if word in {"True", "False"}] == [said]
    finally:
        terminal.close(force=True)


def test_what_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreground, "TERMINAL", "/dev/null")
    assert not foreground.in_foreground()
    monkeypatch.setattr(foreground, "TERMINAL", "/no/such")
    assert not foreground.in_foreground()
