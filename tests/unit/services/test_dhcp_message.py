"""Reading requests and writing replies, with dpkt and dnspython as independent twins."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address
from typing import Any

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.services.dhcp_message import (
    MAX_REQUEST_BYTES,
    Kind,
    MalformedError,
    Option,
    Request,
    build_reply,
    read_request,
)
from tests.unit.services.dhcp_guest import join

END = b"\xff"
MAC = bytes.fromhex("525400123456")


def message(options: bytes = b"\x35\x01\x01" + END, size: int = 300, **fields: Any) -> bytes:
    """A request with a raw options field, as only hand-made bytes can have it."""
    header = bytes(dpkt.dhcp.DHCP(**{"chaddr": MAC, "opts": (), **fields}))
    return (header + options).ljust(size, b"\0")


def reason(payload: bytes) -> str:
    with pytest.raises(MalformedError) as caught:
        read_request(payload)
    return caught.value.reason


def read(options: bytes, **fields: Any) -> Request:
    return read_request(message(options, **fields))


# ----------------------------------------------------------------------------------------------------------- reading


def test_fields_are_read_as_dpkt_wrote_them() -> None:
    request = read_request(message(xid=7, flags=0x8000, ciaddr=0x0A00020F, giaddr=0x0A000210))
    assert (request.kind, request.xid, request.broadcast) == (Kind.DISCOVER, 7, True)
    assert (request.ciaddr, request.giaddr) == (IPv4Address("10.0.2.15"), IPv4Address("10.0.2.16"))
    assert request.chaddr == MAC


def test_a_datagram_below_the_fixed_part_is_short() -> None:
    assert reason(message()[:239]) == "short"
    assert reason(b"") == "short"


def test_a_dhcp_message_below_300_bytes_is_taken() -> None:
    assert read_request(message(size=0)).kind is Kind.DISCOVER


def test_a_bootp_message_below_300_bytes_is_not_rfc1542_2_1() -> None:
    assert reason(message(END, size=299)) == "short"
    assert read_request(message(END, size=300)).kind is None


def test_an_oversize_message_is_not_walked() -> None:
    assert reason(message(size=MAX_REQUEST_BYTES + 1)) == "long"


def test_a_reply_is_no_request() -> None:
    assert reason(message(op=2)) == "not_request"


@pytest.mark.parametrize(
    "fields",
    [
        {"hrd": 6},
        {"hln": 0},
        {"hln": 16},
        {"hln": 255},
        {"chaddr": bytes(6)},
        {"chaddr": b"\xff" * 6},
        {"chaddr": b"\x01\0\x5e\0\0\1"},
    ],
)
def test_only_one_ethernet_station_may_ask(fields: dict[str, Any]) -> None:
    assert reason(message(**fields)) == "hardware"


def test_another_cookie_is_a_bootp_vendor_area() -> None:
    request = read_request(message(magic=0x12345678))
    assert request.kind is None
    assert request.options == {}


@pytest.mark.parametrize("tail", [b"\x0c", b"\x0c\x05abcd", b"\x0c\xff"])
def test_an_option_past_the_end_is_truncated_cve_2017_11434(tail: bytes) -> None:
    assert reason(message(b"\x35\x01\x01" + tail, size=0)) == "option_truncated"


@pytest.mark.parametrize(
    "options",
    [
        b"\x35\x00",
        b"\x35\x02\x01\x01",
        b"\x32\x03\x0a\x00\x02",
        b"\x36\x05\x0a\x00\x02\x02\x02",
        b"\x33\x02\x00\x01",
        b"\x39\x01\x01",
        b"\x34\x02\x01\x01",
        b"\x34\x00",
        b"\x3d\xff" + bytes(255) + b"\x3d\x01\x00",
    ],
)
def test_an_option_of_the_wrong_length(options: bytes) -> None:
    assert reason(message(b"\x35\x01\x01" * (options[0] != 0x35) + options + END)) == "option_length"


@pytest.mark.parametrize("kind", [0, 9, 255])
def test_an_unknown_message_type(kind: int) -> None:
    assert reason(message(bytes([0x35, 1, kind]) + END)) == "message_type"


def test_pads_are_skipped_and_what_follows_the_end_is_not_read() -> None:
    request = read(b"\0\0\x35\x01\x03\0" + END + b"\x0c\x04evil")
    assert request.kind is Kind.REQUEST
    assert Option.HOST_NAME not in request.options


def test_a_missing_end_is_forgiven() -> None:
    assert read_request(message(b"\x35\x01\x01", size=0)).kind is Kind.DISCOVER


def test_pieces_of_an_option_are_joined_rfc3396() -> None:
    request = read(b"\x35\x01\x01\x0c\x03foo\x37\x01\x01\x0c\x03bar" + END)
    assert request.options[Option.HOST_NAME] == b"foobar"
    assert request.hostname == "foobar"


@pytest.mark.parametrize(
    ("overload", "expected"), [(1, b"optionsfile"), (2, b"optionssname"), (3, b"optionsfilesname"), (0, b"options")]
)
def test_overloaded_fields_are_read_in_the_order_of_rfc3396(overload: int, expected: bytes) -> None:
    options = b"\x35\x01\x01\x34\x01" + bytes([overload]) + b"\x0c\x07options" + END
    request = read(options, file=b"\x0c\x04file\xff", sname=b"\x0c\x05sname\xff")
    assert request.options[Option.HOST_NAME] == expected


def test_a_truncated_option_in_an_overloaded_field() -> None:
    assert reason(message(b"\x35\x01\x01\x34\x01\x01" + END, file=b"\x0c\xc8" + bytes(126))) == "option_truncated"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"box", "box"),
        (b"my-box_1.lan\0", "my-box_1.lan"),
        (b"", None),
        (b"\x1b[2Jboo", None),
        (b"a b", None),
        ("bücher".encode(), None),
    ],
)
def test_a_hostname_is_kept_only_when_it_is_safe_to_print(raw: bytes, expected: str | None) -> None:
    assert read(b"\x35\x01\x01\x0c" + bytes([len(raw)]) + raw + END).hostname == expected


@pytest.mark.parametrize(("value", "expected"), [(0, 548), (100, 548), (576, 548), (1000, 972), (65535, 1472)])
def test_max_message_size_counts_the_headers_and_never_falls_below_576(value: int, expected: int) -> None:
    assert read(b"\x35\x01\x01\x39\x02" + value.to_bytes(2, "big") + END).max_reply_bytes == expected


def test_without_max_message_size_312_bytes_of_options() -> None:
    assert read(b"\x35\x01\x01" + END).max_reply_bytes == 236 + 312


@given(st.binary(max_size=700))
def test_no_bytes_raise_anything_but_malformed(tail: bytes) -> None:
    for payload in (tail, message(tail, size=0), message(b"\x35\x01\x01\x34\x01\x03" + tail, file=tail[:128])):
        with contextlib.suppress(MalformedError):
            request = read_request(payload)
            assert request.max_reply_bytes >= 548
            assert request.requested is None or len(request.requested.packed) == 4


# ----------------------------------------------------------------------------------------------------------- writing

TYPE = (53, b"\x02")


def discover(size: int = 0, kind: int | None = 1) -> Request:
    options = b"" if kind is None else bytes([0x35, 1, kind])
    return read(options + (b"\x39\x02" + size.to_bytes(2, "big") if size else b"") + END, xid=99, flags=0x8000)


def areas(payload: bytes) -> tuple[Any, dict[int, bytes]]:
    """A reply read by dpkt, its overloaded fields too, pieces joined in the order of RFC 3396."""
    reply = dpkt.dhcp.DHCP(payload)
    options = list(reply.opts)
    overload = dict(options).get(52, b"\0")[0]
    for bit, area in ((1, reply.file), (2, reply.sname)):
        if overload & bit:
            options += dpkt.dhcp.DHCP(payload[:240] + area).opts
    return reply, join(options)


def test_reply_echoes_what_it_must_and_is_padded_to_300() -> None:
    payload, omitted = build_reply(discover(), [TYPE], yiaddr=IPv4Address("10.0.2.15"), siaddr=IPv4Address("10.0.2.2"))
    reply, options = areas(payload)
    assert (len(payload), omitted) == (300, 0)
    assert (reply.op, reply.hrd, reply.hln, reply.hops, reply.xid, reply.secs) == (2, 1, 6, 0, 99, 0)
    assert (reply.flags, reply.chaddr, reply.ciaddr) == (0x8000, MAC, 0)
    assert (reply.yiaddr, reply.siaddr) == (0x0A00020F, 0x0A000202)
    assert options == {53: b"\x02"}


def test_a_reply_without_options_has_an_end() -> None:
    payload, _ = build_reply(discover(kind=None), [])
    assert payload[240] == 0xFF
    assert len(payload) == 300


def test_a_long_option_goes_out_in_pieces_of_255() -> None:
    data = bytes(range(200)) * 3
    payload, omitted = build_reply(discover(1500), [TYPE, (119, data)])
    reply, options = areas(payload)
    assert [len(piece) for code, piece in reply.opts if code == 119] == [255, 255, 90]
    assert options[119] == data
    assert omitted == 0


def test_what_does_not_fit_overloads_file_then_sname() -> None:
    options = [TYPE, (12, b"h" * 240), (15, b"d" * 120), (43, b"v" * 60), (6, bytes(4))]
    payload, omitted = build_reply(discover(), options)
    reply, read_back = areas(payload)
    assert len(payload) <= 548
    assert omitted == 0
    assert read_back == {52: b"\x03", **dict(options)}
    assert [code for code, _ in reply.opts] == [53, 52, 12, 6]


def test_no_overload_without_need() -> None:
    payload, _ = build_reply(discover(), [TYPE, (12, b"h" * 255)])
    reply, options = areas(payload)
    assert 52 not in options
    assert reply.file == bytes(128)


def test_an_option_is_split_over_the_fields_rather_than_left_out() -> None:
    data = bytes(range(250)) * 2
    payload, omitted = build_reply(discover(), [TYPE, (119, data[:440])])
    _, options = areas(payload)
    assert options[119] == data[:440]
    assert omitted == 0
    assert len(payload) <= 548


def test_what_fits_nowhere_is_left_out_and_counted() -> None:
    payload, omitted = build_reply(discover(), [TYPE, (119, bytes(600)), (6, b"\x0a\0\2\3")])
    _, options = areas(payload)
    assert omitted == 1
    assert 119 not in options
    assert options[6] == b"\x0a\0\2\3"


def test_a_bootp_reply_has_64_bytes_for_options_and_no_overload() -> None:
    payload, omitted = build_reply(discover(kind=None), [(1, bytes(4)), (12, b"h" * 60), (3, bytes(4))])
    reply, options = areas(payload)
    assert len(payload) == 300
    assert set(options) == {1, 3}
    assert (omitted, reply.file) == (1, bytes(128))


@given(
    st.lists(
        st.tuples(st.integers(1, 254).filter(lambda code: code not in (52, 53)), st.binary(max_size=400)), max_size=12
    ),
    st.sampled_from([0, 600, 1500]),
)
def test_whatever_the_options_the_reply_fits_and_reads_back(options: list[tuple[int, bytes]], size: int) -> None:
    options = list({code: (code, data) for code, data in options}.values())
    request = discover(size)
    payload, omitted = build_reply(request, [TYPE, *options])
    _, read_back = areas(payload)
    read_back.pop(52, None)
    assert 300 <= len(payload) <= request.max_reply_bytes
    assert len(options) + 1 - len(read_back) == omitted
    assert all(dict(options).get(code, b"\x02") == data for code, data in read_back.items())
