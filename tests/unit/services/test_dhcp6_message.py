"""Reading DHCPv6 requests: every rule of RFC 8415 sections 16 and 21 that one message can break."""

from __future__ import annotations

import contextlib
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.services.dhcp6_message import (
    MAX_ADDRESSES,
    MAX_ASSOCIATIONS,
    MAX_REQUEST_BYTES,
    Association,
    Kind,
    MalformedError,
    Option,
    Request,
    Status,
    build_reply,
    pack_association,
    pack_status,
    read_request,
)
from tests.unit.services.dhcp6_guest import (
    CLIENT_ID,
    FQDN,
    IA_ADDRESS,
    IA_NA,
    IA_PD,
    IA_TA,
    ORO,
    RAPID,
    SERVER_DUID,
    SERVER_ID,
    Options,
    association,
    pack,
    unpack,
)

CLIENT = (CLIENT_ID, b"\x00\x03\x00\x01\x52\x54\x00\x12\x34\x56")
SERVER = (SERVER_ID, SERVER_DUID)
ADDRESS = IPv6Address("fec0::15")


def message(*options: tuple[int, bytes], kind: int = Kind.SOLICIT) -> bytes:
    return bytes([kind]) + b"\x12\x34\x56" + pack(list(options))


def read(*options: tuple[int, bytes], kind: int = Kind.SOLICIT) -> Request:
    return read_request(message(*options, kind=kind))


def reason(payload: bytes) -> str:
    with pytest.raises(MalformedError) as caught:
        read_request(payload)
    return caught.value.reason


def test_a_request_is_read() -> None:
    request = read(CLIENT, association(ADDRESS, iaid=7), (ORO, b"\0\x17\0\x18\0\x17"), (RAPID, b""))
    assert (request.kind, request.transaction) == (Kind.SOLICIT, b"\x12\x34\x56")
    assert (request.client_id, request.server_id) == (CLIENT[1], None)
    assert request.associations == (Association(Option.IA_NA, b"\0\0\0\x07", (ADDRESS,)),)
    assert (request.asked, request.rapid) == ((23, 24), True)


def test_what_is_not_there_is_none() -> None:
    request = read(CLIENT)
    assert (request.asked, request.rapid, request.fqdn, request.hostname) == (None, False, None, None)
    assert read(CLIENT, (ORO, b"")).asked == ()


def test_associations_of_every_kind_keep_their_order() -> None:
    request = read(CLIENT, association(code=IA_PD), association(ADDRESS, code=IA_TA), association())
    assert [one.code for one in request.associations] == [Option.IA_PD, Option.IA_TA, Option.IA_NA]


def test_options_that_are_not_known_may_be_anything() -> None:
    assert read(CLIENT, (17, b"x"), (17, b"y"), (8, b""), (0, b""), (65535, b"z")).client_id == CLIENT[1]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "short"),
        (b"\x01ab", "short"),
        (message(CLIENT, (99, bytes(MAX_REQUEST_BYTES))), "long"),
        (message(CLIENT, kind=0), "message_type"),
        (message(CLIENT, kind=36), "message_type"),
        (message(CLIENT, kind=Kind.ADVERTISE), "unexpected_type"),
        (message(CLIENT, kind=Kind.REPLY), "unexpected_type"),
        (message(CLIENT, kind=Kind.RECONFIGURE), "unexpected_type"),
        (message(CLIENT, kind=Kind.RELAY_FORWARD), "unexpected_type"),
        (message(CLIENT) + b"\0", "option_truncated"),
        (message(CLIENT) + b"\0\x08\0", "option_truncated"),
        (message(CLIENT) + b"\0\x08\0\x02x", "option_truncated"),
        (message(CLIENT) + b"\0\x08\xff\xff", "option_truncated"),
        (message((CLIENT_ID, b"\0\3")), "option_length"),
        (message((CLIENT_ID, bytes(131))), "option_length"),
        (message(CLIENT, (ORO, b"\0")), "option_length"),
        (message(CLIENT, (RAPID, b"x")), "option_length"),
        (message(CLIENT, (FQDN, b"")), "option_length"),
        (message(CLIENT, (IA_NA, bytes(11))), "option_length"),
        (message(CLIENT, (IA_TA, bytes(3))), "option_length"),
        (message(CLIENT, (IA_NA, bytes(12) + b"\0\5\0")), "option_truncated"),
        (message(CLIENT, (IA_NA, bytes(12) + pack([(IA_ADDRESS, bytes(23))]))), "option_length"),
        (message(CLIENT, CLIENT), "option_repeated"),
        (message(CLIENT, *[association()] * (MAX_ASSOCIATIONS + 1)), "too_many"),
        (message(CLIENT, association(*[ADDRESS] * (MAX_ADDRESSES + 1))), "too_many"),
        (message(CLIENT, *[association(*[ADDRESS] * 6)] * 3), "too_many"),
        (message(association()), "no_client_id"),
        (message(SERVER, association(), kind=Kind.RENEW), "no_client_id"),
        (message(CLIENT, association(), kind=Kind.REQUEST), "no_server_id"),
        (message(CLIENT, association(), kind=Kind.RENEW), "no_server_id"),
        (message(CLIENT, association(), kind=Kind.RELEASE), "no_server_id"),
        (message(CLIENT, association(), kind=Kind.DECLINE), "no_server_id"),
        (message(CLIENT, SERVER, kind=Kind.SOLICIT), "unexpected_server_id"),
        (message(CLIENT, SERVER, kind=Kind.CONFIRM), "unexpected_server_id"),
        (message(CLIENT, SERVER, kind=Kind.REBIND), "unexpected_server_id"),
        (message(CLIENT, association(), kind=Kind.INFORMATION_REQUEST), "unexpected_association"),
    ],
)
def test_what_no_client_may_send_is_named(payload: bytes, expected: str) -> None:
    assert reason(payload) == expected


