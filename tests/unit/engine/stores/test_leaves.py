from __future__ import annotations

from pathlib import Path

from pyslirp.engine.stores import leaves
from tests.meta.cython_source import functions

BASE = Path(__file__).parents[4] / "ext" / "pyslirp" / "engine" / "base"


def test_no_leaf_of_base_is_out_of_reach() -> None:
    declared = {function.name for path in BASE.glob("*.pxd") for function in functions(path.read_text())}
    assert declared >= {"span_at", "seq_lt", "addr_is4"}
    missing = {name for name in declared if not hasattr(leaves, f"_{name}")}
    assert not missing, f"give these a door in stores/leaves.pyx and a test: {missing}"
