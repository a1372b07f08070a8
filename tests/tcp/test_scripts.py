"""Every script of tests/tcp/scripts over IPv4 and IPv6, with initial sequence numbers as they come and with such as wrap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pyslirp.sim import script as scripts
from pyslirp.sim.notation import Script, parse
from pyslirp.sim.script import WRAPPING, Variation, versions

FOLDER = Path(__file__).with_name("scripts")
SCRIPTS = {
    str(path.relative_to(FOLDER).with_suffix("")): parse(path.read_text(), str(path.relative_to(FOLDER)))
    for path in sorted(FOLDER.rglob("*.pkt"))
}
RUNS = [
    pytest.param(script, version, id=f"{name}-ipv{version}")
    for name, script in SCRIPTS.items()
    for version in versions(script)
]


@pytest.mark.parametrize("variation", [Variation(), WRAPPING], ids=["plain", "wrapping"])
@pytest.mark.parametrize(("script", "version"), RUNS)
def test_script(script: Script, version: int, variation: Variation) -> None:
    scripts.run(script, replace(variation, version=version))


def test_every_script_says_what_it_proves() -> None:
    mute = [path.name for path in FOLDER.rglob("*.pkt") if not path.read_text().startswith("// ")]
    assert not mute
