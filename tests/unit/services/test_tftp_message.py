"""TFTP packets: RFC 1350, 2347, 2348, 2349 and 7440, byte by byte."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.services.tftp_message import (
    BLOCKS,
    Code,
    MalformedError,
    Request,
    build_data,
    build_error,
    build_oack,
    is_error,
    read_ack,
    read_request,
    to_netascii,
)


@pytest.mark.parametrize(
    ("payload", "request_"),
    [
        (b"\0\1pxelinux.0\0octet\0", Request(False, b"pxelinux.0", False)),
        (b"\0\1/a/b\0OCTET\0", Request(False, b"/a/b", False)),
        (b"\0\1a\0NetAscii\0", Request(False, b"a", True)),
        (b"\0\2a\0octet\0", Request(True, b"a", False)),
        (
            b"\0\1a\0octet\0tsize\x000\0BLKSIZE\x001428\0timeout\x003\0windowsize\x008\0",
            Request(False, b"a", False, {"tsize": 0, "blksize": 1428, "timeout": 3, "windowsize": 8}),
        ),
        (b"\0\1a\0octet\0blksize\x008\0blksize\x0016\0", Request(False, b"a", False, {"blksize": 8})),
        (b"\0\1a\0octet\0multicast\0\0rollover\x000\0", Request(False, b"a", False)),
        (b"\0\1a\0octet\0blksize\0", Request(False, b"a", False)),
        (b"\0\1\xff\xfe\0octet\0", Request(False, b"\xff\xfe", False)),
    ],
)
def test_requests(payload: bytes, request_: Request) -> None:
    assert read_request(payload) == request_


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("blksize", value) for value in ("7", "65465", "-8", "", "8x", " 8", "0x20", "٣", "9" * 21)),
        *(("timeout", value) for value in ("0", "256")),
        *(("windowsize", value) for value in ("0", "65536")),
        *(("tsize", value) for value in ("-1", "x")),
    ],
)
def test_what_is_out_of_range_is_not_acknowledged(name: str, value: str) -> None:
    assert read_request(b"\0\1a\0octet\0%s\0%s\0" % (name.encode(), value.encode())).options == {}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        *(
            (payload, Code.ILLEGAL_OPERATION)
            for payload in (b"", b"\0", b"\0\1", b"\0\1a", b"\0\1a\0", b"\0\1a\0octet")
        ),
        *(
            (payload, Code.ILLEGAL_OPERATION)
            for payload in (b"\0\0a\0octet\0", b"\0\3\0\1x", b"\0\4\0\1", b"\0\7a\0octet\0")
        ),
        (b"\0\1a\0octet\0blksize\x008", Code.ILLEGAL_OPERATION),
        (b"\0\1a\0mail\0", Code.ILLEGAL_OPERATION),
        (b"\0\1\0octet\0", Code.ACCESS_VIOLATION),
        (b"\0\1" + b"a" * 513 + b"\0octet\0", Code.ACCESS_VIOLATION),
        (b"\0\1a\0octet\0" + b"x\0y\0" * 400, Code.ILLEGAL_OPERATION),
    ],
)
def test_what_is_no_request(payload: bytes, code: Code) -> None:
    with pytest.raises(MalformedError) as caught:
        read_request(payload)
    assert caught.value.code == code


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(payload: bytes) -> None:
    read_ack(payload)
    is_error(payload)
    with contextlib.suppress(MalformedError):
        assert 0 < len(read_request(payload).name) <= 512


def test_acknowledgements_and_errors() -> None:
    assert read_ack(b"\0\4\x12\x34") == 0x1234
    assert [read_ack(payload) for payload in (b"", b"\0\4\1", b"\0\3\0\1")] == [None] * 3
    assert is_error(b"\0\5\0\0stop\0")
    assert not is_error(b"\0\4\0\0")


def test_packets_that_are_sent() -> None:
    assert build_data(1, b"data") == b"\0\3\0\1data"
    assert build_data(BLOCKS + 2, b"") == b"\0\3\0\2"
    assert build_oack({"tsize": 5_000_000_000, "blksize": 8}) == b"\0\6tsize\x005000000000\0blksize\x008\0"
    assert build_error(Code.NOT_FOUND, "File not found") == b"\0\5\0\1File not found\0"
    assert build_error(Code.UNDEFINED, "a\0\xe9" + "x" * 500) == b"\0\5\0\0a??" + b"x" * 125 + b"\0"


def test_netascii() -> None:
    assert to_netascii(b"one\ntwo\r\n\r") == b"one\r\ntwo\r\0\r\n\r\0"
