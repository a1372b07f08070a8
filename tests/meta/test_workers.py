"""What tests/conftest.py promises holds in the workers of xdist too: a skip is told, or fails; another build is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.meta.tree import ROOT

TESTS = """
import pytest

def test_that_passes():
    pass

@pytest.mark.skipif(True, reason="no such tool")
def test_that_is_skipped():
    pass

@pytest.mark.alone
def test_that_runs_alone():
    pass
"""
A_MODULE = "import pytest\npytest.skip('no such module', allow_module_level=True)\n"


def run(folder: Path, *options: str, **environment: str) -> tuple[int, str]:
    """pytest's exit status and what it says of the tests above, run by a worker."""
    (folder / "test_made.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-n1", "-rs", *options, str(folder)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYSLIRP_", "PYTEST_"))}
    done = subprocess.run(
        command, cwd=ROOT, env=kept | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def test_what_is_skipped_is_told(tmp_path: Path) -> None:
    status, said = run(tmp_path)
    assert status == 0, said
    assert "2 passed, 1 skipped" in said
    assert "no such tool" in said
    assert "apt-get install" in said


def test_a_skip_may_be_a_failure(tmp_path: Path) -> None:
    status, said = run(tmp_path, PYSLIRP_NO_SKIP="1")
    assert status == 1, said
    assert "2 passed" in said
    assert "1 error" in said
    assert "PYSLIRP_NO_SKIP: " in said
    (tmp_path / "test_module.py").write_text(A_MODULE)
    status, said = run(tmp_path, PYSLIRP_NO_SKIP="1")
    assert status == 1, said
    assert "no such module" in said


@pytest.mark.parametrize(("part", "passed"), [("alone", "1 passed"), ("beside", "1 passed, 1 skipped")])
def test_a_part_leaves_the_other_out(tmp_path: Path, part: str, passed: str) -> None:
    status, said = run(tmp_path, f"--part={part}")
    assert status == 0, said
    assert passed in said.splitlines()[-1]


def test_another_build_is_refused(tmp_path: Path) -> None:
    status, said = run(tmp_path, PYSLIRP_BUILD="debug")
    assert status == 4, said
    assert "PYSLIRP_BUILD=debug, but the engine is imported from" in said
