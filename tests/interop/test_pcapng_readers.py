"""Wireshark's own reader agrees with what observe/pcapng writes: frames, ports, directions, times and comments."""

from __future__ import annotations

import subprocess
from pathlib import Path

import dpkt
import pytest

from pyslirp.observe.pcapng import PcapngWriter
from tests.interop.rig.require import require

pytestmark = pytest.mark.interop

FIELDS = (
    "frame.interface_name",
    "frame.time_epoch",
    "frame.len",
    "frame.packet_flags_direction",
    "udp.dstport",
    "frame.comment",
)
T0 = 1_700_000_000_123_456_789


def datagram(port: int, payload: bytes) -> bytes:
    """An Ethernet frame with a UDP datagram, made by dpkt."""
    udp = dpkt.udp.UDP(sport=68, dport=port, data=payload, ulen=8 + len(payload))
    ip = dpkt.ip.IP(src=bytes([10, 0, 2, 15]), dst=bytes([10, 0, 2, 2]), p=17, data=udp)
    ip.len = len(bytes(ip))
    return bytes(dpkt.ethernet.Ethernet(src=bytes(6), dst=b"\xff" * 6, data=ip))


def test_tshark_reads_the_capture(tmp_path: Path) -> None:
    tshark = require("tshark", "tshark")
    path = tmp_path / "a.pcapng"
    writer = PcapngWriter(path, version="1")
    one = writer.interface("127.0.0.1:1234#1")
    writer.packet(one, T0, datagram(67, b"x" * 301), inbound=True)
    two = writer.interface("unix#2")
    writer.packet(two, T0 + 1, datagram(53, b"y"), inbound=False, comment="answered from the cache")
    writer.statistics(one, T0 + 2, received=1, dropped=0)
    writer.close()
    options = [option for field in FIELDS for option in ("-e", field)]
    done = subprocess.run(
        [tshark, "-r", str(path), "-T", "fields", "-E", "separator=|", *options],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "127.0.0.1:1234#1|1700000000.123456789|343|0x00000001|67|",
        "unix#2|1700000000.123456790|43|0x00000002|53|answered from the cache",
    ]