def test_every_reason_can_happen() -> None:
    marks = test_what_no_client_may_send_is_named.pytestmark  # type: ignore[attr-defined]
    assert {expected for _, expected in marks[0].args[1]} == set(MalformedError.REASONS)


@pytest.mark.parametrize(
    ("name", "hostname"),
    [
        (b"\x02vm\0", "vm"),
        (b"\x02vm", "vm"),  # partial
        (b"\x02vm\x07example\0", "vm.example"),
        (b"\x02vm\0\x04more\0", "vm"),
        (b"\0", None),
        (b"", None),
        (b"\x03vm", None),  # runs past the end
        (b"\xc0\x00", None),  # no compression here
        (b"\x02v\x1b\0", None),
        (b"\x02v.\0", None),
        (b"\x02\xc3\xa4\0", None),
    ],
)
def test_a_name_is_shown_where_it_is_safe_to_print(name: bytes, hostname: str | None) -> None:
    assert read(CLIENT, (FQDN, b"\x01" + name)).hostname == hostname


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(payload: bytes) -> None:
    with contextlib.suppress(MalformedError):
        read_request(payload)


@given(st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=50)), max_size=8))
def test_no_options_raise_anything_else(options: Options) -> None:
    with contextlib.suppress(MalformedError):
        read_request(message(CLIENT, *options))


# -------------------------------------------------------------------------------------------------------------- writing


def test_a_reply_is_type_transaction_and_options() -> None:
    packed = build_reply(Kind.REPLY, b"abc", [SERVER, CLIENT], [(23, bytes(16))])
    assert (packed.payload[:4], packed.omitted) == (b"\x07abc", 0)
    assert unpack(packed.payload[4:]) == [SERVER, CLIENT, (23, bytes(16))]


def test_what_is_wanted_and_has_no_room_is_counted() -> None:
    packed = build_reply(Kind.REPLY, b"abc", [SERVER], [(24, bytes(2000)), (23, bytes(16)), (59, bytes(1300))])
    assert packed.omitted == 2
    assert [code for code, _ in unpack(packed.payload[4:])] == [SERVER_ID, 23]


@pytest.mark.parametrize(("code", "head"), [(Option.IA_NA, 12), (Option.IA_PD, 12), (Option.IA_TA, 4)])
def test_an_association_has_times_but_for_temporary_addresses(code: Option, head: int) -> None:
    asked = Association(code, b"\0\0\0\x07", ())
    found, data = pack_association(asked, [pack_status(Status.NO_BINDING, "x")], (1, 2))
    assert found == code
    assert data[:4] == b"\0\0\0\x07"
    assert unpack(data[head:]) == [(13, b"\0\x03x")]
