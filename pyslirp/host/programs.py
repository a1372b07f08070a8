"""Where a program is that is to be started."""

from __future__ import annotations

import os
from collections.abc import Iterable


def find(name: str, folders: Iterable[str] | None = None) -> str | None:
    """The program of that name in the first of `folders` that has one; by default where exec would look for it."""
    if folders is None:
        folders = [""] if os.sep in name else os.get_exec_path()
    for folder in folders:
        program = os.path.join(folder, name)  # noqa: PTH118 - what is in PATH need not be a path that means anything
        if os.path.isfile(program) and os.access(program, os.X_OK):  # noqa: PTH113 - see above
            return program
    return None
