"""The table of error texts against the QEMU that is installed: what we say of an option is what it says."""

from __future__ import annotations

import subprocess

import pytest

from tests.interop.rig.require import require
from tests.unit.config.test_qemu import GUESTFWD_TEXTS, HOSTFWD_REASONS, QEMU_TEXTS

SECONDS = 60.0

TEXTS = [
    *((text, reason) for _, text, reason in QEMU_TEXTS),
    # unix: is of the newest QEMU, which need not be the one that is installed.
    *((f"hostfwd={rule}", f"'{rule}' ({reason})") for rule, reason in HOSTFWD_REASONS if not rule.startswith("unix:")),
    *((f"guestfwd={rule}", text) for rule, text in GUESTFWD_TEXTS),
]


@pytest.mark.parametrize(("text", "reason"), TEXTS, ids=[text[:40] for text, _ in TEXTS])
def test_qemu_says_the_same(text: str, reason: str) -> None:
    """Of a machine that has nothing else.  Of a wrong search list libslirp complains, and QEMU goes on: it is told to quit."""
    program = require("qemu-system-x86_64", "qemu-system-x86")
    options = text if text.startswith("id=") else f"id=n,{text}"
    command = [program, "-M", "none", "-display", "none", "-monitor", "stdio", "-netdev", f"user,{options}"]
    done = subprocess.run(command, input="quit\n", capture_output=True, text=True, timeout=SECONDS, check=False)
    assert reason in done.stderr
