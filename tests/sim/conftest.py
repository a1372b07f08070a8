"""Long tables are for `make sim` (PYSLIRP_SIM_LONG=1): elsewhere a test that is marked `long` is left out."""

from __future__ import annotations

import os

import pytest

LONG = os.environ.get("PYSLIRP_SIM_LONG", "") not in ("", "0")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Left out, not skipped: nothing is missing."""
    left_out = [] if LONG else [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
