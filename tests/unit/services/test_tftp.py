"""The TFTP server, with clients that behave and clients that do not."""

from __future__ import annotations

import itertools
from ipaddress import IPv6Address
from typing import Any

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.services.base import Claim
from pyslirp.services.tftp import (
    FIRST_PORT,
    MAX_TRANSFERS,
    MAX_TRIES,
    RETRANSMIT_MAX_NS,
    RETRANSMIT_NS,
    WINDOW_BLOCKS,
    WINDOW_BYTES,
)
from tests.unit.services.tftp_client import GUEST, HOST, HOST6, SECOND, Client, House

CONTENT = bytes(range(256)) * 10
OTHER = Endpoint(GUEST.address, GUEST.port + 1)


def code_of(packets: list[bytes]) -> int:
    """Of the one error that came."""
    (packet,) = packets
    assert packet[:2] == b"\0\5"
    return int.from_bytes(packet[2:4], "big")


# -- transfers that go well --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1024, 2560])
def test_a_file_of_any_length(size: int) -> None:
    house = House(file=CONTENT[:size])
    assert Client(house, "file").download() == CONTENT[:size]
    (ended,) = house.ended
    assert (ended.guest, ended.name, ended.sent, ended.reason) == (GUEST, "file", size, "done")
    assert house.folder.opened[0].closed
    assert not house.ports
    assert house.service.deadline() is None


def test_it_claims_port_69_of_each_address() -> None:
    assert House().service.claims == (Claim("udp", HOST, 69), Claim("udp", HOST6, 69))


def test_each_transfer_has_a_port_of_its_own() -> None:
    house = House(file=CONTENT)
    clients = [Client(house, "file", source=Endpoint(GUEST.address, port)) for port in (2000, 2001, 2002)]
    ports = {client.port for client in clients}
    assert len(ports) == 3
    assert min(ports) >= FIRST_PORT
    assert {endpoint.port for endpoint in house.ports} == ports
    assert [client.download() for client in clients] == [CONTENT] * 3


def test_options_are_granted_in_their_order() -> None:
    client = Client(House(file=CONTENT), "file", tsize=0, blksize=1000, timeout=7, windowsize=4)
    assert list(client.granted.items()) == [("tsize", 2560), ("blksize", 1000), ("timeout", 7), ("windowsize", 4)]
    assert client.download() == CONTENT


@pytest.mark.parametrize(
    ("mtu", "source", "most"),
    [(1500, GUEST, 1468), (65521, GUEST, 65464), (68, GUEST, 36), (1500, Endpoint(IPv6Address("fec0::15"), 9), 1448)],
)
def test_a_block_fits_into_a_packet(mtu: int, source: Endpoint, most: int) -> None:
    client = Client(House(mtu, file=CONTENT), "file", source=source, blksize=65464)
    assert client.granted == {"blksize": most}
    assert client.download() == CONTENT


def test_a_size_beyond_4_gib_is_told() -> None:
    assert Client(House(file=5 << 30), "file", tsize=0).granted == {"tsize": 5 << 30}


def test_block_numbers_wrap() -> None:
    size = 8 * 65540 + 3
    assert Client(House(file=size), "file", blksize=8).download() == bytes(size)


def test_a_window_is_sent_at_once() -> None:
    client = Client(House(file=CONTENT), "file", windowsize=3)
    assert [packet[2:4] for packet in client.acknowledge(0)] == [b"\0\1", b"\0\2", b"\0\3"]
    assert [packet[2:4] for packet in client.acknowledge(3)] == [b"\0\4", b"\0\5", b"\0\6"]
    assert client.acknowledge(6) == []


@pytest.mark.parametrize(("asked", "block", "granted"), [(65535, 512, WINDOW_BLOCKS), (64, 65464, 4), (1, 8, 1)])
def test_a_window_has_its_limits(asked: int, block: int, granted: int) -> None:
    client = Client(House(65521, file=10_000_000), "file", blksize=block, windowsize=asked)
    assert client.granted["windowsize"] == granted
    assert sum(map(len, client.acknowledge(0))) <= WINDOW_BYTES + 4 * WINDOW_BLOCKS


