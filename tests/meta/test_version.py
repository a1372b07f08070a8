"""One version everywhere, and a changelog that knows it."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata

import pytest

from pyslirp._version import __version__
from tests.meta.tree import ROOT

HEADING = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\d{4}-\d\d-\d\d))?$")
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def changelog() -> list[str]:
    return (ROOT / "CHANGELOG.md").read_text().splitlines()


def versions(lines: list[str]) -> list[tuple[str, str | None]]:
    """Version and date of each heading, newest first; raises ValueError for a heading of another form."""
    found = []
    for line in lines:
        if line.startswith("## "):
            match = HEADING.match(line)
            if match is None:
                raise ValueError(line)
            found.append((match["version"], match["date"]))
    return found


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_the_version_is_a_plain_release_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_pyproject_takes_the_version_from_its_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "pyslirp._version.__version__"}


def test_what_is_installed_has_this_version() -> None:
    try:
        installed = metadata.version("pyslirp")
    except metadata.PackageNotFoundError:
        pytest.skip("pyslirp is not installed; `make build` installs it")
    assert installed == __version__


def test_the_changelog_is_one() -> None:
    found = versions(changelog())
    assert found[0] == ("Unreleased", None)
    released = [version for version, _ in found[1:]]
    assert released == sorted(released, key=number, reverse=True)
    assert all(date for _, date in found[1:]), "a release has its date"
    assert not released or number(__version__) >= number(released[0])
    kinds = {line.removeprefix("### ") for line in changelog() if line.startswith("### ")}
    assert kinds <= KINDS


def test_a_heading_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.2"):
        versions(["## 0.2 (soon)"])
