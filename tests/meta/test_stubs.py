"""The stubs of the compiled modules say what the modules really have: names, parameters, defaults (mypy.stubtest)."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.meta.tree import EXT, PACKAGE, ROOT, module_of, relative

ALLOWLIST = Path(__file__).with_name("stubtest_allowlist.txt")


def compiled() -> list[str]:
    return sorted(module_of(path) for path in EXT.rglob("*.pyx"))


def stub_of(name: str) -> Path:
    return ROOT.joinpath(*name.split(".")).with_suffix(".pyi")


def visible(module: ModuleType) -> list[str]:
    """What Python code can use of a compiled module: its own public names."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", module.__name__) == module.__name__
        and not isinstance(value, ModuleType)
    ]


def stubtest(names: list[str], *options: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", *options, *names],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MYPYPATH": str(cwd), "PYTHONPATH": str(cwd)},
    )


def test_every_module_that_python_can_use_has_its_stub() -> None:
    missing = [name for name in compiled() if not stub_of(name).is_file() and visible(importlib.import_module(name))]
    assert not missing, f"write {[relative(stub_of(name)) for name in missing]}"


def test_every_stub_has_its_module() -> None:
    orphans = [relative(path) for path in PACKAGE.rglob("*.pyi") if module_of(path) not in compiled()]
    assert not orphans


@pytest.mark.slow
def test_stubs_and_modules_agree() -> None:
    names = [name for name in compiled() if stub_of(name).is_file()]
    done = stubtest(names, "--allowlist", str(ALLOWLIST), "--ignore-unused-allowlist", "--concise")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_stub_that_lies_is_caught(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text("def double(number, *, times=2): ...\n")
    (tmp_path / "told.pyi").write_text("def double(count: int, *, times: int = 2) -> int: ...\n")
    done = stubtest(["told"], "--concise", cwd=tmp_path)
    assert done.returncode == 1
    assert "told.double" in done.stdout
