"""Every module imports alone, in a process that has imported nothing else of pyslirp.

A circle of imports, or a module that counts on another having been imported first, shows only so.  One fresh
interpreter forks for each module: as good as an interpreter each, at a hundredth of the time.
"""

from __future__ import annotations

import subprocess
import sys

from tests.meta.tree import EXT, ROOT, module_of, python_files

RUNNER = """
import importlib, os, sys, traceback, warnings
warnings.simplefilter("error")
failed = []
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
        except BaseException:
            print(f"-- {name}", flush=True)
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
print("failed:", *failed)
sys.exit(bool(failed))
"""
WITH_EFFECT = {"pyslirp.__main__"}  # runs the command line


def run(names: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", RUNNER, *names], cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_module_imports_alone() -> None:
    compiled = {module_of(path) for path in EXT.rglob("*.pyx")}
    names = sorted(({module_of(path) for path in python_files("pyslirp")} | compiled) - WITH_EFFECT)
    done = run(names)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_module_that_does_not_import_is_named() -> None:
    done = run(["ipaddress", "pyslirp.no_such_module"])
    assert done.returncode == 1
    assert "failed: pyslirp.no_such_module" in done.stdout
