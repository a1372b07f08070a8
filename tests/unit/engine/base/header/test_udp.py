from __future__ import annotations

import dpkt

from tests.oracle.layout import disagreements


def test_offsets_are_those_of_dpkt() -> None:
    fields = {
        "UDP_AT_SOURCE_PORT": "sport",
        "UDP_AT_DESTINATION_PORT": "dport",
        "UDP_AT_LENGTH": "ulen",
        "UDP_AT_CHECKSUM": "sum",
        "UDP_BYTES": "end",
    }
    assert not disagreements("udp", dpkt.udp.UDP, fields)
