from __future__ import annotations

import dpkt

from tests.oracle.layout import disagreements


def test_offsets_are_those_of_dpkt() -> None:
    fields = {
        "IPV6_AT_CLASS_AND_LABEL": "_v_fc_flow",
        "IPV6_AT_PAYLOAD_LENGTH": "plen",
        "IPV6_AT_NEXT_HEADER": "nxt",
        "IPV6_AT_HOP_LIMIT": "hlim",
        "IPV6_AT_SOURCE": "src",
        "IPV6_AT_DESTINATION": "dst",
        "IPV6_BYTES": "end",
    }
    assert not disagreements("ipv6", dpkt.ip6.IP6, fields)