def test_netascii_has_no_size() -> None:
    house = House(text=b"one\ntwo\rthree\n" * 100)
    client = Client(house, "text", "netascii", tsize=0, blksize=100)
    assert client.granted == {"blksize": 100}
    assert client.download() == b"one\r\ntwo\r\0three\r\n" * 100


def test_over_ipv6() -> None:
    house = House(file=CONTENT)
    client = Client(house, "file", source=Endpoint(IPv6Address("fec0::15"), 9))
    assert client.sent[0].source.address == HOST6
    assert client.download() == CONTENT


# -- loss --------------------------------------------------------------------------------------------------------------


def test_what_is_not_acknowledged_is_sent_again_and_in_the_end_no_more() -> None:
    house = House(file=CONTENT)
    client = Client(house, "file")
    first = client.packets
    times = [house.now]
    for _ in range(MAX_TRIES - 1):
        assert [datagram.payload for datagram in house.wait()] == first
        times.append(house.now)
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert waits[:3] == [RETRANSMIT_NS, 2 * RETRANSMIT_NS, 4 * RETRANSMIT_NS]
    assert max(waits) == RETRANSMIT_MAX_NS
    assert house.wait() == []
    assert house.ended[0].reason == "given up"
    assert house.folder.opened[0].closed
    assert not house.ports
    assert house.count("ended.given_up") == 1


def test_the_clients_timeout_holds() -> None:
    house = House(file=CONTENT)
    Client(house, "file", timeout=3)
    for tries in (1, 2):
        house.wait()
        assert house.now == 3 * tries * SECOND


def test_a_late_acknowledgement_begins_the_count_anew() -> None:
    house = House(file=bytes(100_000))
    client = Client(house, "file")
    for block in range(1, 2 * MAX_TRIES):
        before = house.now
        house.wait()
        assert house.now - before == RETRANSMIT_NS  # it does not grow with what was lost before
        assert client.acknowledge(block)[0][2:4] == (block + 1).to_bytes(2, "big")
    assert house.ended == []


def test_a_second_acknowledgement_of_the_same_block_is_ignored() -> None:
    """Or every block would be sent twice from then on (RFC 1123 section 4.2.3.1)."""
    client = Client(House(file=CONTENT), "file")
    assert len(client.acknowledge(1)) == 1
    assert client.acknowledge(1) == []
    assert [packet[2:4] for packet in client.acknowledge(2)] == [b"\0\3"]


@pytest.mark.parametrize("block", [2, 5, 65535, 0x8000])
def test_a_block_that_was_not_sent_is_not_acknowledged(block: int) -> None:
    house = House(file=CONTENT)
    client = Client(house, "file")
    assert client.acknowledge(block) == []
    assert house.count("drop.unexpected") == 1


def test_a_window_goes_on_behind_what_was_lost() -> None:
    client = Client(House(file=CONTENT), "file", windowsize=4)
    client.acknowledge(0)
    assert [packet[2:4] for packet in client.acknowledge(2)] == [b"\0\3", b"\0\4", b"\0\5", b"\0\6"]


def test_a_window_whose_first_block_was_lost_is_sent_again_once() -> None:
    client = Client(House(file=CONTENT), "file", windowsize=4)
    client.acknowledge(0)
    assert [packet[2:4] for packet in client.acknowledge(0)] == [b"\0\1", b"\0\2", b"\0\3", b"\0\4"]
    assert client.acknowledge(0) == []


def test_a_lost_option_acknowledgement_is_sent_again() -> None:
    house = House(file=CONTENT)
    client = Client(house, "file", blksize=100)
    assert house.wait() == client.sent
    assert client.download() == CONTENT


def test_a_request_sent_twice_begins_one_transfer() -> None:
    house = House(file=CONTENT)
    client = Client(house, "file")
    first = client.sent
    assert client.begin() == first
    assert len(house.ports) == 1


