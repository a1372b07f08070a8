from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import example, given
from hypothesis import strategies as st

from pyslirp.addresses import Endpoint, Mac, pack
from pyslirp.engine.codecs.quote import _quote_parse
from pyslirp.sim.segment import Segment, Way, build_frame
from tests.oracle import quote

FAR, GUEST = Endpoint(IPv4Address("192.0.2.1"), 80), Endpoint(IPv4Address("10.0.2.15"), 40000)
WAY = Way(Mac("52:55:0a:00:02:02"), FAR, Mac("52:54:00:12:34:56"), GUEST)
PACKET = build_frame(Segment("P.", 0x12345678, 1, 100, b"text"), WAY)[14:]


def test_a_segment_of_ours_is_recognized_by_its_first_bytes() -> None:
    assert _quote_parse(PACKET[:28]) == {
        "protocol": 6,
        "source": pack(FAR.address),
        "destination": pack(GUEST.address),
        "source_port": 80,
        "destination_port": 40000,
        "word": 0x12345678,
        "packet_bytes": len(PACKET),
    }


def test_less_than_eight_bytes_behind_the_header_are_no_quote() -> None:
    assert _quote_parse(PACKET[:27]) is None


def test_a_later_fragment_has_no_ports() -> None:
    assert _quote_parse(PACKET[:6] + b"\x00\x01" + PACKET[8:]) is None


@given(st.one_of(st.binary(max_size=80), st.binary(min_size=28, max_size=80).map(lambda data: PACKET[:1] + data)))
@example(b"\x60" + bytes(47))
@example(b"\x60" + bytes(46))
@example(b"\x4f" + bytes(66))
@example(b"\x4f" + bytes(67))
@example(b"\x44" + bytes(40))
def test_any_bytes_are_read_as_the_twin_reads_them(data: bytes) -> None:
    assert _quote_parse(data) == quote.read(data)
