from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from pyslirp.addresses import Endpoint, pack
from pyslirp.sim.clock import SECOND_NS
from pyslirp.sim.host import Gateway
from pyslirp.sim.node import v4
from tests.sim.pair import FAR, PORT, Pair


def test_accepted_streams_are_kept_in_order() -> None:
    pair = Pair()
    pair.gateway.listen(PORT)
    ports = [pair.guest.connect(FAR, PORT, pair.world.now).local.port for _ in range(3)]
    pair.rest(SECOND_NS)
    assert [stream.remote.port for stream in pair.gateway.accepted] == ports


def test_a_pair_of_ends_is_used_once() -> None:
    pair = Pair()
    pair.guest.connect(FAR, PORT, pair.world.now, local_port=5000)
    with pytest.raises(OSError, match="in use"):
        pair.guest.connect(FAR, PORT, pair.world.now, local_port=5000)


def test_streams_that_are_over_are_forgotten() -> None:
    pair = Pair()
    stream = pair.guest.connect(FAR, 1, pair.world.now)
    pair.rest(SECOND_NS)
    assert stream.closed == "refused"
    assert not pair.guest.streams
    assert not pair.gateway.streams


def test_a_long_batch_is_given_in_parts() -> None:
    """More frames at once than one run of the core takes: all of them count."""
    pair = Pair()
    socket = pair.guest.udp(5000)
    pair.gateway.answer_udp(7, lambda _: None)
    socket.send(Endpoint(FAR, 7), bytes(4), pair.world.now)
    pair.rest(SECOND_NS)  # while a verdict is awaited only a few are kept
    for number in range(3000):
        assert socket.send(Endpoint(FAR, 7), number.to_bytes(4, "big"), pair.world.now)
    pair.rest(SECOND_NS)
    (flow,) = pair.gateway.core.flows()
    assert flow["bytes_to_host"] == 4 * 3001


def test_engine_addresses() -> None:
    assert v4(pack(IPv4Address("1.2.3.4"))) == IPv4Address("1.2.3.4")
    assert Gateway().next_deadline() is None
