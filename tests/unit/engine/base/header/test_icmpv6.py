from __future__ import annotations

import dpkt

from tests.oracle.layout import constants

icmp6 = dpkt.icmp6


def test_values_are_those_of_dpkt() -> None:
    ours = constants("icmpv6")
    theirs = {
        "ICMPV6_UNREACHABLE": icmp6.ICMP6_DST_UNREACH,
        "ICMPV6_TOO_BIG": icmp6.ICMP6_PACKET_TOO_BIG,
        "ICMPV6_TIME_EXCEEDED": icmp6.ICMP6_TIME_EXCEEDED,
        "ICMPV6_PARAMETER_PROBLEM": icmp6.ICMP6_PARAM_PROB,
        "ICMPV6_ECHO": icmp6.ICMP6_ECHO_REQUEST,
        "ICMPV6_ECHO_REPLY": icmp6.ICMP6_ECHO_REPLY,
        "ICMPV6_ROUTER_SOLICITATION": icmp6.ND_ROUTER_SOLICIT,
        "ICMPV6_ROUTER_ADVERTISEMENT": icmp6.ND_ROUTER_ADVERT,
        "ICMPV6_NEIGHBOR_SOLICITATION": icmp6.ND_NEIGHBOR_SOLICIT,
        "ICMPV6_NEIGHBOR_ADVERTISEMENT": icmp6.ND_NEIGHBOR_ADVERT,
        "ICMPV6_REDIRECT": icmp6.ND_REDIRECT,
    }
    assert {name: ours[name] for name in theirs} == theirs
