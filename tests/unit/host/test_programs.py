from __future__ import annotations

from pathlib import Path

import pytest

from pyslirp.host.programs import find


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two folders of PATH, of which the second has a program; the first has its name for a folder, and a text."""
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first / "program", second):
        path.mkdir(parents=True)
    (first / "text").write_text("")
    (second / "program").touch(0o755)
    monkeypatch.setenv("PATH", f"{first}:{second}")
    return first, second


def test_it_is_found_where_exec_would_find_it(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    program = str(folders[1] / "program")
    assert find("program") == program
    assert find(program) == program
    monkeypatch.chdir(folders[1])
    assert find("./program") == "./program"


@pytest.mark.parametrize("name", ["text", "nope", "./program", "/nonexistent", "second/program", ""])
def test_what_cannot_be_started_is_not_found(folders: tuple[Path, Path], name: str) -> None:
    assert find(name) is None


def test_it_is_looked_for_in_other_folders(folders: tuple[Path, Path]) -> None:
    assert find("program", [str(folders[0])]) is None
    assert find("program", map(str, folders)) == str(folders[1] / "program")
