"""The queue to Python: order, form, limits."""

from __future__ import annotations

import pytest

from pyslirp.engine.core import core
from pyslirp.engine.core.punts import _Queue

PUNTS_MAX, BYTES_MAX = 4096, 4 * 2**20
NOBODY = (0, bytes(16), 0, bytes(16), 0)


def test_order_is_kept_and_taking_empties() -> None:
    queue = _Queue()
    for flow in range(200):
        assert queue.add(core.KIND_READABLE, flow=flow)
    assert [punt[1] for punt in queue.take()] == list(range(200))
    assert queue.take() == []
    assert queue.add(core.KIND_WRITABLE)
    assert queue.take() == [(core.KIND_WRITABLE, 0, 0)]


@pytest.mark.parametrize(
    ("kind", "punt"),
    [
        (core.KIND_FLOW, (1, 5, NOBODY, 0, 3)),
        (core.KIND_DATAGRAM, (2, 3, bytes(6), NOBODY, b"")),
        (core.KIND_CONNECTED, (3, 5, 6)),
        (core.KIND_READABLE, (4, 5, 6)),
        (core.KIND_WRITABLE, (5, 5, 6)),
        (core.KIND_FINISHED, (6, 5, 6)),
        (core.KIND_CLOSED, (7, 5, 6, NOBODY, -7, 8, 9, False)),
        (core.KIND_MESSAGE, (8, 5, 6, b"")),
        (core.KIND_LINK, (9, 3, -7, 8)),
        (core.KIND_WATCH, (10, 5, -7)),
        (core.KIND_INBOUND, (11, 5, -7, bytes(16), 0)),
        (core.KIND_CONNECT, (12, 5, -7)),
        (core.KIND_STRANGER, (13, 5, NOBODY, b"", -7)),
        (core.KIND_SOLICITATION, (14, 3, bytes(6), bytes(16))),
    ],
)
def test_each_kind_has_its_form(kind: int, punt: tuple[object, ...]) -> None:
    queue = _Queue()
    assert queue.add(kind, flow=5, tag=6, link=3, a=-7, b=8, c=9)
    assert queue.take() == [punt]


def test_what_can_be_refused_is_refused_when_it_is_full_and_the_rest_is_not() -> None:
    queue = _Queue()
    for _ in range(PUNTS_MAX):
        assert queue.add(core.KIND_FLOW)
    assert not queue.add(core.KIND_FLOW)
    assert not queue.add_with(core.KIND_MESSAGE, b"x")
    for _ in range(PUNTS_MAX):
        assert queue.add(core.KIND_CLOSED, must=True)
    assert (queue.count, queue.refused, queue.held_bytes) == (2 * PUNTS_MAX, 2, 0)
    assert len(queue.take()) == 2 * PUNTS_MAX
    assert queue.room <= PUNTS_MAX
    assert queue.add(core.KIND_FLOW)


@pytest.mark.parametrize("length", [0, 1, 1500, 65507])
def test_payloads_are_copied_whole(length: int) -> None:
    queue = _Queue()
    data = bytes(range(256)) * 256
    assert queue.add_with(core.KIND_MESSAGE, data[:length], flow=9)
    assert queue.take() == [(core.KIND_MESSAGE, 9, 0, data[:length])]
    assert queue.held_bytes == 0


def test_payloads_are_bounded_together() -> None:
    queue = _Queue()
    data = bytes(2**16)
    for _ in range(64):
        assert queue.add_with(core.KIND_MESSAGE, data)
    assert queue.held_bytes == BYTES_MAX
    assert not queue.add_with(core.KIND_MESSAGE, b"x")
    assert queue.add_with(core.KIND_MESSAGE, b"")
    assert queue.refused == 1
    queue.take()
    assert queue.add_with(core.KIND_MESSAGE, data)


def test_what_is_not_taken_is_freed_with_it() -> None:
    queue = _Queue()
    queue.add_with(core.KIND_MESSAGE, bytes(1000))
    del queue
