"""What is imported before a guest may come.  Python's start is most of ours; what takes long waits until it is wanted.

Times depend on the machine, so what is held here is which modules are imported.  To see what each costs:

    python -X importtime -c 'import pyslirp.cli.serve' 2>&1 | sort -t'|' -k2 -n | tail
"""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Of Python's library and of others: from 5 ms to 200 ms each on an idle machine of 2026.
HEAVY = {
    *("asyncio", "concurrent.futures", "dataclasses", "difflib", "dns", "dpkt", "email", "http", "inspect"),
    *("multiprocessing", "pathlib", "pyroute2", "shutil", "subprocess", "tempfile", "unittest", "urllib.request", "xml"),
}
# (dataclasses for what it does with each class, half a millisecond: pyslirp.records is in its place.)
#: What the child that makes a tap does without as well: there are scripts that expect it within 50 ms.
HEAVY_FOR_A_TAP = HEAVY | {
    *("argparse", "json", "logging", "pathlib", "traceback"),
    *("pyslirp.config.fields", "pyslirp.config.stack", "pyslirp.engine.reactor", "pyslirp.stack"),
}

#: What a network without files does without, and one without IPv6.
WITHOUT_FILES = {"pyslirp.services.tftp", "pyslirp.host.files"}
WITHOUT_IPV6 = {"pyslirp.services.dhcp6", "pyslirp.services.router"}

SERVE = """
import os
from pyslirp.cli.serve import serve
from pyslirp.loops.plain import PlainLoop
reading, writing = os.pipe()
PlainLoop.run = lambda self: None
assert serve(["--listen", "127.0.0.1:0", "--ready-fd", str(writing)]) == 0
assert os.read(reading, 2) == b"1"
"""


def imported_by(code: str) -> set[str]:
    """Names of the modules that are there once `code` has run."""
    argv = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import pyslirp", HEAVY_FOR_A_TAP),
        (SERVE, HEAVY | WITHOUT_FILES),
        (SERVE.replace('"--listen"', '"ipv6=off", "--listen"'), HEAVY | WITHOUT_FILES | WITHOUT_IPV6),
        (
            "import pyslirp.cli.exec, pyslirp.taps, pyslirp.provision, pyslirp.host.unsharing",
            HEAVY - {"pathlib", "shutil", "tempfile"},
        ),
        ("import pyslirp.cli.slirp4netns, pyslirp.taps", HEAVY_FOR_A_TAP),
        ("import pyslirp.cli.slirp4netns; pyslirp.cli.slirp4netns.main(['--help'])", HEAVY_FOR_A_TAP),
    ],
    ids=[
        "library",
        "listen, until it is ready",
        "without IPv6",
        "exec",
        "slirp4netns, until its tap is there",
        "slirp4netns --help",
    ],
)
def test_nothing_heavy_is_imported(code: str, heavy: set[str]) -> None:
    assert imported_by(code) & heavy == set()
