"""A core with one guest that it knows."""

from __future__ import annotations

import pytest

from tests.unit.engine.core.guest import Guest, Net


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def guest(net: Net) -> Guest:
    return net.guest()
