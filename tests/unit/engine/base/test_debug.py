from __future__ import annotations

import os
import signal
import subprocess
import sys

from pyslirp.engine.stores.leaves import _slirp_assert

WITH_ASSERTIONS = ("debug", "fuzz")
PROGRAM = "from pyslirp.engine.stores.leaves import _slirp_assert; _slirp_assert({condition})"


def run(condition: bool) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROGRAM.format(condition=condition)], capture_output=True, text=True,
                          check=False)


def test_assertions_are_on_in_the_flavours_that_should_have_them() -> None:
    assert _slirp_assert(True) == (os.environ.get("PYSLIRP_BUILD") in WITH_ASSERTIONS)


def test_one_that_does_not_hold_ends_the_process_only_there() -> None:
    done = run(condition=False)
    if _slirp_assert(True):
        assert done.returncode == -signal.SIGABRT
        assert "slirp_assert" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")


def test_one_that_holds_does_nothing() -> None:
    done = run(condition=True)
    assert (done.returncode, done.stderr) == (0, "")
