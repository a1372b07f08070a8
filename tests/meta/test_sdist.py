"""An sdist holds all that building and testing needs; a wheel made from it what running needs, and no more."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.meta.tree import EXT, PACKAGE, ROOT, module_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("sdist")]  # built once

PLAIN = {"__pycache__", ".git"}


def run(*command: str, cwd: Path, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    code = f"import setuptools.build_meta as backend; backend.build_sdist({str(folder)!r})"
    run(sys.executable, "-c", code, cwd=ROOT)
    (made,) = folder.glob("*.tar.gz")
    return made


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, unoptimized: this is about what gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(folder))
    run(sys.executable, "-m", "pip", "wheel", *options, str(sdist), cwd=folder, PYSLIRP_BUILD="debug")
    (made,) = folder.glob("*.whl")
    return made


def sources(*folders: Path, suffixes: set[str]) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in suffixes and not PLAIN & set(path.parts)
    }


def test_the_sdist_builds_and_tests_itself(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    folders = EXT, PACKAGE, *(ROOT / name for name in ("tests", "fuzz", "bench"))
    code = sources(*folders, suffixes={".py", ".pyi", ".pyx", ".pxd", ".h"})
    assert not code - names
    assert {"setup.py", "pyproject.toml", "Makefile", "README.md", "LICENSE", "CHANGELOG.md"} <= names
    generated = {name for name in names if name.endswith((".c", ".so", ".pyc")) and not name.startswith(("tests/", "bench/"))}
    assert not {name for name in generated if "/csrc/" not in name}


def test_the_wheel_runs_and_ships_no_source_of_the_engine(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "pyslirp = pyslirp.cli.main:main" in archive.read(entry_points).decode()
    built = {name.split(".", 1)[0].replace("/", ".") for name in names if name.endswith(".so")}
    assert built == {module_of(path) for path in EXT.rglob("*.pyx")}
    python = sources(PACKAGE, suffixes={".py", ".pyi"}) | {"pyslirp/py.typed"}
    assert {name for name in names if not name.endswith(".so")} == python


def test_the_wheel_imports_where_nothing_else_is(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    modules = [module_of(path) for path in sorted(EXT.rglob("*.pyx"))]
    code = (
        f"import importlib, pyslirp; [importlib.import_module(name) for name in {modules!r}]; print(pyslirp.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(tmp_path / "pyslirp" / "__init__.py"), done.stderr
