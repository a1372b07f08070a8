from __future__ import annotations

import dpkt

from tests.oracle.layout import constants, disagreements


def test_offsets_are_those_of_dpkt() -> None:
    fields = {
        "ICMP_AT_TYPE": "type",
        "ICMP_AT_CODE": "code",
        "ICMP_AT_CHECKSUM": "sum",
        "ICMP_AT_REST": "end",
        "ICMP_AT_IDENTIFIER": "end",
        "ICMP_AT_SEQUENCE": "end+2",
        "ICMP_BYTES": "end+4",
    }
    assert not disagreements("icmp", dpkt.icmp.ICMP, fields)


def test_values_are_those_of_dpkt() -> None:
    ours = constants("icmp")
    theirs = {
        "ICMP_ECHO_REPLY": dpkt.icmp.ICMP_ECHOREPLY,
        "ICMP_UNREACHABLE": dpkt.icmp.ICMP_UNREACH,
        "ICMP_ECHO": dpkt.icmp.ICMP_ECHO,
        "ICMP_TIME_EXCEEDED": dpkt.icmp.ICMP_TIMEXCEED,
        "ICMP_PARAMETER_PROBLEM": dpkt.icmp.ICMP_PARAMPROB,
    }
    assert {name: ours[name] for name in theirs} == theirs
