"""The generated files of docs/ say what the code says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from docs.generate import FILES, FOLDER
from pyslirp.control.commands import COMMANDS
from pyslirp.engine.stores.counters import names


@pytest.mark.parametrize(("name", "make"), FILES.items(), ids=list(FILES))
def test_what_is_committed_is_current(name: str, make: Callable[[], str]) -> None:
    assert (FOLDER / name).read_text() == make(), "run make docs"


def test_nothing_is_left_out() -> None:
    control, counters = (FILES[name]() for name in ("control.md", "counters.md"))
    assert [command.name for command in COMMANDS if f"### {command.name}" not in control] == []
    assert [name for name in names() if f"| `{name}` |" not in counters] == []
