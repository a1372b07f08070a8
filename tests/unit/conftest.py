"""A network with guests of the simulator on its links, and logs that no test before has used up."""

from __future__ import annotations

import logging
from collections.abc import Generator

import pytest

from pyslirp import dispatch, outbound, service_set, stack
from pyslirp.observe.log import RateLimited
from tests.unit.loops.wired_guest import Rig


@pytest.fixture
def rig() -> Generator[Rig]:
    with Rig() as rig:
        yield rig


@pytest.fixture(autouse=True)
def _fresh_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has the whole allowance of the limited logs."""
    for module in (dispatch, outbound, service_set, stack):
        monkeypatch.setattr(module, "_log", RateLimited(logging.getLogger(module.__name__)))
