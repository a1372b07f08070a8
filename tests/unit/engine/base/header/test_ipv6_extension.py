from __future__ import annotations

import dpkt

from tests.oracle.layout import constants, offsets

EXTENSION = ("EXTENSION_AT_NEXT_HEADER", "EXTENSION_AT_LENGTH", "EXTENSION_AT_OPTIONS")


def test_offsets_are_those_of_dpkt() -> None:
    ours = constants("ipv6_extension")
    options, routing, fragment = (
        offsets(kind) for kind in (dpkt.ip6.IP6OptsHeader, dpkt.ip6.IP6RoutingHeader, dpkt.ip6.IP6FragmentHeader)
    )
    assert [ours[name] for name in EXTENSION] == [options["nxt"], options["len"], options["end"]]
    assert [ours["ROUTING_AT_TYPE"], ours["ROUTING_AT_SEGMENTS_LEFT"]] == [routing["type"], routing["segs_left"]]
    assert ours["FRAGMENT6_AT_NEXT_HEADER"] == fragment["nxt"]
    assert ours["FRAGMENT6_AT_OFFSET"] == fragment["_frag_off_resv_m"]
    assert ours["FRAGMENT6_AT_IDENTIFICATION"] == fragment["id"]
    assert ours["FRAGMENT6_BYTES"] == fragment["end"]


def test_numbers_are_those_of_dpkt() -> None:
    ours = constants("ipv6_extension")
    theirs = {
        "EXTENSION_HOP_BY_HOP": dpkt.ip.IP_PROTO_HOPOPTS,
        "EXTENSION_ROUTING": dpkt.ip.IP_PROTO_ROUTING,
        "EXTENSION_FRAGMENT": dpkt.ip.IP_PROTO_FRAGMENT,
        "EXTENSION_NONE": dpkt.ip.IP_PROTO_NONE,
        "EXTENSION_DESTINATION": dpkt.ip.IP_PROTO_DSTOPTS,
    }
    assert {name: ours[name] for name in theirs} == theirs
