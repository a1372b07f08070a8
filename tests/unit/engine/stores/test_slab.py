from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyslirp.engine.stores.slab import _Slab

BLOCK = 64
LINE = 64


def index_of(handle: int) -> int:
    return handle % 2**32


@pytest.mark.parametrize(("asked", "got"), [(16, 64), (64, 64), (65, 128), (1000, 1024)])
def test_objects_do_not_share_cache_lines(asked: int, got: int) -> None:
    slab = _Slab(asked, 10)
    assert slab.object_bytes == got
    assert all(slab.find(slab.take()) % LINE == 0 for _ in range(3))


def test_an_object_is_zeroed_whoever_had_it_before() -> None:
    slab = _Slab(200, 1)
    handle = slab.take()
    assert slab.read(handle) == bytes(256 - 16)
    slab.fill(handle, 0xFF)
    slab.give(handle)
    again = slab.take()
    assert slab.read(again) == bytes(256 - 16)
    assert index_of(again) == index_of(handle)
    assert again != handle


def test_a_stale_handle_finds_nothing() -> None:
    slab = _Slab(64, 100)
    old = slab.take()
    slab.give(old)
    assert slab.find(old) == 0
    new = slab.take()
    assert slab.find(old) == 0
    assert slab.find(new) != 0


@pytest.mark.parametrize("handle", [0, 1, 1 << 32, 2 << 32, BLOCK, 2**32 - 1, 2**64 - 1, (1 << 32) + BLOCK])
def test_a_handle_made_up_finds_nothing(handle: int) -> None:
    slab = _Slab(64, 100)
    assert slab.find(handle) == 0
    slab.give(slab.take())
    assert slab.find(handle) == 0


def test_no_living_object_has_handle_zero() -> None:
    slab = _Slab(64, 200)
    assert 0 not in [slab.take() for _ in range(200)]


def test_the_limit_is_of_objects_not_of_blocks() -> None:
    slab = _Slab(64, BLOCK + 1)
    handles = [slab.take() for _ in range(BLOCK + 3)]
    assert handles[-2:] == [0, 0]
    assert slab.alive == BLOCK + 1
    slab.give(handles[5])
    assert slab.take()
    assert slab.take() == 0
    assert _Slab(64, 0).take() == 0


def test_all_living_can_be_walked() -> None:
    slab = _Slab(64, 1000)
    handles = [slab.take() for _ in range(700)]
    for handle in handles[::3]:
        slab.give(handle)
    alive = {handle for number, handle in enumerate(handles) if number % 3}
    assert {slab.at(index) for index in range(slab.span)} - {0} == alive
    assert slab.at(slab.span) == 0
    assert slab.at(2**32 - 1) == 0


class SlabMachine(RuleBasedStateMachine):
    limit = 3 * BLOCK - 7

    def __init__(self) -> None:
        super().__init__()
        self.slab = _Slab(100, self.limit)
        self.alive: dict[int, tuple[int, int]] = {}  # handle -> (address, what it was filled with)
        self.dead: list[int] = []

    @rule(count=st.integers(1, 50), value=st.integers(1, 255))
    def take(self, count: int, value: int) -> None:
        for _ in range(count):
            handle = self.slab.take()
            assert bool(handle) == (len(self.alive) < self.limit)
            if handle:
                assert handle not in self.alive
                assert handle not in self.dead
                assert not any(self.slab.read(handle))
                self.slab.fill(handle, value)
                self.alive[handle] = self.slab.find(handle), value

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(sorted(self.alive)))
        self.slab.give(handle)
        del self.alive[handle]
        self.dead.append(handle)

    @invariant()
    def same(self) -> None:
        assert self.slab.alive == len(self.alive)
        assert {self.slab.at(index) for index in range(self.slab.span)} - {0} == set(self.alive)
        for handle, (address, value) in self.alive.items():
            assert self.slab.find(handle) == address
            assert self.slab.read(handle) == bytes([value]) * (128 - 16)
        assert not any(self.slab.find(handle) for handle in self.dead)


TestSlab = SlabMachine.TestCase
TestSlab.settings = settings(max_examples=30, stateful_step_count=25)