def test_a_new_request_from_the_same_port_ends_the_old_transfer() -> None:
    house = House(file=CONTENT, other=b"x")
    old = Client(house, "file")
    old.acknowledge(1)
    assert Client(house, "other").download() == b"x"
    assert [ended.reason for ended in house.ended] == ["replaced", "done"]
    assert not house.ports


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileNotFoundError(2, ""), 1),
        (NotADirectoryError(20, ""), 1),
        (PermissionError(13, ""), 2),
        (OSError(24, "Too many open files"), 0),
    ],
)
def test_a_file_that_cannot_be_had(error: OSError, code: int) -> None:
    house = House()
    house.folder.refusals[b"file"] = error
    client = Client(house, "file")
    assert code_of(client.packets) == code
    assert house.ended[0].name == "file"
    assert not house.ports


def test_writing_is_refused() -> None:
    house = House(file=CONTENT)
    (answer,) = house.send(b"\0\2file\0octet\0")
    assert code_of([answer.payload]) == 2
    assert house.count("drop.write") == 1


@pytest.mark.parametrize("payload", [b"", b"\0\4\0\1", b"\0\1file\0mail\0", b"\0\1file"])
def test_what_is_no_request_is_told_so(payload: bytes) -> None:
    house = House(file=CONTENT)
    (answer,) = house.send(payload)
    assert code_of([answer.payload]) == 4


def test_an_error_is_not_answered() -> None:
    house = House(file=CONTENT)
    assert house.send(b"\0\5\0\0x\0") == []
    client = Client(house, "file")
    assert house.send(b"\0\5\0\0x\0", client.port, OTHER) == []


def test_an_error_ends_a_transfer() -> None:
    house = House(file=CONTENT)
    client = Client(house, "file")
    assert house.send(b"\0\5\0\0enough\0", client.port) == []
    assert house.ended[0].reason == "aborted"
    assert house.folder.opened[0].closed


def test_somebody_else_does_not_disturb_a_transfer() -> None:
    """RFC 1350 section 4: an error to who has sent it, nothing to the other."""
    house = House(file=CONTENT)
    client = Client(house, "file")
    (answer,) = house.send(b"\0\4\0\1", client.port, OTHER)
    assert code_of([answer.payload]) == 5
    assert answer.destination == OTHER
    assert client.download() == CONTENT


def test_what_is_neither_acknowledgement_nor_error_is_dropped() -> None:
    house = House(file=CONTENT)
    client = Client(house, "file")
    assert house.send(b"\0\3\0\1data", client.port) == []
    assert house.send(b"", client.port) == []
    assert house.count("drop.unexpected") == 2


@pytest.mark.parametrize("options", [{}, {"blksize": 8}])
def test_a_file_that_can_no_longer_be_read(options: dict[str, Any]) -> None:
    house = House(file=CONTENT)
    client = Client(house, "file", **options)
    house.folder.opened[0].fails = True
    packets = client.acknowledge(0 if options else 1)
    assert code_of(packets) == 0
    assert house.ended[0].reason == "read failed"
    assert not house.ports


def test_there_is_a_limit_and_who_says_nothing_makes_room() -> None:
    house = House(file=CONTENT)
    clients = [Client(house, "file", source=Endpoint(GUEST.address, 3000 + number)) for number in range(MAX_TRANSFERS)]
    assert len(house.ports) == MAX_TRANSFERS
    for client in clients[1:]:
        client.acknowledge(1)
    assert Client(house, "file").download() == CONTENT  # in place of the first
    assert house.ended[0].reason == "replaced"
    late = Client(house, "file")
    late.acknowledge(1)
    assert code_of(Client(house, "file", source=OTHER).packets) == 0
    assert house.count("drop.busy") == 1
    assert len(house.ports) == MAX_TRANSFERS


def test_names_cannot_do_anything_in_a_terminal() -> None:
    house = House()
    house.send(b"\0\1\x1b[2J\xff\n\0octet\0")
    assert house.ended[0].name == "\\x1b[2J\\xff\\n"


def test_a_snapshot_and_the_end() -> None:
    house = House(file=CONTENT)
    client = Client(house, "file", blksize=1000)
    client.acknowledge(0)
    snapshot = house.service.snapshot()
    assert snapshot["transfers"] == [
        {"guest": str(GUEST), "name": "file", "size": 2560, "sent": 1000, "blksize": 1000, "windowsize": 1}
    ]
    assert snapshot["counters"]["sent.oack"] == 1
    assert snapshot["counters"]["sent.data"] == 1
    house.service.close()
    assert house.folder.opened[0].closed
