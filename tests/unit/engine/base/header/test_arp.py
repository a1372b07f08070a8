from __future__ import annotations

import dpkt

from tests.oracle.layout import constants, disagreements


def test_offsets_are_those_of_dpkt() -> None:
    fields = {
        "ARP_AT_HARDWARE": "hrd",
        "ARP_AT_PROTOCOL": "pro",
        "ARP_AT_HARDWARE_BYTES": "hln",
        "ARP_AT_PROTOCOL_BYTES": "pln",
        "ARP_AT_OPERATION": "op",
        "ARP_AT_SENDER_MAC": "sha",
        "ARP_AT_SENDER": "spa",
        "ARP_AT_TARGET_MAC": "tha",
        "ARP_AT_TARGET": "tpa",
        "ARP_BYTES": "end",
    }
    assert not disagreements("arp", dpkt.arp.ARP, fields)


def test_values_are_those_of_dpkt() -> None:
    ours = constants("arp")
    assert (ours["ARP_HARDWARE_ETHERNET"], ours["ARP_REQUEST"], ours["ARP_REPLY"]) == (
        dpkt.arp.ARP_HRD_ETH, dpkt.arp.ARP_OP_REQUEST, dpkt.arp.ARP_OP_REPLY)
