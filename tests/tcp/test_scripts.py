"""Every script of tests/tcp/scripts, with initial sequence numbers as they come and with such as wrap at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyslirp.sim import script as scripts
from pyslirp.sim.notation import parse
from pyslirp.sim.script import WRAPPING, Variation

FOLDER = Path(__file__).with_name("scripts")
SCRIPTS = sorted(FOLDER.rglob("*.pkt"))


@pytest.mark.parametrize("variation", [Variation(), WRAPPING], ids=["plain", "wrapping"])
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(FOLDER).with_suffix("")))
def test_script(path: Path, variation: Variation) -> None:
    scripts.run(parse(path.read_text(), str(path.relative_to(FOLDER))), variation)


def test_every_script_says_what_it_proves() -> None:
    mute = [path.name for path in SCRIPTS if not path.read_text().startswith("// ")]
    assert not mute
