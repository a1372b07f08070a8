from __future__ import annotations

import dpkt

from tests.oracle.layout import disagreements


def test_offsets_are_those_of_dpkt() -> None:
    fields = {
        "ETH_AT_DESTINATION": "dst",
        "ETH_AT_SOURCE": "src",
        "ETH_AT_TYPE": "type",
        "ETH_BYTES": "end",
    }
    assert not disagreements("ethernet", dpkt.ethernet.Ethernet, fields)
