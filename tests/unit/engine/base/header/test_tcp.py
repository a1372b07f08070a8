from __future__ import annotations

import dpkt

from tests.oracle.layout import disagreements


def test_offsets_are_those_of_dpkt() -> None:
    fields = {
        "TCP_AT_SOURCE_PORT": "sport",
        "TCP_AT_DESTINATION_PORT": "dport",
        "TCP_AT_SEQ": "seq",
        "TCP_AT_ACK": "ack",
        "TCP_AT_DATA_OFFSET": "_off_flags",
        "TCP_AT_FLAGS": "_off_flags+1",
        "TCP_AT_WINDOW": "win",
        "TCP_AT_CHECKSUM": "sum",
        "TCP_AT_URGENT": "urp",
        "TCP_AT_OPTIONS": "end",
        "TCP_BYTES": "end",
    }
    assert not disagreements("tcp", dpkt.tcp.TCP, fields)
