from __future__ import annotations

import dpkt

from tests.oracle.layout import constants, disagreements


def test_offsets_are_those_of_dpkt() -> None:
    fields = {
        "IPV4_AT_VERSION_IHL": "_v_hl",
        "IPV4_AT_TOS": "tos",
        "IPV4_AT_TOTAL_LENGTH": "len",
        "IPV4_AT_IDENTIFICATION": "id",
        "IPV4_AT_FRAGMENT": "_flags_offset",
        "IPV4_AT_TTL": "ttl",
        "IPV4_AT_PROTOCOL": "p",
        "IPV4_AT_CHECKSUM": "sum",
        "IPV4_AT_SOURCE": "src",
        "IPV4_AT_DESTINATION": "dst",
        "IPV4_BYTES": "end",
    }
    assert not disagreements("ipv4", dpkt.ip.IP, fields)


def test_values_are_those_of_dpkt() -> None:
    ours = constants("ipv4")
    assert (ours["IPV4_DONT_FRAGMENT"], ours["IPV4_MORE_FRAGMENTS"], ours["IPV4_OFFSET_MASK"]) == (
        dpkt.ip.IP_DF, dpkt.ip.IP_MF, dpkt.ip.IP_OFFMASK)


def test_option_kinds_are_those_of_rfc_791() -> None:
    """Copied flag, class and number, section 3.1; dpkt names none of them."""
    ours = constants("ipv4")
    assert (ours["IPV4_OPTION_END"], ours["IPV4_OPTION_NOP"]) == (0, 1)
    assert (ours["IPV4_OPTION_LSRR"], ours["IPV4_OPTION_SSRR"]) == (1 << 7 | 3, 1 << 7 | 9)
