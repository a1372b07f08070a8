"""Streams and conversations that this process serves, over a core whose flows may already be gone."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any, cast

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.engine.core.core import Core
from pyslirp.errors import ClosedError
from pyslirp.flows import DATAGRAM_BYTES_MAX, ServedDatagrams, ServedStream

GUEST, FAR = Endpoint(IPv4Address("10.0.2.15"), 40000), Endpoint(IPv4Address("10.0.2.2"), 80)
NOW = 1234


class FakeCore:
    """One flow, number 7, which is or is not there; remembers what it was told."""

    def __init__(self) -> None:
        self.there = True
        self.told: list[tuple[Any, ...]] = []

    def _find(self, flow: int) -> None:
        if not self.there or flow != 7:
            raise KeyError(flow)

    def stream_read(self, flow: int, most: int, now: int) -> bytes:
        self._find(flow)
        self.told.append(("read", most, now))
        return b"data"

    def stream_write(self, flow: int, data: bytes, urgent: bool = False) -> int:
        self._find(flow)
        self.told.append(("write urgent" if urgent else "write", data))
        return 3

    def stream_urgent(self, flow: int) -> int:
        self._find(flow)
        return 5

    def stream_finish(self, flow: int) -> None:
        self._find(flow)
        self.told.append(("finish",))

    def close_flow(self, _flow: int, now: int) -> None:
        if self.there:
            self.told.append(("close", now))

    def datagram_reply(self, flow: int, data: bytes, now: int) -> bool:
        self._find(flow)
        self.told.append(("reply", data, now))
        return True


class Ignores:
    def received(self, _flow: ServedDatagrams, _data: bytes) -> None:
        raise AssertionError

    def ended(self, _flow: ServedDatagrams) -> None:
        raise AssertionError


@pytest.fixture
def core() -> FakeCore:
    return FakeCore()


@pytest.fixture
def stream(core: FakeCore) -> ServedStream:
    return ServedStream(cast("Core", core), lambda: NOW, 7, GUEST, FAR)


@pytest.fixture
def conversation(core: FakeCore) -> ServedDatagrams:
    return ServedDatagrams(cast("Core", core), lambda: NOW, 7, GUEST, FAR, Ignores())


def test_a_stream_reads_writes_and_ends(core: FakeCore, stream: ServedStream) -> None:
    assert stream.read(100) == b"data"
    assert stream.urgent == 5
    assert stream.write(b"more") == 3
    assert stream.write(b"now", urgent=True) == 3
    stream.finish()
    stream.abort()
    told = [("read", 100, NOW), ("write", b"more"), ("write urgent", b"now"), ("finish",), ("close", NOW)]
    assert core.told == told


def test_a_stream_is_finished_once(core: FakeCore, stream: ServedStream) -> None:
    stream.finish()
    stream.finish()
    assert core.told == [("finish",)]
    with pytest.raises(ClosedError):
        stream.write(b"too late")


def test_a_stream_whose_end_has_not_been_told_yet_fails_nothing(core: FakeCore, stream: ServedStream) -> None:
    core.there = False
    assert stream.read() == b""
    assert stream.urgent == 0
    assert stream.write(b"x") == 0
    stream.finish()
    stream.abort()
    assert core.told == []


def test_a_stream_that_is_over_asks_nothing(core: FakeCore, stream: ServedStream) -> None:
    stream.over = True
    assert stream.read() == b""
    assert stream.urgent == 0
    with pytest.raises(ClosedError):
        stream.write(b"x")
    stream.finish()
    stream.abort()
    assert core.told == []


def test_a_conversation_replies(core: FakeCore, conversation: ServedDatagrams) -> None:
    largest = bytes(DATAGRAM_BYTES_MAX)
    assert conversation.reply(largest)
    assert core.told == [("reply", largest, NOW)]


def test_a_datagram_that_cannot_be_is_refused(core: FakeCore, conversation: ServedDatagrams) -> None:
    with pytest.raises(ValueError, match="65508 bytes; at most 65507"):
        conversation.reply(bytes(DATAGRAM_BYTES_MAX + 1))
    assert core.told == []


@pytest.mark.parametrize("known", [False, True])
def test_a_conversation_that_is_gone_loses_its_reply(
    core: FakeCore, conversation: ServedDatagrams, *, known: bool
) -> None:
    core.there = False
    conversation.over = known
    assert not conversation.reply(b"x")
