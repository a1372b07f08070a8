"""What the rig needs of the machine, and what happens where it is missing.

A test whose tool is missing is skipped with the one command that mends it.  With ``PYSLIRP_NO_SKIP=1``, as in CI,
tests/conftest.py makes a failure of every skip, so that a run that tested nothing cannot look green.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def unavailable(reason: str) -> NoReturn:
    """End the test for ``reason``."""
    pytest.skip(reason)


def require(tool: str, package: str) -> str:
    """The full path of ``tool``; without it the test ends, naming the Debian ``package`` to install."""
    path = shutil.which(tool, path=_SEARCH)
    if path is None:
        unavailable(f"{tool} is missing: apt-get install {package}")
    return path


def require_path(path: Path, package: str) -> Path:
    """``path`` if it is there; without it the test ends, naming the Debian ``package`` to install."""
    if not path.exists():
        unavailable(f"{path} is missing: apt-get install {package}")
    return path
