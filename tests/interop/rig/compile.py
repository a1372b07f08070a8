"""C programs of the rig, compiled once: the binary's name has a hash of its source, so a change makes a new one."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from tests.interop.rig.require import require, require_path

CACHE = Path(__file__).parents[3] / ".cache" / "interop"  # in the checkout, and not in the repository


def compile_c(source: Path, static: bool = False) -> Path:
    """The binary of ``source``, in a folder of its own under its plain name."""
    compiler = require("gcc", "gcc")
    flags = ["-O2", "-Wall", "-Werror"]
    if static:
        require_path(Path("/usr/include/stdio.h"), "libc6-dev")
        flags.append("-static")
    key = hashlib.sha256(source.read_bytes() + " ".join(flags).encode()).hexdigest()[:12]
    binary = CACHE / f"{source.stem}-{key}" / source.stem
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        scratch = binary.with_name(f"{source.stem}.{os.getpid()}")
        subprocess.run([compiler, *flags, str(source), "-o", str(scratch)], check=True)
        scratch.rename(binary)
    return binary
